"""Two stores as one: everything new in the one, what it lacks from the other, removals in both."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isobase_platform.config import StorageSettings
from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobStore, BlobUnavailable, ByteRange
from isobase_services.storage.blob.create import create_blob_store
from isobase_services.storage.blob.fallback import FallbackBlobStore
from isobase_services.storage.blob.file import FileBlobStore


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[FallbackBlobStore]:
    store = FallbackBlobStore(FileBlobStore(tmp_path / "main"), FileBlobStore(tmp_path / "fallback"))
    await store.start()
    yield store
    await store.close()


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def put(store: BlobStore, content: bytes) -> BlobKey:
    key = BlobKey("b", "k", str(uuid.uuid4()))
    await store.put(key, chunks(content))
    return key


async def read(store: BlobStore, key: BlobKey, byte_range: ByteRange | None = None) -> bytes:
    reader = await store.open(key, byte_range)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


async def test_what_is_new_is_in_the_main_store_alone(both: FallbackBlobStore) -> None:
    key = await put(both, b"new")
    assert await read(both.main, key) == b"new"
    with pytest.raises(BlobMissing):
        await both.fallback.stat(key)


async def test_what_the_main_store_lacks_is_read_and_copied_from_the_fallback(both: FallbackBlobStore) -> None:
    key = await put(both.fallback, b"0123456789")
    assert await read(both, key) == b"0123456789"
    assert await read(both, key, ByteRange(2, 4)) == b"234"
    assert (await both.stat(key)).size_bytes == 10
    copy = BlobKey("b", "copy", str(uuid.uuid4()))
    await both.copy(key, copy)
    assert await read(both.main, copy) == b"0123456789"
    upload = await both.begin_parts(whole := BlobKey("b", "whole", str(uuid.uuid4())))
    parts = [
        await both.copy_part(whole, upload, 1, key, ByteRange(5, 9)),
        await both.copy_part(whole, upload, 2, copy, ByteRange(0, 4)),
    ]
    await both.finish_parts(whole, upload, parts)
    assert await read(both.main, whole) == b"5678901234"


async def test_a_removed_blob_is_in_neither(both: FallbackBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [await put(both.main, b"1"), await put(both.fallback, b"2")]
    await both.delete(keys)
    for key in keys:
        with pytest.raises(BlobMissing):
            await both.open(key)
        with pytest.raises(BlobMissing):
            await both.stat(key)

    async def failing(keys: object) -> None:
        raise BlobUnavailable("away")

    key = await put(both, b"3")
    monkeypatch.setattr(both.fallback, "delete", failing)
    await both.delete([key])
    with pytest.raises(BlobMissing):
        await both.stat(key)


async def test_a_blob_that_moves_between_two_questions_is_found(
    both: FallbackBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await put(both.fallback, b"moving")
    plain = both.main.open

    async def then_moved(key: BlobKey, byte_range: ByteRange | None = None) -> object:
        monkeypatch.setattr(both.main, "open", plain)
        try:
            return await plain(key, byte_range)
        except BlobMissing:
            await both.main.put(key, chunks(b"moving"))
            await both.fallback.delete([key])
            raise

    monkeypatch.setattr(both.main, "open", then_moved)
    assert await read(both, key) == b"moving"


def test_the_settings_name_both_stores_and_not_one_twice(tmp_path: Path) -> None:
    def store(**settings: object) -> BlobStore:
        return create_blob_store(StorageSettings.model_validate(settings), tmp_path)

    assert isinstance(store(), FileBlobStore)
    both = store(fallback={"backend": "file", "root": str(tmp_path / "old")})
    assert isinstance(both, FallbackBlobStore)
    with pytest.raises(ConfigurationError, match="same store"):
        store(fallback={"backend": "file"})
    with pytest.raises(ConfigurationError, match=r"storage\.fallback\.s3\.bucket"):
        store(fallback={"backend": "s3"})

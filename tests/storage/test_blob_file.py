"""The local-disk backend by itself: whole blobs or none, and nothing outside the root."""

from __future__ import annotations

import errno
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobUnavailable, ByteRange
from isobase_services.storage.blob.file import READ_CHUNK_BYTES, WRITE_BUFFER_BYTES, FileBlobStore
from isobase_services.storage.blob.file.places import place_of
from isobase_services.storage.blob.file.writer import BlobWriter


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    blobs = FileBlobStore(tmp_path / "root")
    await blobs.start()
    yield blobs
    await blobs.close()


def key(name: str = "a.txt") -> BlobKey:
    return BlobKey("bucket", name, str(uuid.uuid4()))


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def content(store: FileBlobStore, blob: BlobKey, byte_range: ByteRange | None = None) -> bytes:
    reader = await store.open(blob, byte_range)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


def files(tmp_path: Path, part: str) -> list[Path]:
    return [path for path in (tmp_path / "root" / part).rglob("*") if not path.is_dir() or path.is_symlink()]


def outside(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path))


@pytest.mark.parametrize("is_unnamed", [False, True])
@pytest.mark.parametrize("size", [0, 1, READ_CHUNK_BYTES, READ_CHUNK_BYTES + 1, WRITE_BUFFER_BYTES * 2 + 17])
async def test_what_was_put_is_read_back(store: FileBlobStore, size: int, is_unnamed: bool) -> None:
    data = os.urandom(size)
    blob = key()
    stored = await store.put(blob, stream(data[: size // 3], data[size // 3 :]), is_unnamed=is_unnamed)
    assert (stored.size_bytes, stored.etag) == (size, f'"{hashlib.md5(data).hexdigest()}"')
    assert await content(store, blob) == data
    if size > 2:
        assert await content(store, blob, ByteRange(1, size - 2)) == data[1:-1]


async def test_a_stream_that_breaks_leaves_nothing(store: FileBlobStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (WRITE_BUFFER_BYTES + 1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.put(key(), broken())
    assert files(tmp_path, "tmp") == []
    assert files(tmp_path, "objects") == []


async def test_a_blob_with_a_name_appears_whole_and_one_without_needs_no_second_name(
    store: FileBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[list[Path]] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        flushed.append(files(tmp_path, "objects"))
        fsync(descriptor)

    await store.put(key("first"), stream(b"makes the directory"))
    blob = BlobKey("bucket", "first", str(uuid.uuid4()))
    monkeypatch.setattr(os, "fsync", seen)
    for is_unnamed, begun_with in ((False, 1), (True, 2)):
        flushed.clear()
        await store.put(
            BlobKey("bucket", "first", blob.version if is_unnamed else str(uuid.uuid4())),
            stream(b"bytes"),
            is_unnamed=is_unnamed,
        )
        assert [len(found) for found in flushed] == [begun_with + is_unnamed, begun_with + 1]
    assert await content(store, blob) == b"bytes"


async def test_a_blob_in_its_place_that_cannot_be_flushed_is_removed(
    store: FileBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "no")

    blob = key()
    await store.put(blob, stream(b"kept"))
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(BlobUnavailable):
        await store.put(BlobKey("bucket", "a.txt", str(uuid.uuid4())), stream(b"lost"), is_unnamed=True)
    assert [path.read_bytes() for path in files(tmp_path, "objects")] == [b"kept"]
    assert files(tmp_path, "tmp") == []


async def test_a_copy_lives_on_when_its_source_is_deleted(store: FileBlobStore) -> None:
    source, target = key("a"), key("b")
    await store.put(source, stream(b"bytes"))
    await store.copy(source, target)
    await store.delete([source, source])
    assert await content(store, target) == b"bytes"
    with pytest.raises(BlobMissing):
        await store.open(source)
    with pytest.raises(BlobMissing):
        await store.copy(source, key())


async def test_bytes_are_copied_where_there_are_no_hard_links(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError

    source, target = key("a"), key("b")
    data = os.urandom(WRITE_BUFFER_BYTES + 3)
    await store.put(source, stream(data))
    monkeypatch.setattr(os, "link", refuse)
    await store.copy(source, target)
    await store.delete([source])
    assert await content(store, target) == data


async def test_a_reader_keeps_its_blob_while_it_is_deleted(store: FileBlobStore) -> None:
    blob, data = key(), os.urandom(READ_CHUNK_BYTES * 3)
    await store.put(blob, stream(data))
    reader = await store.open(blob)
    await store.delete([blob])
    assert b"".join([chunk async for chunk in reader.chunks()]) == data
    await reader.close()


@pytest.mark.parametrize("version", ["", "1", "../../../etc/passwd", "..", "a" * 36, "/etc/passwd", "x\0y"])
async def test_a_version_that_the_service_never_made_finds_nothing(store: FileBlobStore, version: str) -> None:
    blob = BlobKey("bucket", "a.txt", version)
    with pytest.raises(BlobMissing):
        await store.open(blob)
    with pytest.raises(BlobMissing):
        await store.put(blob, stream(b"x"))
    await store.delete([blob])


async def test_a_version_belongs_to_its_bucket_and_name(store: FileBlobStore) -> None:
    blob = key("secret.txt")
    await store.put(blob, stream(b"secret"))
    for other in (BlobKey("bucket", "mine.txt", blob.version), BlobKey("other", "secret.txt", blob.version)):
        with pytest.raises(BlobMissing):
            await store.open(other)
        await store.delete([other])
    assert await content(store, blob) == b"secret"


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a/../../b", "nul\0byte", "back\\slash", "x" * 5000])
async def test_names_never_become_paths(store: FileBlobStore, tmp_path: Path, name: str) -> None:
    before = outside(tmp_path)
    blob = key(name)
    await store.put(blob, stream(b"x"))
    assert await content(store, blob) == b"x"
    (path,) = files(tmp_path, "objects")
    assert path.parent.parent == tmp_path / "root" / "objects"
    assert outside(tmp_path) == before


async def test_a_symbolic_link_in_the_root_is_never_followed(store: FileBlobStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    blob = key()
    await store.put(blob, stream(b"x"))
    (path,) = files(tmp_path, "objects")
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(BlobMissing):
        await store.open(blob)
    with pytest.raises(BlobMissing):
        await store.copy(blob, key("b"))
    await store.delete([blob])
    assert secret.read_text() == "secret"


async def test_a_directory_behind_a_symbolic_link_is_never_entered(store: FileBlobStore, tmp_path: Path) -> None:
    blob = key()
    await store.put(blob, stream(b"x"))
    (path,) = files(tmp_path, "objects")
    outside = tmp_path / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)
    with pytest.raises(BlobMissing):
        await store.open(blob)
    with pytest.raises(BlobUnavailable):
        await store.put(BlobKey(blob.bucket, blob.name, str(uuid.uuid4())), stream(b"y"))
    await store.delete([blob])
    assert [entry.name for entry in outside.iterdir()] == [path.name]
    assert files(tmp_path, "tmp") == []


async def test_start_removes_temporary_files_older_than_a_day_and_no_others(tmp_path: Path) -> None:
    temporary = tmp_path / "root" / "tmp"
    temporary.mkdir(parents=True)
    for name, age_s in (("old", 25 * 3600), ("young", 3600)):
        (temporary / name).write_text("x")
        os.utime(temporary / name, (time.time() - age_s,) * 2)
    store = FileBlobStore(tmp_path / "root")
    await store.start()
    await store.close()
    assert [path.name for path in temporary.iterdir()] == ["young"]


async def test_a_root_that_cannot_be_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = FileBlobStore(tmp_path / "file" / "root")
    with pytest.raises(ConfigurationError, match=r"storage\.root"):
        await store.start()
    await store.close()


@pytest.mark.parametrize("is_unnamed", [False, True])
async def test_a_write_that_was_given_up_between_its_steps_leaves_no_empty_blob(
    store: FileBlobStore, tmp_path: Path, is_unnamed: bool
) -> None:
    blob = key()
    writer = BlobWriter(store._temporary, store._objects, *place_of(blob), is_unnamed=is_unnamed)
    writer.append([b"abc"], is_last=True)
    writer.discard()  # of a caller that was cancelled, while the thread has yet to finish
    with pytest.raises(BlobUnavailable):
        writer.finish_blob()
    with pytest.raises(BlobMissing):
        await store.stat(blob)
    assert files(tmp_path, "tmp") == []
    assert files(tmp_path, "objects") == []

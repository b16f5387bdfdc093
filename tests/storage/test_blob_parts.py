"""Blobs made of parts: whole or absent, by the rules of S3's multipart uploads."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isobase_services.storage.blob import (
    BlobKey,
    BlobMissing,
    BlobRangeInvalid,
    BlobStore,
    ByteRange,
    PartInvalid,
    StoredPart,
    UploadMissing,
)
from isobase_services.storage.blob.file import FileBlobStore
from isobase_services.storage.blob.s3 import S3BlobStore
from tests.plugins.s3 import S3Server

PART_BYTES = 5 * 1024 * 1024
"""What S3 wants of every part but the last."""


@pytest.fixture(params=["file", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    blobs: BlobStore
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("s3")
        blobs = S3BlobStore(s3.settings())
    else:
        blobs = FileBlobStore(tmp_path / "root")
    await blobs.start()
    yield blobs
    await blobs.close()


def key(name: str = "a.txt") -> BlobKey:
    return BlobKey("bucket", name, str(uuid.uuid4()))


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def content(store: BlobStore, blob: BlobKey) -> bytes:
    reader = await store.open(blob)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


def is_moto(store: BlobStore) -> bool:
    """True where the S3 server is moto's, which does not check which upload a part is for."""
    return isinstance(store, S3BlobStore) and "ISOBASE_TEST_S3_ENDPOINT" not in os.environ


def md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


async def test_parts_in_any_order_become_one_blob_with_the_etag_of_s3(store: BlobStore) -> None:
    blob, first, last = key(), os.urandom(PART_BYTES), b"the end"
    upload = await store.begin_parts(blob)
    two = await store.put_part(blob, upload, 2, stream(last[:3], last[3:]))
    one = await store.put_part(blob, upload, 1, stream(first))
    assert (one, two) == (StoredPart(1, md5(first), PART_BYTES), StoredPart(2, md5(last), len(last)))
    assert list(await store.list_parts(blob, upload)) == [one, two]
    with pytest.raises(BlobMissing):
        await store.open(blob)
    stored = await store.finish_parts(blob, upload, [one, two])
    digests = hashlib.md5(first).digest() + hashlib.md5(last).digest()
    assert stored.etag == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert stored.size_bytes == PART_BYTES + len(last)
    assert await content(store, blob) == first + last


async def test_finishing_again_gives_the_same_blob(store: BlobStore) -> None:
    blob = key()
    upload = await store.begin_parts(blob)
    part = await store.put_part(blob, upload, 1, stream(b"all of it"))
    first = await store.finish_parts(blob, upload, [part])
    again = await store.finish_parts(blob, upload, [part])
    assert (again.etag, again.size_bytes) == (first.etag, first.size_bytes)
    assert await content(store, blob) == b"all of it"


async def test_a_part_is_replaced_by_a_later_one_of_its_number_and_parts_not_named_are_dropped(
    store: BlobStore,
) -> None:
    blob = key()
    upload = await store.begin_parts(blob)
    old = await store.put_part(blob, upload, 3, stream(b"old"))
    new = await store.put_part(blob, upload, 3, stream(b"newer"))
    await store.put_part(blob, upload, 7, stream(b"not named"))
    with pytest.raises(PartInvalid) as refused:
        await store.finish_parts(blob, upload, [old])
    assert refused.value.number == 3
    await store.finish_parts(blob, upload, [new])
    assert await content(store, blob) == b"newer"
    with pytest.raises(UploadMissing):
        await store.list_parts(blob, upload)


async def test_parts_that_are_missing_or_out_of_order_make_no_blob(store: BlobStore) -> None:
    blob = key()
    upload = await store.begin_parts(blob)
    one = await store.put_part(blob, upload, 1, stream(os.urandom(PART_BYTES)))
    two = await store.put_part(blob, upload, 2, stream(b"2"))
    absent = StoredPart(3, md5(b"3"), 1)
    for parts in ([], [two, one], [one, one], [one, two, absent]):
        with pytest.raises(PartInvalid):
            await store.finish_parts(blob, upload, parts)
    with pytest.raises(BlobMissing):
        await store.open(blob)
    await store.finish_parts(blob, upload, [one, two])


async def test_a_part_can_be_a_range_of_another_blob(store: BlobStore) -> None:
    source, blob, data = key("source"), key(), os.urandom(PART_BYTES + 1000)
    await store.put(source, stream(data))
    upload = await store.begin_parts(blob)
    one = await store.copy_part(blob, upload, 1, source, ByteRange(10, PART_BYTES + 9))
    two = await store.copy_part(blob, upload, 2, source)
    assert one == StoredPart(1, md5(data[10 : PART_BYTES + 10]), PART_BYTES)
    with pytest.raises(BlobRangeInvalid):
        await store.copy_part(blob, upload, 3, source, ByteRange(len(data), len(data) + 5))
    with pytest.raises(BlobMissing):
        await store.copy_part(blob, upload, 3, key("absent"))
    await store.finish_parts(blob, upload, [one, two])
    assert await content(store, blob) == data[10 : PART_BYTES + 10] + data


async def test_an_aborted_upload_is_gone_and_aborting_again_is_no_error(store: BlobStore) -> None:
    blob = key()
    upload = await store.begin_parts(blob)
    part = await store.put_part(blob, upload, 1, stream(b"x"))
    await store.abort_parts(blob, upload)
    await store.abort_parts(blob, upload)
    with pytest.raises(UploadMissing):
        await store.list_parts(blob, upload)
    if not is_moto(store):
        with pytest.raises(UploadMissing):
            await store.finish_parts(blob, upload, [part])
        with pytest.raises(UploadMissing):
            await store.put_part(blob, upload, 1, stream(b"x"))
    assert [entry async for entry in store.scan_uploads()] == []


async def test_an_upload_is_good_for_its_key_alone(store: BlobStore) -> None:
    if is_moto(store):
        pytest.skip("moto takes parts of an upload for any key")
    blob, other = key("mine"), key("others")
    upload = await store.begin_parts(blob)
    part = await store.put_part(blob, upload, 1, stream(b"x"))
    for stranger in (other, BlobKey("elsewhere", blob.name, blob.version)):
        with pytest.raises(UploadMissing):
            await store.put_part(stranger, upload, 1, stream(b"y"))
        with pytest.raises(UploadMissing):
            await store.finish_parts(stranger, upload, [part])
        await store.abort_parts(stranger, upload)
    assert list(await store.list_parts(blob, upload)) == [part]


@pytest.mark.parametrize("upload", ["", "..", "../../tmp", "x" * 32, "x\0y", "a" * 5000, "a" * 32])
async def test_a_reference_that_the_store_never_gave_finds_nothing(store: BlobStore, upload: str) -> None:
    blob = key()
    if not is_moto(store):
        with pytest.raises(UploadMissing):
            await store.put_part(blob, upload, 1, stream(b"y"))
    with pytest.raises(UploadMissing):
        await store.list_parts(blob, upload)
    await store.abort_parts(blob, upload)


async def test_a_part_whose_stream_breaks_leaves_nothing(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionError

    blob = key()
    upload = await store.begin_parts(blob)
    with pytest.raises(ConnectionError):
        await store.put_part(blob, upload, 1, broken())
    assert list(await store.list_parts(blob, upload)) == []


async def test_unfinished_uploads_are_found_and_can_be_dropped(store: BlobStore) -> None:
    blob, kept = key("a"), key("b")
    upload = await store.begin_parts(blob)
    kept_upload = await store.begin_parts(kept)
    entries = {entry.upload: entry async for entry in store.scan_uploads()}
    if not entries and isinstance(store, S3BlobStore) and not is_moto(store):
        pytest.skip("this server lists the uploads of one key only, and ends old ones itself (MinIO)")
    assert set(entries) == {upload, kept_upload}
    assert entries[upload].handle == store.handle_of(blob)
    if not is_moto(store):
        assert abs(entries[upload].changed_at - datetime.now(UTC)) < timedelta(minutes=1)
    await store.abort_uploads([entries[upload], entries[upload]])
    with pytest.raises(UploadMissing):
        await store.list_parts(blob, upload)
    assert list(await store.list_parts(kept, kept_upload)) == []


async def test_a_scan_finds_every_blob_by_the_handle_of_its_key(store: BlobStore) -> None:
    blobs = [key(f"folder/{number}") for number in range(5)]
    for number, blob in enumerate(blobs):
        await store.put(blob, stream(b"x" * number))
    await store.begin_parts(key("unfinished"))
    entries = {entry.handle: entry async for entry in store.scan()}
    assert {handle: entry.size_bytes for handle, entry in entries.items()} == {
        store.handle_of(blob): number for number, blob in enumerate(blobs)
    }
    assert all(abs(entry.stored_at - datetime.now(UTC)) < timedelta(minutes=1) for entry in entries.values())
    await store.delete_handles([store.handle_of(blobs[0]), store.handle_of(key("absent")), "../../etc/passwd"])
    assert {entry.handle async for entry in store.scan()} == {store.handle_of(blob) for blob in blobs[1:]}


async def test_a_stat_tells_the_size_and_knows_no_absent_blob(store: BlobStore) -> None:
    blob = key()
    await store.put(blob, stream(b"12345"))
    assert (await store.stat(blob)).size_bytes == 5
    with pytest.raises(BlobMissing):
        await store.stat(key())


async def test_a_range_is_cut_to_the_blob_and_one_behind_it_is_refused(store: BlobStore) -> None:
    blob = key()
    await store.put(blob, stream(b"0123456789"))
    reader = await store.open(blob, ByteRange(7, 100))
    assert (reader.size_bytes, reader.byte_range) == (10, ByteRange(7, 9))
    assert b"".join([chunk async for chunk in reader.chunks()]) == b"789"
    await reader.close()
    with pytest.raises(BlobRangeInvalid):
        await store.open(blob, ByteRange(10, 11))

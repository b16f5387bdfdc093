"""The S3 backend by itself: names, streaming both ways, copies, presigned requests, and what goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobMissing, BlobUnavailable, ByteRange
from isobase_services.storage.blob.s3 import S3BlobStore
from isobase_services.storage.blob.s3.copy import copy_in_parts
from isobase_services.storage.blob.s3.reader import READ_CHUNK_BYTES
from isobase_services.storage.errors import StorageError
from tests.plugins.s3 import S3Server

PART_BYTES = 5 * 1024 * 1024


@pytest.fixture
async def store(s3: S3Server) -> AsyncIterator[S3BlobStore]:
    blobs = S3BlobStore(s3.settings(part_size_bytes=PART_BYTES))
    await blobs.start()
    yield blobs
    await blobs.close()


def key(name: str = "a.txt") -> BlobKey:
    return BlobKey("bucket", name, str(uuid.uuid4()))


async def stream(data: bytes, chunk_bytes: int = 65536) -> AsyncIterator[bytes]:
    for offset in range(0, len(data), chunk_bytes):
        yield data[offset : offset + chunk_bytes]


async def content(store: S3BlobStore, blob: BlobKey, byte_range: ByteRange | None = None) -> bytes:
    reader = await store.open(blob, byte_range)
    try:
        return b"".join([chunk async for chunk in reader.chunks()])
    finally:
        await reader.close()


@pytest.mark.parametrize("size", [0, 1, READ_CHUNK_BYTES, READ_CHUNK_BYTES + 1, PART_BYTES])
async def test_what_fits_into_a_part_is_one_object_with_the_md5_as_etag(store: S3BlobStore, size: int) -> None:
    data, blob = os.urandom(size), key()
    stored = await store.put(blob, stream(data))
    assert (stored.size_bytes, stored.etag) == (size, f'"{hashlib.md5(data).hexdigest()}"')
    assert await content(store, blob) == data
    if size > 2:
        assert await content(store, blob, ByteRange(1, size - 2)) == data[1:-1]


async def test_a_larger_one_goes_in_parts_of_equal_size_and_leaves_no_upload(store: S3BlobStore, s3: S3Server) -> None:
    data, blob = os.urandom(2 * PART_BYTES + 17), key()
    stored = await store.put(blob, stream(data, 999_999))
    digests = [hashlib.md5(data[at : at + PART_BYTES]).digest() for at in range(0, len(data), PART_BYTES)]
    assert stored.etag == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-3"'
    assert await content(store, blob) == data
    assert await content(store, blob, ByteRange(PART_BYTES - 1, PART_BYTES)) == data[PART_BYTES - 1 : PART_BYTES + 1]
    assert s3.uploads() == []


async def test_a_version_that_the_service_never_made_names_no_object(store: S3BlobStore) -> None:
    blob = key("folder/a.txt")
    await store.put(blob, stream(b"another's"))
    # Written by SQL into the row of "folder", this version would spell the S3 key of "folder/a.txt".
    posing = BlobKey("bucket", "folder", f"a.txt/{blob.version}")
    with pytest.raises(BlobMissing):
        await store.open(posing)
    with pytest.raises(BlobMissing):
        await store.copy(posing, key("copy"))
    with pytest.raises(BlobMissing):
        await store.presign_get(posing, 60)
    await store.delete([posing])
    assert await content(store, blob) == b"another's"


@pytest.mark.parametrize("size", [1000, PART_BYTES + 1, 3 * PART_BYTES + 1])
async def test_a_stream_that_breaks_leaves_neither_object_nor_upload(
    store: S3BlobStore, s3: S3Server, size: int
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * size
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.put(key(), broken())
    assert (s3.keys(), s3.uploads()) == ([], [])


async def test_a_cancelled_upload_leaves_neither_object_nor_upload(store: S3BlobStore, s3: S3Server) -> None:
    waits = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PART_BYTES)
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put(key(), slow()))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (s3.keys(), s3.uploads()) == ([], [])


async def test_objects_are_named_as_upstream_names_them_and_keep_type_and_cache_control(
    store: S3BlobStore, s3: S3Server
) -> None:
    blob = key("folder/a b+c.txt")
    await store.put(blob, stream(b"x"), facts=BlobFacts("text/plain;charset=UTF-8", "max-age=60"))
    assert s3.keys() == [f"bucket/folder/a b+c.txt/{blob.version}"]
    found = s3.client.head_object(Bucket=s3.bucket, Key=f"{s3.prefix}/{s3.keys()[0]}")
    assert (found["ContentType"], found["CacheControl"]) == ("text/plain;charset=UTF-8", "max-age=60")


async def test_an_object_of_a_row_without_a_version_is_found_without_one(store: S3BlobStore, s3: S3Server) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key=f"{s3.prefix}/bucket/old.txt", Body=b"old")
    blob = BlobKey("bucket", "old.txt", "")
    assert await content(store, blob) == b"old"
    target = key("new.txt")
    await store.copy(blob, target)
    await store.delete([blob])
    assert s3.keys() == [f"bucket/new.txt/{target.version}"]
    with pytest.raises(BlobMissing):
        await store.put(blob, stream(b"x"))


@pytest.mark.parametrize("version", ["1", "../../etc", "a" * 36, "x\0y", "others/11111111-1111-4111-8111-111111111111"])
async def test_a_version_that_the_service_never_made_finds_nothing(store: S3BlobStore, version: str) -> None:
    blob = BlobKey("bucket", "a.txt", version)
    for call in (store.open, store.stat):
        with pytest.raises(BlobMissing):
            await call(blob)
    with pytest.raises(BlobMissing):
        await store.put(blob, stream(b"x"))
    await store.delete([blob])


async def test_a_name_too_long_for_s3_is_the_callers_mistake(store: S3BlobStore) -> None:
    with pytest.raises(StorageError) as refused:
        await store.put(key("x" * 1000), stream(b"x"))
    assert (refused.value.code, refused.value.status) == ("InvalidKey", 400)


@pytest.mark.parametrize(("bucket", "name"), [("..", "a"), (".", "a"), ("bucket", "a/../../../b"), ("bucket", "./a")])
async def test_nothing_leads_out_of_the_prefix_where_the_server_takes_keys_for_paths(
    store: S3BlobStore, bucket: str, name: str
) -> None:
    blob = BlobKey(bucket, name, str(uuid.uuid4()))
    with pytest.raises(StorageError) as refused:
        await store.put(blob, stream(b"x"))
    assert (refused.value.code, refused.value.status) == ("InvalidKey", 400)
    for call in (store.open, store.stat):
        with pytest.raises(BlobMissing):
            await call(blob)
    await store.delete([blob])


async def test_a_copy_is_made_by_the_server_and_lives_on(store: S3BlobStore, s3: S3Server) -> None:
    source, target, changed = key("a b"), key("b+c%"), key("d")
    await store.put(source, stream(b"bytes"), facts=BlobFacts("text/plain", "no-cache"))
    await store.copy(source, target)
    await store.copy(source, changed, facts=BlobFacts("image/png"))
    await store.delete([source, source])
    assert await content(store, target) == b"bytes"
    assert ((await store.stat(target)).content_type, (await store.stat(changed)).content_type) == (
        "text/plain",
        "image/png",
    )
    with pytest.raises(BlobMissing):
        await store.copy(source, key())


async def test_what_is_too_large_for_one_copy_is_copied_in_parts(store: S3BlobStore, s3: S3Server) -> None:
    data, source, target = os.urandom(2 * PART_BYTES + 5), key("a"), key("b")
    await store.put(source, stream(data))
    names = store.handle_of(source), store.handle_of(target)
    await asyncio.to_thread(copy_in_parts, s3.client, s3.bucket, *names, BlobFacts("text/plain"), len(data), PART_BYTES)
    assert await content(store, target) == data
    with pytest.raises(Exception, match=r"NoSuchKey|404|Not Found"):
        await asyncio.to_thread(
            copy_in_parts, s3.client, s3.bucket, "absent", "target", BlobFacts(), len(data), PART_BYTES
        )
    assert s3.uploads() == []


async def test_many_are_removed_at_once(store: S3BlobStore, s3: S3Server) -> None:
    blobs = [key(f"{number} &<>'") for number in range(5)]
    for blob in blobs:
        await store.put(blob, stream(b"x"))
    await store.delete([*blobs, key("absent")])
    assert s3.keys() == []


async def test_a_reader_that_is_closed_early_gives_its_connection_up(store: S3BlobStore) -> None:
    blob = key()
    await store.put(blob, stream(os.urandom(4 * READ_CHUNK_BYTES)))
    for _ in range(40):  # more than there are connections
        reader = await store.open(blob)
        async for _chunk in reader.chunks():
            break
        await reader.close()
    assert len(await content(store, blob)) == 4 * READ_CHUNK_BYTES


async def test_presigned_requests_store_and_read_without_the_server(store: S3BlobStore, s3: S3Server) -> None:
    blob, data = key("direct.png"), b"direct bytes"
    put = await store.presign_put(blob, BlobFacts("image/png", "max-age=60"), len(data), 60)
    assert put is not None
    assert "X-Amz-Signature" not in repr(put)
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.request(put.method, put.url, headers=dict(put.headers), content=data)
        assert answer.status_code == 200, answer.text
        if not s3.is_moto:  # moto checks no signatures
            longer = {**put.headers, "content-length": str(len(data) + 1)}
            assert (await http.request(put.method, put.url, headers=longer, content=data + b"!")).status_code == 403
            other = {**put.headers, "content-type": "text/html"}
            assert (await http.request(put.method, put.url, headers=other, content=data)).status_code == 403
        facts = await store.stat(blob)
        assert (facts.size_bytes, facts.content_type) == (len(data), "image/png")
        get = await store.presign_get(blob, 60, disposition='attachment; filename="x.png"')
        assert get is not None
        answer = await http.get(get.url)
        assert (answer.content, answer.headers["content-disposition"]) == (data, 'attachment; filename="x.png"')


async def test_a_bucket_that_is_not_there_is_a_configuration_error(s3: S3Server) -> None:
    for bucket in ("isobase-absent", "No Bucket!"):
        store = S3BlobStore(s3.settings(bucket=bucket))
        with pytest.raises(ConfigurationError, match=r"storage\.s3\.bucket"):
            await store.start()
        await store.close()


async def test_a_server_that_is_away_does_not_keep_storage_from_starting(s3: S3Server) -> None:
    store = S3BlobStore(s3.settings(endpoint_url="http://127.0.0.1:9", connect_timeout_s=0.2, max_attempts=1))
    await store.start()
    for call in (store.open(key()), store.put(key(), stream(b"x")), store.delete([key()]), store.copy(key(), key())):
        with pytest.raises(BlobUnavailable) as refused:
            await call
        assert (refused.value.code, refused.value.status, refused.value.wire_status) == ("S3Error", 503, 503)
    await store.close()

"""Uploads in parts through boto3."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from isobase_platform.caller import Caller
from isobase_platform.config import Settings
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.parts_values import Completion, NewParts, PartsTarget, PartTarget
from isobase_services.storage.errors import StorageError
from tests.storage.conftest import ALICE, BOB, BOTH_BACKENDS, OWNER_POLICIES, Stack, running, with_storage
from tests.storage.s3_clients import in_thread, refused, s3_client, session_client, signed

MIB = 1024 * 1024
FULL = b"a part" * (MIB - MIB // 6)
"""The content of a part that need not be the last: 5 MiB and a little."""


@pytest.fixture
async def client(storage: Stack) -> Any:
    await storage.bucket("files")
    return s3_client(storage)


def etag_of(*parts: bytes) -> str:
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{digest}-{len(parts)}"'


def begin(client: Any, key: str = "big", **options: Any) -> str:
    return str(client.create_multipart_upload(Bucket="files", Key=key, **options)["UploadId"])


def put_part(client: Any, upload: str, number: int, body: bytes, key: str = "big") -> dict[str, Any]:
    answer = client.upload_part(Bucket="files", Key=key, UploadId=upload, PartNumber=number, Body=body)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(client: Any, upload: str, parts: list[dict[str, Any]], key: str = "big", **options: Any) -> Any:
    return client.complete_multipart_upload(
        Bucket="files", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **options
    )


async def test_an_object_is_made_of_parts_that_came_in_any_order(client: Any, storage: Stack) -> None:
    first, second = os.urandom(5 * MIB), os.urandom(1000)

    def work() -> None:
        upload = begin(client, ContentType="image/png", CacheControl="max-age=9", Metadata={"a": "b"})
        parts = [
            put_part(client, upload, 7, second),
            put_part(client, upload, 2, b"replaced"),
            put_part(client, upload, 2, first),
        ]
        with refused("NoSuchKey", 404):
            client.get_object(Bucket="files", Key="big")
        done = complete(client, upload, [parts[2], parts[0]])
        assert done["ETag"] == etag_of(first, second)
        got = client.get_object(Bucket="files", Key="big")
        assert got["Body"].read() == first + second
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("image/png", "max-age=9", {"a": "b"})
        assert got["ETag"] == done["ETag"]
        # A repetition, as after an answer that was lost.
        assert complete(client, upload, [parts[2], parts[0]])["ETag"] == done["ETag"]
        with refused("NoSuchUpload", 404):
            complete(client, "11111111-1111-4111-8111-111111111111", parts[:1])

    await in_thread(work)
    assert storage.sql("select count(*) from storage.s3_multipart_uploads") == [(0,)]
    ((size, length),) = storage.sql("select metadata->>'size', metadata->>'contentLength' from storage.objects")
    assert size == length == str(5 * MIB + 1000)


@BOTH_BACKENDS
async def test_the_transfer_manager_uploads_and_downloads_a_large_file_in_parts(client: Any) -> None:
    content = os.urandom(14 * MIB)
    config = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB, max_concurrency=4)

    def work() -> None:
        client.upload_fileobj(io.BytesIO(content), "files", "large.bin", Config=config)
        back = io.BytesIO()
        client.download_fileobj("files", "large.bin", back, Config=config)
        assert back.getvalue() == content
        head = client.head_object(Bucket="files", Key="large.bin")
        assert head["ETag"] == etag_of(*(content[at : at + 6 * MIB] for at in range(0, len(content), 6 * MIB)))
        client.copy({"Bucket": "files", "Key": "large.bin"}, "files", "copied.bin", Config=config)
        assert client.get_object(Bucket="files", Key="copied.bin")["Body"].read() == content

    await in_thread(work)


async def test_without_a_list_all_parts_make_the_object(client: Any) -> None:
    def work() -> None:
        upload = begin(client)
        put_part(client, upload, 1, FULL)
        put_part(client, upload, 2, b"two")
        assert complete(client, upload, [])["ETag"] == etag_of(FULL, b"two")

    await in_thread(work)


async def test_wrong_lists_of_parts_are_refused_and_the_upload_goes_on(client: Any) -> None:
    def work() -> None:
        upload = begin(client)
        with refused("InvalidPart", 400):
            complete(client, upload, [])
        one, two = put_part(client, upload, 1, FULL), put_part(client, upload, 2, b"two")
        with refused("InvalidPartOrder", 400):
            complete(client, upload, [two, one])
        with refused("InvalidPartOrder", 400):
            complete(client, upload, [one, one])
        with refused("InvalidPart", 400):
            complete(client, upload, [one, {"PartNumber": 3, "ETag": one["ETag"]}])
        with refused("InvalidPart", 400):
            complete(client, upload, [{**one, "ETag": two["ETag"]}])
        with refused("InvalidRequest", 400):
            complete(client, upload, [one, two], MpuObjectSize=7)
        for number in (0, 10_001):
            with refused("InvalidArgument", 400):
                put_part(client, upload, number, b"x")
        with refused("NoSuchUpload", 404):
            complete(client, upload, [one, two], key="another")
        assert complete(client, upload, [one, two], MpuObjectSize=len(FULL) + 3)["ETag"] == etag_of(FULL, b"two")

    await in_thread(work)


async def test_conditions_of_a_completion_are_decided_with_its_write(client: Any) -> None:
    def work() -> None:
        upload = begin(client)
        one = put_part(client, upload, 1, b"one")
        old = client.put_object(Bucket="files", Key="big", Body=b"old")["ETag"]
        with refused("PreconditionFailed", 412):
            complete(client, upload, [one], IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            complete(client, upload, [one], IfMatch='"other"')
        assert client.get_object(Bucket="files", Key="big")["Body"].read() == b"old"
        complete(client, upload, [one], IfMatch=old)
        assert client.get_object(Bucket="files", Key="big")["Body"].read() == b"one"

    await in_thread(work)


async def test_an_aborted_upload_leaves_nothing(client: Any, storage: Stack) -> None:
    def work() -> None:
        upload = begin(client)
        one = put_part(client, upload, 1, b"one")
        client.abort_multipart_upload(Bucket="files", Key="big", UploadId=upload)
        with refused("NoSuchUpload", 404):
            client.abort_multipart_upload(Bucket="files", Key="big", UploadId=upload)
        with refused("NoSuchUpload", 404):
            put_part(client, upload, 2, b"two")
        with refused("NoSuchUpload", 404):
            complete(client, upload, [one])

    await in_thread(work)
    assert [path for path in storage.root.rglob("*") if path.is_file()] == []
    assert storage.sql("select count(*) from storage.s3_multipart_uploads_parts") == [(0,)]


async def test_all_parts_together_are_held_against_the_limit(storage: Stack) -> None:
    await storage.bucket("files", file_size_limit=1000)
    client = s3_client(storage)

    def work() -> None:
        upload = begin(client)
        put_part(client, upload, 1, b"x" * 600)
        with refused("EntityTooLarge", 413):
            put_part(client, upload, 2, b"x" * 401)
        part = put_part(client, upload, 1, b"y" * 900)  # in the place of the first
        with refused("EntityTooLarge", 413):
            put_part(client, upload, 2, b"x" * 101)
        complete(client, upload, [part])
        assert client.head_object(Bucket="files", Key="big")["ContentLength"] == 900

    await in_thread(work)


async def test_parts_are_copied_from_objects_and_ranges_of_them(client: Any) -> None:
    def work() -> None:
        source = {"Bucket": "files", "Key": "source"}
        tag = client.put_object(**source, Body=FULL)["ETag"]
        upload = begin(client)
        place = {"Bucket": "files", "Key": "big", "UploadId": upload}
        whole = client.upload_part_copy(**place, PartNumber=1, CopySource=source)
        piece = client.upload_part_copy(**place, PartNumber=2, CopySource=source, CopySourceRange="bytes=3-5")
        for wrong in (f"bytes=3-{len(FULL)}", "bytes=5-3", "bytes=3-", "3-5"):
            with refused("InvalidRange", 400):
                client.upload_part_copy(**place, PartNumber=3, CopySource=source, CopySourceRange=wrong)
        with refused("NoSuchKey", 404):
            client.upload_part_copy(**place, PartNumber=3, CopySource={"Bucket": "files", "Key": "nothing"})
        with refused("PreconditionFailed", 412):
            client.upload_part_copy(**place, PartNumber=3, CopySource=source, CopySourceIfNoneMatch=tag)
        parts = [
            {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}
            for number, answer in ((1, whole), (2, piece))
        ]
        assert complete(client, upload, parts)["ETag"] == etag_of(FULL, FULL[3:6])
        assert client.get_object(Bucket="files", Key="big")["Body"].read() == FULL + FULL[3:6]

    await in_thread(work)


async def test_parts_and_uploads_are_listed_in_pages(client: Any) -> None:
    def work() -> None:
        ids = {key: begin(client, key) for key in ("a/1", "a/2", "b", "c")}
        twice = begin(client, "c")
        for number in (1, 2, 5):
            put_part(client, ids["b"], number, b"x" * number, "b")
        first = client.list_parts(Bucket="files", Key="b", UploadId=ids["b"], MaxParts=2)
        assert [part["PartNumber"] for part in first["Parts"]] == [1, 2]
        assert (first["IsTruncated"], first["NextPartNumberMarker"]) == (True, 2)
        pages = client.get_paginator("list_parts").paginate(
            Bucket="files", Key="b", UploadId=ids["b"], PaginationConfig={"PageSize": 1}
        )
        assert [part["Size"] for page in pages for part in page["Parts"]] == [1, 2, 5]

        def listed(**options: Any) -> list[list[str]]:
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket="files", **options)
            return [
                [*(u["Key"] for u in page.get("Uploads", [])), *(p["Prefix"] for p in page.get("CommonPrefixes", []))]
                for page in pages
            ]

        assert listed() == [["a/1", "a/2", "b", "c", "c"]]
        assert listed(PaginationConfig={"PageSize": 1}) == [["a/1"], ["a/2"], ["b"], ["c"], ["c"]]
        assert listed(Delimiter="/", PaginationConfig={"PageSize": 1}) == [["a/"], ["b"], ["c"], ["c"]]
        assert listed(Prefix="a/") == [["a/1", "a/2"]]
        assert listed(Prefix="_") == [[]]
        uploads = client.list_multipart_uploads(Bucket="files", Prefix="c")["Uploads"]
        assert {upload["UploadId"] for upload in uploads} == {ids["c"], twice}
        with refused("NoSuchBucket", 404):
            client.list_multipart_uploads(Bucket="none")
        with refused("NoSuchUpload", 404):
            client.list_parts(Bucket="files", Key="b", UploadId="no-upload")
        with refused("ResourceReferenced", 409):
            client.delete_bucket(Bucket="files")

    await in_thread(work)


async def test_each_step_of_an_upload_asks_the_policies_of_its_caller(storage: Stack) -> None:
    await storage.bucket("files")
    storage.sql(OWNER_POLICIES)
    alice = session_client(storage, storage.token("authenticated", ALICE))
    bob = session_client(storage, storage.token("authenticated", BOB))
    key = f"{ALICE}/big"

    def work() -> None:
        with refused("AccessDenied", 403):
            begin(bob, key)
        upload = begin(alice, key)
        with refused("AccessDenied", 403):
            put_part(bob, upload, 1, b"bob", key)
        part = put_part(alice, upload, 1, b"alice", key)
        with refused("AccessDenied", 403):
            complete(bob, upload, [part], key)
        with refused("AccessDenied", 403):
            bob.abort_multipart_upload(Bucket="files", Key=key, UploadId=upload)
        complete(alice, upload, [part], key)
        assert alice.get_object(Bucket="files", Key=key)["Body"].read() == b"alice"
        with refused("NoSuchUpload", 404):
            complete(bob, upload, [part], key)

    await in_thread(work)
    assert storage.sql("select owner_id from storage.objects") == [(ALICE,)]


@BOTH_BACKENDS
async def test_a_small_part_that_is_not_the_last_is_refused_when_the_upload_ends(client: Any) -> None:
    def work() -> None:
        upload = begin(client)
        parts = [put_part(client, upload, number, b"x") for number in (1, 2)]
        with refused("EntityTooSmall", 400):
            complete(client, upload, parts)
        with refused("EntityTooSmall", 400):
            complete(client, upload, [])
        parts[0] = put_part(client, upload, 1, FULL[: 5 * MIB - 1])
        with refused("EntityTooSmall", 400):
            complete(client, upload, parts)
        parts[0] = put_part(client, upload, 1, FULL[: 5 * MIB])
        assert complete(client, upload, parts)["ETag"] == etag_of(FULL[: 5 * MIB], b"x")
        upload = begin(client)
        parts = [put_part(client, upload, number, b"x") for number in (1, 2)]
        assert complete(client, upload, parts[1:])["ETag"] == etag_of(b"x")

    await in_thread(work)


@pytest.mark.parametrize(("backend", "is_taken"), [("file", True), ("s3", False)], indirect=["backend"])
async def test_the_disk_takes_parts_of_any_size_where_the_setting_says_so(database: Settings, is_taken: bool) -> None:
    async with running(with_storage(database, s3_protocol={"min_part_size_bytes": 0})) as stack:
        await stack.bucket("files")
        client = s3_client(stack)

        def work() -> None:
            upload = begin(client)
            parts = [put_part(client, upload, number, b"x") for number in (1, 2)]
            if is_taken:
                assert complete(client, upload, parts)["ETag"] == etag_of(b"x", b"x")
            else:
                with refused("EntityTooSmall", 400):
                    complete(client, upload, parts)

        await in_thread(work)


async def test_a_part_without_a_number_is_refused(storage: Stack) -> None:
    await storage.bucket("files")
    for number in ("", "0", "x", "10001", "-1"):
        request = signed(storage, f"/files/k?partNumber={number}&uploadId=none", method="PUT", data=b"x")
        answer = await storage.http.send(request)
        assert answer.status_code == 400, (number, answer.text)


async def test_parts_that_arrive_at_the_same_time_cannot_pass_the_limit_together(storage: Stack) -> None:
    await storage.bucket("files", file_size_limit=10)
    parts, actor = storage.service.core.parts, Actor(Caller.service(), "storage.s3.upload.part")
    target = PartsTarget("files", "big", await parts.begin(actor, NewParts("files", "big")))

    async def bytes_of(count: int) -> AsyncIterator[bytes]:
        yield b"x" * count

    async def with_another_behind() -> AsyncIterator[bytes]:
        yield b"x" * 6
        await parts.put(actor, PartTarget(target, 2), 6, bytes_of(6))

    with pytest.raises(StorageError) as refusal:
        await parts.put(actor, PartTarget(target, 1), 6, with_another_behind())
    assert refusal.value.code == "EntityTooLarge"
    assert storage.sql("select part_number, size from storage.s3_multipart_uploads_parts") == [(2, 6)]


@pytest.mark.parametrize("is_upsert", [True, False])
async def test_a_key_that_is_taken_while_parts_become_an_object_is_asked_for_again(
    storage: Stack, monkeypatch: pytest.MonkeyPatch, is_upsert: bool
) -> None:
    await storage.bucket("files")
    parts, actor = storage.service.core.parts, Actor(Caller.service(), "storage.s3.upload.complete_multipart")
    target = PartsTarget("files", "big", await parts.begin(actor, NewParts("files", "big")))

    async def body() -> AsyncIterator[bytes]:
        yield b"in parts"

    await parts.put(actor, PartTarget(target, 1), 8, body())
    blobs = storage.service._blobs
    finish = blobs.finish_parts

    async def finish_late(*args: Any) -> Any:
        assert (await storage.put("files/big", b"meanwhile", {**storage.admin, "x-upsert": "true"})).status_code == 200
        return await finish(*args)

    monkeypatch.setattr(blobs, "finish_parts", finish_late)
    completion = Completion(parts=None, is_upsert=is_upsert)
    if is_upsert:
        await parts.complete(actor, target, completion)
    else:
        with pytest.raises(StorageError, match="already exists"):
            await parts.complete(actor, target, completion)
        await parts.abort(actor, target)
    got = await storage.http.get("/storage/v1/object/files/big", headers=storage.admin)
    assert got.content == (b"in parts" if is_upsert else b"meanwhile")
    assert len(storage.blobs()) == 1

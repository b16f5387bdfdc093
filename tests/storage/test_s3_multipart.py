"""Uploads in parts through boto3."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.storage.conftest import ALICE, BOB, OWNER_POLICIES, Stack
from tests.storage.s3_clients import in_thread, refused, s3_client, session_client

MIB = 1024 * 1024


@pytest.fixture
async def s3(storage: Stack) -> Any:
    await storage.bucket("files")
    return s3_client(storage)


def etag_of(*parts: bytes) -> str:
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{digest}-{len(parts)}"'


def begin(s3: Any, key: str = "big", **options: Any) -> str:
    return str(s3.create_multipart_upload(Bucket="files", Key=key, **options)["UploadId"])


def put_part(s3: Any, upload: str, number: int, body: bytes, key: str = "big") -> dict[str, Any]:
    answer = s3.upload_part(Bucket="files", Key=key, UploadId=upload, PartNumber=number, Body=body)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(s3: Any, upload: str, parts: list[dict[str, Any]], key: str = "big", **options: Any) -> Any:
    return s3.complete_multipart_upload(
        Bucket="files", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **options
    )


async def test_an_object_is_made_of_parts_that_came_in_any_order(s3: Any, storage: Stack) -> None:
    first, second = os.urandom(70_000), os.urandom(1000)

    def work() -> None:
        upload = begin(s3, ContentType="image/png", CacheControl="max-age=9", Metadata={"a": "b"})
        parts = [put_part(s3, upload, 7, second), put_part(s3, upload, 2, b"replaced"), put_part(s3, upload, 2, first)]
        with refused("NoSuchKey", 404):
            s3.get_object(Bucket="files", Key="big")
        done = complete(s3, upload, [parts[2], parts[0]])
        assert done["ETag"] == etag_of(first, second)
        got = s3.get_object(Bucket="files", Key="big")
        assert got["Body"].read() == first + second
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("image/png", "max-age=9", {"a": "b"})
        assert got["ETag"] == done["ETag"]
        # A repetition, as after an answer that was lost.
        assert complete(s3, upload, [parts[2], parts[0]])["ETag"] == done["ETag"]
        with refused("NoSuchUpload", 404):
            complete(s3, "11111111-1111-4111-8111-111111111111", parts[:1])

    await in_thread(work)
    assert storage.sql("select count(*) from storage.s3_multipart_uploads") == [(0,)]
    ((size, length),) = storage.sql("select metadata->>'size', metadata->>'contentLength' from storage.objects")
    assert size == length == "71000"


async def test_the_transfer_manager_uploads_and_downloads_a_large_file_in_parts(s3: Any) -> None:
    content = os.urandom(18 * MIB)
    config = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB, max_concurrency=4)

    def work() -> None:
        s3.upload_fileobj(io.BytesIO(content), "files", "large.bin", Config=config)
        back = io.BytesIO()
        s3.download_fileobj("files", "large.bin", back, Config=config)
        assert back.getvalue() == content
        head = s3.head_object(Bucket="files", Key="large.bin")
        assert head["ETag"] == etag_of(*(content[at : at + 6 * MIB] for at in range(0, len(content), 6 * MIB)))
        s3.copy({"Bucket": "files", "Key": "large.bin"}, "files", "copied.bin", Config=config)
        assert s3.get_object(Bucket="files", Key="copied.bin")["Body"].read() == content

    await in_thread(work)


async def test_without_a_list_all_parts_make_the_object(s3: Any) -> None:
    def work() -> None:
        upload = begin(s3)
        put_part(s3, upload, 1, b"one")
        put_part(s3, upload, 2, b"two")
        assert complete(s3, upload, [])["ETag"] == etag_of(b"one", b"two")

    await in_thread(work)


async def test_wrong_lists_of_parts_are_refused_and_the_upload_goes_on(s3: Any) -> None:
    def work() -> None:
        upload = begin(s3)
        with refused("InvalidPart", 400):
            complete(s3, upload, [])
        one, two = put_part(s3, upload, 1, b"one"), put_part(s3, upload, 2, b"two")
        with refused("InvalidPartOrder", 400):
            complete(s3, upload, [two, one])
        with refused("InvalidPartOrder", 400):
            complete(s3, upload, [one, one])
        with refused("InvalidPart", 400):
            complete(s3, upload, [one, {"PartNumber": 3, "ETag": one["ETag"]}])
        with refused("InvalidPart", 400):
            complete(s3, upload, [{**one, "ETag": two["ETag"]}])
        with refused("InvalidRequest", 400):
            complete(s3, upload, [one, two], MpuObjectSize=7)
        for number in (0, 10_001):
            with refused("InvalidArgument", 400):
                put_part(s3, upload, number, b"x")
        with refused("NoSuchUpload", 404):
            complete(s3, upload, [one, two], key="another")
        assert complete(s3, upload, [one, two], MpuObjectSize=6)["ETag"] == etag_of(b"one", b"two")

    await in_thread(work)


async def test_conditions_of_a_completion_are_decided_with_its_write(s3: Any) -> None:
    def work() -> None:
        upload = begin(s3)
        one = put_part(s3, upload, 1, b"one")
        old = s3.put_object(Bucket="files", Key="big", Body=b"old")["ETag"]
        with refused("PreconditionFailed", 412):
            complete(s3, upload, [one], IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            complete(s3, upload, [one], IfMatch='"other"')
        assert s3.get_object(Bucket="files", Key="big")["Body"].read() == b"old"
        complete(s3, upload, [one], IfMatch=old)
        assert s3.get_object(Bucket="files", Key="big")["Body"].read() == b"one"

    await in_thread(work)


async def test_an_aborted_upload_leaves_nothing(s3: Any, storage: Stack) -> None:
    def work() -> None:
        upload = begin(s3)
        one = put_part(s3, upload, 1, b"one")
        s3.abort_multipart_upload(Bucket="files", Key="big", UploadId=upload)
        with refused("NoSuchUpload", 404):
            s3.abort_multipart_upload(Bucket="files", Key="big", UploadId=upload)
        with refused("NoSuchUpload", 404):
            put_part(s3, upload, 2, b"two")
        with refused("NoSuchUpload", 404):
            complete(s3, upload, [one])

    await in_thread(work)
    assert [path for path in storage.root.rglob("*") if path.is_file()] == []
    assert storage.sql("select count(*) from storage.s3_multipart_uploads_parts") == [(0,)]


async def test_all_parts_together_are_held_against_the_limit(storage: Stack) -> None:
    await storage.bucket("files", file_size_limit=1000)
    s3 = s3_client(storage)

    def work() -> None:
        upload = begin(s3)
        put_part(s3, upload, 1, b"x" * 600)
        with refused("EntityTooLarge", 413):
            put_part(s3, upload, 2, b"x" * 401)
        part = put_part(s3, upload, 1, b"y" * 900)  # in the place of the first
        with refused("EntityTooLarge", 413):
            put_part(s3, upload, 2, b"x" * 101)
        complete(s3, upload, [part])
        assert s3.head_object(Bucket="files", Key="big")["ContentLength"] == 900

    await in_thread(work)


async def test_parts_are_copied_from_objects_and_ranges_of_them(s3: Any) -> None:
    def work() -> None:
        source = {"Bucket": "files", "Key": "source"}
        tag = s3.put_object(**source, Body=b"0123456789")["ETag"]
        upload = begin(s3)
        place = {"Bucket": "files", "Key": "big", "UploadId": upload}
        whole = s3.upload_part_copy(**place, PartNumber=1, CopySource=source)
        piece = s3.upload_part_copy(**place, PartNumber=2, CopySource=source, CopySourceRange="bytes=3-5")
        for wrong in ("bytes=3-10", "bytes=5-3", "bytes=3-", "3-5"):
            with refused("InvalidRange", 400):
                s3.upload_part_copy(**place, PartNumber=3, CopySource=source, CopySourceRange=wrong)
        with refused("NoSuchKey", 404):
            s3.upload_part_copy(**place, PartNumber=3, CopySource={"Bucket": "files", "Key": "nothing"})
        with refused("PreconditionFailed", 412):
            s3.upload_part_copy(**place, PartNumber=3, CopySource=source, CopySourceIfNoneMatch=tag)
        parts = [
            {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}
            for number, answer in ((1, whole), (2, piece))
        ]
        assert complete(s3, upload, parts)["ETag"] == etag_of(b"0123456789", b"345")
        assert s3.get_object(Bucket="files", Key="big")["Body"].read() == b"0123456789345"

    await in_thread(work)


async def test_parts_and_uploads_are_listed_in_pages(s3: Any) -> None:
    def work() -> None:
        ids = {key: begin(s3, key) for key in ("a/1", "a/2", "b", "c")}
        twice = begin(s3, "c")
        for number in (1, 2, 5):
            put_part(s3, ids["b"], number, b"x" * number, "b")
        first = s3.list_parts(Bucket="files", Key="b", UploadId=ids["b"], MaxParts=2)
        assert [part["PartNumber"] for part in first["Parts"]] == [1, 2]
        assert (first["IsTruncated"], first["NextPartNumberMarker"]) == (True, 2)
        pages = s3.get_paginator("list_parts").paginate(
            Bucket="files", Key="b", UploadId=ids["b"], PaginationConfig={"PageSize": 1}
        )
        assert [part["Size"] for page in pages for part in page["Parts"]] == [1, 2, 5]

        def listed(**options: Any) -> list[list[str]]:
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket="files", **options)
            return [
                [*(u["Key"] for u in page.get("Uploads", [])), *(p["Prefix"] for p in page.get("CommonPrefixes", []))]
                for page in pages
            ]

        assert listed() == [["a/1", "a/2", "b", "c", "c"]]
        assert listed(PaginationConfig={"PageSize": 1}) == [["a/1"], ["a/2"], ["b"], ["c"], ["c"]]
        assert listed(Delimiter="/", PaginationConfig={"PageSize": 1}) == [["a/"], ["b"], ["c"], ["c"]]
        assert listed(Prefix="a/") == [["a/1", "a/2"]]
        assert listed(Prefix="_") == [[]]
        uploads = s3.list_multipart_uploads(Bucket="files", Prefix="c")["Uploads"]
        assert {upload["UploadId"] for upload in uploads} == {ids["c"], twice}
        with refused("NoSuchBucket", 404):
            s3.list_multipart_uploads(Bucket="none")
        with refused("NoSuchUpload", 404):
            s3.list_parts(Bucket="files", Key="b", UploadId="no-upload")
        with refused("ResourceReferenced", 409):
            s3.delete_bucket(Bucket="files")

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

"""Objects and buckets through boto3: put, get, head, copy, delete, and what each refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config

from tests.storage.conftest import ALICE, BOB, OWNER_POLICIES, Stack
from tests.storage.s3_clients import in_thread, refused, s3_client, session_client, signed


@pytest.fixture
async def client(storage: Stack) -> Any:
    await storage.bucket("files")
    return s3_client(storage)


def put(client: Any, key: str, body: bytes = b"hello", **options: Any) -> str:
    return str(client.put_object(Bucket="files", Key=key, Body=body, **options)["ETag"])


def body(client: Any, key: str, **options: Any) -> bytes:
    content: bytes = client.get_object(Bucket="files", Key=key, **options)["Body"].read()
    return content


async def test_an_object_is_put_read_and_described(client: Any, storage: Stack) -> None:
    def work() -> None:
        facts = {"ContentType": "text/plain", "CacheControl": "max-age=7", "Metadata": {"Colour": "green"}}
        answer = client.put_object(Bucket="files", Key="a/b (1).txt", Body=b"hello", **facts)
        assert answer["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
        assert answer["ChecksumCRC32"] == "NhCmhg=="
        assert answer["ResponseMetadata"]["RequestId"]
        got = client.get_object(Bucket="files", Key="a/b (1).txt")
        assert got["Body"].read() == b"hello"
        assert got["ContentType"] == "text/plain"
        assert (got["CacheControl"], got["Metadata"]) == ("max-age=7", {"colour": "green"})
        head = client.head_object(Bucket="files", Key="a/b (1).txt")
        assert (head["ContentLength"], head["ETag"]) == (5, answer["ETag"])
        assert head["LastModified"] == got["LastModified"]

    await in_thread(work)
    ((metadata, user_metadata),) = storage.sql("select metadata, user_metadata from storage.objects")
    assert (metadata["mimetype"], metadata["size"], user_metadata) == ("text/plain", 5, {"colour": "green"})


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"])
async def test_each_checksum_is_verified_and_told(client: Any, algorithm: str) -> None:
    value = {
        "CRC32": "NhCmhg==",
        "CRC32C": "mnG7TA==",
        "SHA1": "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "SHA256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "CRC64NVME": "M3eFcAZSQlc=",
    }[algorithm]

    def work() -> None:
        answer = client.put_object(Bucket="files", Key="k", Body=b"hello", **{f"Checksum{algorithm}": value})
        assert answer[f"Checksum{algorithm}"] == value
        with refused("BadDigest", 400):
            put(client, "other", b"hallo", **{f"Checksum{algorithm}": value})
        with refused("NoSuchKey", 404):
            body(client, "other")

    await in_thread(work)


async def test_a_wrong_digest_stores_nothing_and_keeps_what_was_there(client: Any, storage: Stack) -> None:
    def work() -> None:
        put(client, "k", b"old")
        with refused("BadDigest", 400):
            put(client, "k", b"new", ContentMD5="XUFAKrxLKna5cZ2REBfFkg==")
        with refused("InvalidDigest", 400):
            put(client, "k", b"new", ContentMD5="no digest")
        with refused("InvalidDigest", 400):
            put(client, "k", b"new", ChecksumSHA256="AAAA")
        assert body(client, "k") == b"old"

    await in_thread(work)
    assert len(storage.blobs()) == 1
    assert storage.temporary_files() == []


async def test_ranges_and_parts_of_an_object_are_read(client: Any) -> None:
    def work() -> None:
        put(client, "k", b"0123456789")
        for stated, content, told in (
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=5-99", b"56789", "bytes 5-9/10"),
        ):
            got = client.get_object(Bucket="files", Key="k", Range=stated)
            assert (got["Body"].read(), got["ContentRange"]) == (content, told)
            assert client.head_object(Bucket="files", Key="k", Range=stated)["ContentLength"] == len(content)
        with refused("InvalidRange", 416):
            body(client, "k", Range="bytes=10-")
        assert body(client, "k", PartNumber=1) == b"0123456789"
        with refused("InvalidPartNumber", 416):
            body(client, "k", PartNumber=2)

    await in_thread(work)


async def test_conditions_decide_reads(client: Any) -> None:
    def work() -> None:
        etag = put(client, "k")
        now = datetime.now(UTC)
        long_ago, soon = now - timedelta(days=1), now + timedelta(minutes=1)
        assert body(client, "k", IfMatch=etag) == body(client, "k", IfNoneMatch='"other"') == b"hello"
        assert body(client, "k", IfModifiedSince=long_ago) == body(client, "k", IfUnmodifiedSince=soon) == b"hello"
        for options in ({"IfNoneMatch": etag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": soon}):
            with refused("304", 304):
                body(client, "k", **options)
            with refused("304", 304):
                client.head_object(Bucket="files", Key="k", **options)
        for failing in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": long_ago}):
            with refused("PreconditionFailed", 412):
                body(client, "k", **failing)
            with refused("412", 412):
                client.head_object(Bucket="files", Key="k", **failing)

    await in_thread(work)


async def test_conditions_decide_writes(client: Any) -> None:
    def work() -> None:
        with refused("NoSuchKey", 404):
            put(client, "k", IfMatch="*")
        first = put(client, "k", b"one", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            put(client, "k", b"two", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            put(client, "k", b"two", IfMatch='"other"')
        with refused("NotImplemented", 501):
            put(client, "k", b"two", IfNoneMatch=first)
        assert body(client, "k") == b"one"
        put(client, "k", b"two", IfMatch=first)
        assert body(client, "k") == b"two"

    await in_thread(work)


async def test_the_answers_headers_can_be_chosen_but_not_forged(client: Any) -> None:
    def work() -> None:
        put(client, "k")
        chosen = {
            "ResponseContentDisposition": 'attachment; filename="x.txt"',
            "ResponseContentType": "text/x-other",
            "ResponseCacheControl": "no-store",
            "ResponseContentLanguage": "de",
            "ResponseContentEncoding": "identity",
        }
        got = client.get_object(Bucket="files", Key="k", **chosen)
        assert got["ContentDisposition"] == 'attachment; filename="x.txt"'
        assert (got["ContentType"], got["CacheControl"], got["ContentLanguage"]) == ("text/x-other", "no-store", "de")
        forged = client.get_object(
            Bucket="files", Key="k", ResponseContentType="a\r\nx-evil: 1", ResponseCacheControl="ü"
        )
        assert forged["ContentType"] == "binary/octet-stream" or forged["ContentType"] == "application/octet-stream"
        assert "x-evil" not in forged["ResponseMetadata"]["HTTPHeaders"]

    await in_thread(work)


async def test_metadata_that_no_header_can_carry_is_counted(client: Any, storage: Stack) -> None:
    await in_thread(put, client, "k")
    metadata = {"fine": "yes", "umlaut": "ü", "number": 7, "line": "a\nb", "": "x", "a b": "c"}
    storage.sql("update storage.objects set user_metadata = %s", json.dumps(metadata))
    head = await in_thread(client.head_object, Bucket="files", Key="k")
    assert (head["Metadata"], head["MissingMeta"]) == ({"fine": "yes"}, 5)


async def test_a_folder_is_kept_by_a_placeholder(client: Any, storage: Stack) -> None:
    await in_thread(put, client, "folder/", b"")
    assert storage.sql("select name from storage.objects") == [("folder/.emptyFolderPlaceholder",)]


async def test_what_is_not_there_has_its_name(client: Any) -> None:
    def work() -> None:
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="files", Key="nothing")
        with refused("404", 404):
            client.head_object(Bucket="files", Key="nothing")
        with pytest.raises(client.exceptions.NoSuchBucket):
            client.list_objects_v2(Bucket="nothing")
        with refused("NoSuchBucket", 404):
            client.put_object(Bucket="nothing", Key="k", Body=b"")
        with refused("InvalidKey", 400):
            put(client, "a/../b")
        with refused("InvalidKey", 400):
            put(client, "ümlaut")
        with refused("NoSuchVersion", 404):
            body(client, "k", VersionId="abc")

    await in_thread(work)


async def test_limits_and_types_of_the_bucket_hold(storage: Stack) -> None:
    await storage.bucket("files", file_size_limit=10, allowed_mime_types=["image/*"])
    client = s3_client(storage)

    def work() -> None:
        with refused("InvalidMimeType", 415):
            put(client, "k", ContentType="text/plain")
        with refused("InvalidMimeType", 415):
            client.create_multipart_upload(Bucket="files", Key="k", ContentType="text/plain")
        with refused("EntityTooLarge", 413):
            put(client, "k", b"x" * 11, ContentType="image/png")
        put(client, "k", b"x" * 10, ContentType="image/png")

    await in_thread(work)
    assert len(storage.blobs()) == 1


async def test_objects_are_copied_with_their_metadata_or_with_new(client: Any, storage: Stack) -> None:
    await storage.bucket("other")

    def work() -> None:
        etag = put(client, "a b/1.txt", ContentType="text/plain", CacheControl="max-age=7", Metadata={"a": "b"})
        source = {"Bucket": "files", "Key": "a b/1.txt"}
        done = client.copy_object(Bucket="other", Key="copy", CopySource=source)["CopyObjectResult"]
        assert done["ETag"] == etag
        assert isinstance(done["LastModified"], datetime)
        got = client.get_object(Bucket="other", Key="copy")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"hello", "text/plain", {"a": "b"})
        new = {"MetadataDirective": "REPLACE", "ContentType": "image/png", "Metadata": {"c": "d"}}
        client.copy_object(**source, CopySource=source, **new)
        got = client.get_object(**source)
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"hello", "image/png", {"c": "d"})
        assert got["CacheControl"] == "no-cache"
        with refused("NoSuchKey", 404):
            client.copy_object(Bucket="other", Key="x", CopySource="files/nothing")
        for options in (
            {"CopySourceIfMatch": '"other"'},
            {"CopySourceIfNoneMatch": etag},
            {"CopySourceIfModifiedSince": datetime.now(UTC) + timedelta(hours=1)},
            {"CopySourceIfUnmodifiedSince": datetime(2020, 1, 1, tzinfo=UTC)},
        ):
            with refused("PreconditionFailed", 412):
                client.copy_object(Bucket="other", Key="x", CopySource=source, **options)
        client.copy_object(Bucket="other", Key="x", CopySource=source, CopySourceIfMatch=etag)
        for wrong in ("files", "/", "files/"):
            with refused("InvalidArgument", 400):
                client.copy_object(Bucket="other", Key="x", CopySource=wrong)

    await in_thread(work)


async def test_objects_are_deleted_one_by_one_and_many_at_once(client: Any, storage: Stack) -> None:
    def work() -> None:
        for key in ("a", "b", "c", " 1 ", "true", "x&y"):
            put(client, key)
        assert client.delete_object(Bucket="files", Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert client.delete_object(Bucket="files", Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 204
        with refused("NoSuchBucket", 404):
            client.delete_object(Bucket="none", Key="a")
        keys = ["b", "nothing", " 1 ", "true", "x&y"]
        done = client.delete_objects(Bucket="files", Delete={"Objects": [{"Key": key} for key in keys]})
        assert [entry["Key"] for entry in done["Deleted"]] == keys
        assert "Errors" not in done
        quiet = client.delete_objects(Bucket="files", Delete={"Objects": [{"Key": "c"}], "Quiet": True})
        assert "Deleted" not in quiet
        put(client, "kept")
        versions = [{"Key": "kept", "VersionId": "1"}, {"Key": "c", "VersionId": "null"}]
        mixed = client.delete_objects(Bucket="files", Delete={"Objects": versions})
        assert [(entry["Key"], entry["Code"]) for entry in mixed["Errors"]] == [("kept", "NoSuchVersion")]
        assert [entry["Key"] for entry in mixed["Deleted"]] == ["c"]
        assert body(client, "kept") == b"hello"
        client.delete_object(Bucket="files", Key="kept")
        with refused("NoSuchBucket", 404):
            client.delete_objects(Bucket="none", Delete={"Objects": [{"Key": "c"}]})
        with refused("MalformedXML", 400):
            client.delete_objects(Bucket="files", Delete={"Objects": [{"Key": f"k{i}"} for i in range(1001)]})

    await in_thread(work)
    assert storage.sql("select count(*) from storage.objects") == [(0,)]
    assert storage.blobs() == []


async def test_buckets_are_made_listed_described_and_deleted(storage: Stack) -> None:
    client = s3_client(storage)

    def work() -> None:
        assert client.create_bucket(Bucket="one")["Location"] == "/one"
        client.create_bucket(
            Bucket="two", ACL="public-read", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        with pytest.raises(client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket="one")
        with refused("InvalidBucketName", 400):
            client.create_bucket(Bucket="a" * 63 + "--table-s3")
        listed = client.list_buckets()["Buckets"]
        assert [bucket["Name"] for bucket in listed if not bucket["Name"].startswith("user-files")] == ["one", "two"]
        assert isinstance(listed[0]["CreationDate"], datetime)
        head = client.head_bucket(Bucket="one")
        assert head["BucketRegion"] == "local"
        with refused("404", 404):
            client.head_bucket(Bucket="none")
        assert client.get_bucket_location(Bucket="one")["LocationConstraint"] == "local"
        assert client.get_bucket_versioning(Bucket="one")["Status"] == "Suspended"
        client.put_object(Bucket="one", Key="k", Body=b"")
        assert client.get_object_tagging(Bucket="one", Key="k")["TagSet"] == []
        with refused("ResourceNotEmpty", 409):
            client.delete_bucket(Bucket="one")
        client.delete_object(Bucket="one", Key="k")
        assert client.delete_bucket(Bucket="one")["ResponseMetadata"]["HTTPStatusCode"] == 204
        with refused("NoSuchBucket", 404):
            client.delete_bucket(Bucket="one")

    await in_thread(work)
    assert storage.sql("select public from storage.buckets where id = 'two'") == [(True,)]


async def test_what_is_not_here_is_refused_and_changes_nothing(client: Any) -> None:
    place = {"Bucket": "files", "Key": "k"}

    def work() -> None:
        put(client, "k", b"kept")
        calls: tuple[Callable[[], object], ...] = (
            lambda: client.put_object_tagging(**place, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
            lambda: client.delete_object_tagging(**place),
            lambda: client.put_object_acl(**place, ACL="public-read"),
            lambda: client.get_object_acl(**place),
            lambda: client.get_object_attributes(**place, ObjectAttributes=["ETag"]),
            lambda: client.put_bucket_policy(Bucket="new", Policy="{}"),
            lambda: client.get_bucket_policy(Bucket="files"),
            lambda: client.get_bucket_acl(Bucket="files"),
            lambda: client.get_bucket_lifecycle_configuration(Bucket="files"),
            lambda: client.delete_bucket_cors(Bucket="files"),
            lambda: client.get_bucket_website(Bucket="files"),
            lambda: client.restore_object(**place, RestoreRequest={"Days": 1}),
            lambda: client.put_bucket_versioning(Bucket="files", VersioningConfiguration={"Status": "Enabled"}),
            lambda: client.put_object(**place, Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32),
        )
        for call in calls:
            with refused("NotImplemented", 501):
                call()
        assert body(client, "k") == b"kept"

    await in_thread(work)


async def test_a_session_sees_and_changes_what_its_policies_allow(storage: Stack) -> None:
    await storage.bucket("files")
    await storage.bucket("open", public=True)
    storage.sql(OWNER_POLICIES)
    admin = s3_client(storage)
    alice = session_client(storage, storage.token("authenticated", ALICE))
    bob = session_client(storage, storage.token("authenticated", BOB), secret=storage.platform.api_keys.publishable)
    mine = f"{ALICE}/k"

    def work() -> None:
        put(alice, mine, b"alice")
        put(admin, "of nobody", b"admin")
        admin.put_object(Bucket="open", Key="k", Body=b"x")
        assert body(alice, mine) == body(admin, mine) == b"alice"
        with refused("AccessDenied", 403):
            put(alice, f"{BOB}/k")
        with refused("AccessDenied", 403):
            put(bob, mine)
        with refused("NoSuchKey", 404):
            body(bob, mine)
        with refused("NoSuchKey", 404):
            bob.get_object(Bucket="open", Key="k")
        with refused("NoSuchKey", 404):
            put_copy = {"Bucket": "files", "Key": f"{BOB}/k", "CopySource": {"Bucket": "files", "Key": mine}}
            bob.copy_object(**put_copy)
        with refused("AccessDenied", 403):
            bob.delete_object(Bucket="files", Key=mine)
        done = bob.delete_objects(Bucket="files", Delete={"Objects": [{"Key": mine}, {"Key": "nothing"}]})
        assert [entry["Key"] for entry in done["Deleted"]] == ["nothing"]
        assert [(entry["Key"], entry["Code"]) for entry in done["Errors"]] == [(mine, "AccessDenied")]
        assert [entry["Key"] for entry in alice.list_objects_v2(Bucket="files")["Contents"]] == [mine]
        assert "Contents" not in bob.list_objects_v2(Bucket="files")
        assert bob.list_buckets()["Buckets"] == []
        with refused("AccessDenied", 403):
            bob.create_bucket(Bucket="new")
        with refused("404", 404):
            bob.head_bucket(Bucket="files")
        alice.delete_object(Bucket="files", Key=mine)

    await in_thread(work)
    assert storage.sql("select name from storage.objects order by name") == [("k",), ("of nobody",)]


async def test_unsigned_payloads_and_signed_hashes_are_both_taken(storage: Stack) -> None:
    await storage.bucket("files")
    options: tuple[dict[str, Any], ...] = (
        {"payload_signing_enabled": True},
        {"payload_signing_enabled": False},
    )

    def work() -> None:
        for number, option in enumerate(options):
            for when in ("when_supported", "when_required"):
                config = Config(
                    s3={"addressing_style": "path", **option},
                    request_checksum_calculation=when,
                    response_checksum_validation=when,
                )
                client = s3_client(storage, config=config)
                content = f"{number} {when}".encode() * 1000
                put(client, "k", content)
                assert body(client, "k") == content

    await in_thread(work)


async def test_pages_of_other_origins_may_read_an_objects_own_metadata(client: Any, storage: Stack) -> None:
    await in_thread(put, client, "k", Metadata={"colour": "red"})
    answer = await storage.http.send(signed(storage, "/files/k", headers={"origin": "http://x.test"}))
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert answer.headers["x-amz-meta-colour"] == "red"
    assert {"x-amz-meta-colour", "etag", "x-request-id"} <= set(exposed)

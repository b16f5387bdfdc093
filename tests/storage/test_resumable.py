"""Resumable uploads over HTTP: what TUS 1.0.0 and upstream's server say of each request."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from isobase_platform.caller import Caller
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.resumable import Incoming
from isobase_services.storage.core.resumable_state import UploadDescription, UploadRight
from isobase_services.storage.errors import StorageError
from tests.storage.conftest import ALICE, BOB, ON_DISK, Stack

R = "/storage/v1/upload/resumable"
O = "/storage/v1/object"  # noqa: E741
OFFSET = "application/offset+octet-stream"
VERSION = {"tus-resumable": "1.0.0"}


def metadata(**pairs: str) -> str:
    """An Upload-Metadata header."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())


async def create(
    stack: Stack, key: str, length: int | None, headers: dict[str, str], bucket: str = "files", **pairs: str
) -> httpx.Response:
    """POST an upload without bytes."""
    length_header = {"upload-defer-length": "1"} if length is None else {"upload-length": str(length)}
    given = metadata(bucketName=bucket, objectName=key, **pairs)
    return await stack.http.post(R, headers={**VERSION, **headers, **length_header, "upload-metadata": given})


async def patch(
    stack: Stack, url: str, offset: int, content: bytes, headers: dict[str, str], **extra: str
) -> httpx.Response:
    """PATCH bytes at an offset."""
    given = {**VERSION, "upload-offset": str(offset), "content-type": OFFSET, **headers, **extra}
    return await stack.http.patch(url, content=content, headers=given)


async def head(stack: Stack, url: str, headers: dict[str, str]) -> httpx.Response:
    """HEAD an upload."""
    return await stack.http.head(url, headers={**VERSION, **headers})


def objects(stack: Stack) -> list[tuple[object, ...]]:
    """Names and sizes of all objects."""
    return stack.sql("select name, (metadata->>'size')::int from storage.objects order by name")


async def test_an_upload_in_three_pieces_becomes_an_object_with_its_last_byte(owned: Stack) -> None:
    alice = owned.user(ALICE)
    content = bytes(range(256)) * 40
    made = await create(
        owned, f"{ALICE}/a.bin", len(content), alice, contentType="image/png", cacheControl="60", metadata='{"a":"b"}'
    )
    assert made.status_code == 201, made.text
    url = made.headers["location"]
    assert url.startswith(f"{owned.url}{R}/")
    assert made.headers["tus-resumable"] == "1.0.0"
    assert made.headers["upload-expires"].endswith(" GMT")
    assert "upload-offset" not in made.headers
    for start, end in ((0, 100), (100, 5000)):
        answer = await patch(owned, url, start, content[start:end], alice)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(end))
        assert "tus-complete" not in answer.headers
        assert objects(owned) == []
    state = await head(owned, url, alice)
    assert (state.status_code, state.headers["cache-control"]) == (200, "no-store")
    assert (state.headers["upload-offset"], state.headers["upload-length"]) == ("5000", str(len(content)))
    assert state.headers["upload-metadata"] == metadata(
        bucketName="files",
        objectName=f"{ALICE}/a.bin",
        contentType="image/png",
        cacheControl="max-age=60",
        metadata='{"a":"b"}',
    )
    last = await patch(owned, url, 5000, content[5000:], alice)
    assert (last.status_code, last.headers["tus-complete"], last.headers["upload-offset"]) == (204, "1", "10240")
    got = await owned.http.get(f"{O}/files/{ALICE}/a.bin", headers=alice)
    assert (got.content, got.headers["content-type"], got.headers["cache-control"]) == (
        content,
        "image/png",
        "max-age=60",
    )
    rows = owned.sql("select owner_id, user_metadata, metadata->>'eTag' from storage.objects")
    assert rows == [(ALICE, {"a": "b"}, got.headers["etag"])]
    assert (await head(owned, url, alice)).headers["upload-offset"] == "10240"


async def test_an_upload_may_come_whole_with_its_creation(owned: Stack) -> None:
    alice = owned.user(ALICE)
    given = metadata(bucketName="files", objectName=f"{ALICE}/b")
    headers = {**VERSION, **alice, "upload-metadata": given, "content-type": OFFSET}
    made = await owned.http.post(R, content=b"hello", headers={**headers, "upload-length": "5"})
    assert (made.status_code, made.headers["tus-complete"], made.headers["upload-offset"]) == (201, "1", "5")
    assert (await owned.http.get(f"{O}/files/{ALICE}/b", headers=alice)).content == b"hello"
    part = metadata(bucketName="files", objectName=f"{ALICE}/c")
    begun = await owned.http.post(R, content=b"hel", headers={**headers, "upload-metadata": part, "upload-length": "5"})
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "3")
    assert (await patch(owned, begun.headers["location"], 3, b"lo", alice)).status_code == 204
    assert (await owned.http.get(f"{O}/files/{ALICE}/c", headers=alice)).content == b"hello"


async def test_an_empty_file_is_an_object_at_once(owned: Stack) -> None:
    made = await create(owned, f"{ALICE}/empty", 0, owned.user(ALICE))
    assert (made.status_code, made.headers["tus-complete"]) == (201, "1")
    assert objects(owned) == [(f"{ALICE}/empty", 0)]


async def test_the_length_may_be_told_with_the_last_piece(owned: Stack) -> None:
    alice = owned.user(ALICE)
    made = await create(owned, f"{ALICE}/d", None, alice)
    url = made.headers["location"]
    assert (await patch(owned, url, 0, b"abc", alice)).status_code == 204
    assert (await head(owned, url, alice)).headers["upload-defer-length"] == "1"
    assert (await patch(owned, url, 3, b"", alice, **{"upload-length": "2"})).status_code == 400
    last = await patch(owned, url, 3, b"de", alice, **{"upload-length": "5"})
    assert (last.status_code, last.headers["tus-complete"]) == (204, "1")
    assert objects(owned) == [(f"{ALICE}/d", 5)]


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        pytest.param({"tus-resumable": ""}, 412, "Tus-Resumable Required\n", id="no version"),
        pytest.param({"tus-resumable": "0.2.2"}, 400, "Invalid tus-resumable\n", id="another version"),
        pytest.param({"upload-length": ""}, 400, "Invalid upload-length\n", id="empty length"),
        pytest.param({"upload-length": "-1"}, 400, "Invalid upload-length\n", id="negative length"),
        pytest.param({"upload-length": "1.5"}, 400, "Invalid upload-length\n", id="half a byte"),
        pytest.param({"upload-length": "9223372036854775808"}, 400, "Invalid upload-length\n", id="2^63"),
        pytest.param({"upload-length": "52428801"}, 413, "Maximum size exceeded\n", id="beyond the project's limit"),
        pytest.param(
            {"upload-defer-length": "1"},
            400,
            "Upload-Length or Upload-Defer-Length header required\n",
            id="length given and deferred",
        ),
        pytest.param({"upload-metadata": "bucketName ???"}, 400, "Invalid upload-metadata\n", id="no base64"),
        pytest.param({"upload-metadata": ""}, 400, "Invalid upload-metadata\n", id="empty metadata"),
        pytest.param(
            {"upload-metadata": metadata(objectName="x")}, 400, "Bucket name invalid", id="metadata without a bucket"
        ),
        pytest.param(
            {"upload-metadata": metadata(bucketName="files", objectName="../x")},
            400,
            "Invalid key: ../x",
            id="traversal",
        ),
        pytest.param(
            {"upload-metadata": metadata(bucketName="none", objectName="x")},
            404,
            "Bucket not found",
            id="no such bucket",
        ),
        pytest.param(
            {"upload-metadata": metadata(bucketName="files", objectName="foreign/x")},
            403,
            "new row violates row-level security policy",
            id="policies refuse",
        ),
        pytest.param(
            {"upload-concat": "partial"},
            501,
            "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client.\n",
            id="concatenation",
        ),
    ],
)
async def test_a_creation_that_cannot_be_is_refused_as_text(
    owned: Stack, changes: dict[str, str], status: int, text: str
) -> None:
    headers = {
        **VERSION,
        **owned.user(ALICE),
        "upload-length": "5",
        "upload-metadata": metadata(bucketName="files", objectName=f"{ALICE}/x"),
        **changes,
    }
    answer = await owned.http.post(R, headers=headers)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert owned.sql("select count(*) from isobase.resumable_uploads") == [(0,)]


async def test_a_creation_without_metadata_or_length_is_refused(owned: Stack) -> None:
    alice = owned.user(ALICE)
    answer = await owned.http.post(R, headers={**VERSION, **alice, "upload-length": "5"})
    assert (answer.status_code, answer.text) == (400, "Metadata header is required")
    answer = await owned.http.post(R, headers={**VERSION, **alice})
    assert (answer.status_code, answer.text) == (400, "Upload-Length or Upload-Defer-Length header required\n")


async def test_a_request_without_a_token_is_refused_in_json(owned: Stack) -> None:
    made = await create(owned, "x", 5, {})
    assert (made.status_code, made.json()["message"]) == (400, "Invalid Compact JWS")
    async with owned.bare() as bare:
        answer = await bare.post("/upload/resumable", headers={**VERSION, "upload-length": "5"})
        assert (answer.status_code, answer.json()["code"]) == (400, "AccessDenied")
    assert (await owned.http.get(R)).json()["message"] == f"Route GET:{R.removeprefix('/storage/v1')} not found"


async def test_pieces_that_do_not_fit_change_nothing(owned: Stack) -> None:
    alice = owned.user(ALICE)
    url = (await create(owned, f"{ALICE}/x", 5, alice)).headers["location"]
    assert (await patch(owned, url, 0, b"abc", alice)).status_code == 204

    async def refused(status: int, text: str, offset: int, content: bytes, **extra: str) -> None:
        answer = await patch(owned, url, offset, content, alice, **extra)
        assert (answer.status_code, answer.text) == (status, text)
        assert (await head(owned, url, alice)).headers["upload-offset"] == "3"

    await refused(409, "Upload-Offset conflict\n", 0, b"abc")
    await refused(409, "Upload-Offset conflict\n", 9, b"abc")
    await refused(413, "upload's size exceeded\n", 3, b"def")
    await refused(400, "Invalid content-type\n", 3, b"de", **{"content-type": "text/plain"})
    await refused(400, "Upload-Length or Upload-Defer-Length header required\n", 3, b"de", **{"upload-length": "5"})
    await refused(400, "Invalid upload-offset\n", 3, b"de", **{"upload-offset": "-3"})
    no_offset = await owned.http.patch(url, content=b"de", headers={**VERSION, **alice, "content-type": OFFSET})
    assert (no_offset.status_code, no_offset.text) == (403, "Upload-Offset header required\n")
    no_type = await owned.http.patch(url, content=b"de", headers={**VERSION, **alice, "upload-offset": "3"})
    assert (no_type.status_code, no_type.text) == (403, "Content-Type header required\n")

    async def endless() -> AsyncIterator[bytes]:
        yield b"de"
        yield b"too much"

    headers = {**VERSION, **alice, "upload-offset": "3", "content-type": OFFSET}
    too_much = await owned.http.patch(url, content=endless(), headers=headers)
    assert (too_much.status_code, too_much.text) == (413, "Maximum size exceeded\n")
    assert (await head(owned, url, alice)).headers["upload-offset"] == "3"
    assert (await patch(owned, url, 3, b"de", alice)).headers["tus-complete"] == "1"
    assert (await owned.http.get(f"{O}/files/{ALICE}/x", headers=alice)).content == b"abcde"


async def test_an_upload_that_nobody_made_is_not_found(owned: Stack) -> None:
    alice = owned.user(ALICE)
    segment = base64.urlsafe_b64encode(f"files/{ALICE}/x/{ALICE}".encode()).decode().rstrip("=")
    missing = (404, "The file for this url was not found\n")
    answer = await patch(owned, f"{R}/{segment}", 0, b"a", alice)
    assert (answer.status_code, answer.text) == missing
    assert (await head(owned, f"{R}/{segment}", alice)).status_code == 404
    answer = await owned.http.delete(f"{R}/{segment}", headers={**VERSION, **alice})
    assert (answer.status_code, answer.text) == missing
    answer = await owned.http.delete(f"{R}/", headers={**VERSION, **alice})
    assert (answer.status_code, answer.text) == missing
    answer = await patch(owned, f"{R}/abc", 0, b"a", alice)
    assert (answer.status_code, answer.text) == (400, "Invalid upload id")
    answer = await owned.http.put(f"{R}/{segment}", headers={**VERSION, **alice})
    assert (answer.status_code, answer.text) == (404, "Not found\n")


async def test_a_stranger_can_neither_continue_nor_end_an_upload(owned: Stack) -> None:
    alice, bob = owned.user(ALICE), owned.user(BOB)
    url = (await create(owned, f"{ALICE}/x", 5, alice)).headers["location"]
    answer = await patch(owned, url, 0, b"evil!", bob)
    assert (answer.status_code, answer.text) == (403, "new row violates row-level security policy")
    assert (await owned.http.delete(url, headers={**VERSION, **bob})).status_code == 403
    assert (await head(owned, url, alice)).headers["upload-offset"] == "0"
    assert objects(owned) == []


@ON_DISK
async def test_an_upload_that_is_given_up_is_gone(owned: Stack) -> None:
    alice = owned.user(ALICE)
    url = (await create(owned, f"{ALICE}/x", 5, alice)).headers["location"]
    assert (await patch(owned, url, 0, b"abc", alice)).status_code == 204
    assert (await owned.http.delete(url, headers={**VERSION, **alice})).status_code == 204
    assert (await head(owned, url, alice)).status_code == 404
    assert owned.blobs() == []
    done = await create(owned, f"{ALICE}/empty", 0, alice)
    upsert = {**VERSION, **alice, "x-upsert": "true"}
    answer = await owned.http.delete(done.headers["location"], headers=upsert)
    assert (answer.status_code, answer.text) == (400, "Cannot terminate an already completed upload")
    assert objects(owned) == [(f"{ALICE}/empty", 0)]


async def test_an_object_keeps_its_content_until_the_one_that_replaces_it_is_whole(owned: Stack) -> None:
    alice = owned.user(ALICE)
    assert (await owned.put(f"files/{ALICE}/x", b"old", alice)).status_code == 200
    taken = await create(owned, f"{ALICE}/x", 5, alice)
    assert (taken.status_code, taken.text) == (409, "The resource already exists")
    upsert = {**alice, "x-upsert": "true"}
    url = (await create(owned, f"{ALICE}/x", 5, upsert)).headers["location"]
    assert (await patch(owned, url, 0, b"abc", alice)).status_code == 409
    assert (await patch(owned, url, 0, b"abc", upsert)).status_code == 204
    assert (await owned.http.get(f"{O}/files/{ALICE}/x", headers=alice)).content == b"old"
    assert (await patch(owned, url, 3, b"de", upsert)).headers["tus-complete"] == "1"
    assert (await owned.http.get(f"{O}/files/{ALICE}/x", headers=alice)).content == b"abcde"
    assert len(owned.blobs()) == 1


async def test_an_upload_whose_key_was_taken_meanwhile_is_refused_and_forgotten(owned: Stack) -> None:
    alice = owned.user(ALICE)
    url = (await create(owned, f"{ALICE}/x", 5, alice)).headers["location"]

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        assert (await owned.put(f"files/{ALICE}/x", b"faster", alice)).status_code == 200
        yield b"de"

    headers = {**VERSION, **alice, "upload-offset": "0", "content-type": OFFSET}
    answer = await owned.http.patch(url, content=body(), headers=headers)
    assert (answer.status_code, answer.text) == (409, "The resource already exists")
    assert (await head(owned, url, alice)).status_code == 404
    assert (await owned.http.get(f"{O}/files/{ALICE}/x", headers=alice)).content == b"faster"
    assert len(owned.blobs()) == 1


async def test_rules_of_the_bucket_count(storage: Stack) -> None:
    await storage.bucket("small", file_size_limit=4, allowed_mime_types=["image/*"])
    admin = storage.admin
    too_large = await create(storage, "x", 5, admin, bucket="small", contentType="image/png")
    assert (too_large.status_code, too_large.text) == (413, "Maximum size exceeded\n")
    for content_type in ({"contentType": "text/plain"}, {}):
        answer = await create(storage, "x", 4, admin, bucket="small", **content_type)
        assert answer.status_code == 415
    url = (await create(storage, "x", None, admin, bucket="small", contentType="image/png")).headers["location"]
    answer = await patch(storage, url, 0, b"12345", admin)
    assert (answer.status_code, answer.text) == (413, "upload's size exceeded\n")
    assert (await patch(storage, url, 0, b"1234", admin, **{"upload-length": "4"})).headers["tus-complete"] == "1"


async def test_a_signed_token_is_enough_and_names_the_owner(owned: Stack) -> None:
    alice = owned.user(ALICE)
    signed = await owned.http.post(f"{O}/upload/sign/files/{ALICE}/x", headers=alice)
    token = {"x-signature": signed.json()["token"]}
    given = metadata(bucketName="files", objectName=f"{ALICE}/x")
    made = await owned.http.post(
        f"{R}/sign", headers={**VERSION, **token, "upload-length": "3", "upload-metadata": given}
    )
    assert made.status_code == 201, made.text
    url = made.headers["location"]
    assert url.startswith(f"{owned.url}{R}/sign/")
    assert (await head(owned, url, token)).headers["upload-offset"] == "0"
    foreign = await owned.http.post(f"{O}/upload/sign/files/{ALICE}/other", headers=alice)
    for wrong in ({}, {"x-signature": "nonsense"}, {"x-signature": foreign.json()["token"]}):
        assert (await head(owned, url, wrong)).status_code == 400
        assert (await patch(owned, url, 0, b"abc", wrong)).status_code == 400
        assert (await owned.http.delete(url, headers={**VERSION, **wrong})).status_code == 400
    assert (await patch(owned, url, 0, b"abc", token)).headers["tus-complete"] == "1"
    assert owned.sql("select owner_id from storage.objects") == [(ALICE,)]
    missing = await owned.http.post(f"{R}/sign", headers={**VERSION, "upload-length": "3", "upload-metadata": given})
    assert (missing.status_code, missing.text) == (400, "Missing x-signature header")
    other = metadata(bucketName="files", objectName=f"{BOB}/x")
    answer = await owned.http.post(
        f"{R}/sign", headers={**VERSION, **token, "upload-length": "3", "upload-metadata": other}
    )
    assert (answer.status_code, answer.text) == (400, "Invalid signature")


async def test_policies_see_the_operation_and_what_is_known_of_the_file(storage: Stack) -> None:
    await storage.bucket("files")
    storage.sql(
        """create policy p on storage.objects for insert to authenticated with check (
             storage.operation() like 'storage.tus.upload.%' and metadata->>'mimetype' = 'image/png'
             and (metadata->>'contentLength')::int = 3 and user_metadata->>'a' = 'b')"""
    )
    alice = storage.user(ALICE)
    good = {"contentType": "image/png", "metadata": json.dumps({"a": "b"})}
    made = await create(storage, "x", 3, alice, **good)
    assert made.status_code == 201
    assert (await patch(storage, made.headers["location"], 0, b"abc", alice)).headers["tus-complete"] == "1"
    assert (await create(storage, "y", 4, alice, **good)).status_code == 403
    assert (await create(storage, "y", 3, alice, contentType="image/png")).status_code == 403


async def test_a_post_may_stand_for_a_patch(owned: Stack) -> None:
    alice = owned.user(ALICE)
    url = (await create(owned, f"{ALICE}/x", 3, alice)).headers["location"]
    headers = {**VERSION, **alice, "x-http-method-override": "PATCH", "upload-offset": "0", "content-type": OFFSET}
    assert (await owned.http.post(url, content=b"abc", headers=headers)).headers["tus-complete"] == "1"


async def test_options_tell_what_the_server_can(owned: Stack) -> None:
    answer = await owned.http.options(R)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == "52428800"
    assert (
        answer.headers["tus-extension"] == "creation,creation-with-upload,creation-defer-length,termination,expiration"
    )
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "x-signature" in answer.headers["access-control-allow-headers"]


async def test_a_browser_may_read_the_headers_of_the_protocol(owned: Stack) -> None:
    made = await create(owned, f"{ALICE}/x", 3, {**owned.user(ALICE), "origin": "https://app.test"})
    exposed = {name.strip().lower() for name in made.headers["access-control-expose-headers"].split(",")}
    assert {"location", "upload-offset", "upload-length", "tus-resumable", "upload-expires"} <= exposed
    assert made.headers["access-control-allow-origin"] == "*"


async def test_a_length_that_comes_late_is_put_to_the_policies_too(storage: Stack) -> None:
    storage.sql(
        """create policy "small" on storage.objects for insert to authenticated
               with check (coalesce((metadata ->> 'contentLength')::bigint, 0) <= 5)"""
    )
    await storage.bucket("files")
    alice = storage.user(ALICE)
    for size, status in ((5, 204), (10, 403)):
        url = (await create(storage, f"{size}", None, alice)).headers["location"]
        answer = await patch(storage, url, 0, b"x" * size, alice, **{"upload-length": str(size)})
        assert answer.status_code == status, answer.text
    assert objects(storage) == [("5", 5)]


async def test_a_writer_that_lost_its_lease_makes_no_object(storage: Stack) -> None:
    await storage.bucket("files")
    resumable, actor = storage.service.core.resumable, Actor(Caller.service(), "storage.tus.upload.part")
    right = UploadRight(None, is_upsert=True)
    description = UploadDescription.of((("bucketName", "files"), ("objectName", "x")))
    begun = await resumable.create(actor, right, "files", "x", 3, description, None)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"
        storage.sql("update isobase.resumable_uploads set lease = gen_random_uuid()")

    with pytest.raises(StorageError) as refusal:
        await resumable.append(actor, right, begun.key, 0, None, Incoming(3, chunks()))
    assert refusal.value.status == 423
    assert objects(storage) == []
    assert storage.sql("select offset_bytes::int, finished_at from isobase.resumable_uploads") == [(0, None)]

"""Uploads over HTTP: forms and bare bytes, limits, types, and what a broken upload leaves: nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from isobase_platform.config import Settings
from tests.storage.conftest import ALICE, BOTH_BACKENDS, Stack, refusal, running, with_storage

O = "/storage/v1/object"  # noqa: E741


@pytest.fixture
async def open_bucket(storage: Stack) -> Stack:
    """A public bucket ``b`` in which every signed-in user may do everything."""
    storage.sql('create policy "all" on storage.objects for all to authenticated using (true) with check (true)')
    await storage.bucket("b", public=True)
    return storage


def row(storage: Stack, key: str) -> dict[str, Any]:
    ((metadata, user_metadata),) = storage.sql(
        "select metadata, user_metadata from storage.objects where name = %s", key
    )
    return {**metadata, "user": user_metadata}


async def test_bare_bytes_are_stored_with_their_headers(open_bucket: Stack) -> None:
    answer = await open_bucket.put(
        "b/folder/a.txt",
        b"hello",
        open_bucket.user(ALICE),
        **{
            "content-type": "text/plain;charset=UTF-8",
            "cache-control": "max-age=3600",
            "x-metadata": base64.b64encode(b'{"kind":"test"}').decode(),
            "x-robots-tag": "noindex",
        },
    )
    assert answer.status_code == 200
    ((object_id,),) = open_bucket.sql("select id::text from storage.objects")
    assert answer.json() == {"Id": object_id, "Key": "b/folder/a.txt"}
    stored = row(open_bucket, "folder/a.txt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stored.pop("lastModified"))
    assert stored == {
        "eTag": '"5d41402abc4b2a76b9719d911017c592"',
        "size": 5,
        "mimetype": "text/plain;charset=UTF-8",
        "cacheControl": "max-age=3600",
        "contentLength": 5,
        "httpStatusCode": 200,
        "xRobotsTag": "noindex",
        "user": {"kind": "test"},
    }
    got = await open_bucket.http.get(f"{O}/public/b/folder/a.txt")
    assert (got.content, got.headers["x-robots-tag"]) == (b"hello", "noindex")


async def test_bare_bytes_without_headers_get_the_defaults(open_bucket: Stack) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    headers = {**open_bucket.user(ALICE), "x-metadata": "no base64 of json"}
    answer = await open_bucket.http.post(f"{O}/b/a", content=chunked(), headers=headers)
    assert answer.status_code == 200
    stored = row(open_bucket, "a")
    assert (stored["mimetype"], stored["cacheControl"], stored["user"]) == ("application/octet-stream", "no-cache", {})
    assert (await open_bucket.http.get(f"{O}/public/b/a")).content == b"one two"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_bodies_that_look_like_json_or_text_are_only_stored(open_bucket: Stack, content_type: str) -> None:
    answer = await open_bucket.put("b/a", b'{"broken', open_bucket.user(ALICE), **{"content-type": content_type})
    assert answer.status_code == 200
    assert (await open_bucket.http.get(f"{O}/public/b/a")).content == b'{"broken'


async def test_an_empty_body_is_an_empty_object(open_bucket: Stack) -> None:
    assert (await open_bucket.put("b/a", b"", open_bucket.user(ALICE))).status_code == 200
    got = await open_bucket.http.get(f"{O}/public/b/a")
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize("field_name", ["", "file", "anything"])
@pytest.mark.parametrize("fields_first", [True, False])
async def test_a_forms_fields_describe_its_file_before_it_or_after(
    open_bucket: Stack, field_name: str, fields_first: bool
) -> None:
    file: list[tuple[str, tuple[str | None, bytes] | tuple[str | None, bytes, str]]] = [
        (field_name, ("a.bin", b"x" * 100_000, "image/png"))
    ]
    fields: list[tuple[str, tuple[str | None, bytes] | tuple[str | None, bytes, str]]] = [
        ("cacheControl", (None, b"77")),
        ("metadata", (None, b'{"a":[1,"\xc3\xa9"]}')),
    ]
    files = fields + file if fields_first else file + fields
    answer = await open_bucket.http.post(f"{O}/b/a", files=files, headers=open_bucket.user(ALICE))
    assert answer.status_code == 200, answer.text
    stored = row(open_bucket, "a")
    assert (stored["mimetype"], stored["cacheControl"], stored["size"]) == ("image/png", "max-age=77", 100_000)
    assert stored["user"] == {"a": [1, "é"]}


async def test_a_forms_content_type_field_wins_over_the_parts(open_bucket: Stack) -> None:
    answer = await open_bucket.http.post(
        f"{O}/b/a", files={"": ("a", b"x", "image/png")}, data={"contentType": "x/y"}, headers=open_bucket.user(ALICE)
    )
    assert answer.status_code == 200
    stored = row(open_bucket, "a")
    assert (stored["mimetype"], stored["cacheControl"]) == ("x/y", "no-cache")


async def test_a_type_named_after_the_file_is_judged_too(open_bucket: Stack) -> None:
    await open_bucket.bucket("images", allowed_mime_types=["image/*"])
    file: list[tuple[str, tuple[str | None, bytes] | tuple[str | None, bytes, str]]] = [
        ("", ("a", b"x" * 100_000, "image/png")),
        ("contentType", (None, b"text/html")),
    ]
    answer = await open_bucket.http.post(f"{O}/images/a", files=file, headers=open_bucket.user(ALICE))
    assert refusal(answer) == (400, "415", "invalid_mime_type", "mime type text/html is not supported")
    assert open_bucket.blobs() == []


async def test_metadata_beyond_a_mebibyte_is_refused(open_bucket: Stack) -> None:
    answer = await open_bucket.http.post(
        f"{O}/b/a",
        data={"metadata": json.dumps({"a": "x" * 1024 * 1024})},
        files={"": ("a", b"x")},
        headers=open_bucket.user(ALICE),
    )
    assert refusal(answer)[1::2] == ("413", "The user_metadata exceeded the maximum allowed size")
    files: list[tuple[str, tuple[str | None, bytes]]] = [
        ("", ("a", b"x" * 300_000)),
        ("metadata", (None, b'"' + b"x" * 1024 * 1024 + b'"')),
    ]
    answer = await open_bucket.http.post(f"{O}/b/a", files=files, headers=open_bucket.user(ALICE))
    assert refusal(answer)[1] == "413"
    assert open_bucket.blobs() == []


async def test_metadata_that_postgresql_cannot_hold_is_ignored_or_refused(open_bucket: Stack) -> None:
    user = open_bucket.user(ALICE)
    for number, text in enumerate(
        (b'{"a":"\\u0000"}', b'{"a":1e400}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"[1]", b'"x"', b"[" * 9999)
    ):
        headers = {**user, "x-metadata": base64.b64encode(text).decode()}
        answer = await open_bucket.put(f"b/{number}", b"x", headers)
        assert answer.status_code == 200, text
        assert row(open_bucket, str(number))["user"] == {}
    for name in ("cacheControl", "contentType"):
        answer = await open_bucket.http.post(f"{O}/b/x", files={"": ("a", b"x")}, data={name: "a\0b"}, headers=user)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter"), name
    assert len(open_bucket.blobs()) == 7


@pytest.mark.parametrize(
    "headers, content, message",
    [
        ({"content-type": "multipart/form-data"}, b"x", "Multipart: Boundary not found"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n", "No content provided"),
        ({"x-robots-tag": "nothing"}, b"x", 'Invalid X-Robots-Tag header: Invalid X-Robots-Tag rule: "nothing"'),
    ],
)
async def test_an_upload_that_cannot_be_understood_stores_nothing(
    open_bucket: Stack, headers: dict[str, str], content: bytes, message: str
) -> None:
    answer = await open_bucket.http.post(f"{O}/b/a", content=content, headers={**open_bucket.user(ALICE), **headers})
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (400, "InvalidRequest", message)
    assert open_bucket.sql("select 1 from storage.objects") == []
    assert open_bucket.blobs() == []


async def test_keys_that_could_mean_a_path_are_refused_by_every_route(open_bucket: Stack) -> None:
    for path in (
        "b/..%2f..%2fescape",
        "b/%2e%2e/escape",
        "b/a/%2e%2e/%2e%2e/b",
        "b/a%5c..%5cb",
        "b/nul%00byte",
        "b/new%0aline",
        "b/%ff%fe",
        "b/%zz",
        "b/a%23b",
        "b/%E6%97%A5",
        "b/",
    ):
        await _refused_everywhere(open_bucket, path)
    for body in ({"sourceKey": "x", "destinationKey": "../y"}, {"sourceKey": "../x", "destinationKey": "../y"}):
        for action in ("copy", "move"):
            answer = await open_bucket.http.post(
                f"{O}/{action}", json={"bucketId": "b", **body}, headers=open_bucket.admin
            )
            assert answer.json()["code"] == "InvalidKey"
    assert open_bucket.blobs() == []
    assert open_bucket.sql("select 1 from storage.objects") == []


async def _refused_everywhere(stack: Stack, path: str) -> None:
    for method, url, body in (
        ("POST", f"{O}/{path}", None),
        ("PUT", f"{O}/{path}", None),
        ("GET", f"{O}/{path}", None),
        ("GET", f"{O}/public/{path}", None),
        ("GET", f"{O}/info/{path}", None),
        ("POST", f"{O}/sign/{path}", {"expiresIn": 60}),
        ("POST", f"{O}/upload/sign/{path}", None),
    ):
        answer = await stack.http.request(method, stack.url + url, json=body, headers=stack.user(ALICE))
        assert answer.status_code == 400, (method, url, answer.text)
        assert answer.json()["code"] in {"InvalidKey", "FST_ERR_BAD_URL"}, (method, url, answer.text)


async def test_dots_in_the_path_itself_reach_no_other_route(open_bucket: Stack) -> None:
    host, port = open_bucket.url.removeprefix("http://").split(":")
    token = open_bucket.token("authenticated", ALICE)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET {O}/b/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    assert b'"code":"InvalidKey"' in answer


@pytest.mark.parametrize("limit_of", ["project", "bucket"])
@pytest.mark.parametrize("kind", ["known length", "chunked", "form"])
async def test_more_than_the_limit_is_refused_and_leaves_nothing(database: Settings, limit_of: str, kind: str) -> None:
    limit = 1_000_000
    async with running(
        with_storage(database, file_size_limit_bytes=limit * (1 if limit_of == "project" else 5))
    ) as stack:
        await stack.bucket("b", file_size_limit=limit if limit_of == "bucket" else None)
        too_much, enough = b"x" * (limit + 1), b"x" * limit

        async def send(content: bytes) -> Any:
            if kind == "form":
                return await stack.http.post(f"{O}/b/a", files={"file": ("a", content)}, headers=stack.admin)

            async def chunks() -> AsyncIterator[bytes]:
                for start in range(0, len(content), 100_000):
                    yield content[start : start + 100_000]

            return await stack.http.post(
                f"{O}/b/a", content=chunks() if kind == "chunked" else content, headers=stack.admin
            )

        answer = await send(too_much)
        assert refusal(answer) == (400, "413", "Payload too large", "The object exceeded the maximum allowed size")
        assert (stack.blobs(), stack.temporary_files()) == ([], [])
        assert stack.sql("select 1 from storage.objects") == []
        assert (await send(enough)).status_code == 200


async def test_a_known_length_beyond_the_limit_is_refused_before_the_body_is_sent(open_bucket: Stack) -> None:
    host, port = open_bucket.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {O}/b/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {open_bucket.service_token}\r\n"
        "Content-Length: 99999999999\r\n\r\n".encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert head.startswith(b"HTTP/1.1 400")
    writer.close()


async def test_the_folder_placeholder_is_empty_and_has_any_type(open_bucket: Stack) -> None:
    await open_bucket.bucket("images", allowed_mime_types=["image/*"])
    user = open_bucket.user(ALICE)
    assert (await open_bucket.put("images/f/.emptyFolderPlaceholder", b"", user)).status_code == 200
    answer = await open_bucket.put("images/g/.emptyFolderPlaceholder", b"x", user)
    assert refusal(answer)[1] == "413"
    answer = await open_bucket.put("images/a", b"x", user)
    assert refusal(answer)[1::2] == ("415", "mime type text/plain is not supported")


async def test_an_upload_to_a_missing_bucket_is_refused(open_bucket: Stack) -> None:
    answer = await open_bucket.put("nothing/a", b"x", open_bucket.user(ALICE))
    assert refusal(answer) == (400, "404", "Bucket not found", "Bucket not found")


@BOTH_BACKENDS
async def test_an_overwrite_keeps_the_row_and_removes_the_old_bytes(open_bucket: Stack) -> None:
    user = open_bucket.user(ALICE)
    first = (await open_bucket.put("b/a", b"first", user)).json()
    again = await open_bucket.put("b/a", b"again", user)
    assert refusal(again)[1:3] == ("409", "Duplicate")
    second = await open_bucket.put("b/a", b"second", user, **{"x-upsert": "true"})
    third = await open_bucket.http.put(f"{O}/b/a", content=b"third", headers=user)
    assert second.json() == third.json() == first
    assert (await open_bucket.http.get(f"{O}/public/b/a")).content == b"third"
    assert len(open_bucket.blobs()) == 1
    created = await open_bucket.http.put(f"{O}/b/new", content=b"x", headers=user)
    assert created.status_code == 200


@pytest.mark.usefixtures("listed_uploads")
@BOTH_BACKENDS
@pytest.mark.parametrize("is_form", [False, True])
async def test_a_client_that_goes_away_leaves_nothing(open_bucket: Stack, is_form: bool) -> None:
    host, port = open_bucket.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    kind = "multipart/form-data; boundary=x" if is_form else "text/plain"
    start = b'--x\r\nContent-Disposition: form-data; name=""; filename="a"\r\n\r\n' if is_form else b""
    writer.write(
        f"POST {O}/b/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {open_bucket.service_token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: 9000000\r\n\r\n".encode()
        + start
        + b"y" * 6_500_000
    )
    await writer.drain()
    async with asyncio.timeout(60):
        while not open_bucket.temporary_files():
            await asyncio.sleep(0.01)
    assert len(open_bucket.temporary_files()) == 1
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.close()
    async with asyncio.timeout(60):
        while open_bucket.temporary_files():
            await asyncio.sleep(0.01)
    assert (open_bucket.temporary_files(), open_bucket.blobs()) == ([], [])
    assert open_bucket.sql("select 1 from storage.objects") == []


@BOTH_BACKENDS
async def test_many_writers_of_one_key_end_with_one_blob_and_the_row_that_names_it(open_bucket: Stack) -> None:
    contents = [f"content {number}".encode() * 50 for number in range(24)]
    users = [open_bucket.user(ALICE), open_bucket.admin]
    answers = await asyncio.gather(
        *(
            open_bucket.put("b/a", content, users[number % 2], **{"x-upsert": "true"})
            for number, content in enumerate(contents)
        )
    )
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    ((version, etag, size),) = open_bucket.sql(
        "select version, metadata->>'eTag', (metadata->>'size')::int from storage.objects"
    )
    (blob,) = open_bucket.blobs()
    assert blob.name.endswith(version)
    got = await open_bucket.http.get(f"{O}/public/b/a")
    assert got.content in contents
    assert (got.headers["etag"], len(got.content)) == (etag, size)


async def test_readers_see_a_whole_version_while_it_is_overwritten(open_bucket: Stack) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(8)]
    await open_bucket.put("b/a", contents[0], open_bucket.admin)
    is_over = asyncio.Event()

    async def read() -> int:
        count = 0
        while not is_over.is_set():
            got = await open_bucket.http.get(f"{O}/public/b/a")
            assert got.status_code == 200, got.text
            assert got.content in contents
            count += 1
        return count

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for content in contents:
        assert (await open_bucket.put("b/a", content, open_bucket.admin, **{"x-upsert": "true"})).status_code == 200
    is_over.set()
    assert min(await asyncio.gather(*readers)) > 0


async def test_one_of_several_new_uploads_wins_and_the_others_are_duplicates(open_bucket: Stack) -> None:
    answers = await asyncio.gather(
        *(open_bucket.put("b/a", str(number).encode(), open_bucket.user(ALICE)) for number in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"KeyAlreadyExists"}
    assert len(open_bucket.blobs()) == 1


@BOTH_BACKENDS
async def test_uploads_that_end_at_random_moments_leave_as_many_blobs_as_rows(open_bucket: Stack) -> None:
    host, port = open_bucket.url.removeprefix("http://").split(":")
    content = b"z" * 400_000
    chance = random.Random(7)

    async def send(number: int) -> None:
        _, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"PUT {O}/b/{number % 10} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {open_bucket.service_token}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode()
        for part in (head, content[:150_000], content[150_000:]):
            writer.write(part)
            await asyncio.sleep(chance.random() * 0.02)
            if chance.random() < 0.3:
                break
        await asyncio.sleep(chance.random() * 0.03)
        writer.transport.abort()

    await asyncio.gather(*(send(number) for number in range(80)))
    await open_bucket.service._in_flight.wait(60)
    await open_bucket.service._core.finisher.drain(60)
    versions = {version for (version,) in open_bucket.sql("select version from storage.objects")}
    assert versions
    assert {blob.name.rpartition(".")[2] for blob in open_bucket.blobs()} == versions
    assert open_bucket.temporary_files() == []
    for number in range(10):
        got = await open_bucket.http.get(f"{O}/public/b/{number}")
        assert got.status_code == 400 or got.content == content

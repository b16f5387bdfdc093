"""Downloads, heads and infos over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

import pytest

from tests.storage.conftest import ALICE, BOB, BOTH_BACKENDS, Stack, refusal

O = "/storage/v1/object"  # noqa: E741


@pytest.fixture
async def files(owned: Stack) -> Stack:
    """``files/ALICE/a.txt`` (private, of ten digits) and the same in the bucket ``shared`` (public)."""
    await owned.bucket("shared", public=True)
    headers = {"content-type": "text/plain;charset=UTF-8", "cache-control": "max-age=60"}
    for bucket in ("files", "shared"):
        answer = await owned.put(f"{bucket}/{ALICE}/a.txt", b"0123456789", owned.user(ALICE), **headers)
        assert answer.status_code == 200
    return owned


async def test_who_may_download_from_a_private_and_a_public_bucket(files: Stack) -> None:
    private, public = f"files/{ALICE}/a.txt", f"shared/{ALICE}/a.txt"
    expired = {"authorization": f"Bearer {files.token('authenticated', ALICE, exp=1)}"}
    cases = {
        (f"{O}/{private}", "alice"): 200,
        (f"{O}/{private}", "bob"): "Object not found",
        (f"{O}/{private}", "anon"): "Object not found",
        (f"{O}/{private}", "none"): "Bucket not found",
        (f"{O}/{private}", "expired"): "Bucket not found",
        (f"{O}/authenticated/{private}", "alice"): 200,
        (f"{O}/authenticated/{private}", "bob"): "Object not found",
        (f"{O}/authenticated/{private}", "none"): "Invalid Compact JWS",
        (f"{O}/authenticated/{private}", "expired"): '"exp" claim timestamp check failed',
        (f"{O}/public/{private}", "alice"): "Bucket not found",
        (f"{O}/{public}", "bob"): 200,
        (f"{O}/{public}", "none"): 200,
        (f"{O}/{public}", "expired"): 200,
        (f"{O}/authenticated/{public}", "bob"): 200,
        (f"{O}/public/{public}", "none"): 200,
        (f"{O}/public/shared/nothing", "none"): "Object not found",
        (f"{O}/public/nothing/nothing", "none"): "Bucket not found",
        (f"{O}/nothing/nothing", "alice"): "Bucket not found",
    }
    headers = {"alice": files.user(ALICE), "bob": files.user(BOB), "anon": files.anon, "none": {}, "expired": expired}
    for (url, who), expected in cases.items():
        answer = await files.http.get(url, headers=headers[who])
        outcome = answer.status_code if answer.status_code == 200 else refusal(answer)[3]
        assert outcome == expected, (url, who)
        head = await files.http.head(url.replace("/object/sign", "/object"), headers=headers[who])
        assert (head.status_code, head.content) == (200 if expected == 200 else 400, b""), (url, who)
        info_url = url.replace("/object/", "/object/info/", 1)
        info = await files.http.get(info_url, headers=headers[who])
        assert (info.status_code == 200) is (expected == 200), (info_url, who)


async def test_a_download_has_upstreams_headers(files: Stack) -> None:
    answer = await files.http.get(f"{O}/public/shared/{ALICE}/a.txt")
    assert answer.content == b"0123456789"
    headers = {name: answer.headers[name] for name in answer.headers if name not in {"date", "server", "x-request-id"}}
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop("last-modified"))
    assert headers == {
        "accept-ranges": "bytes",
        "content-type": "text/plain;charset=UTF-8",
        "etag": '"781e5e245d69b566979b86e28d23f2c7"',
        "x-robots-tag": "none",
        "content-length": "10",
        "cache-control": "max-age=60",
    }
    head = await files.http.head(f"{O}/public/shared/{ALICE}/a.txt")
    names = ("accept-ranges", "content-type", "etag", "content-length", "cache-control", "last-modified")
    assert {name: head.headers[name] for name in names} == {name: answer.headers[name] for name in names}


@BOTH_BACKENDS
async def test_a_range_is_206_and_one_that_cannot_be_served_416(files: Stack) -> None:
    url = f"{O}/public/shared/{ALICE}/a.txt"
    for text, content, content_range in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ):
        answer = await files.http.get(url, headers={"range": text})
        assert (answer.status_code, answer.content) == (206, content)
        headers = answer.headers
        assert (headers["content-range"], headers["content-length"]) == (content_range, str(len(content)))
    for text in ("bytes=10-", "bytes=1-2,4-5", "lines=1-2", "bytes=4-2"):
        answer = await files.http.get(url, headers={"range": text})
        assert refusal(answer) == (416, "416", "invalid_range", "invalid range provided")


async def test_a_client_with_a_good_copy_gets_304(files: Stack) -> None:
    url = f"{O}/public/shared/{ALICE}/a.txt"
    first = await files.http.get(url)
    for headers in ({"if-none-match": first.headers["etag"]}, {"if-modified-since": first.headers["last-modified"]}):
        answer = await files.http.get(url, headers=headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", first.headers["etag"])
    stale = await files.http.get(url, headers={"if-none-match": '"other"'})
    assert (stale.status_code, stale.headers["cache-control"]) == (200, "max-age=60, stale-while-revalidate=30")
    for since in ("Mon, 01 Jan 2001 00:00:00 GMT", "no date"):
        assert (await files.http.get(url, headers={"if-modified-since": since})).status_code == 200


async def test_the_download_parameter_names_the_file(files: Stack) -> None:
    encoded = "my%20file%20(%C3%A9).txt"
    for query, disposition in (
        ("download=", "attachment;"),
        (f"download={encoded}", f"attachment; filename={encoded}; filename*=UTF-8''{encoded}"),
        ("cacheNonce=1", None),
    ):
        answer = await files.http.get(f"{O}/shared/{ALICE}/a.txt?{query}")
        assert answer.headers.get("content-disposition") == disposition


async def test_info_tells_the_rows_facts(files: Stack) -> None:
    answer = await files.http.get(f"{O}/info/files/{ALICE}/a.txt", headers=files.user(ALICE))
    info = answer.json()
    for name in ("created_at", "last_modified"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", info.pop(name))
    assert len(info.pop("id")) == len(info.pop("version")) == 36
    assert info == {
        "name": f"{ALICE}/a.txt",
        "bucket_id": "files",
        "size": 10,
        "content_type": "text/plain;charset=UTF-8",
        "cache_control": "max-age=60",
        "etag": '"781e5e245d69b566979b86e28d23f2c7"',
        "metadata": {},
    }


@pytest.mark.parametrize("stated", ["text/html; x=y", "Text/HTML", "TEXT/html; charset=utf-8"])
async def test_html_is_served_as_text(files: Stack, stated: str) -> None:
    await files.put(f"shared/{ALICE}/x.html", b"<script>", files.user(ALICE), **{"content-type": stated})
    answer = await files.http.get(f"{O}/public/shared/{ALICE}/x.html")
    assert answer.headers["content-type"] == "text/plain"


async def test_a_type_that_cannot_be_sent_leaves_a_browser_nothing_to_guess(files: Stack) -> None:
    await files.put(f"shared/{ALICE}/x", b"<script>", files.user(ALICE), **{"content-type": "x/y;a=\tc"})
    answer = await files.http.get(f"{O}/public/shared/{ALICE}/x")
    assert answer.headers["content-type"] == "application/octet-stream"


@BOTH_BACKENDS
async def test_a_row_without_bytes_is_not_found(files: Stack) -> None:
    files.sql("insert into storage.objects (bucket_id, name) values ('shared', 'seeded')")
    for url in (f"{O}/public/shared/seeded", f"{O}/shared/seeded"):
        answer = await files.http.get(url, headers=files.admin)
        assert refusal(answer) == (400, "404", "Not found", "The resource was not found")
        assert answer.headers["cache-control"] == "no-store"


async def test_metadata_written_by_sql_cannot_break_an_answer(files: Stack) -> None:
    files.sql("""
        update storage.objects set metadata = jsonb_build_object('mimetype', E'a/b\\r\\nx-evil: 1', 'eTag', 5,
            'cacheControl', array['x'], 'lastModified', 'never', 'contentLength', 'many', 'xRobotsTag', 'nothing')
         where bucket_id = 'shared'
    """)
    url = f"{O}/public/shared/{ALICE}/a.txt"
    answer = await files.http.get(url)
    assert (answer.status_code, answer.content, answer.headers["x-robots-tag"]) == (200, b"0123456789", "none")
    assert "x-evil" not in answer.headers
    assert (await files.http.head(url)).status_code == 200
    files.sql("update storage.objects set metadata = '[1]', user_metadata = '7' where bucket_id = 'shared'")
    assert (await files.http.get(url)).status_code == 200
    assert (await files.http.get(f"{O}/info/public/shared/{ALICE}/a.txt")).status_code == 200


async def test_a_policy_that_fails_does_not_hide_a_public_object(files: Stack) -> None:
    files.sql('create policy "broken" on storage.objects for select to authenticated using (1 / 0 = 1)')
    public = await files.http.get(f"{O}/shared/{ALICE}/a.txt", headers=files.user(BOB))
    assert public.status_code == 200
    private = await files.http.get(f"{O}/files/{ALICE}/a.txt", headers=files.user(BOB))
    assert refusal(private)[:2] == (500, "500")


@BOTH_BACKENDS
async def test_a_large_object_streams_through_with_little_memory(owned: Stack) -> None:
    size = 64 * 1024 * 1024
    owned.sql("update storage.buckets set public = true where id = 'files'")
    block = os.urandom(1024 * 1024)

    async def blocks() -> object:
        for _ in range(size // len(block)):
            yield block

    peak_before = _peak_kib()
    _reset_peak()
    base = _current_kib()
    service = {**owned.admin, "content-type": "application/octet-stream"}
    limit = owned.service._core.uploads
    limit._size_limit_bytes = size
    answer = await owned.http.post(f"{O}/files/big", content=blocks(), headers=service)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    total = 0
    async with owned.http.stream("GET", f"{O}/public/files/big") as got:
        async for chunk in got.aiter_raw():
            assert chunk == (block * 2)[total % len(block) :][: len(chunk)]
            total += len(chunk)
    assert total == size
    most_kib = (24 if owned.s3 is None else 44) * 1024  # of S3: the parts that are on their way
    assert _peak_kib() - base < most_kib, (peak_before, base)


@BOTH_BACKENDS
async def test_a_reader_that_goes_away_frees_the_server(files: Stack) -> None:
    await files.bucket("big", public=True)
    await files.put("big/a", b"x" * 40_000_000, files.admin)
    host, port = files.url.removeprefix("http://").split(":")
    for _ in range(3):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {O}/public/big/a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1000)
        writer.transport.abort()
    blob = str(files.blobs()[-1].name)
    async with asyncio.timeout(60):
        while any(blob.split(".")[0] in name for name in _open_files()):
            await asyncio.sleep(0.02)


def _open_files() -> list[str]:
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return names


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(name)).split()[1])


def _peak_kib() -> int:
    return _status("VmHWM")


def _current_kib() -> int:
    return _status("VmRSS")


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")

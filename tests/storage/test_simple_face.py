"""The simple face over HTTP."""

from __future__ import annotations

import re

import httpx
import pytest

from isobase_platform.config import Settings
from tests.storage.conftest import ALICE, BOB, Stack, running, with_storage


def problem(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "hint", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, error["code"]


async def upload(stack: Stack, headers: dict[str, str], **fields: str) -> httpx.Response:
    return await stack.http.post(
        "/storage/upload", files={"file": ("my cat (1).png", b"meow", "image/png")}, data=fields, headers=headers
    )


async def read(stack: Stack, url: str) -> httpx.Response:
    base = stack.platform.settings.base_url
    assert url.startswith(base)
    return await stack.http.get(stack.url + url.removeprefix(base))


async def test_a_user_uploads_reads_and_deletes_a_file(storage: Stack) -> None:
    alice = storage.user(ALICE)
    answer = await upload(storage, alice, folder="albums/2026")
    assert answer.status_code == 201
    stored = answer.json()
    assert re.fullmatch(rf"{ALICE}/albums/2026/[0-9a-f]{{12}}-my-cat-1-.png", stored["key"])
    assert (stored["size"], stored["content_type"], stored["expires_in"]) == (4, "image/png", 3600)
    got = await read(storage, stored["url"])
    assert (got.content, got.headers["content-type"]) == (b"meow", "image/png")

    again = (await storage.http.get(f"/storage/{stored['file_id']}", headers=alice)).json()
    assert {**again, "url": ""} == {**stored, "url": ""}
    assert (await read(storage, again["url"])).content == b"meow"

    deleted = await storage.http.delete(f"/storage/{stored['file_id']}", headers=alice)
    assert (deleted.status_code, deleted.json()) == (200, {"file_id": stored["file_id"], "deleted": True})
    assert problem(await storage.http.get(f"/storage/{stored['file_id']}", headers=alice)) == (404, "no_such_key")
    assert storage.blobs() == []


async def test_a_public_file_has_a_lasting_url(storage: Stack) -> None:
    stored = (await upload(storage, storage.user(ALICE), public="true")).json()
    assert stored["expires_in"] is None
    assert "/object/public/user-files-public/" in stored["url"]
    assert (await read(storage, stored["url"])).content == b"meow"


async def test_a_stranger_neither_reads_nor_deletes(storage: Stack) -> None:
    for public in ("true", "false"):
        stored = (await upload(storage, storage.user(ALICE), public=public)).json()
        for method in ("GET", "DELETE"):
            answer = await storage.http.request(method, f"/storage/{stored['file_id']}", headers=storage.user(BOB))
            assert problem(answer) == (404, "no_such_key")
    assert len(storage.blobs()) == 2


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic x"}])
async def test_without_a_users_token_everything_is_401(storage: Stack, headers: dict[str, str]) -> None:
    for given in (headers, storage.anon):
        assert problem(await upload(storage, given))[0] == 401
        for method in ("GET", "DELETE"):
            answer = await storage.http.request(method, f"/storage/{ALICE}", headers=given)
            assert problem(answer) == (401, "invalid_token")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert storage.blobs() == []


async def test_the_service_key_is_no_user(storage: Stack) -> None:
    assert problem(await upload(storage, storage.admin)) == (403, "user_required")


async def test_bad_requests_are_refused_with_true_statuses(storage: Stack, database: Settings) -> None:
    alice = storage.user(ALICE)
    for folder in ("../x", "a//b", "/..", "a b", "x" * 300, "é"):
        assert problem(await upload(storage, alice, folder=folder)) == (400, "invalid_folder"), folder
    no_form = await storage.http.post("/storage/upload", content=b"x", headers=alice)
    assert problem(no_form) == (400, "invalid_form")
    no_file = await storage.http.post(
        "/storage/upload", content=b"--x--\r\n", headers={**alice, "content-type": "multipart/form-data; boundary=x"}
    )
    assert problem(no_file) == (400, "invalid_request")
    late: list[tuple[str, tuple[str | None, bytes]]] = [("file", ("a", b"x" * 300_000)), ("public", (None, b"true"))]
    assert problem(await storage.http.post("/storage/upload", files=late, headers=alice)) == (400, "invalid_form")
    assert problem(await storage.http.get("/storage/not-a-uuid", headers=alice)) == (404, "no_such_key")
    wrong = await storage.http.put("/storage/upload", headers=alice)
    assert problem(wrong)[0] == 405
    assert problem(await storage.http.get("/storage/a/b/c", headers=alice)) == (404, "not_found")
    assert storage.blobs() == []


async def test_a_file_beyond_the_limit_is_413(database: Settings) -> None:
    async with running(with_storage(database, file_size_limit_bytes=3)) as stack:
        assert problem(await upload(stack, stack.user(ALICE))) == (413, "entity_too_large")
        assert (stack.blobs(), stack.temporary_files()) == ([], [])


@pytest.mark.parametrize("name", ["", "...", "../../etc/passwd", "a\\b", "日本.png", "x" * 500, "-rf"])
async def test_any_file_name_becomes_a_safe_key(storage: Stack, name: str) -> None:
    answer = await storage.http.post(
        "/storage/upload", files={"file": (name or "blob", b"x", "image/png")}, headers=storage.user(ALICE)
    )
    assert answer.status_code == 201, answer.text
    key = answer.json()["key"]
    assert re.fullmatch(rf"{ALICE}/[0-9a-f]{{12}}-[A-Za-z0-9_][A-Za-z0-9_.-]{{0,99}}", key), key


async def test_the_face_is_described(storage: Stack) -> None:
    assert set(storage.service.openapi["paths"]) == {
        "/storage/upload",
        "/storage/uploads",
        "/storage/uploads/{upload_id}/complete",
        "/storage/{file_id}",
    }


async def test_public_urls_are_the_networks_and_files_are_kept_for_a_year(database: Settings) -> None:
    async with running(with_storage(database, cdn={"url": "https://cdn.example/"})) as stack:
        public = (await upload(stack, stack.user(ALICE), public="true")).json()
        assert public["url"] == f"https://cdn.example/storage/v1/object/public/user-files-public/{public['key']}"
        got = await stack.http.get(public["url"].removeprefix("https://cdn.example"))
        assert (got.content, got.headers["cache-control"]) == (b"meow", "public, max-age=31536000, immutable")
        private = (await upload(stack, stack.user(ALICE))).json()
        assert private["url"].startswith(stack.platform.settings.base_url)
        info = await stack.http.get(f"/storage/v1/object/info/user-files/{private['key']}", headers=stack.admin)
        assert info.json()["cache_control"] == "private, max-age=31536000, immutable"

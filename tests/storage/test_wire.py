"""What is said of a request before any rule of storage is asked: its path, its content type, its method."""

from __future__ import annotations

import pytest

from tests.storage.conftest import Stack, refusal


async def test_an_encoded_slash_stays_in_the_name_of_the_bucket(storage: Stack) -> None:
    await storage.bucket("a")
    await storage.put("a/b/key", b"mine", storage.admin)
    answer = await storage.http.get("/storage/v1/object/a%2Fb/key", headers=storage.admin)
    assert refusal(answer)[1:] == ("404", "Bucket not found", "Bucket not found")
    answer = await storage.http.get("/storage/v1/bucket/a%2Fb", headers=storage.admin)
    assert refusal(answer)[1:] == ("404", "Bucket not found", "Bucket not found")
    answer = await storage.http.post("/storage/v1/object/a%2Fb/key", content=b"x", headers=storage.admin)
    assert refusal(answer)[2] == "Invalid Input"


async def test_an_encoded_slash_in_a_key_is_a_slash(storage: Stack) -> None:
    await storage.bucket("a")
    await storage.put("a/b%2Fkey", b"mine", storage.admin)
    answer = await storage.http.get("/storage/v1/object/a/b/key", headers=storage.admin)
    assert answer.content == b"mine"
    assert storage.sql("select name from storage.objects") == [("b/key",)]


@pytest.mark.parametrize("path", ["%", "%zz", "%ff", "%C0%AF", "%ED%A0%80", "%f", "a%2"])
async def test_a_path_that_is_no_percent_encoded_text_is_refused(storage: Stack, path: str) -> None:
    answer = await storage.http.get(f"/storage/v1/object/b/{path}", headers=storage.admin)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "statusCode": 400,
        "code": "FST_ERR_BAD_URL",
        "error": "Bad Request",
        "message": f"'/object/b/{path}' is not a valid url component",
    }


@pytest.mark.parametrize("kind", ["x", "", "a/b/c", "/png", "image/"])
async def test_a_content_type_that_is_none_is_refused_and_nothing_is_stored(storage: Stack, kind: str) -> None:
    await storage.bucket("a")
    headers = {**storage.admin, "content-type": kind}
    answer = await storage.http.post("/storage/v1/object/a/key", content=b"x", headers=headers)
    assert refusal(answer) == (400, "415", "invalid_mime_type", "Invalid Content-Type header")
    assert storage.sql("select from storage.objects") == []


async def test_a_refused_head_has_the_headers_of_the_refusal_and_no_body(storage: Stack) -> None:
    get = await storage.http.get("/storage/v1/object/a/none", headers=storage.admin)
    head = await storage.http.head("/storage/v1/object/a/none", headers=storage.admin)
    assert (head.status_code, head.content) == (400, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert head.headers["content-type"] == get.headers["content-type"]


async def test_info_names_version_and_age_in_headers_too(storage: Stack) -> None:
    await storage.bucket("a")
    await storage.put("a/key", b"x", storage.admin, **{"cache-control": "max-age=60"})
    answer = await storage.http.get("/storage/v1/object/info/a/key", headers=storage.admin)
    assert answer.headers["etag"] == answer.json()["etag"]
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.headers["last-modified"].endswith("GMT")


async def test_rows_of_older_servers_say_when_they_were_changed_as_http_does(storage: Stack) -> None:
    await storage.bucket("a")
    storage.sql(
        "insert into storage.objects (bucket_id, name, metadata)"
        """ values ('a', 'key', '{"lastModified": "Wed, 12 Oct 2022 11:17:02 GMT", "size": 1}')"""
    )
    answer = await storage.http.head("/storage/v1/object/a/key", headers=storage.admin)
    assert answer.headers["last-modified"] == "Wed, 12 Oct 2022 11:17:02 GMT"


@pytest.mark.parametrize("path", ["a/key", "info/a/key", "info/authenticated/a/key"])
async def test_heads_and_facts_check_a_transform(storage: Stack, path: str) -> None:
    await storage.bucket("a")
    await storage.put("a/key", b"x", storage.admin)
    method = "GET" if path.startswith("info") else "HEAD"
    for query, status in (("width=5", 200), ("format=avif%0Ax", 400), ("quality=1", 400)):
        answer = await storage.http.request(method, f"/storage/v1/object/{path}?{query}", headers=storage.admin)
        assert answer.status_code == status, query

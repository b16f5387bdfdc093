"""Tokens, unknown routes, broken bodies: the envelope of every refusal."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from isobase_platform import __version__
from isobase_platform.caller import Caller
from isobase_platform.config import Settings
from tests.storage.conftest import ALICE, Stack, refusal, running, with_storage

V1 = "/storage/v1"
MALFORMED = (400, "403", "Unauthorized", "Invalid Compact JWS")


async def test_tokens_that_do_not_verify_are_refused_in_upstreams_words(storage: Stack) -> None:
    secret = storage.platform.settings.jwt_secret.get_secret_value()
    cases = {
        "": MALFORMED,
        "Bearer nonsense": MALFORMED,
        "Basic abc": MALFORMED,
        f"Bearer {storage.token('authenticated', ALICE, exp=1)}": (
            *MALFORMED[:3],
            '"exp" claim timestamp check failed',
        ),
        f"Bearer {jwt.encode({'role': 'service_role'}, 'y' * 32)}": (*MALFORMED[:3], "signature verification failed"),
        f"Bearer {jwt.encode({'role': 'anon', 'nbf': 9e9}, secret)}": (
            *MALFORMED[:3],
            '"nbf" claim timestamp check failed',
        ),
    }
    for authorization, expected in cases.items():
        answer = await storage.http.get(f"{V1}/bucket", headers={"authorization": authorization})
        assert refusal(answer) == expected, authorization
        assert answer.json()["code"] == "AccessDenied"


async def test_a_missing_token_reads_differently_behind_a_gateway_and_without_one(storage: Stack) -> None:
    assert refusal(await storage.http.get(f"{V1}/bucket")) == MALFORMED
    async with storage.bare() as bare:
        answer = await bare.get("/bucket")
        assert refusal(answer) == (400, "400", "Error", "headers must have required property 'authorization'")
        assert (await bare.get("/bucket", headers=storage.admin)).status_code == 200
        assert (await bare.get("/status")).status_code == 200


async def test_api_keys_stand_for_their_roles(storage: Stack) -> None:
    settings = storage.platform.settings
    for key, count in (
        (settings.secret_key.get_secret_value(), 2),
        (settings.publishable_key.get_secret_value(), 0),
        (storage.service_token, 2),
    ):
        answer = await storage.http.get(f"{V1}/bucket", headers={"apikey": key})
        assert (answer.status_code, len(answer.json())) == (200, count)


async def test_a_token_without_a_role_is_anon_and_one_with_a_role_that_is_none_is_refused(storage: Stack) -> None:
    secret = storage.platform.settings.jwt_secret.get_secret_value()
    anonymous = {"authorization": f"Bearer {jwt.encode({'sub': ALICE}, secret)}"}
    assert (await storage.http.get(f"{V1}/bucket", headers=anonymous)).json() == []
    for role in ("postgres", "supabase_admin", "no such role", "a'; drop table storage.objects; --"):
        headers = {"authorization": f"Bearer {storage.token(role)}"}
        answer = await storage.http.get(f"{V1}/bucket", headers=headers)
        assert refusal(answer)[:3] == (400, "403", "Unauthorized"), role
    assert storage.sql("select count(*) from storage.buckets") == [(2,)]


async def test_a_route_that_is_none_is_404_in_upstreams_shape(storage: Stack) -> None:
    for method, path in (
        ("PATCH", "/object/b/a"),
        ("GET", "/object/b"),
        ("GET", "/object"),
        ("POST", "/bucket/b"),
        ("DELETE", "/bucket"),
        ("GET", "/bucket/b/empty"),
        ("PUT", "/object/move"),
    ):
        answer = await storage.http.request(method, f"{V1}{path}?x=1", headers=storage.admin)
        assert refusal(answer) == (404, "404", "Not Found", f"Route {method}:{path}?x=1 not found")
        assert answer.headers["content-type"] == "application/json"
    # Outside the groups the status is a number.
    for path in ("/", "/nothing", "/upload/resumable", "/s4", "/iceberg/bucket"):
        answer = await storage.http.get(f"{V1}{path}")
        assert answer.status_code == 404
        assert answer.json() == {"message": f"Route GET:{path} not found", "error": "Not Found", "statusCode": 404}


async def test_a_broken_body_is_refused(storage: Stack) -> None:
    broken = ("FastifyError", "Body is not valid JSON but content-type is set to 'application/json'")
    empty = ("FastifyError", "Body cannot be empty when content-type is set to 'application/json'")
    no_object = ("Error", "body must be object")
    for content_type, content, expected in (
        ("application/json", b"", empty),
        ("application/json", b"{broken", broken),
        ("application/json", b'{"name": NaN}', broken),
        ("application/json", b"[" * 100_000, broken),
        ("application/json", b"\xff\xfe{}", broken),
        ("application/json", b"[]", no_object),
        ("application/json", b"null", no_object),
        ("text/plain", b"{}", no_object),
        ("application/x-www-form-urlencoded", b"name=a", no_object),
    ):
        headers = {**storage.admin, "content-type": content_type}
        answer = await storage.http.post(f"{V1}/bucket", content=content, headers=headers)
        assert refusal(answer) == (400, "400", *expected), content[:20]


async def test_a_token_whose_claims_postgresql_cannot_hold_is_refused(storage: Stack) -> None:
    headers = {"authorization": f"Bearer {storage.token('authenticated', 'a' + chr(0))}"}
    for answer in (
        await storage.http.get(f"{V1}/bucket", headers=headers),
        await storage.put("user-files/x", b"x", headers),
        await storage.http.get(f"{V1}/object/user-files/x?{'a=1&' * 500}", headers=headers),
    ):
        assert refusal(answer)[:2] == (400, "400")


async def test_a_json_body_beyond_the_limit_is_413(storage: Stack) -> None:
    answer = await storage.http.post(f"{V1}/bucket", json={"name": "a" * 2_000_000}, headers=storage.admin)
    assert refusal(answer) == (413, "413", "FastifyError", "Request body is too large")


async def test_a_query_that_does_not_fit_is_refused(storage: Stack) -> None:
    for query, message in (
        ("limit=0", "querystring/limit must be >= 1"),
        ("offset=x", "querystring/offset must be integer"),
        ("sortColumn=owner", "querystring/sortColumn must be equal to one of the allowed values"),
        ("limit=1&limit=2", "querystring/limit must be integer"),
    ):
        answer = await storage.http.get(f"{V1}/bucket?{query}", headers=storage.admin)
        assert refusal(answer) == (400, "400", "Error", message)


async def test_status_and_version_need_no_token(storage: Stack) -> None:
    status = await storage.http.get(f"{V1}/status")
    assert (status.status_code, status.content) == (200, b"")
    assert (await storage.http.get(f"{V1}/version")).text == __version__


async def test_browsers_may_ask_and_read_headers(storage: Stack) -> None:
    headers = {"origin": "http://x.test", "access-control-request-method": "POST"}
    assert (await storage.http.options(f"{V1}/object/b/a", headers=headers)).status_code == 200
    answer = await storage.http.get(f"{V1}/status", headers={"origin": "http://x.test"})
    assert "content-range" in answer.headers["access-control-expose-headers"]


async def test_an_unexpected_error_tells_nothing(storage: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object) -> str:
        raise RuntimeError("inner text")

    monkeypatch.setattr(storage.service._core.buckets, "list", fail)
    answer = await storage.http.get(f"{V1}/bucket", headers=storage.admin)
    assert refusal(answer) == (500, "500", "Internal", "Internal Server Error")


async def test_a_database_without_a_free_connection_is_544_and_one_that_is_full_is_429(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = database.database.model_copy(update={"pool_max_size": 1})
    async with running(database.model_copy(update={"database": group})) as stack:
        async with stack.platform.door.transaction(Caller.service()):
            with monkeypatch.context() as impatient:
                impatient.setattr(stack.platform.door._pool, "_acquire_timeout_s", 0.2)
                answer = await stack.http.get(f"{V1}/bucket", headers=stack.admin)
        assert refusal(answer) == (544, "544", "DatabaseTimeout", "The connection to the database timed out")
        ((name,),) = stack.sql("select current_database()")
        stack.sql(f'alter database "{name}" connection limit 0')
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'")
        answer = await stack.http.get(f"{V1}/bucket", headers=stack.admin)
        if answer.json()["code"] == "DatabaseTimeout":  # the connection that was ended is noticed first
            answer = await stack.http.get(f"{V1}/bucket", headers=stack.admin)
        assert refusal(answer)[:3] == (429, "429", "too_many_connections")
        stack.sql(f'alter database "{name}" connection limit -1')
        assert (await stack.http.get(f"{V1}/bucket", headers=stack.admin)).status_code == 200


async def test_what_the_settings_ask_for_is_made_at_start_only_where_it_is_missing(database: Settings) -> None:
    settings = with_storage(
        database, buckets={"images": {"public": True, "file_size_limit_bytes": 1000, "allowed_mime_types": ["image/*"]}}
    )
    async with running(settings) as stack:
        found = stack.sql("select public, file_size_limit, allowed_mime_types from storage.buckets where id = 'images'")
        assert found == [(True, 1000, ["image/*"])]
        stack.sql("update storage.buckets set public = false where id = 'images'")
        stack.sql('drop policy "user-files: owner may delete" on storage.objects')
    async with running(settings) as stack:
        assert stack.sql("select public from storage.buckets where id = 'images'") == [(False,)]
        policies = {name for (name,) in stack.sql("select policyname from pg_policies where schemaname = 'storage'")}
        assert "user-files: owner may delete" in policies


async def test_files_of_the_project_are_uploaded_at_start_where_they_are_missing(
    database: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name, content in (("a.png", b"a"), ("sub/b.png", b"b"), ("no image.txt", b"c"), ("bad~name.png", b"d")):
        (folder / name).write_bytes(content)
    (folder / "link.png").symlink_to(folder / "a.png")
    bucket = {"public": True, "allowed_mime_types": ["image/*"], "objects_path": folder}
    settings = with_storage(database, buckets={"images": bucket})
    async with running(settings) as stack:
        assert (await stack.http.get(f"{V1}/object/public/images/sub/b.png")).content == b"b"
        names = [name for (name,) in stack.sql("select name from storage.objects order by name")]
        assert names == ["a.png", "sub/b.png"]
        assert caplog.text.count("a file was not uploaded") == 2
        await stack.http.put(
            f"{V1}/object/images/a.png", content=b"new", headers={**stack.admin, "content-type": "image/png"}
        )
    async with running(settings) as stack:
        assert (await stack.http.get(f"{V1}/object/public/images/a.png")).content == b"new"

"""The wire of the Supabase face: both error shapes, bodies that are no JSON, unknown routes, fixed pages, logs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from isobase_platform.config import Settings
from isobase_platform.http.edge import Edge
from isobase_platform.keys import generate_jwk
from isobase_platform.runtime import Platform
from isobase_platform.service import Mount
from isobase_services.auth import create_service
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, running_auth, with_auth
from tests.plugins.listening import listening

VERSION = {"x-supabase-api-version": "2024-01-01"}


@pytest.mark.parametrize(
    ("version", "is_current"),
    [
        (None, False),
        ("2023-12-31", False),
        ("2024-01-01", True),
        ("2026-05-05", True),
        ("yesterday", False),
        ("2024-1-1", False),
        ("2024-13-01", False),
    ],
)
async def test_error_has_the_shape_of_the_callers_api_version(
    auth: AuthServer, version: str | None, is_current: bool
) -> None:
    headers = {"x-supabase-api-version": version} if version is not None else {}
    answer = await auth.client.post("/token?grant_type=password", json={"email": "a@b.c"}, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["x-sb-error-code"] == "invalid_credentials"
    assert answer.headers["content-type"] == "application/json"
    if is_current:
        assert answer.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
        assert answer.headers["x-supabase-api-version"] == "2024-01-01"
    else:
        assert answer.json() == {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}
        assert "x-supabase-api-version" not in answer.headers


@pytest.mark.parametrize("headers", [{}, VERSION])
async def test_weak_password_lists_its_reasons_in_both_versions(auth: AuthServer, headers: dict[str, str]) -> None:
    answer = await auth.client.post("/signup", json={"email": "a@b.c", "password": "x"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["weak_password"] == {"reasons": ["length"]}
    assert answer.json()["code" if headers else "error_code"] == "weak_password"


async def test_success_does_not_repeat_the_api_version(auth: AuthServer) -> None:
    answer = await auth.client.get("/settings", headers=VERSION)
    assert "x-supabase-api-version" not in answer.headers


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal array into Go value of type object"),
        (b'"text"', "json: cannot unmarshal string into Go value of type object"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"email": 5}', "json: cannot unmarshal number into Go struct field email of type string"),
        (
            b'{"password": ["x"], "email": "a@b.c"}',
            "json: cannot unmarshal array into Go struct field password of type string",
        ),
        (
            b'{"data": [], "email": "a@b.c"}',
            "json: cannot unmarshal array into Go struct field data of type map[string]interface {}",
        ),
        (b'{"data": {"x": NaN}}', "invalid value"),
        (b'{"data": {"x": 1e999}}', "invalid value"),
        (b'{"data": ' + b"[" * 200_000, "invalid value"),
        (b'{"data": {"x": ' + b"[" * 300 + b'"\\u0041"' + b"]" * 300 + b"}}", "invalid value"),
        (b'{"data": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}", "invalid value"),
    ],
)
async def test_body_that_is_no_json_object_is_bad_json(auth: AuthServer, body: bytes, reason: str) -> None:
    answer = await auth.client.post("/signup", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "bad_json")
    assert answer.json()["msg"] == f"Could not parse request body as JSON: {reason}"


async def test_null_is_absent_and_unknown_fields_are_ignored(auth: AuthServer) -> None:
    body = {
        "email": "alice@example.com",
        "password": PASSWORD,
        "data": None,
        "phone": None,
        "channel": None,
        "code_challenge": None,
        "code_challenge_method": None,
        "gotrue_meta_security": {"captcha_token": None},
        "options": {"anything": 1},
    }
    assert (await auth.client.post("/signup", json=body)).status_code == 200
    nothing = await auth.client.post("/signup", content=b"null")
    assert nothing.json()["error_code"] == "anonymous_provider_disabled"


async def test_fields_are_found_by_their_names_in_any_case_and_the_last_counts(auth: AuthServer) -> None:
    content = b'{"EMAIL": "bob@example.com", "Email": "alice@example.com", "Password": "correct horse"}'
    answer = await auth.client.post("/signup", content=content)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == "alice@example.com"


async def test_text_that_postgresql_cannot_keep_is_a_callers_mistake(auth: AuthServer) -> None:
    base = {"email": "alice@example.com", "password": PASSWORD}
    for body in (
        {**base, "data": {"x": ["a\x00b"]}},
        {**base, "password": "pass\x00word"},
        {**base, "data": {"\x00": 1}},
    ):
        answer = await auth.client.post("/signup", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    half = b'{"email": "alice@example.com", "password": "correct horse", "data": {"x": "\\ud800", "y": "\xff"}}'
    answer = await auth.client.post("/signup", content=half)
    assert answer.status_code == 200
    metadata = answer.json()["user"]["user_metadata"]
    assert (metadata["x"], metadata["y"]) == ("\ufffd", "\ufffd")


async def test_body_over_one_megabyte_is_413(auth: AuthServer) -> None:
    answer = await auth.client.post("/signup", content=b'{"data":"' + b"x" * (1 << 20) + b'"}')
    assert answer.status_code == 413
    assert answer.json()["error_code"] == "request_entity_too_large"
    assert answer.json()["msg"] == "Request body too large (max 1048576 bytes)"


@pytest.mark.parametrize("path", ["/", "/nothing", "/token/", "/sign", "/.well-known/nothing", "/users", "/verify/x/y"])
async def test_unknown_route_is_the_routers_404(auth: AuthServer, path: str) -> None:
    answer = await auth.client.get(path)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/signup", "POST"),
        ("GET", "/token", "POST"),
        ("GET", "/logout", "POST"),
        ("POST", "/health", "GET"),
        ("HEAD", "/health", "GET"),
        ("DELETE", "/settings", "GET"),
    ],
)
async def test_wrong_method_is_an_empty_405(auth: AuthServer, method: str, path: str, allow: str) -> None:
    answer = await auth.client.request(method, path)
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["allow"] == allow


async def test_guarded_paths_ask_for_the_token_before_they_tell_what_is_there(auth: AuthServer) -> None:
    session = await auth.sign_up()
    for method, path in (("GET", "/admin/nothing"), ("PATCH", "/admin/users"), ("POST", "/user"), ("GET", "/user/x")):
        answer = await auth.client.request(method, path)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "no_authorization")
    assert (await auth.client.get("/admin/nothing", headers=auth.service_headers)).status_code == 404
    assert (await auth.client.patch("/admin/users", headers=auth.service_headers)).status_code == 405
    assert (await auth.client.post("/user", headers=bearer(session))).status_code == 405


async def test_web_socket_is_turned_away(auth: AuthServer) -> None:
    import websockets

    async with listening(auth.app) as url:
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.connect(f"{url.replace('http', 'ws')}/auth/v1/user")
        assert refused.value.response.status_code == 403


async def test_sub_routers_take_a_slash_at_the_end(auth: AuthServer) -> None:
    session = await auth.sign_up()
    assert (await auth.client.get("/user/", headers=bearer(session))).status_code == 200
    assert (await auth.client.get("/admin/users/", headers=auth.service_headers)).status_code == 200


async def test_health_names_the_upstream(auth: AuthServer) -> None:
    answer = await auth.client.get("/health")
    assert answer.status_code == 200
    assert answer.json().keys() == {"version", "name", "description"}
    assert answer.json()["name"] == "GoTrue"


async def test_settings_tell_what_is_switched_on(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True, email_enable_confirmations=True) as auth:
        settings = (await auth.client.get("/settings")).json()
        assert len(settings["external"]) == 26
        assert {name for name, is_on in settings["external"].items() if is_on} == {"anonymous_users", "email"}
        assert settings["mailer_autoconfirm"] is False
        assert settings["phone_autoconfirm"] is True
        assert settings["disable_signup"] is False


async def test_jwks_lists_public_keys_only_and_tokens_are_signed_by_the_private_one(
    auth_database: Settings, tmp_path: Path, start_auth: StartAuth
) -> None:
    import json

    keys = tmp_path / "keys.json"
    jwk = generate_jwk("ES256")
    keys.write_text(
        json.dumps([jwk, {"kty": "oct", "kid": "old", "alg": "HS256", "k": "c2VjcmV0" * 8, "key_ops": ["verify"]}])
    )
    settings = with_auth(auth_database).model_copy(update={"jwt_keys_file": keys})
    async with running_auth(settings) as auth:
        answer = await auth.client.get("/.well-known/jwks.json")
        (public,) = answer.json()["keys"]
        assert answer.headers["cache-control"] == "public, max-age=600"
        assert public["kid"] == jwk["kid"]
        assert not {"d", "k"} & public.keys()
        session = await auth.sign_up()
        assert jwt.get_unverified_header(session["access_token"]) == {"alg": "ES256", "typ": "JWT", "kid": jwk["kid"]}
        jwt.decode(session["access_token"], jwt.PyJWK(public), audience="authenticated")
        assert (await auth.client.get("/user", headers=bearer(session))).status_code == 200
        assert (await auth.client.get("/admin/users", headers=auth.service_headers)).status_code == 200


async def test_without_a_key_file_the_jwks_is_empty(auth: AuthServer) -> None:
    assert (await auth.client.get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_service_answers_at_the_root_when_it_runs_alone(auth: AuthServer) -> None:
    service = create_service(auth.platform)
    bare = next(mount for mount in service.mounts if mount.serves_bare)
    alone = Edge((), keys=auth.platform.api_keys, metrics=auth.platform.metrics, bare=Mount("", bare.app))
    transport = httpx.ASGITransport(app=alone)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth") as client:
        assert (await client.get("/health")).json()["name"] == "GoTrue"
    await service.drain(1.0)


async def test_unreachable_database_is_503_without_inner_text(auth: AuthServer) -> None:
    from pydantic import SecretStr

    lost = auth.settings.database.model_copy(update={"url": SecretStr("postgresql://x:secret@127.0.0.1:9/none")})
    async with Platform.open(auth.settings.model_copy(update={"database": lost})) as platform:
        service = create_service(platform)
        app = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://isobase/auth/v1") as client:
            answer = await client.post("/token?grant_type=password", json={"email": "a@b.c", "password": "x"})
        assert answer.status_code == 503
        assert answer.json()["error_code"] == "unexpected_failure"
        assert answer.json()["error_id"] == answer.headers["x-request-id"]
        assert "secret" not in answer.text
        assert "127.0.0.1" not in answer.text
        await service.drain(1.0)


async def test_request_that_takes_too_long_is_504_and_leaves_no_lock(
    auth: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await auth.sign_up()
    async with auth.database.transaction():
        await auth.database.execute("select from auth.users for update")
        with monkeypatch.context() as limits:
            limits.setattr("isobase_services.auth.routing.MAX_REQUEST_DURATION_S", 0.3)
            answer = await auth.client.put("/user", json={"data": {"a": 1}}, headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (504, "request_timeout")
    again = await auth.client.put("/user", json={"data": {"a": 1}}, headers=bearer(session))
    assert again.status_code == 200


async def test_clients_that_hang_up_leave_the_service_whole(auth: AuthServer) -> None:
    session = await auth.sign_up()
    async with listening(auth.app) as url, httpx.AsyncClient(base_url=f"{url}/auth/v1", timeout=60) as client:

        async def hang_up(delay_s: float) -> None:
            request = client.put("/user", json={"data": {"n": delay_s}}, headers=bearer(session))
            try:
                await asyncio.wait_for(request, delay_s)
            except TimeoutError:
                return

        await asyncio.gather(*(hang_up(0.001 * number) for number in range(1, 40)))
        assert (await client.get("/user", headers=bearer(session))).status_code == 200
    locks = await auth.database.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
    )
    assert locks == 0


async def test_no_password_or_token_is_in_any_log_line(start_auth: StartAuth, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with start_auth(email_enable_confirmations=True, phone_enable_confirmations=True) as auth:
        secrets: list[str] = ["a very secret password", "another secret password"]
        body: dict[str, Any] = {"email": "alice@example.com", "password": secrets[0]}
        await auth.client.post("/signup", json=body)
        secrets.append(await auth.database.fetchval("select confirmation_token from auth.users"))
        await auth.database.execute("update auth.users set email_confirmed_at = now()")
        session = (await auth.sign_in(password=secrets[0])).json()
        secrets += [session["access_token"], session["refresh_token"]]
        await auth.sign_in(password=secrets[1])
        refreshed = (await auth.refresh(session["refresh_token"])).json()
        secrets += [refreshed["access_token"], refreshed["refresh_token"]]
        await auth.client.put("/user", json={"password": secrets[1]}, headers=bearer(refreshed))
        await auth.simple.post("/signin", json={"email": 1, "password": secrets[0]})
        lines = "\n".join(f"{record.getMessage()} {vars(record)} {record.exc_text}" for record in caplog.records)
        hashes = await auth.database.fetch("select encrypted_password from auth.users")
        for secret in [*secrets, *(row["encrypted_password"] for row in hashes)]:
            assert secret not in lines

"""Hooks: how they are called, how they are signed, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from isobase_platform.config import AuthSettings
from isobase_platform.config_auth.hook import HookSettings
from isobase_platform.errors import ConfigurationError
from isobase_services.auth.hooks.over_http import signature
from isobase_services.auth.hooks.targets import read_target
from tests.auth.conftest import PATIENCE_S, AuthServer, StartAuth
from tests.auth.receivers import HOOK_KEY, HOOK_SECRET, Call, receiving
from tests.plugins.ports import free_ports
from tests.plugins.stack import DatabaseServer


def hook_settings(name: str, uri: str, secrets: str = HOOK_SECRET, **more: object) -> HookSettings:
    """One hook switched on, with no pause between tries, and with time for its answers."""
    point = {"enabled": True, "uri": uri, "secrets": secrets}
    limits = {"retry_pause_s": 0, "timeout_s": PATIENCE_S, "function_timeout_s": PATIENCE_S}
    return HookSettings.model_validate({name: point, **limits, **more})


def is_signed(call: Call, key: bytes = HOOK_KEY) -> bool:
    """The check of the standard, written from its specification: id, time and body, divided by dots."""
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(part == f"v1,{expected}" for part in call.headers["webhook-signature"].split(" "))


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def with_claim(call: Call) -> Response:
    return JSONResponse({"claims": {**call.json["claims"], "plan": "gold"}})


async def test_a_token_hook_is_called_with_a_signature_and_its_claims_are_in_every_token(start_auth: StartAuth) -> None:
    async with receiving(with_claim) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", f"{hook.url}/token")) as auth:
            signed_up = await auth.sign_up()
            signed_in = (await auth.sign_in()).json()
            refreshed = (await auth.refresh(signed_in["refresh_token"])).json()
    assert [claims_of(grant["access_token"])["plan"] for grant in (signed_up, signed_in, refreshed)] == ["gold"] * 3
    assert [call.json["authentication_method"] for call in hook.calls] == ["password", "password", "token_refresh"]
    assert all(is_signed(call) for call in hook.calls)
    assert not is_signed(hook.calls[0], b"another key of thirty-two bytes!")
    first = hook.calls[0].json
    assert first["user_id"] == signed_up["user"]["id"]
    assert first["metadata"]["name"] == "customize-access-token"
    assert set(first["metadata"]) == {"uuid", "time", "name", "ip_address"}
    assert first["claims"]["email"] == "alice@example.com"


def test_a_signature_is_the_standards_own_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    start_auth: StartAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with receiving(with_claim) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url)) as auth:
            assert claims_of((await auth.sign_up())["access_token"])["plan"] == "gold"


async def test_each_of_several_secrets_signs(start_auth: StartAuth) -> None:
    other = b"the key that comes after this one"
    secrets = f"{HOOK_SECRET}|v1,whsec_{base64.b64encode(other).decode()}"
    async with receiving(with_claim) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url, secrets)) as auth:
            await auth.sign_up()
    assert is_signed(hook.calls[0], HOOK_KEY)
    assert is_signed(hook.calls[0], other)


async def test_a_token_hook_cannot_make_another_users_token_or_a_longer_one(start_auth: StartAuth) -> None:
    def greedy(call: Call) -> Response:
        claims = call.json["claims"]
        return JSONResponse(
            {
                "claims": {
                    **claims,
                    "sub": "00000000-0000-0000-0000-000000000001",
                    "exp": claims["exp"] + 10_000_000,
                    "aal": "aal2",
                    "session_id": "00000000-0000-0000-0000-000000000002",
                    "role": "manager",
                    "amr": [],
                }
            }
        )

    async with receiving(greedy) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url)) as auth:
            session = await auth.sign_up()
    claims = claims_of(session["access_token"])
    assert claims["sub"] == session["user"]["id"]
    assert claims["exp"] == hook.calls[0].json["claims"]["exp"]
    assert claims["aal"] == "aal1"
    assert claims["session_id"] == hook.calls[0].json["claims"]["session_id"]
    assert claims["role"] == "manager"
    assert claims["amr"] == hook.calls[0].json["claims"]["amr"]


async def test_a_token_hook_may_shorten_a_token(start_auth: StartAuth) -> None:
    def shorter(call: Call) -> Response:
        claims = call.json["claims"]
        return JSONResponse({"claims": {**claims, "exp": claims["iat"] + 60}})

    async with receiving(shorter) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url)) as auth:
            session = await auth.sign_up()
    assert session["expires_in"] == 60
    assert claims_of(session["access_token"])["exp"] == session["expires_at"]


def dropping(name: str, value: object = None) -> Any:
    def answer(call: Call) -> Response:
        claims = {key: item for key, item in call.json["claims"].items() if key != name}
        return JSONResponse({"claims": claims if value is None else {**claims, name: value}})

    return answer


def raw_json(text: str) -> Any:
    return lambda call: Response(text.encode(), media_type="application/json")


@pytest.mark.parametrize(
    ("answer", "status", "code", "message"),
    [
        (dropping("session_id"), 500, "unexpected_failure", "session_id is required"),
        (dropping("exp", "soon"), 500, "unexpected_failure", "exp: Invalid type. Expected: integer, given: string"),
        (dropping("x", "x" * 40_000), 500, "unexpected_failure", "larger than 32768 bytes"),
        (lambda call: JSONResponse({}), 500, "unexpected_failure", "output claims field is missing"),
        (lambda call: JSONResponse({"claims": []}), 500, "unexpected_failure", "Error unmarshaling JSON output."),
        (lambda call: JSONResponse([]), 500, "unexpected_failure", "Error unmarshaling JSON output."),
        *(
            (raw_json(text), 500, "unexpected_failure", "Error unmarshaling JSON output.")
            for text in (
                *('{"claims": NaN}', '{"claims": {"x": 1e999}}', '{"claims": "\\ud800"}', "[" * 5000 + "]" * 5000),
                *("{", '{"claims": {}', "\x00"),
            )
        ),
        (
            lambda call: JSONResponse({"error": {"http_code": 403, "message": "not on a Sunday"}}),
            403,
            "unknown",
            "not on a Sunday",
        ),
        (
            lambda call: JSONResponse({"error": {"message": "broken"}}),
            500,
            "unexpected_failure",
            "broken",
        ),
        (lambda call: JSONResponse({}, 400), 500, "unexpected_failure", "Invalid payload sent to hook"),
        (lambda call: JSONResponse({}, 401), 500, "unexpected_failure", "Hook requires authorization token"),
        (lambda call: JSONResponse({}, 418), 500, "unexpected_failure", "Unexpected status code returned from hook: 418"),
        (
            lambda call: RedirectResponse("/elsewhere", 307),
            500,
            "unexpected_failure",
            "Unexpected status code returned from hook: 307",
        ),
        (lambda call: JSONResponse({}, 503), 500, "unexpected_failure", "Service currently unavailable due to hook"),
        (
            lambda call: PlainTextResponse("hello"),
            400,
            "hook_payload_invalid_content_type",
            "Invalid JSON response. Received content-type: text/plain; charset=utf-8",
        ),
        (
            lambda call: Response(b"{}"),
            400,
            "hook_payload_invalid_content_type",
            "Invalid Content-Type: Missing Content-Type header",
        ),
        (
            lambda call: JSONResponse({"claims": "x" * 250_000}),
            422,
            "hook_payload_over_size_limit",
            "Payload size exceeded size limit of 204800 bytes",
        ),
    ],
)  # fmt: skip
async def test_what_a_hook_does_wrong_is_answered_as_upstream_does_and_opens_no_session(
    start_auth: StartAuth, answer: Any, status: int, code: str, message: str
) -> None:
    async with receiving(answer) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", f"{hook.url}/hook")) as auth:
            refused = await auth.client.post(
                "/signup", json={"email": "alice@example.com", "password": "correct horse battery"}
            )
            assert await auth.count("sessions") == 0
            assert await auth.count("refresh_tokens") == 0
    assert refused.status_code == status, refused.text
    assert refused.json()["error_code"] == code
    assert message in refused.json()["msg"]
    assert [call.path for call in hook.calls] == ["/hook"]


async def test_a_hook_that_asks_for_another_try_gets_three(start_auth: StartAuth) -> None:
    async with receiving(lambda call: JSONResponse({}, 503, headers={"retry-after": "true"})) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url)) as auth:
            refused = await auth.client.post("/signup", json={"email": "a@example.com", "password": "correct horse"})
    assert (refused.status_code, len(hook.calls)) == (500, 3)
    assert len({call.headers["webhook-id"] for call in hook.calls}) == 3


async def test_a_hook_that_cannot_be_reached_is_tried_three_times(start_auth: StartAuth) -> None:
    closed = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with start_auth(hook=hook_settings("custom_access_token", closed)) as auth:
        refused = await auth.client.post("/signup", json={"email": "a@example.com", "password": "correct horse"})
    assert (refused.status_code, refused.json()["error_code"]) == (422, "hook_timeout_after_retry")


async def test_a_slow_hook_is_given_up(start_auth: StartAuth) -> None:
    given_up = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await given_up.wait()

    async with receiving(lambda call: slow) as hook:  # type: ignore[arg-type,return-value]
        settings = hook_settings("custom_access_token", hook.url, timeout_s=0.2)
        async with start_auth(hook=settings) as auth:
            refused = await auth.client.post("/signup", json={"email": "a@example.com", "password": "correct horse"})
        given_up.set()
    assert (refused.status_code, refused.json()["error_code"]) == (422, "hook_timeout")
    assert refused.json()["msg"] == "Failed to reach hook within maximum time of 0.200000 seconds"


async def test_a_refresh_whose_hook_fails_can_be_repeated(start_auth: StartAuth) -> None:
    async with receiving(with_claim) as hook:
        async with start_auth(hook=hook_settings("custom_access_token", hook.url)) as auth:
            session = await auth.sign_up()
            hook.answer = lambda call: JSONResponse({"error": {"http_code": 400, "message": "not now"}})
            assert (await auth.refresh(session["refresh_token"])).status_code == 400
            hook.answer = with_claim
            again = await auth.refresh(session["refresh_token"])
            assert again.status_code == 200, again.text
            assert (await auth.refresh(again.json()["refresh_token"])).status_code == 200


@pytest.fixture
def functions(postgres: DatabaseServer) -> Iterator[None]:
    """Hooks as PostgreSQL functions, gone again after the test."""
    with _functions(postgres):
        yield


@contextmanager
def _functions(postgres: DatabaseServer) -> Iterator[None]:
    postgres.execute(
        """
        create schema hooks;
        create function hooks.add_claim(event jsonb) returns jsonb language sql as $$
          select jsonb_build_object('claims', event -> 'claims' || jsonb_build_object('db_role', current_user,
            'sees_user', exists (select from auth.users where id = (event ->> 'user_id')::uuid))) $$;
        create function hooks.refuse(event json) returns json language sql as $$
          select '{"error": {"http_code": 403, "message": "refused by SQL"}}'::json $$;
        create function hooks.breaks(event jsonb) returns jsonb language plpgsql as $$
          begin raise exception 'a secret of %', event ->> 'user_id'; end $$;
        create function hooks.sleeps(event jsonb) returns jsonb language sql as $$
          select to_jsonb(pg_sleep(60)::text) $$;
        grant usage on schema hooks to supabase_auth_admin;
        """,
        database="auth_rows",
    )
    try:
        yield
    finally:
        postgres.execute("drop schema hooks cascade", database="auth_rows")


async def test_a_function_runs_as_auths_own_role_and_sees_the_new_user(start_auth: StartAuth, functions: None) -> None:
    uri = "pg-functions://postgres/hooks/add_claim"
    async with start_auth(hook=hook_settings("custom_access_token", uri)) as auth:
        claims = claims_of((await auth.sign_up())["access_token"])
    assert (claims["db_role"], claims["sees_user"]) == ("supabase_auth_admin", True)


@pytest.mark.parametrize(
    ("function", "status", "message"),
    [
        ("refuse", 403, "refused by SQL"),
        ("breaks", 500, "Error running hook URI: pg-functions://postgres/hooks/breaks"),
        ("sleeps", 500, "Error running hook URI: pg-functions://postgres/hooks/sleeps"),
        ("missing", 500, "Error running hook URI: pg-functions://postgres/hooks/missing"),
    ],
)
async def test_a_function_that_refuses_fails_or_takes_too_long_stops_the_sign_up(
    start_auth: StartAuth, functions: None, function: str, status: int, message: str
) -> None:
    limit: dict[str, Any] = {"function_timeout_s": 0.2} if function == "sleeps" else {}
    settings = hook_settings("custom_access_token", f"pg-functions://postgres/hooks/{function}", **limit)
    async with start_auth(hook=settings) as auth:
        refused = await auth.client.post("/signup", json={"email": "a@example.com", "password": "correct horse"})
        assert await auth.count("sessions") == 0
    assert (refused.status_code, refused.json()["msg"]) == (status, message)


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("http://hooks.example.com/", HOOK_SECRET),
        ("ftp://hooks.example.com/", HOOK_SECRET),
        ("https://", HOOK_SECRET),
        ("https://hooks.example.com/", ""),
        ("https://hooks.example.com/", "whsec_short"),
        ("https://hooks.example.com/", "v1,whsec_short"),
        ("https://hooks.example.com/", "v1,whsec_" + "a" * 33),
        ("pg-functions://postgres/public", ""),
        ('pg-functions://postgres/public/f"; drop table x; --', ""),
        ("pg-functions://postgres/public/f/g", ""),
    ],
)
def test_a_hook_that_is_set_up_wrongly_is_refused_at_start_without_repeating_the_secret(uri: str, secrets: str) -> None:
    point = hook_settings("send_email", uri, secrets).send_email
    with pytest.raises(ConfigurationError) as refusal:
        read_target("send_email", point)
    assert "auth.hook.send_email" in str(refusal.value)
    assert not secrets or secrets not in str(refusal.value)


def test_secrets_are_not_shown() -> None:
    settings = AuthSettings(hook=hook_settings("send_email", "https://hooks.example.com/"))
    target = read_target("send_email", settings.hook.send_email)
    assert HOOK_SECRET not in repr(settings) + repr(target) + json.dumps(settings.model_dump(mode="json"))
    assert "thirty-two" not in repr(target)


async def test_no_hook_no_call(auth: AuthServer) -> None:
    assert (await auth.sign_up())["user"]["email"] == "alice@example.com"

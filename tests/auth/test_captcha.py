"""The CAPTCHA check: where it stands, who passes it, and what the provider may do wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from isobase_platform.config_auth.captcha import CaptchaSettings
from tests.auth.conftest import PASSWORD, StartAuth
from tests.auth.receivers import Call, receiving

USER = {"email": "alice@example.com", "password": PASSWORD}


def captcha(url: str, **changes: object) -> CaptchaSettings:
    """A CAPTCHA whose provider is a receiver of the test's."""
    return CaptchaSettings.model_validate({"enabled": True, "secret": "sesame", "verify_url": url, **changes})


def verdict(call: Call) -> Response:
    is_solved = parse_qs(call.body.decode())["response"] == ["solved"]
    return JSONResponse({"success": is_solved, "error-codes": [] if is_solved else ["invalid-input", "sitekey"]})


def solved(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "gotrue_meta_security": {"captcha_token": " solved "}}


async def test_a_sign_up_needs_a_solved_captcha(start_auth: StartAuth) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        without = await auth.client.post("/signup", json=USER)
        assert (without.status_code, without.json()["error_code"]) == (400, "captcha_failed")
        assert without.json()["msg"] == "captcha protection: request disallowed (no captcha_token found)"
        wrong = await auth.client.post("/signup", json={**USER, "gotrue_meta_security": {"captcha_token": "guessed"}})
        assert wrong.json()["msg"] == "captcha protection: request disallowed (invalid-input, sitekey)"
        assert await auth.count("users") == 0
        assert (await auth.client.post("/signup", json=solved(USER))).status_code == 200
    assert parse_qs(provider.calls[-1].body.decode()) == {
        "secret": ["sesame"],
        "response": ["solved"],
        "remoteip": ["127.0.0.1"],
    }
    assert provider.calls[-1].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_password_needs_one_and_a_refresh_does_not(start_auth: StartAuth) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        session = (await auth.client.post("/signup", json=solved(USER))).json()
        assert (await auth.sign_in()).json()["error_code"] == "captcha_failed"
        signed_in = await auth.client.post("/token?grant_type=password", json=solved(USER))
        assert signed_in.status_code == 200
        assert (await auth.refresh(session["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("/signup", True),
        ("/recover", True),
        ("/resend", True),
        ("/magiclink", True),
        ("/otp", True),
        ("/token?grant_type=password", True),
        ("/token?grant_type=web3", True),
        ("/token?grant_type=pkce", False),
        ("/token?grant_type=id_token", False),
        ("/token?grant_type=refresh_token", False),
        ("/verify", False),
    ],
)
async def test_which_routes_ask(start_auth: StartAuth, path: str, asks: bool) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        answer = await auth.client.post(path, json={"email": "alice@example.com"})
    assert ("captcha_failed" in answer.text) is asks


async def test_an_administrator_passes_without(start_auth: StartAuth) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        answer = await auth.client.post("/signup", json=USER, headers=auth.service_headers)
        stranger = await auth.client.post("/signup", json=USER, headers={"authorization": "Bearer x"})
    assert answer.status_code == 200
    assert stranger.json()["error_code"] == "captcha_failed"
    assert provider.calls == []


async def test_a_token_is_ignored_where_no_captcha_is_wanted(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        body = {**USER, "gotrue_meta_security": {"captcha_token": "guessed"}}
        assert (await auth.client.post("/signup", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [("/sso", "saml_provider_disabled"), ("/passkeys/authentication/options", "passkey_disabled")],
)
async def test_what_is_switched_off_says_so_before_it_asks(start_auth: StartAuth, path: str, code: str) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        answer = await auth.client.post(path, json={})
    assert (answer.status_code, answer.json()["error_code"]) == (404, code)


@pytest.mark.parametrize(
    "answer",
    [
        lambda call: PlainTextResponse("<html>"),
        lambda call: JSONResponse([]),
        lambda call: RedirectResponse("/elsewhere"),
        lambda call: JSONResponse({"success": True, "x": "x" * 70_000}),
    ],
)
async def test_a_provider_that_answers_nonsense_lets_nobody_in(start_auth: StartAuth, answer: Any) -> None:
    async with receiving(answer) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        refused = await auth.client.post("/signup", json=solved(USER))
        assert (refused.status_code, refused.json()["msg"]) == (500, "captcha verification process failed")
        assert await auth.count("users") == 0


async def test_a_provider_out_of_reach_lets_nobody_in(start_auth: StartAuth) -> None:
    async with receiving() as provider:
        closed = provider.url
    async with start_auth(captcha=captcha(closed)) as auth:
        refused = await auth.client.post("/signup", json=solved(USER))
    assert (refused.status_code, refused.json()["msg"]) == (500, "captcha verification process failed")


async def test_only_a_true_success_counts(start_auth: StartAuth) -> None:
    async with receiving(lambda call: JSONResponse({"success": "yes"})) as provider:
        async with start_auth(captcha=captcha(provider.url)) as auth:
            refused = await auth.client.post("/signup", json=solved(USER))
    assert (refused.status_code, refused.json()["error_code"]) == (400, "captcha_failed")


async def test_the_simple_face_asks_too(start_auth: StartAuth) -> None:
    async with receiving(verdict) as provider, start_auth(captcha=captcha(provider.url)) as auth:
        refused = await auth.simple.post("/signup", json=USER)
        assert refused.json()["error"]["code"] == "captcha_failed"
        assert (await auth.simple.post("/signup", json={**USER, "captcha_token": "solved"})).status_code == 201
        assert (await auth.simple.post("/signin", json=solved(USER))).status_code == 200

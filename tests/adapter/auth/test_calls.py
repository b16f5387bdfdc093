"""What requests to auth are, and whom they concern."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from isobase_adapter.auth.calls import AuthKind, auth_call, users_in

ALICE = "0e3e5d2c-5b0a-4f5c-8a57-1f0c9d6a7b11"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SINCE = ("changed_since", "2025-12-31T23:58:00+00:00")


def _request(method: str, path: str, body: object = None) -> httpx.Request:
    return httpx.Request(method, f"https://project.example/auth/v1/{path}", json=body)


@pytest.mark.parametrize(
    "method, path, body, user, kind, keys",
    [
        ("GET", "user", None, ALICE, AuthKind.READ, []),
        ("GET", "settings", None, None, AuthKind.READ, []),
        ("GET", "admin/users?page=2", None, None, AuthKind.READ, []),
        ("GET", ".well-known/jwks.json", None, None, AuthKind.KEYS, []),
        ("GET", "reauthenticate", None, ALICE, AuthKind.WRITE, [(ALICE,)]),
        ("GET", "user/identities/authorize?provider=github", None, ALICE, AuthKind.WRITE, [(ALICE,)]),
        ("GET", "verify?token=x&type=signup", None, None, AuthKind.WRITE, [SINCE]),
        ("PUT", "user", {"password": "secret"}, ALICE, AuthKind.WRITE, [(ALICE,)]),
        ("POST", "signup", {"email": "Anna@A.com"}, None, AuthKind.WRITE, [("email", "anna@a.com")]),
        ("POST", "signup", {}, None, AuthKind.WRITE, [SINCE]),
        ("POST", "otp", {"phone": "+49123"}, None, AuthKind.WRITE, [("phone", "49123")]),
        ("POST", "token?grant_type=refresh_token", {"refresh_token": "abc"}, None, AuthKind.WRITE, [SINCE]),
        ("POST", "token?grant_type=pkce", {"auth_code": "c", "code_verifier": "v"}, None, AuthKind.WRITE, [SINCE]),
        ("DELETE", f"admin/users/{ALICE}", {"should_soft_delete": False}, None, AuthKind.WRITE, [(ALICE,)]),
        ("DELETE", f"admin/users/{ALICE}/factors/{ALICE[::-1]}", None, None, AuthKind.WRITE, [(ALICE,)]),
    ],
)  # fmt: skip
def test_a_request_is_told_by_its_path_and_names_its_user(
    method: str, path: str, body: object, user: str | None, kind: AuthKind, keys: list[tuple[str, ...]]
) -> None:
    call = auth_call(_request(method, path, body), path.partition("?")[0], user, NOW)
    assert call.kind is kind
    assert [thing.key for thing in call.things] == keys


def test_no_secret_is_in_what_operators_see() -> None:
    body = {"email": "anna@example.com", "password": "hunter2", "refresh_token": "tokentoken12", "auth_code": "thecode"}
    call = auth_call(_request("POST", f"token?grant_type=password&x={ALICE}", body), "token", None, NOW)
    shown = repr(call.record) + repr(call.hints) + repr([thing.as_json() for thing in call.things])
    for secret in ("hunter2", "tokentoken12", "thecode"):
        assert secret not in shown
    assert call.record.detail == {
        "fields": ["auth_code", "email", "password", "refresh_token"],
        "grant_type": "password",
    }


@pytest.mark.parametrize(
    "grant, may", [("password", True), ("refresh_token", True), ("pkce", False), ("id_token", False)]
)
def test_what_makes_something_new_is_not_sent_to_the_other_side_in_doubt(grant: str, may: bool) -> None:
    call = auth_call(_request("POST", f"token?grant_type={grant}", {}), "token", None, NOW)
    assert call.may_be_repeated is may


@pytest.mark.parametrize(
    "body, users",
    [
        ({"access_token": "x", "user": {"id": ALICE, "aud": "authenticated"}}, {ALICE}),
        ({"id": ALICE.upper(), "aud": "authenticated", "email": ""}, {ALICE}),
        ({"id": ALICE, "type": "totp"}, set()),
        ({}, set()),
        ([1], set()),
    ],
)
def test_an_answer_tells_whom_it_was_about(body: object, users: set[str]) -> None:
    assert users_in(httpx.Response(200, json=body)) == users

"""GET and PUT /user, POST /logout, and what a bearer token must be."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest

from isobase_platform.config_auth.email import EmailSettings
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, token_of

VERIFY = "invalid JWT: unable to parse or verify signature, "


def signed(auth: AuthServer, claims: dict[str, Any], secret: str | None = None, **headers: str) -> dict[str, str]:
    """The header with a token of these claims."""
    key = secret or auth.settings.jwt_secret.get_secret_value()
    return {"authorization": f"Bearer {jwt.encode(claims, key, algorithm='HS256', headers=headers or None)}"}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer two words", "token"])
async def test_missing_or_malformed_bearer_is_401(auth: AuthServer, header: str | None) -> None:
    answer = await auth.client.get("/user", headers={"authorization": header} if header is not None else {})
    assert answer.status_code == 401
    assert answer.json() == {
        "code": 401,
        "error_code": "no_authorization",
        "msg": "This endpoint requires a valid Bearer token",
    }


async def test_lone_api_key_is_no_bearer_token(auth: AuthServer) -> None:
    answer = await auth.client.get("/user", headers={"apikey": auth.settings.anon_token})
    assert (answer.status_code, answer.json()["error_code"]) == (401, "no_authorization")


async def test_bearer_scheme_is_read_in_any_case(auth: AuthServer) -> None:
    session = await auth.sign_up()
    answer = await auth.client.get("/user", headers={"authorization": f"bEaReR {session['access_token']}"})
    assert answer.status_code == 200


async def test_tokens_that_are_not_good_are_refused_with_the_upstream_status(auth: AuthServer) -> None:
    session = await auth.sign_up()
    user_id = session["user"]["id"]
    claims = {"sub": user_id, "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 60}
    anon = {"authorization": f"Bearer {token_of(auth.settings, 'anon')}"}
    cases: list[tuple[dict[str, str], int, str, str]] = [
        ({"authorization": "Bearer nonsense"}, 403, "bad_jwt", f"{VERIFY}token is malformed: "),
        (signed(auth, claims, "x" * 40), 403, "bad_jwt", f"{VERIFY}token signature is invalid: "),
        (signed(auth, {**claims, "exp": 1}), 403, "bad_jwt", f"{VERIFY}token has invalid claims: token is expired"),
        (anon, 403, "bad_jwt", "invalid claim: missing sub claim"),
        (signed(auth, {**claims, "sub": "me"}), 400, "bad_jwt", "invalid claim: sub claim must be a UUID"),
        (
            signed(auth, {**claims, "sub": str(uuid4())}),
            403,
            "user_not_found",
            "User from sub claim in JWT does not exist",
        ),
        (
            signed(auth, {**claims, "session_id": str(uuid4())}),
            403,
            "session_not_found",
            "Session from session_id claim in JWT does not exist",
        ),
        (
            signed(auth, {**claims, "session_id": "x"}),
            403,
            "bad_jwt",
            "invalid claim: session_id claim must be a UUID",
        ),
    ]
    for headers, status, code, message in cases:
        answer = await auth.client.get("/user", headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code), message
        assert answer.json()["msg"].startswith(message)
    algorithm_none = jwt.encode(claims, "", algorithm="none")
    answer = await auth.client.get("/user", headers={"authorization": f"Bearer {algorithm_none}"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")
    assert (await auth.client.get("/user", headers=signed(auth, claims))).status_code == 200
    nil_session = {**claims, "session_id": "00000000-0000-0000-0000-000000000000"}
    assert (await auth.client.get("/user", headers=signed(auth, nil_session))).status_code == 200


async def test_session_of_another_user_is_no_session(auth: AuthServer) -> None:
    alice = await auth.sign_up()
    await auth.sign_up("bob@example.com")
    bobs = await auth.database.fetchval(
        "select s.id from auth.sessions s join auth.users u on u.id = s.user_id where u.email = 'bob@example.com'"
    )
    claims = {"sub": alice["user"]["id"], "aud": "authenticated", "session_id": str(bobs)}
    answer = await auth.client.get("/user", headers=signed(auth, claims))
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_not_found")


async def test_user_is_refused_for_another_audience(auth: AuthServer) -> None:
    session = await auth.sign_up()
    answer = await auth.client.get("/user", headers={**bearer(session), "x-jwt-aud": "other"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    assert answer.json()["msg"] == "Token audience doesn't match request audience"
    no_audience = signed(auth, {"sub": session["user"]["id"]})
    assert (await auth.client.get("/user", headers=no_audience)).status_code == 400
    as_list = signed(auth, {"sub": session["user"]["id"], "aud": ["authenticated"]})
    assert (await auth.client.get("/user", headers=as_list)).status_code == 200


async def test_user_metadata_merges_one_level_deep_and_null_deletes(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"name": "Alice", "nested": {"a": 1}, "old": True})
    answer = await auth.client.put(
        "/user", json={"data": {"nested": {"b": 2}, "old": None, "new": [1]}}, headers=bearer(session)
    )
    assert answer.status_code == 200
    metadata = answer.json()["user_metadata"]
    assert (metadata["name"], metadata["nested"], metadata["new"]) == ("Alice", {"b": 2}, [1])
    assert "old" not in metadata
    assert (await auth.client.get("/user", headers=bearer(session))).json() == answer.json()


async def test_new_password_ends_all_other_sessions_and_takes_back_pending_codes(auth: AuthServer) -> None:
    session = await auth.sign_up()
    other = (await auth.sign_in()).json()
    await auth.database.execute("update auth.users set recovery_token = 'abc', recovery_sent_at = now()")
    await auth.database.execute(
        "insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)"
        " select gen_random_uuid(), id, 'recovery_token', 'abc', email from auth.users"
    )
    answer = await auth.client.put("/user", json={"password": "a new password"}, headers=bearer(session))
    assert answer.status_code == 200
    assert "recovery_sent_at" not in answer.json()
    assert await auth.count("one_time_tokens") == 0
    assert (await auth.client.get("/user", headers=bearer(session))).status_code == 200
    assert (await auth.client.get("/user", headers=bearer(other))).json()["error_code"] == "session_not_found"
    assert (await auth.refresh(other["refresh_token"])).json()["error_code"] == "refresh_token_not_found"
    assert (await auth.refresh(session["refresh_token"])).status_code == 200
    assert (await auth.sign_in()).status_code == 400
    assert (await auth.sign_in(password="a new password")).status_code == 200
    assert await auth.count("audit_log_entries", "payload->>'action' = 'user_updated_password'") == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param({"password": PASSWORD}, 422, "same_password", id="same password"),
        pytest.param({"password": ""}, 422, "weak_password", id="empty password"),
        pytest.param({"password": "x" * 73}, 400, "validation_failed", id="long password"),
        pytest.param({"email": "nobody"}, 400, "validation_failed", id="bad email"),
        pytest.param({"email": "bob@example.com"}, 422, "email_exists", id="taken email"),
        pytest.param({"phone": "abc"}, 400, "validation_failed", id="bad phone"),
        pytest.param({"app_metadata": {"role": "admin"}}, 403, "not_admin", id="app_metadata"),
        pytest.param({"data": "text"}, 400, "bad_json", id="data of a wrong type"),
    ],
)
async def test_change_is_refused_and_nothing_changes(
    auth: AuthServer, body: dict[str, Any], status: int, code: str
) -> None:
    session = await auth.sign_up()
    await auth.sign_up("bob@example.com")
    before = await auth.database.fetch("select * from auth.users order by id")
    answer = await auth.client.put("/user", json={"data": {"x": 1}, **body}, headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert await auth.database.fetch("select * from auth.users order by id") == before


async def test_null_and_empty_fields_change_nothing(auth: AuthServer) -> None:
    session = await auth.sign_up()
    body = {"email": None, "phone": "", "password": None, "data": None, "app_metadata": None, "unknown": 1}
    answer = await auth.client.put("/user", json=body, headers=bearer(session))
    assert answer.status_code == 200
    assert (await auth.sign_in()).status_code == 200


async def test_new_email_of_a_permanent_user_stays_pending(start_auth: StartAuth) -> None:
    async with start_auth(email=EmailSettings(max_frequency_s=60)) as auth:
        session = await auth.sign_up()
        answer = await auth.client.put("/user", json={"email": "New@example.com"}, headers=bearer(session))
        assert answer.status_code == 200
        assert (answer.json()["email"], answer.json()["new_email"]) == ("alice@example.com", "new@example.com")
        assert answer.json()["email_change_sent_at"]
        rows = await auth.database.fetch("select token_type::text, relates_to from auth.one_time_tokens order by 1")
        assert [tuple(row) for row in rows] == [
            ("email_change_token_current", "alice@example.com"),
            ("email_change_token_new", "new@example.com"),
        ]
        early = await auth.client.put("/user", json={"email": "newer@example.com"}, headers=bearer(session))
        assert (early.status_code, early.json()["error_code"]) == (429, "over_email_send_rate_limit")


async def test_anonymous_user_becomes_permanent_with_an_email(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        session = (await auth.client.post("/signup", json={})).json()
        alone = await auth.client.put("/user", json={"password": PASSWORD}, headers=bearer(session))
        assert (alone.status_code, alone.json()["error_code"]) == (422, "validation_failed")
        both = {"email": "alice@example.com", "password": PASSWORD}
        answer = await auth.client.put("/user", json=both, headers=bearer(session))
        user = answer.json()
        assert answer.status_code == 200
        assert (user["email"], user["is_anonymous"]) == ("alice@example.com", False)
        assert user["email_confirmed_at"]
        assert user["identities"][0]["identity_data"]["email_verified"] is True
        assert (await auth.sign_in()).status_code == 200


async def test_verified_second_factor_asks_for_aal2_before_credentials_change(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await auth.database.execute(
        "insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret)"
        " select gen_random_uuid(), id, 'phone', 'totp', 'verified', now(), now(), 'hidden' from auth.users"
    )
    refused = await auth.client.put("/user", json={"password": "a new password"}, headers=bearer(session))
    assert (refused.status_code, refused.json()["error_code"]) == (401, "insufficient_aal")
    allowed = await auth.client.put("/user", json={"data": {"a": 1}}, headers=bearer(session))
    assert allowed.status_code == 200
    (factor,) = allowed.json()["factors"]
    assert (factor["status"], factor["factor_type"], factor["phone"]) == ("verified", "totp", "")
    assert "hidden" not in allowed.text
    await auth.database.execute(
        "update auth.sessions set aal = 'aal2';"
        " insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)"
        " select gen_random_uuid(), id, now(), now(), 'totp' from auth.sessions"
    )
    stale = await auth.client.put("/user", json={"password": "a new password"}, headers=bearer(session))
    assert stale.status_code == 401, "the token says aal1"
    refreshed = (await auth.refresh(session["refresh_token"])).json()
    raised = await auth.client.put("/user", json={"password": "a new password"}, headers=bearer(refreshed))
    assert raised.status_code == 200


async def test_user_of_single_sign_on_cannot_change_credentials(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await auth.database.execute("update auth.users set is_sso_user = true")
    answer = await auth.client.put("/user", json={"password": "a new password"}, headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (422, "user_sso_managed")


@pytest.mark.parametrize(
    ("query", "mine", "others"),
    [("", 403, 403), ("?scope=global", 403, 403), ("?scope=local", 403, 200), ("?scope=others", 200, 403)],
)
async def test_logout_ends_the_sessions_of_its_scope_at_once(
    auth: AuthServer, query: str, mine: int, others: int
) -> None:
    session = await auth.sign_up()
    other = (await auth.sign_in()).json()
    bob = await auth.sign_up("bob@example.com")
    answer = await auth.client.post(f"/logout{query}", headers=bearer(session))
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await auth.client.get("/user", headers=bearer(session))).status_code == mine
    assert (await auth.client.get("/user", headers=bearer(other))).status_code == others
    assert (await auth.client.get("/user", headers=bearer(bob))).status_code == 200
    assert (await auth.refresh(other["refresh_token"])).status_code == (200 if others == 200 else 400)


async def test_unknown_logout_scope_is_refused(auth: AuthServer) -> None:
    session = await auth.sign_up()
    answer = await auth.client.post("/logout?scope=here", headers=bearer(session))
    assert (answer.status_code, answer.json()["msg"]) == (400, 'Unsupported logout scope "here"')
    assert (await auth.client.get("/user", headers=bearer(session))).status_code == 200


async def test_logged_out_token_is_refused_with_the_code_that_clients_wait_for(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await auth.client.post("/logout", headers=bearer(session))
    headers = {**bearer(session), "x-supabase-api-version": "2024-01-01"}
    answer = await auth.client.get("/user", headers=headers)
    assert answer.status_code == 403
    assert json.loads(answer.content)["code"] == "session_not_found"
    assert (await auth.client.post("/logout", headers=bearer(session))).status_code == 403


async def test_metadata_keeps_numbers_of_any_length(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"count": 10**30, "ratio": 0.1})
    answer = await auth.client.get("/user", headers=bearer(session))
    metadata = answer.json()["user_metadata"]
    assert (metadata["count"], metadata["ratio"]) == (10**30, 0.1)

"""POST /signup: the session, the rules in their order, repeated sign-ups, confirmation, triggers."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from typing import Any

import jwt
import pytest

from isobase_platform.config_auth.email import EmailSettings
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer

ALICE = {"email": "alice@example.com", "password": PASSWORD}
CHALLENGE = {"code_challenge": "a" * 43, "code_challenge_method": "s256"}


async def test_sign_up_answers_a_session_with_the_whole_user(auth: AuthServer) -> None:
    answer = await auth.client.post(
        "/signup", json={**ALICE, "email": "Alice@Example.com", "data": {"full_name": "Alice", "sub": "forged"}}
    )
    session = answer.json()
    user = session["user"]
    assert answer.status_code == 200
    assert session["token_type"] == "bearer"
    assert session["expires_in"] == 3600
    assert answer.headers["sb-auth-user-id"] == user["id"]
    assert answer.headers["sb-auth-refresh-token-prefix"] == session["refresh_token"][:5]
    assert user["email"] == "alice@example.com"
    assert user["phone"] == ""
    assert user["aud"] == user["role"] == "authenticated"
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    claims = {"sub": user["id"], "email": "alice@example.com", "phone_verified": False, "full_name": "Alice"}
    assert user["user_metadata"] == {**claims, "email_verified": True}
    (identity,) = user["identities"]
    assert identity["identity_data"] == {**claims, "email_verified": False}
    assert (identity["id"], identity["provider"], identity["email"]) == (user["id"], "email", "alice@example.com")
    assert {"created_at", "updated_at", "confirmed_at", "email_confirmed_at", "last_sign_in_at"} <= user.keys()
    assert not {"encrypted_password", "instance_id", "is_sso_user", "factors", "new_email"} & user.keys()
    assert user["created_at"].endswith("Z")


async def test_access_token_carries_exactly_the_claims_of_the_contract(auth: AuthServer) -> None:
    session = await auth.sign_up()
    token = session["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    user = session["user"]
    assert set(claims) == {
        *("iss", "sub", "aud", "exp", "iat", "email", "phone", "app_metadata", "user_metadata", "role"),
        *("aal", "amr", "session_id", "is_anonymous"),
    }
    assert claims["iss"] == auth.settings.auth_url
    assert (claims["sub"], claims["aud"], claims["role"]) == (user["id"], "authenticated", "authenticated")
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["exp"] == session["expires_at"]
    assert (claims["aal"], claims["is_anonymous"], claims["phone"]) == ("aal1", False, "")
    assert claims["amr"] == [{"method": "password", "timestamp": claims["amr"][0]["timestamp"]}]
    assert "kid" not in jwt.get_unverified_header(token)
    assert claims["session_id"] == str(await auth.database.fetchval("select id from auth.sessions"))


async def test_rows_are_written_as_upstream_writes_them(auth: AuthServer) -> None:
    session = await auth.sign_up()
    user = await auth.database.fetchrow("select * from auth.users")
    assert user is not None
    assert user["instance_id"].int == 0
    assert user["encrypted_password"].startswith("$2b$04$")
    assert user["confirmation_token"] == ""
    token = await auth.database.fetchrow("select * from auth.refresh_tokens")
    assert token is not None
    assert token["token"] == session["refresh_token"]
    assert (token["user_id"], token["revoked"], token["parent"]) == (session["user"]["id"], False, None)
    assert await auth.count("mfa_amr_claims", "authentication_method = 'password'") == 1
    actions = await auth.database.fetch(
        "select payload->>'action' as action from auth.audit_log_entries order by created_at"
    )
    assert [row["action"] for row in actions] == ["user_signedup", "login"]


@pytest.mark.parametrize(
    ("changes", "body", "status", "code", "message"),
    [
        pytest.param(
            {"enable_signup": False},
            ALICE,
            422,
            "signup_disabled",
            "Signups not allowed for this instance",
            id="disabled",
        ),
        pytest.param(
            {"enable_signup": False, "email_enable_signup": False},
            ALICE,
            422,
            "signup_disabled",
            "Signups not allowed for this instance",
            id="the signup switch answers before the provider's",
        ),
        pytest.param(
            {"email_enable_signup": False},
            ALICE,
            400,
            "email_provider_disabled",
            "Email signups are disabled",
            id="email off",
        ),
        pytest.param(
            {},
            {"phone": "+15551234567", "password": PASSWORD},
            400,
            "phone_provider_disabled",
            "Phone signups are disabled",
            id="phone off",
        ),
        pytest.param(
            {}, {"email": "a@b.c"}, 400, "validation_failed", "Signup requires a valid password", id="no password"
        ),
        pytest.param(
            {},
            {**ALICE, "password": None},
            400,
            "validation_failed",
            "Signup requires a valid password",
            id="null password",
        ),
        pytest.param(
            {},
            {**ALICE, "password": "12345"},
            422,
            "weak_password",
            "Password should be at least 6 characters.",
            id="short",
        ),
        pytest.param(
            {},
            {**ALICE, "password": "é" * 37},
            400,
            "validation_failed",
            "Password cannot be longer than 72 characters",
            id="73 bytes or more",
        ),
        pytest.param(
            {"password_requirements": "letters_digits"},
            ALICE,
            422,
            "weak_password",
            "Password should contain at least one character of each: "
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ, 0123456789.",
            id="characters",
        ),
        pytest.param(
            {"password_requirements": "letters_digits", "password_required_characters": ("äöü", ":;")},
            ALICE,
            422,
            "weak_password",
            "Password should contain at least one character of each: äöü, :;.",
            id="a project's own characters",
        ),
        pytest.param(
            {},
            {**ALICE, "phone": "15551234567"},
            400,
            "validation_failed",
            "Only an email address or phone number should be provided on signup.",
            id="both",
        ),
        pytest.param(
            {},
            {**ALICE, "email": "not an address"},
            400,
            "validation_failed",
            "Unable to validate email address: invalid format",
            id="bad email",
        ),
        pytest.param(
            {},
            {**ALICE, "email": f"{'a' * 250}@b.com"},
            400,
            "validation_failed",
            "An email address is too long",
            id="long email",
        ),
        pytest.param(
            {},
            {**ALICE, "code_challenge": "a" * 43},
            400,
            "validation_failed",
            "PKCE flow requires code_challenge_method and code_challenge",
            id="half a PKCE pair",
        ),
        pytest.param(
            {},
            {**ALICE, **CHALLENGE, "code_challenge": "short"},
            400,
            "validation_failed",
            "code challenge has to be between 43 and 128 characters",
            id="short challenge",
        ),
        pytest.param(
            {}, {}, 422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled", id="neither email nor phone"
        ),
        pytest.param(
            {"enable_anonymous_sign_ins": True, "enable_signup": False},
            {},
            422,
            "signup_disabled",
            "Signups not allowed for this instance",
            id="anonymous while signup is off",
        ),
    ],
)
async def test_sign_up_is_refused(
    start_auth: StartAuth, changes: dict[str, Any], body: dict[str, Any], status: int, code: str, message: str
) -> None:
    async with start_auth(**changes) as auth:
        answer = await auth.client.post("/signup", json=body)
        assert (answer.status_code, answer.json()["error_code"], answer.json()["msg"]) == (status, code, message)
        assert answer.json()["code"] == status
        assert answer.headers["x-sb-error-code"] == code
        assert await auth.count("users") == 0
        assert await auth.count("audit_log_entries") == 0


async def test_repeated_sign_up_is_told_where_nobody_has_to_confirm(auth: AuthServer) -> None:
    await auth.sign_up()
    answer = await auth.client.post("/signup", json=ALICE)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "user_already_exists")
    assert answer.json()["msg"] == "User already registered"
    assert await auth.count("users") == 1
    assert await auth.count("audit_log_entries", "payload->>'action' = 'user_repeated_signup'") == 1


async def test_of_many_sign_ups_with_one_address_at_once_one_succeeds_and_no_other_is_a_server_error(
    auth: AuthServer,
) -> None:
    answers = await asyncio.gather(*(auth.client.post("/signup", json=ALICE) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert await auth.count("users") == 1


async def test_with_confirmations_the_bare_user_is_answered_and_only_hashes_are_stored(start_auth: StartAuth) -> None:
    async with start_auth(email_enable_confirmations=True, phone_enable_confirmations=True) as auth:
        answer = await auth.client.post("/signup", json={**ALICE, **CHALLENGE})
        user = answer.json()
        assert answer.status_code == 200
        assert "access_token" not in user
        assert user["confirmation_sent_at"]
        assert "email_confirmed_at" not in user
        assert len(user["identities"]) == 1
        row = await auth.database.fetchrow("select * from auth.one_time_tokens")
        assert row is not None
        assert (row["token_type"], row["relates_to"]) == ("confirmation_token", "alice@example.com")
        assert row["token_hash"] == await auth.database.fetchval("select confirmation_token from auth.users")
        assert row["token_hash"].startswith("pkce_")
        digests = (
            hashlib.sha224(f"alice@example.com{''.join(code)}".encode()).hexdigest()
            for code in itertools.product("0123456789", repeat=6)
        )
        # Who knows the address cannot work the hash out by trying every code.
        assert row["token_hash"].removeprefix("pkce_") not in set(digests)
        assert await auth.count("flow_state", "authentication_method = 'email/signup' and auth_code is not null") == 1
        assert await auth.count("sessions") == 0
        refused = await auth.sign_in()
        assert (refused.status_code, refused.json()["error_code"]) == (400, "email_not_confirmed")
        wrong = await auth.sign_in(password="not the password")
        assert wrong.json()["error_code"] == "invalid_credentials"


async def test_with_confirmations_a_known_address_cannot_be_told_from_a_new_one(start_auth: StartAuth) -> None:
    async with start_auth(email_enable_confirmations=True, phone_enable_confirmations=True) as auth:
        await auth.client.post("/signup", json=ALICE)
        await auth.database.execute(
            "update auth.users set email_confirmed_at = now(), raw_user_meta_data = '{\"secret\": 1}'"
        )
        known = await auth.client.post("/signup", json={**ALICE, "password": "another one", "data": {"a": 1}})
        fresh = await auth.client.post("/signup", json={**ALICE, "email": "bob@example.com", "data": {"a": 1}})
        assert known.status_code == fresh.status_code == 200
        assert known.json().keys() == fresh.json().keys()
        user_id = str(await auth.database.fetchval("select id from auth.users where email = 'alice@example.com'"))
        assert known.json()["id"] != user_id
        assert known.json()["identities"] == []
        assert known.json()["role"] == ""
        assert known.json()["user_metadata"] == {"a": 1}
        assert (await auth.sign_in(password="another one")).status_code == 400
        assert (await auth.sign_in()).status_code == 200


async def test_unconfirmed_user_who_signs_up_again_keeps_the_first_password_and_waits_between_mails(
    start_auth: StartAuth,
) -> None:
    async with start_auth(email_enable_confirmations=True, email=EmailSettings(max_frequency_s=60)) as auth:
        first = (await auth.client.post("/signup", json=ALICE)).json()
        hash_before = await auth.database.fetchval("select encrypted_password from auth.users")
        early = await auth.client.post("/signup", json={**ALICE, "password": "another password"})
        assert (early.status_code, early.json()["error_code"]) == (429, "over_email_send_rate_limit")
        assert early.json()["msg"].startswith("For security purposes, you can only request this after ")
        await auth.database.execute("update auth.users set confirmation_sent_at = now() - interval '2 minutes'")
        token_before = await auth.database.fetchval("select token_hash from auth.one_time_tokens")
        again = await auth.client.post("/signup", json={**ALICE, "password": "another password", "data": {"x": 1}})
        assert (again.status_code, again.json()["id"]) == (200, first["id"])
        assert "x" not in again.json()["user_metadata"]
        assert await auth.database.fetchval("select encrypted_password from auth.users") == hash_before
        assert await auth.database.fetchval("select token_hash from auth.one_time_tokens") != token_before


async def test_anonymous_user_gets_a_session_without_identities(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        answer = await auth.client.post("/signup", json={"data": {"theme": "dark"}, "gotrue_meta_security": {}})
        session = answer.json()
        user = session["user"]
        assert answer.status_code == 200
        assert user["is_anonymous"] is True
        assert (user["email"], user["phone"], user["role"]) == ("", "", "authenticated")
        assert (user["identities"], user["app_metadata"], user["user_metadata"]) == ([], {}, {"theme": "dark"})
        claims = jwt.decode(session["access_token"], options={"verify_signature": False})
        assert claims["is_anonymous"] is True
        assert claims["amr"][0]["method"] == "anonymous"


async def test_phone_user_is_confirmed_at_once_where_no_confirmation_is_asked_for(start_auth: StartAuth) -> None:
    async with start_auth(phone_enable_signup=True) as auth:
        answer = await auth.client.post("/signup", json={"phone": "+1 555 123 4567", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        user = answer.json()["user"]
        assert (user["phone"], user["email"]) == ("15551234567", "")
        assert user["phone_confirmed_at"]
        assert "phone" not in user["user_metadata"]
        token = await auth.client.post(
            "/token?grant_type=password", json={"phone": "+15551234567", "password": PASSWORD}
        )
        assert token.status_code == 200


TRIGGER = """
create table public.profiles (id uuid primary key references auth.users (id) on delete cascade, name text not null);
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.profiles (id, name) values (new.id, new.raw_user_meta_data ->> 'name');
  return new;
end $$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();
"""


async def test_trigger_on_users_runs_with_the_given_data(own_auth: AuthServer) -> None:
    await own_auth.database.execute(TRIGGER)
    session = await own_auth.sign_up(data={"name": "Alice"})
    row = await own_auth.database.fetchrow("select * from public.profiles")
    assert row is not None
    assert (str(row["id"]), row["name"]) == (session["user"]["id"], "Alice")
    deleted = await own_auth.client.delete(f"/admin/users/{session['user']['id']}", headers=own_auth.service_headers)
    assert deleted.json() == {}
    assert await own_auth.database.fetchval("select count(*) from public.profiles") == 0


async def test_what_a_trigger_changes_shows_in_the_answer(own_auth: AuthServer) -> None:
    await own_auth.database.execute(
        """
        create function public.grant_plan() returns trigger language plpgsql as $$
        begin new.raw_app_meta_data = new.raw_app_meta_data || '{"plan": "free"}'; return new; end $$;
        create trigger plan before insert on auth.users for each row execute function public.grant_plan();
        """
    )
    session = await own_auth.sign_up()
    assert session["user"]["app_metadata"] == {"provider": "email", "providers": ["email"], "plan": "free"}


@pytest.mark.parametrize("version", [None, "2024-01-01"])
async def test_failing_trigger_is_a_500_and_keeps_nothing(own_auth: AuthServer, version: str | None) -> None:
    await own_auth.database.execute(TRIGGER)
    headers = {"x-supabase-api-version": version} if version else {}
    answer = await own_auth.client.post("/signup", json=ALICE, headers=headers)
    assert answer.status_code == 500
    assert answer.headers["x-sb-error-code"] == "unexpected_failure"
    if version:
        assert answer.json() == {"code": "unexpected_failure", "message": "Database error saving new user"}
    else:
        assert answer.json()["code"] == "23502"
        assert "violates not-null constraint" in answer.json()["message"]
    assert (
        await own_auth.count("users")
        == await own_auth.count("sessions")
        == await own_auth.count("audit_log_entries")
        == 0
    )


async def test_what_a_trigger_raises_reaches_older_clients_with_its_status(own_auth: AuthServer) -> None:
    await own_auth.database.execute(
        """
        create function public.refuse() returns trigger language plpgsql as $$
        begin raise exception 'members only' using errcode = 'PT403', hint = 'ask', detail = 'why'; end $$;
        create trigger refuse before insert on auth.users for each row execute function public.refuse();
        """
    )
    answer = await own_auth.client.post("/signup", json=ALICE)
    assert answer.status_code == 403
    assert answer.json() == {"code": "PT403", "message": "members only", "hint": "ask", "detail": "why"}


async def test_row_of_users_with_its_hash_is_never_quoted_to_the_client(own_auth: AuthServer) -> None:
    await own_auth.database.execute(
        "alter table auth.users add constraint no_example check (email not like '%example.com')"
    )
    answer = await own_auth.client.post("/signup", json=ALICE)
    assert (answer.status_code, answer.json()["code"]) == (500, "23514")
    assert "$2b$" not in answer.text
    assert "Failing row" not in answer.text


async def test_signed_up_user_is_who_the_token_says(auth: AuthServer) -> None:
    session = await auth.sign_up()
    answer = await auth.client.get("/user", headers=bearer(session))
    assert answer.status_code == 200
    assert answer.json() == session["user"]


async def test_unconfirmed_account_opens_only_to_its_password(auth: AuthServer) -> None:
    body = {**ALICE, "user_metadata": {"vip": True}}
    created = (await auth.client.post("/admin/users", json=body, headers=auth.service_headers)).json()
    stranger = await auth.client.post("/signup", json={**ALICE, "password": "a stranger's guess"})
    assert (stranger.status_code, stranger.json()["error_code"]) == (422, "user_already_exists")
    assert await auth.count("sessions") == 0
    owner = await auth.client.post("/signup", json=ALICE)
    assert (owner.status_code, owner.json()["user"]["id"]) == (200, created["id"])
    assert owner.json()["user"]["email_confirmed_at"]


async def test_phone_user_cannot_reserve_somebody_elses_address(start_auth: StartAuth) -> None:
    async with start_auth(phone_enable_signup=True) as auth:
        body = {"phone": "15551234567", "password": PASSWORD, "data": {"email": "alice@example.com", "name": "Bob"}}
        phone = await auth.client.post("/signup", json=body)
        assert phone.status_code == 200
        assert phone.json()["user"]["identities"][0]["identity_data"]["name"] == "Bob"
        assert await auth.count("identities", "email is not null") == 0
        assert (await auth.client.post("/signup", json=ALICE)).status_code == 200


async def test_trigger_that_waits_for_confirmation_fires_once(own_auth: AuthServer) -> None:
    await own_auth.database.execute(
        """
        create table public.confirmed (id uuid, name text);
        create function public.note() returns trigger language plpgsql security definer set search_path = '' as $$
        begin insert into public.confirmed values (new.id, new.raw_user_meta_data ->> 'name'); return new; end $$;
        create trigger note after update on auth.users for each row
          when (old.email_confirmed_at is null and new.email_confirmed_at is not null) execute function public.note();
        """
    )
    await own_auth.sign_up(data={"name": "Alice"})
    await own_auth.sign_in()
    rows = await own_auth.database.fetch("select name from public.confirmed")
    assert [row["name"] for row in rows] == ["Alice"]


async def test_trigger_that_keeps_the_row_out_is_a_500_and_keeps_nothing(own_auth: AuthServer) -> None:
    await own_auth.database.execute(
        """
        create function public.swallow() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger swallow before insert on auth.users for each row execute function public.swallow();
        """
    )
    answer = await own_auth.client.post("/signup", json=ALICE)
    assert (answer.status_code, answer.json()["msg"]) == (500, "Database error loading user after sign-up")
    assert await own_auth.count("identities") == 0

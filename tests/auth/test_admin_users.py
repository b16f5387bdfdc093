"""/admin/users: who may, what is created, changed, listed and deleted."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import bcrypt
import jwt
import pytest

from tests.auth.conftest import PASSWORD, AuthServer, bearer

NIL = "00000000-0000-0000-0000-000000000000"


async def create(auth: AuthServer, **fields: object) -> dict[str, Any]:
    answer = await auth.client.post("/admin/users", json=fields, headers=auth.service_headers)
    assert answer.status_code == 200, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def test_only_service_role_and_supabase_admin_may(auth: AuthServer) -> None:
    session = await auth.sign_up()
    secret = auth.settings.jwt_secret.get_secret_value()
    for method, path in (
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("DELETE", f"/admin/users/{session['user']['id']}"),
    ):
        nobody = await auth.client.request(method, path)
        assert (nobody.status_code, nobody.json()["error_code"]) == (401, "no_authorization")
        user = await auth.client.request(method, path, headers=bearer(session))
        assert (user.status_code, user.json()["error_code"], user.json()["msg"]) == (
            403,
            "not_admin",
            "User not allowed",
        )
        anon = await auth.client.request(method, path, headers={"authorization": f"Bearer {auth.settings.anon_token}"})
        assert (anon.status_code, anon.json()["error_code"]) == (403, "not_admin")
    for claims in ({"role": "service_role"}, {"role": "supabase_admin", "sub": "1234567890"}):
        headers = {"authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}
        assert (await auth.client.get("/admin/users", headers=headers)).status_code == 200
    opaque = {"apikey": auth.settings.secret_key.get_secret_value()}
    assert (await auth.client.get("/admin/users", headers=opaque)).status_code == 200


async def test_admin_token_of_a_session_is_good_only_while_the_session_is(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await auth.database.execute("update auth.users set role = 'service_role'")
    admin = (await auth.refresh(session["refresh_token"])).json()
    assert (await auth.client.get("/admin/users", headers=bearer(admin))).status_code == 200
    await auth.database.execute("update auth.sessions set not_after = now() - interval '1 minute'")
    expired = await auth.client.get("/admin/users", headers=bearer(admin))
    assert (expired.status_code, expired.json()["error_code"]) == (403, "session_expired")
    await auth.database.execute("delete from auth.sessions")
    gone = await auth.client.get("/admin/users", headers=bearer(admin))
    assert (gone.status_code, gone.json()["error_code"]) == (403, "session_not_found")


async def test_created_user_has_exactly_the_given_metadata_and_can_sign_in(auth: AuthServer) -> None:
    user = await create(
        auth,
        email="Alice@example.com",
        password=PASSWORD,
        email_confirm=True,
        user_metadata={"name": "Alice"},
        app_metadata={"plan": "pro"},
    )
    assert user["email"] == "alice@example.com"
    assert user["user_metadata"] == {"name": "Alice", "email_verified": True}
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"], "plan": "pro"}
    assert user["identities"][0]["identity_data"] == {
        "sub": user["id"],
        "email": "alice@example.com",
        "email_verified": False,
        "phone_verified": False,
    }
    assert user["role"] == "authenticated"
    assert (await auth.sign_in()).status_code == 200
    fetched = await auth.client.get(f"/admin/users/{user['id']}", headers=auth.service_headers)
    assert fetched.status_code == 200
    assert fetched.json()["last_sign_in_at"]


async def test_created_user_without_confirmation_or_password_cannot_sign_in(auth: AuthServer) -> None:
    user = await create(auth, email="alice@example.com", phone="+15551234567", user_metadata=None, role=" editor ")
    assert user["user_metadata"] == {}
    assert (user["role"], user["phone"]) == ("editor", "15551234567")
    assert [identity["provider"] for identity in user["identities"]] == ["email", "phone"]
    assert user["app_metadata"]["providers"] == ["email", "phone"]
    assert (await auth.sign_in(password="")).json()["error_code"] == "invalid_credentials"


async def test_imported_hash_and_own_id_are_kept(auth: AuthServer) -> None:
    user_id = str(uuid4())
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    user = await create(auth, id=user_id, email="alice@example.com", password_hash=stored, email_confirm=True)
    assert user["id"] == user_id
    assert (await auth.sign_in()).json()["user"]["id"] == user_id


async def test_weak_password_is_the_administrators_business_at_creation(auth: AuthServer) -> None:
    await create(auth, email="alice@example.com", password="x", email_confirm=True)
    answer = await auth.sign_in(password="x")
    assert answer.json()["weak_password"]["reasons"] == ["length"]


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({}, 400, "validation_failed", "Cannot create a user without either an email or phone"),
        (
            {"email": "alice@example.com"},
            422,
            "email_exists",
            "A user with this email address has already been registered",
        ),
        ({"phone": "15551234567"}, 422, "phone_exists", "Phone number already registered by another user"),
        ({"email": "x"}, 400, "validation_failed", "Unable to validate email address: invalid format"),
        ({"phone": "0"}, 400, "validation_failed", "Invalid phone number format (E.164 required)"),
        (
            {"email": "b@b.c", "password": "x", "password_hash": "y"},
            400,
            "validation_failed",
            "Only a password or a password hash should be provided",
        ),
        (
            {"email": "b@b.c", "password_hash": "md5"},
            400,
            "validation_failed",
            "password_hash is in no format that can be verified",
        ),
        (
            {"email": "b@b.c", "password": "x" * 73},
            400,
            "validation_failed",
            "bcrypt: password length exceeds 72 bytes",
        ),
        ({"email": "b@b.c", "id": "1"}, 400, "validation_failed", "ID must conform to the uuid v4 format"),
        ({"email": "b@b.c", "id": NIL}, 400, "validation_failed", "ID cannot be a nil uuid"),
        (
            {"email": "b@b.c", "ban_duration": "soon"},
            400,
            "validation_failed",
            'invalid format for ban duration: time: invalid duration "soon"',
        ),
        (
            {"email": "b@b.c", "email_confirm": "yes"},
            400,
            "bad_json",
            "Could not parse request body as JSON: json: cannot unmarshal string into Go struct field email_confirm "
            "of type bool",
        ),
    ],
)
async def test_creation_is_refused(
    auth: AuthServer, body: dict[str, Any], status: int, code: str, message: str
) -> None:
    await create(auth, email="alice@example.com", phone="15551234567")
    answer = await auth.client.post("/admin/users", json=body, headers=auth.service_headers)
    assert (answer.status_code, answer.json()["error_code"], answer.json()["msg"]) == (status, code, message)
    assert await auth.count("users") == 1


async def test_of_two_creations_of_one_address_at_once_one_is_told_that_it_exists(auth: AuthServer) -> None:
    answers = await asyncio.gather(
        *(
            auth.client.post("/admin/users", json={"email": "alice@example.com"}, headers=auth.service_headers)
            for _ in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5


async def test_id_that_is_taken_is_a_database_error_as_upstream(auth: AuthServer) -> None:
    user = await create(auth, email="alice@example.com")
    body = {"id": user["id"], "email": "bob@example.com"}
    answer = await auth.client.post("/admin/users", json=body, headers=auth.service_headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "23505")
    current = {**auth.service_headers, "x-supabase-api-version": "2024-01-01"}
    answer = await auth.client.post("/admin/users", json=body, headers=current)
    assert answer.json() == {"code": "unexpected_failure", "message": "Database error creating new user"}


async def test_update_takes_effect_at_once(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"keep": 1, "drop": 2})
    path = f"/admin/users/{session['user']['id']}"
    body = {
        "email": "New@example.com",
        "email_confirm": True,
        "password": "a new password",
        "user_metadata": {"drop": None, "add": 3},
        "app_metadata": {"plan": "pro"},
        "role": "editor",
    }
    answer = await auth.client.put(path, json=body, headers=auth.service_headers)
    user = answer.json()
    assert answer.status_code == 200
    assert (user["email"], user["role"]) == ("new@example.com", "editor")
    assert "new_email" not in user
    assert (user["user_metadata"]["keep"], user["user_metadata"]["add"]) == (1, 3)
    assert "drop" not in user["user_metadata"]
    assert user["app_metadata"]["plan"] == "pro"
    assert user["identities"][0]["identity_data"]["email"] == "new@example.com"
    assert user["identities"][0]["identity_data"]["email_verified"] is True
    assert (await auth.client.get("/user", headers=bearer(session))).json()["error_code"] == "session_not_found"
    assert (await auth.sign_in("new@example.com", "a new password")).status_code == 200


async def test_ban_lasts_for_a_go_duration_and_none_ends_it(auth: AuthServer) -> None:
    session = await auth.sign_up()
    path = f"/admin/users/{session['user']['id']}"
    banned = await auth.client.put(path, json={"ban_duration": "1h30m"}, headers=auth.service_headers)
    assert banned.json()["banned_until"]
    left_s = await auth.database.fetchval("select extract(epoch from banned_until - now())::int from auth.users")
    assert 5300 < left_s <= 5400
    assert (await auth.sign_in()).json()["error_code"] == "user_banned"
    freed = await auth.client.put(path, json={"ban_duration": "none"}, headers=auth.service_headers)
    assert "banned_until" not in freed.json()
    assert (await auth.sign_in()).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"password": "short"}, 422, "weak_password"),
        ({"password": ""}, 422, "weak_password"),
        ({"email": "x"}, 400, "validation_failed"),
        ({"ban_duration": "1 day"}, 400, "validation_failed"),
        ({"email": "bob@example.com"}, 500, "unexpected_failure"),
    ],
)
async def test_update_is_refused_and_nothing_changes(
    auth: AuthServer, body: dict[str, Any], status: int, code: str
) -> None:
    user = await create(auth, email="alice@example.com")
    await create(auth, email="bob@example.com")
    before = await auth.database.fetch("select * from auth.users order by id")
    headers = {**auth.service_headers, "x-supabase-api-version": "2024-01-01"}
    answer = await auth.client.put(f"/admin/users/{user['id']}", json={"role": "x", **body}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await auth.database.fetch("select * from auth.users order by id") == before


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_user_who_does_not_exist_is_404(auth: AuthServer, method: str) -> None:
    body: dict[str, Any] | None = {} if method == "PUT" else None
    gone = await auth.client.request(method, f"/admin/users/{uuid4()}", json=body, headers=auth.service_headers)
    assert (gone.status_code, gone.json()["error_code"], gone.json()["msg"]) == (
        404,
        "user_not_found",
        "User not found",
    )
    bad = await auth.client.request(method, "/admin/users/1", json=body, headers=auth.service_headers)
    assert (bad.status_code, bad.json()["error_code"]) == (404, "validation_failed")
    assert bad.json()["msg"] == "user_id must be an UUID"


async def test_deletion_takes_everything_along(auth: AuthServer) -> None:
    session = await auth.sign_up()
    path = f"/admin/users/{session['user']['id']}"
    answer = await auth.client.delete(path, headers=auth.service_headers)
    assert (answer.status_code, answer.json()) == (200, {})
    for table in ("users", "identities", "sessions", "refresh_tokens", "mfa_amr_claims"):
        assert await auth.count(table) == 0
    assert (await auth.client.delete(path, headers=auth.service_headers)).status_code == 404
    user = await auth.client.get("/user", headers=bearer(session))
    assert (user.status_code, user.json()["error_code"]) == (403, "user_not_found")


async def test_soft_deletion_keeps_a_row_that_names_nobody(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"name": "Alice"})
    path = f"/admin/users/{session['user']['id']}"
    answer = await auth.client.request("DELETE", path, json={"should_soft_delete": True}, headers=auth.service_headers)
    assert (answer.status_code, answer.json()) == (200, {})
    user = (await auth.client.get(path, headers=auth.service_headers)).json()
    assert user["deleted_at"]
    assert "alice" not in str(user).lower()
    assert (user["user_metadata"], user["app_metadata"]) == ({}, {})
    assert "identity_data" not in user["identities"][0]
    assert await auth.count("sessions") == 0
    assert (await auth.sign_in()).json()["error_code"] == "invalid_credentials"
    again = await auth.client.request("DELETE", path, json={"should_soft_delete": True}, headers=auth.service_headers)
    assert again.status_code == 200
    assert (await auth.sign_up())["user"]["id"] != user["id"]


async def test_list_has_pages_with_the_headers_that_clients_read(auth: AuthServer) -> None:
    for number in range(5):
        await create(auth, email=f"user{number}@example.com", user_metadata={"full_name": f"User Number {number}"})
    answer = await auth.client.get("/admin/users?per_page=2&page=2", headers=auth.service_headers)
    body = answer.json()
    assert body["aud"] == "authenticated"
    assert [user["email"] for user in body["users"]] == ["user2@example.com", "user1@example.com"]
    assert all(user["identities"] is None and "factors" not in user for user in body["users"])
    assert answer.headers["x-total-count"] == "5"
    assert answer.headers["link"] == (
        '</admin/users?page=3&per_page=2>; rel="next", </admin/users?page=3&per_page=2>; rel="last"'
    )
    last = await auth.client.get("/admin/users?per_page=2&page=3", headers=auth.service_headers)
    assert last.headers["link"] == '</admin/users?page=3&per_page=2>; rel="last"'
    default = await auth.client.get("/admin/users?page=&per_page=", headers=auth.service_headers)
    assert len(default.json()["users"]) == 5
    beyond = await auth.client.get("/admin/users?page=9223372036854775807", headers=auth.service_headers)
    assert (beyond.status_code, beyond.json()["users"]) == (200, [])
    by_name = await auth.client.get("/admin/users?filter=number 3", headers=auth.service_headers)
    assert [user["email"] for user in by_name.json()["users"]] == ["user3@example.com"]
    oldest = await auth.client.get("/admin/users?sort=created_at asc&per_page=1", headers=auth.service_headers)
    assert oldest.json()["users"][0]["email"] == "user0@example.com"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("page=-1", 'Bad Pagination Parameters: strconv.ParseUint: parsing "-1": invalid syntax'),
        ("per_page=x", 'Bad Pagination Parameters: strconv.ParseUint: parsing "x": invalid syntax'),
        ("sort=email", "Bad Sort Parameters: bad field for sort 'email'"),
        ("sort=created_at up", "Bad Sort Parameters: bad direction for sort 'up', only 'asc' and 'desc' allowed"),
    ],
)
async def test_list_refuses_bad_parameters(auth: AuthServer, query: str, message: str) -> None:
    answer = await auth.client.get(f"/admin/users?{query}", headers=auth.service_headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
    assert answer.json()["msg"] == message


async def test_audit_log_names_the_administrators_role(auth: AuthServer) -> None:
    user = await create(auth, email="alice@example.com")
    row = await auth.database.fetchrow(
        "select payload->>'actor_username' as actor, payload->>'actor_id' as id, payload->'traits'->>'user_id' as user_id"
        " from auth.audit_log_entries"
    )
    assert row is not None
    assert (row["actor"], row["id"], row["user_id"]) == ("service_role", NIL, user["id"])

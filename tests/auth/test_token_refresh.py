"""POST /token?grant_type=refresh_token: rotation, tolerated reuse, stolen tokens, races, and sessions that ended."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from tests.auth.conftest import AuthServer, StartAuth, bearer


async def age(auth: AuthServer, token: str, seconds: int = 60) -> None:
    """Make it so long ago that the token was revoked."""
    await auth.database.execute(
        "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => $2) where token = $1",
        token,
        seconds,
    )


async def test_refresh_rotates_the_token_and_keeps_the_session(auth: AuthServer) -> None:
    first = await auth.sign_up()
    answer = await auth.refresh(first["refresh_token"])
    second = answer.json()
    assert answer.status_code == 200
    assert answer.headers["sb-auth-refresh-token-reuse"] == "false"
    assert second["refresh_token"] != first["refresh_token"]
    assert "weak_password" not in second
    before, after = (jwt.decode(s["access_token"], options={"verify_signature": False}) for s in (first, second))
    assert before["session_id"] == after["session_id"]
    assert before["amr"] == after["amr"]
    assert second["user"]["id"] == first["user"]["id"]
    child = await auth.database.fetchrow("select * from auth.refresh_tokens where token = $1", second["refresh_token"])
    assert child is not None
    assert (child["parent"], child["revoked"]) == (first["refresh_token"], False)
    session = await auth.database.fetchrow(
        "select user_agent, abs(extract(epoch from (now() at time zone 'utc' - refreshed_at))) as age_s from auth.sessions"
    )
    assert session is not None
    assert session["user_agent"].startswith("python-httpx")
    assert session["age_s"] < 30
    actions = await auth.database.fetch(
        "select payload->>'action' as action from auth.audit_log_entries order by created_at"
    )
    assert [row["action"] for row in actions][-2:] == ["token_refreshed", "token_revoked"]


@pytest.mark.parametrize("token", ["", "short", "UPPERCASE123", "abcdefghijk!", "a" * 13, "a" * 300])
async def test_what_has_not_the_shape_of_a_token_is_refused_unseen(auth: AuthServer, token: str) -> None:
    answer = await auth.refresh(token)
    assert answer.status_code == 400
    assert answer.json() == {"code": 400, "error_code": "validation_failed", "msg": "Refresh token is not valid"}


async def test_unknown_token_is_not_found(auth: AuthServer) -> None:
    answer = await auth.refresh("abcdefghij23")
    assert answer.json()["error_code"] == "refresh_token_not_found"
    assert answer.json()["msg"] == "Invalid Refresh Token: Refresh Token Not Found"


async def test_parent_of_the_live_token_gets_the_live_token_however_late(auth: AuthServer) -> None:
    first = await auth.sign_up()
    second = (await auth.refresh(first["refresh_token"])).json()
    await age(auth, first["refresh_token"], 3600)
    again = await auth.refresh(first["refresh_token"])
    assert again.status_code == 200
    assert again.json()["refresh_token"] == second["refresh_token"]
    assert "sb-auth-refresh-token-reuse" not in again.headers
    assert await auth.count("refresh_tokens") == 2


async def test_older_token_within_the_reuse_interval_gets_a_new_child(start_auth: StartAuth) -> None:
    async with start_auth(refresh_token_reuse_interval_s=300) as auth:
        first = await auth.sign_up()
        second = (await auth.refresh(first["refresh_token"])).json()
        await auth.refresh(second["refresh_token"])
        again = await auth.refresh(first["refresh_token"])
        assert again.status_code == 200
        assert await auth.count("refresh_tokens") == 4


async def test_reuse_after_the_interval_revokes_the_family_although_the_request_fails(auth: AuthServer) -> None:
    first = await auth.sign_up()
    second = (await auth.refresh(first["refresh_token"])).json()
    third = (await auth.refresh(second["refresh_token"])).json()
    await age(auth, first["refresh_token"])
    stolen = await auth.refresh(first["refresh_token"])
    assert (stolen.status_code, stolen.json()["error_code"]) == (400, "refresh_token_already_used")
    assert stolen.json()["msg"] == "Invalid Refresh Token: Already Used"
    assert await auth.count("refresh_tokens", "not revoked") == 0
    # Neither side can go on: not the thief with any older token, not the owner with the newest.
    for token in (third, second, first):
        answer = await auth.refresh(token["refresh_token"])
        assert answer.json()["error_code"] == "refresh_token_already_used"
    other = (await auth.sign_in()).json()
    assert (await auth.refresh(other["refresh_token"])).status_code == 200


async def test_reuse_without_rotation_fails_alone(start_auth: StartAuth) -> None:
    async with start_auth(enable_refresh_token_rotation=False) as auth:
        first = await auth.sign_up()
        second = (await auth.refresh(first["refresh_token"])).json()
        third = (await auth.refresh(second["refresh_token"])).json()
        await age(auth, first["refresh_token"])
        assert (await auth.refresh(first["refresh_token"])).json()["error_code"] == "refresh_token_already_used"
        assert (await auth.refresh(third["refresh_token"])).status_code == 200


async def test_twenty_refreshes_of_one_token_at_once_agree_on_one_child(auth: AuthServer) -> None:
    first = await auth.sign_up()
    answers = await asyncio.gather(*(auth.refresh(first["refresh_token"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert await auth.count("refresh_tokens") == 2
    assert await auth.count("refresh_tokens", "not revoked") == 1
    assert await auth.count("audit_log_entries", "payload->>'action' = 'token_revoked'") == 1


async def test_refresh_waits_for_a_locked_session_without_holding_a_connection(auth: AuthServer) -> None:
    first = await auth.sign_up()
    transaction = auth.database.transaction()
    await transaction.start()
    await auth.database.execute("select from auth.sessions for update")
    waiting = [asyncio.create_task(auth.refresh(first["refresh_token"])) for _ in range(10)]
    await asyncio.sleep(0.1)
    # More requests wait than the pool has connections, and others are served meanwhile.
    other = await auth.client.post("/signup", json={"email": "bob@example.com", "password": "another password"})
    assert other.status_code == 200
    assert not any(task.done() for task in waiting)
    await transaction.rollback()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


async def test_session_that_stays_locked_is_a_conflict(auth: AuthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.auth.flows.session_locks.RETRY_LIMIT_S", 0.2)
    first = await auth.sign_up()
    async with auth.database.transaction():
        await auth.database.execute("select from auth.sessions for update")
        answer = await auth.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (409, "conflict")
    assert (await auth.refresh(first["refresh_token"])).status_code == 200


async def test_session_past_its_end_is_expired(auth: AuthServer) -> None:
    first = await auth.sign_up()
    await auth.database.execute("update auth.sessions set not_after = now() - interval '1 second'")
    answer = await auth.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "session_expired")
    assert answer.json()["msg"] == "Invalid Refresh Token: Session Expired"
    assert await auth.count("refresh_tokens", "not revoked") == 1


async def test_banned_user_cannot_refresh_and_is_refused_by_access_token_too(auth: AuthServer) -> None:
    first = await auth.sign_up()
    await auth.database.execute("update auth.users set banned_until = now() + interval '1 hour'")
    answer = await auth.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "user_banned")
    assert answer.json()["msg"] == "Invalid Refresh Token: User Banned"
    user = await auth.client.get("/user", headers=bearer(first))
    assert (user.status_code, user.json()["error_code"]) == (403, "user_banned")


async def test_token_from_before_sessions_is_deleted_and_refused(auth: AuthServer) -> None:
    first = await auth.sign_up()
    await auth.database.execute("update auth.refresh_tokens set session_id = null")
    answer = await auth.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "session_not_found")
    assert await auth.count("refresh_tokens") == 0


async def test_refresh_brings_what_changed_of_the_user(auth: AuthServer) -> None:
    first = await auth.sign_up()
    await auth.database.execute("""update auth.users set raw_app_meta_data = '{"plan": "pro"}', role = 'editor'""")
    claims = jwt.decode(
        (await auth.refresh(first["refresh_token"])).json()["access_token"], options={"verify_signature": False}
    )
    assert (claims["app_metadata"], claims["role"]) == ({"plan": "pro"}, "editor")

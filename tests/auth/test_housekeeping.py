"""Housekeeping: what goes, what stays, and that one process does it at a time in bounded steps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isobase_platform.config import Settings
from isobase_platform.config_auth.security import HousekeepingSettings
from isobase_platform.config_auth.sessions import SessionSettings
from isobase_services.auth.core import AuthCore
from isobase_services.auth.housekeeping import Housekeeper
from isobase_services.auth.store.stale import LOCK_KEY
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import claims_of, enroll
from tests.plugins.stack import DatabaseServer


@pytest.fixture(autouse=True)
def nothing_of_other_tests(postgres: DatabaseServer, auth_database: Settings) -> None:
    """Rows that hang on no user outlive the test that left them."""
    for table in ("webauthn_challenges", "saml_relay_states", "oauth_client_states"):
        postgres.execute(f"delete from auth.{table}", database="auth_rows")


async def round_of(auth: AuthServer) -> dict[str, int]:
    """Run one round with the parts of a core of its own."""
    core = AuthCore.of(auth.platform)
    try:
        removed = await Housekeeper(core).run_round()
    finally:
        await core.hasher.close(1.0)
        await core.messages.close(1.0)
    removed.pop("store", None)
    return removed


async def test_nothing_that_is_in_use_goes(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True, housekeeping=housekeeping()) as auth:
        session = await auth.sign_up()
        refreshed = (await auth.refresh(session["refresh_token"])).json()
        await enroll(auth, session)
        await auth.client.post("/signup", json={})
        assert await round_of(auth) == {}
        assert (await auth.refresh(refreshed["refresh_token"])).status_code == 200


def housekeeping(**changes: object) -> HousekeepingSettings:
    return HousekeepingSettings.model_validate({"anonymous_users_enabled": True, **changes})


async def test_what_nobody_can_use_any_more_goes(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True, housekeeping=housekeeping()) as auth:
        session = await auth.sign_up()
        await auth.refresh(session["refresh_token"])
        ended = (await auth.sign_in()).json()
        factor = await enroll(auth, session)
        await auth.client.post(f"/factors/{factor['id']}/challenge", headers=bearer(session))
        await auth.client.post("/signup", json={})
        await auth.client.post("/recover", json={"email": "alice@example.com"})
        await auth.database.execute(
            """
            insert into auth.flow_state (id, provider_type, authentication_method, created_at)
              values (gen_random_uuid(), 'email', 'magiclink', now() - interval '25 h');
            insert into auth.webauthn_challenges (challenge_type, session_data, expires_at)
              values ('registration', '{}', now() - interval '1 s');
            update auth.refresh_tokens set updated_at = now() - interval '25 h' where revoked;
            update auth.mfa_challenges set created_at = now() - interval '25 h';
            update auth.mfa_factors set created_at = now() - interval '25 h';
            update auth.one_time_tokens set created_at = now() - interval '3 days';
            update auth.users set created_at = now() - interval '31 days';
            """
        )
        await auth.database.execute(
            "update auth.sessions set not_after = now() - interval '73 h' where id = $1", session_id(ended)
        )
        removed = await round_of(auth)
        assert removed == {
            "refresh_tokens": 1,
            "refresh_tokens_of_ended_sessions": 1,
            "sessions": 1,
            "flow_state": 1,
            "webauthn_challenges": 1,
            "mfa_challenges": 1,
            "mfa_factors": 1,
            "one_time_tokens": 1,
            "anonymous_users": 1,
        }
        assert await auth.count("users") == 1
        assert await auth.count("sessions") == 1
        assert await round_of(auth) == {}


def session_id(session: dict[str, Any]) -> str:
    found: str = claims_of(session)["session_id"]
    return found


async def test_anonymous_users_stay_where_nobody_asked_for_their_removal(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        await auth.client.post("/signup", json={})
        await auth.database.execute("update auth.users set created_at = now() - interval '31 days'")
        assert await round_of(auth) == {}


async def test_sessions_past_their_timebox_or_inactivity_go_a_day_later(start_auth: StartAuth) -> None:
    limits = SessionSettings(timebox_s=3600, inactivity_timeout_s=600)
    async with start_auth(sessions=limits) as auth:
        await auth.sign_up()
        fresh = (await auth.sign_in()).json()
        idle = (await auth.sign_in()).json()
        await auth.database.execute(
            "update auth.sessions set created_at = now() - interval '26 h' where id not in ($1, $2)",
            session_id(fresh),
            session_id(idle),
        )
        await auth.database.execute(
            "update auth.sessions set refreshed_at = (now() at time zone 'utc') - interval '25 h' where id = $1",
            session_id(idle),
        )
        await auth.database.execute(
            "update auth.refresh_tokens set updated_at = now() - interval '25 h' where session_id = $1",
            session_id(idle),
        )
        assert await round_of(auth) == {"timeboxed_sessions": 1, "inactive_sessions": 1}
        assert (await auth.refresh(fresh["refresh_token"])).status_code == 200


async def test_a_backlog_goes_in_bounded_batches(start_auth: StartAuth) -> None:
    async with start_auth(housekeeping=housekeeping(batch_rows=7)) as auth:
        await auth.database.execute(
            """
            insert into auth.flow_state (id, provider_type, authentication_method, created_at)
            select gen_random_uuid(), 'email', 'magiclink', now() - interval '2 days' from generate_series(1, 200)
            """
        )
        assert await round_of(auth) == {"flow_state": 140}
        assert await round_of(auth) == {"flow_state": 60}


async def test_while_another_process_is_at_it_nothing_is_done(auth: AuthServer) -> None:
    await auth.database.execute(
        "insert into auth.flow_state (id, provider_type, authentication_method, created_at)"
        " values (gen_random_uuid(), 'email', 'magiclink', now() - interval '2 days')"
    )
    async with auth.database.transaction():
        await auth.database.execute("select pg_advisory_xact_lock($1)", LOCK_KEY)
        assert await round_of(auth) == {}
    assert await round_of(auth) == {"flow_state": 1}


async def test_the_task_works_by_itself_and_ends_with_the_service(start_auth: StartAuth) -> None:
    async with start_auth(housekeeping=housekeeping(interval_s=0.05)) as auth:
        await auth.database.execute(
            "insert into auth.flow_state (id, provider_type, authentication_method, created_at)"
            " values (gen_random_uuid(), 'email', 'magiclink', now() - interval '2 days')"
        )
        core = AuthCore.of(auth.platform)
        housekeeper = Housekeeper(core)
        housekeeper.start()
        try:
            async with asyncio.timeout(60):
                while await auth.count("flow_state"):
                    await asyncio.sleep(0.02)
        finally:
            await housekeeper.stop()
            await core.hasher.close(1.0)
            await core.messages.close(1.0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "auth housekeeping"]

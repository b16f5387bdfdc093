"""Sessions that end by themselves: timebox, inactivity, a missing second factor, a newer session."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from isobase_platform.config_auth.sessions import SessionSettings
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import claims_of, enroll_verified

HOUR_S = 3600


def limits(**values: object) -> SessionSettings:
    return SessionSettings.model_validate(values)


async def age(auth: AuthServer, seconds: int, *columns: str) -> None:
    """Make sessions older in some of their columns, and their tokens."""
    for column in columns:
        await auth.database.execute(
            f"update auth.sessions set {column} = {column} - make_interval(secs => $1)", float(seconds)
        )
    await auth.database.execute(
        "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => $1)", float(seconds)
    )


async def refused(auth: AuthServer, session: dict[str, Any]) -> str:
    answer = await auth.refresh(session["refresh_token"])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "session_expired"), answer.text
    message: str = answer.json()["msg"]
    return message


async def test_a_session_ends_with_its_timebox_however_often_it_was_refreshed(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(timebox_s=HOUR_S)) as auth:
        session = await auth.sign_up()
        await age(auth, HOUR_S - 60, "created_at")
        refreshed = (await auth.refresh(session["refresh_token"])).json()
        assert 0 < refreshed["expires_in"] <= 60
        await age(auth, 120, "created_at")
        assert await refused(auth, refreshed) == "Invalid Refresh Token: Session Expired"


async def test_a_session_ends_when_it_was_not_refreshed_for_long(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(inactivity_timeout_s=HOUR_S)) as auth:
        session = await auth.sign_up()
        await age(auth, HOUR_S - 60, "created_at")
        refreshed = (await auth.refresh(session["refresh_token"])).json()
        assert refreshed["expires_in"] == HOUR_S
        await age(auth, HOUR_S - 60, "refreshed_at")
        refreshed = (await auth.refresh(refreshed["refresh_token"])).json()
        await age(auth, HOUR_S + 60, "refreshed_at")
        assert await refused(auth, refreshed) == "Invalid Refresh Token: Session Expired (Inactivity)"


async def test_an_access_token_does_not_outlive_inactivity(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(inactivity_timeout_s=600)) as auth:
        session = await auth.sign_up()
    assert session["expires_in"] == 600
    assert claims_of(session)["exp"] - claims_of(session)["iat"] == 600


async def test_who_has_a_second_factor_must_use_it_soon(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(low_aal_s=600)) as auth:
        first = await auth.sign_up()
        assert first["expires_in"] == HOUR_S
        _, strong = await enroll_verified(auth, first)
        assert strong["expires_in"] == HOUR_S
        weak = (await auth.sign_in()).json()
        assert 500 <= weak["expires_in"] <= 600
        await age(auth, 660, "created_at")
        message = "Invalid Refresh Token: Session Expired (Low AAL: User Needs MFA Verification)"
        assert await refused(auth, weak) == message
        assert (await auth.refresh(strong["refresh_token"])).status_code == 200


async def test_without_a_second_factor_low_aal_is_no_limit(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(low_aal_s=600)) as auth:
        session = await auth.sign_up()
        await age(auth, 660, "created_at")
        assert (await auth.refresh(session["refresh_token"])).status_code == 200


async def test_a_newer_session_ends_the_older_one(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(single_per_user=True)) as auth:
        older = await auth.sign_up()
        newer = (await auth.sign_in()).json()
        assert await refused(auth, older) == "Invalid Refresh Token: Session Expired (Revoked by Newer Login)"
        assert (await auth.refresh(newer["refresh_token"])).status_code == 200


async def test_a_newer_session_that_is_over_ends_nothing(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(single_per_user=True)) as auth:
        older = await auth.sign_up()
        newer = (await auth.sign_in()).json()
        await auth.database.execute(
            "update auth.sessions set not_after = now() - interval '1 s' where id = $1", claims_of(newer)["session_id"]
        )
        assert (await auth.refresh(older["refresh_token"])).status_code == 200


async def test_sessions_of_different_tags_live_beside_each_other(start_auth: StartAuth) -> None:
    async with start_auth(sessions=limits(single_per_user=True, tags=("web", "mobile"))) as auth:
        web = await auth.sign_up()
        mobile = (await auth.sign_in()).json()
        await auth.database.execute(
            "update auth.sessions set tag = 'mobile' where id = $1", claims_of(mobile)["session_id"]
        )
        refreshed = await auth.refresh(web["refresh_token"])
        assert refreshed.status_code == 200
        unknown = (await auth.sign_in()).json()
        await auth.database.execute(
            "update auth.sessions set tag = 'toaster' where id = $1", claims_of(unknown)["session_id"]
        )
        # A tag that is not listed counts as the first.
        assert "Revoked by Newer Login" in await refused(auth, refreshed.json())


async def test_a_token_made_before_there_was_a_limit_is_no_way_around_it(
    start_auth: StartAuth,
) -> None:
    async with AsyncExitStack() as stack:
        unlimited = await stack.enter_async_context(start_auth())
        limited = await stack.enter_async_context(start_auth(sessions=limits(timebox_s=HOUR_S)))
        session = await unlimited.sign_up()
        assert (await limited.client.get("/user", headers=bearer(session))).status_code == 200
        await age(unlimited, 2 * HOUR_S, "created_at")
        assert (await unlimited.client.get("/user", headers=bearer(session))).status_code == 200
        answer = await limited.client.get("/user", headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_expired")

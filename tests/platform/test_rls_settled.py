"""``RlsDoor.settled``: what comes last depends on what the statements gave, and all of it is one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError
from isobase_platform.runtime import Platform
from isobase_platform.wire_messages import Row, Step
from tests.platform.test_one_round_trip import ALICE, BOB, SCHEMA, caller

WHO = "select session_user::text || ' as ' || current_user"
INSERT: Step = ("insert into public.notes (id, body) values (1, 'a') returning current_user::text", ())


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    # One connection: whatever a caller leaves, the next one would meet it.
    settings = database.model_copy(update={"database": database.database.model_copy(update={"pool_max_size": 1})})
    connection = await asyncpg.connect(settings.dsn())
    await connection.execute(SCHEMA)
    await connection.execute(
        "create table public.log (who text); grant insert on public.log to authenticator;"
        " grant usage on schema public to authenticator"
    )
    await connection.close()
    async with Platform.open(settings) as opened:
        yield opened


def nothing(_rows: list[list[Row]]) -> list[Step]:
    return []


def log(what: str) -> Step:
    return "insert into public.log values ($1 || ' by ' || current_user)", [what]


async def logged(platform: Platform) -> list[str]:
    async with platform.pools.acquire(None) as connection:
        return [row["who"] for row in await connection.fetch("select who from public.log order by who")]


async def notes(platform: Platform, sub: str = ALICE) -> int:
    [[[count]]] = await platform.door.once(caller(sub), [("select count(*)::text from public.notes", ())])
    return int(count or b"")


async def test_the_login_role_acts_before_and_behind_and_the_caller_between(platform: Platform) -> None:
    seen: list[list[list[Row]]] = []

    def settle(rows: list[list[Row]]) -> list[Step]:
        seen.append(rows)
        return [log("last")]

    await platform.door.settled(caller(ALICE), [log("first")], [INSERT, (WHO, ())], settle)
    assert seen == [[[[b"authenticated"]], [[b"authenticator as authenticated"]]]]
    assert await logged(platform) == ["first by authenticator", "last by authenticator"]
    assert (await notes(platform), await notes(platform, BOB)) == (1, 0)


async def test_what_settle_raises_leaves_nothing_and_a_clean_connection(platform: Platform) -> None:
    def refuse(_rows: list[list[Row]]) -> list[Step]:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await platform.door.settled(caller(ALICE), [log("first")], [INSERT], refuse)
    assert (await notes(platform), await logged(platform)) == (0, [])
    [rows] = await platform.door.once(caller(BOB), [(WHO, ())])
    assert rows == [[b"authenticator as authenticated"]]


@pytest.mark.parametrize(
    ("first", "steps", "last", "sqlstate"),
    [
        ([("select 1 / 0", ())], [INSERT], [], "22012"),
        ([], [INSERT, INSERT], [], "23505"),
        ([], [INSERT], [("select 1 / 0", ())], "22012"),
        ([], [INSERT, ("insert into public.children values (7)", ())], [], "23503"),
    ],
    ids=["first", "statement", "last", "commit"],
)
async def test_an_error_anywhere_leaves_nothing_and_the_door_works_on(
    platform: Platform, first: list[Step], steps: list[Step], last: list[Step], sqlstate: str
) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseError) as caught:
            await platform.door.settled(caller(ALICE), [log("first"), *first], steps, lambda _rows: last)
        assert caught.value.sqlstate == sqlstate
        assert (await notes(platform), await logged(platform)) == (0, [])
    await platform.door.settled(caller(ALICE), [], [INSERT], nothing)
    assert await notes(platform) == 1


async def test_nothing_that_a_function_leaves_on_the_session_is_met_by_the_next_caller(platform: Platform) -> None:
    await platform.door.settled(caller(ALICE), [], [("select public.leave_traces()", ())], nothing)
    [rows] = await platform.door.once(
        caller(BOB),
        [("select current_user::text, auth.uid()::text, coalesce(current_setting('app.secret', true), '')", ())],
    )
    assert rows == [[b"authenticated", BOB.encode(), b""]]


async def test_statements_that_somebody_deallocated_are_prepared_again(platform: Platform) -> None:
    for _ in range(3):
        await platform.door.settled(caller(ALICE), [log("x")], [("select public.drop_statements()", ())], nothing)
    assert len(await logged(platform)) == 3


async def test_a_caller_who_goes_away_takes_the_transaction_along(platform: Platform) -> None:
    steps: list[Step] = [INSERT, ("select pg_sleep(30)", ())]
    waiting = asyncio.create_task(platform.door.settled(caller(ALICE), [], steps, nothing))
    async with platform.pools.acquire(None) as connection:
        while not await connection.fetchval(
            "select exists (select from pg_stat_activity where wait_event = 'PgSleep')"
        ):
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await notes(platform) == 0

"""What hostile functions do to the session that they run on, and what the next caller meets there."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable
from isobase_platform.runtime import Platform

ALICE, BOB = str(uuid4()), str(uuid4())
ANSWER_TIMEOUT_S = 90.0

SCHEMA = """
create table public.things (id serial primary key, body text);
insert into public.things (body) values ('real');
grant all on public.things to anon, authenticated;
grant all on all sequences in schema public to anon, authenticated;
-- Dynamic SQL is the worst that a function of somebody may hold: it runs as the caller, on the caller's session.
create function public.run(commands text[]) returns text language plpgsql as $$
declare command text; begin foreach command in array commands loop execute command; end loop; return 'ran'; end $$;
create function public.rows_of_things() returns bigint language sql volatile as 'select count(*) from things';
"""


def caller(sub: str) -> Caller:
    claims = Claims.from_payload({"sub": sub, "role": "authenticated"})
    return Caller(role="authenticated", claims=claims, request=RequestFacts("GET", "/things", "{}", "{}"))


async def opened(database: Settings, connections: int) -> AsyncIterator[Platform]:
    pool = database.database.model_copy(update={"pool_max_size": connections})
    settings = database.model_copy(update={"database": pool})
    connection = await asyncpg.connect(settings.dsn())
    await connection.execute(SCHEMA)
    await connection.close()
    async with Platform.open(settings) as platform:
        yield platform


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    # One connection: whatever a caller leaves, the next one would meet it.
    async for one in opened(database, 1):
        yield one


@pytest.fixture
async def small_pool(database: Settings) -> AsyncIterator[Platform]:
    async for one in opened(database, 3):
        yield one


STATE = """
select current_user::text, session_user::text, auth.uid()::text, (select string_agg(body, ',') from public.things),
  public.rows_of_things()::text, current_setting('client_encoding'), current_setting('DateStyle'),
  current_setting('bytea_output'), current_setting('IntervalStyle'), current_setting('default_transaction_read_only'),
  current_setting('default_transaction_isolation'), current_setting('statement_timeout'),
  current_setting('transaction_isolation'), current_setting('standard_conforming_strings'), current_setting('search_path'),
  (select count(*)::text from pg_catalog.pg_cursors), (select count(*)::text from pg_catalog.pg_listening_channels()),
  (select count(*)::text from pg_catalog.pg_locks where locktype = 'advisory'),
  coalesce(current_setting('app.left', true), '')
"""


async def state(platform: Platform, who: str, *, read_only: bool) -> list[bytes | None]:
    [rows] = await platform.door.once(caller(who), [(STATE, ())], read_only=read_only)
    return rows[0]


def array(*commands: str) -> str:
    return "{" + ",".join('"' + command.replace("\\", "\\\\").replace('"', '\\"') + '"' for command in commands) + "}"


HOSTILE = {
    "terminates itself": ["select pg_terminate_backend(pg_backend_pid())"],
    "cancels itself": ["select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"],
    "listens and notifies itself": [
        "listen a",
        "do $d$ begin for n in 1..60 loop perform pg_notify('a', repeat('y', 7000) || n); end loop; end $d$",
    ],
    "speaks another encoding": ["select set_config('client_encoding', 'LATIN1', false)"],
    "formats otherwise": ["set datestyle to german", "set bytea_output to escape", "set intervalstyle to sql_standard"],
    "makes later transactions read only": ["set session characteristics as transaction read only"],
    "makes later transactions serializable": [
        "set session characteristics as transaction isolation level serializable, read only, deferrable"
    ],
    "shortens time": ["set statement_timeout to 1", "set lock_timeout to 1"],
    "changes strings": [
        "set standard_conforming_strings to off",
        "set backslash_quote to on",
        "set escape_string_warning to off",
    ],
    "keeps a cursor": ["declare kept cursor with hold for select * from public.things"],
    "shadows a table": [
        "create temp table things (id int, body text)",
        "insert into things values (1,'false'),(2,'false')",
    ],
    "shadows a function": ["create function pg_temp.f() returns int language sql as 'select 1'"],
    "locks": ["select pg_advisory_lock(1)", "select pg_advisory_lock_shared(2)"],
    "takes a number": ["select nextval('public.things_id_seq')"],
    "changes the path": ["set search_path to pg_temp, public"],
    "leaves a setting": ["select set_config('app.left', 'alice', false)"],
    "becomes another": ["set role service_role", "set row_security to off"],
    "resets": ["reset all", "reset role"],
    "deallocates": ["deallocate all"],
    "notices": ["do $d$ begin for n in 1..300 loop raise notice '%', repeat('n', 3000); end loop; end $d$"],
    "fails late": ["create temp table t (n int unique deferrable initially deferred)", "insert into t values (1), (1)"],
    "ends idle sessions": ["set idle_session_timeout to 1", "set idle_in_transaction_session_timeout to 1"],
    "discards": ["discard temp", "discard plans", "discard sequences"],
    "logs": ["set client_min_messages to debug5"],
    "plans otherwise": ["set plan_cache_mode to force_generic_plan", "set enable_seqscan to off"],
    "defers nothing": ["set constraints all immediate"],
}


@pytest.mark.parametrize("read_only", [False, True], ids=["writing", "reading"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_the_next_caller_meets_nothing_of_it(platform: Platform, name: str, read_only: bool) -> None:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        clean = await state(platform, BOB, read_only=False)
        for ending in ([], ["select 1 / 0"]):
            step = ("select public.run($1)", [array(*HOSTILE[name], *ending)])
            with contextlib.suppress(DatabaseError):
                await platform.door.once(caller(ALICE), [step], read_only=read_only)
            assert await state(platform, BOB, read_only=False) == clean
            assert await state(platform, BOB, read_only=True) == clean
        with pytest.raises(DatabaseError, match="lastval is not yet defined"):
            await platform.door.once(caller(BOB), [("select lastval()", ())])


ECHO = "select auth.uid()::text, $1::text, repeat('x', $2::int)"
TURMOIL = [
    "terminates itself",
    "cancels itself",
    "listens and notifies itself",
    "notices",
    "shadows a table",
    "fails late",
]


async def one_of_many(platform: Platform, number: int, chance: random.Random) -> None:
    """Something, and then a question whose answer is this caller's alone."""
    who, mark, size = str(uuid4()), f"mark {number}", chance.choice([0, 10, 70_000, 700_000])
    kind = chance.randrange(6)
    read_only = chance.random() < 0.5
    if kind == 0:
        command = array(*HOSTILE[chance.choice(TURMOIL)])
        with contextlib.suppress(IsobaseError):
            await platform.door.once(caller(who), [("select public.run($1)", [command])], read_only=read_only)
    elif kind == 1:
        slow = platform.door.once(caller(who), [("select pg_sleep(0.2), $1::text", [mark])], read_only=read_only)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.1)):
                await slow
    elif kind == 2:
        with pytest.raises(DatabaseError):
            await platform.door.once(
                caller(who), [(ECHO, [mark, "5"]), ("select 1 / $1::int", ["0"])], read_only=read_only
            )
    elif kind == 3:
        async with platform.door.transaction(caller(who), read_only=read_only) as connection:
            assert await connection.fetchval("select auth.uid()::text || $1::text", mark) == who + mark
            assert await connection.run(ECHO, [mark, str(size)]) == [[who.encode(), mark.encode(), b"x" * size]]
    try:
        [before, rows] = await platform.door.once(
            caller(who), [("select $1::text", [mark]), (ECHO, [mark, str(size)])], read_only=read_only
        )
    except Unavailable:
        return  # who waits behind a session that ended may be told so
    assert before == [[mark.encode()]]
    assert rows == [[who.encode(), mark.encode(), b"x" * size]]


async def test_no_answer_goes_to_another_request_in_any_turmoil(small_pool: Platform) -> None:
    chance = random.Random(7)
    async with asyncio.timeout(110):
        for _ in range(6):
            await asyncio.gather(*(one_of_many(small_pool, number, chance) for number in range(40)))

"""``RlsDoor.once``: settings, statements and commit in one exchange, and nothing left behind by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.runtime import Platform
from isobase_platform.wire import MAX_STATEMENTS, After, WireConnection
from isobase_platform.wire_messages import Binary, Silent
from tests.plugins.patience import STALL_S

ALICE, BOB = str(uuid4()), str(uuid4())

SCHEMA = """
create table public.notes (id int primary key, owner uuid not null default auth.uid(), body text);
alter table public.notes enable row level security;
create policy own on public.notes to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
create table public.parents (id int primary key);
create table public.children (parent int references public.parents deferrable initially deferred);
grant all on public.notes, public.parents, public.children to anon, authenticated, service_role;
create function public.leave_traces() returns text language plpgsql as $$
begin
  perform set_config('role', 'service_role', false), set_config('request.jwt.claims', '{"sub":"nobody"}', false),
          set_config('app.secret', 'left', false), pg_advisory_lock(42);
  create temp table left_behind (n int);
  return 'done';
end $$;
create function public.read_and_leave_traces() returns text language plpgsql as $$
begin
  perform set_config('role', 'service_role', false), set_config('request.jwt.claims', '{"sub":"nobody"}', false),
          set_config('app.secret', 'left', false), pg_advisory_lock(42);
  return 'done';
end $$;
create function public.take_names() returns text language plpgsql as $$
begin
  for n in 1..40 loop
    begin execute format('prepare isobase_%s as select 1', n); exception when duplicate_prepared_statement then null; end;
  end loop;
  return 'done';
end $$;
create function public.drop_statements() returns text language plpgsql as $$
begin deallocate all; return 'done'; end $$;
"""


def caller(sub: str | None, role: str = "authenticated") -> Caller:
    claims = Claims.from_payload({"sub": sub, "role": role} if sub else {"role": role})
    return Caller(role=role, claims=claims, request=RequestFacts("GET", "/notes", '{"x-a":"1"}', "{}"))


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    # One connection: whatever a caller leaves, the next one would meet it.
    settings = database.model_copy(update={"database": database.database.model_copy(update={"pool_max_size": 1})})
    connection = await asyncpg.connect(settings.dsn())
    await connection.execute(SCHEMA)
    await connection.close()
    async with Platform.open(settings) as opened:
        yield opened


async def test_statements_run_as_the_caller_and_values_take_the_types_of_what_they_meet(platform: Platform) -> None:
    alice = caller(ALICE)
    await platform.door.once(alice, [("insert into public.notes (id, body) values ($1, $2)", ["1", "hällo"])])
    [rows] = await platform.door.once(
        alice, [("select id::text, body, $2::bytea, null from public.notes where id = $1", ["1", Binary(b"\x00\xff")])]
    )
    assert rows == [[b"1", "hällo".encode(), b"\x00\xff", None]]
    [of_bob] = await platform.door.once(caller(BOB), [("select id::text from public.notes", ())])
    assert of_bob == []


async def test_all_steps_are_one_transaction(platform: Platform) -> None:
    insert = "insert into public.notes (id) values ($1)"
    with pytest.raises(DatabaseError) as caught:
        await platform.door.once(caller(ALICE), [(insert, ["1"]), (insert, ["1"]), (insert, ["2"])])
    assert caught.value.sqlstate == "23505"
    [rows] = await platform.door.once(caller(ALICE), [("select count(*)::text from public.notes", ())])
    assert rows == [[b"0"]]


async def test_what_commit_refuses_is_an_error_and_not_kept(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        await platform.door.once(caller(ALICE), [("insert into public.children values ($1)", ["7"])])
    assert caught.value.sqlstate == "23503"
    [rows] = await platform.door.once(caller(ALICE), [("select count(*)::text from public.children", ())])
    assert rows == [[b"0"]]


async def test_a_read_only_exchange_cannot_write(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        await platform.door.once(caller(ALICE), [("insert into public.notes (id) values (1)", ())], read_only=True)
    assert caught.value.sqlstate == "25006"
    await platform.door.once(caller(ALICE), [("insert into public.notes (id) values (1)", ())])


@pytest.mark.parametrize(
    ("statement", "read_only", "sqlstate"),
    [
        ("select public.leave_traces()", False, None),
        ("select public.read_and_leave_traces()", True, None),
        ("select public.read_and_leave_traces(), 1 / 0", True, "22012"),
    ],
)
async def test_nothing_that_a_function_leaves_on_the_session_is_met_by_the_next_caller(
    platform: Platform, statement: str, read_only: bool, sqlstate: str | None
) -> None:
    if sqlstate is None:
        await platform.door.once(caller(ALICE), [(statement, ())], read_only=read_only)
    else:
        with pytest.raises(DatabaseError) as caught:
            await platform.door.once(caller(ALICE), [(statement, ())], read_only=read_only)
        assert caught.value.sqlstate == sqlstate
    [rows] = await platform.door.once(
        caller(BOB),
        [
            (
                "select current_user::text, auth.uid()::text, coalesce(current_setting('app.secret', true), ''),"
                " to_regclass('pg_temp.left_behind')::text,"
                " (select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
                (),
            )
        ],
    )
    assert rows == [[b"authenticated", BOB.encode(), b"", None, b"0"]]


async def test_statements_that_somebody_deallocated_are_prepared_again(platform: Platform) -> None:
    for _ in range(2):
        [rows] = await platform.door.once(caller(ALICE), [("select 1::text", ())])
        assert rows == [[b"1"]]
        await platform.door.once(caller(ALICE), [("select public.drop_statements()", ())])


async def test_a_table_that_changed_is_read_as_it_is_now(platform: Platform) -> None:
    read = ("select to_json(n)::text from public.notes n", ())
    await platform.door.once(caller(ALICE), [("insert into public.notes (id) values (1)", ())])
    await platform.door.once(caller(ALICE), [read])
    connection = await asyncpg.connect(platform.settings.dsn())
    await connection.execute("alter table public.notes drop column body")
    await connection.close()
    [rows] = await platform.door.once(caller(ALICE), [read])
    assert rows == [[f'{{"id":1,"owner":"{ALICE}"}}'.encode()]]


async def test_a_name_that_somebody_took_for_a_statement_is_no_obstacle(platform: Platform) -> None:
    await platform.door.once(caller(ALICE), [("select public.take_names()", ())])
    [rows] = await platform.door.once(caller(ALICE), [("select 2::text", ())])
    assert rows == [[b"2"]]


async def test_a_statement_ends_by_the_timeout_of_its_role_and_not_by_that_of_another(platform: Platform) -> None:
    connection = await asyncpg.connect(platform.settings.dsn())
    # For this database only: the role belongs to the whole cluster.
    name = await connection.fetchval("select quote_ident(current_database())")
    await connection.execute(f"alter role anon in database {name} set statement_timeout to '200ms'")
    await connection.close()
    platform.door.forget_role_settings()
    slow = ("select 'slept' from pg_sleep(0.5)", ())
    with pytest.raises(DatabaseError) as caught:
        await platform.door.once(caller(None, "anon"), [slow])
    assert caught.value.sqlstate == "57014"
    [rows] = await platform.door.once(caller(ALICE), [slow])
    assert rows == [[b"slept"]]


async def test_prepared_statements_stay_bounded(platform: Platform) -> None:
    for number in range(MAX_STATEMENTS + 50):
        await platform.door.once(caller(None, "anon"), [(f"select 'shape {number}'", ())])
    [rows] = await platform.door.once(
        caller(None, "anon"),
        [("select count(*)::text from pg_prepared_statements where statement like 'select ''shape%'", ())],
    )
    assert rows[0][0] is not None
    assert int(rows[0][0]) <= MAX_STATEMENTS


async def until_it_sleeps(platform: Platform) -> None:
    """Wait until a statement that sleeps has begun."""
    connection = await asyncpg.connect(platform.settings.dsn())
    asleep = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    try:
        async with asyncio.timeout(STALL_S):
            while not await connection.fetchval(asleep):
                await asyncio.sleep(0.02)
    finally:
        connection.terminate()


async def test_a_cancelled_exchange_costs_its_connection_and_nothing_else(platform: Platform) -> None:
    slow = asyncio.create_task(platform.door.once(caller(ALICE), [("select pg_sleep(60)::text", ())]))
    await until_it_sleeps(platform)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    [rows] = await platform.door.once(caller(ALICE), [("select 1::text", ())], read_only=True)
    assert rows == [[b"1"]]
    assert platform.door.pool_sizes == (1, 1)


@pytest.mark.parametrize(
    ("last", "is_closed"), [("select", False), ("select from (values (0)) as v(x) where 1 / x > 0", True)]
)
async def test_a_session_is_given_back_after_its_resets_and_closed_where_they_fail(
    database: Settings, last: str, is_closed: bool
) -> None:
    connection: WireConnection = await asyncpg.connect(database.dsn(), connection_class=WireConnection)
    resets = Silent([("reset role", "RESET"), (last, "SELECT 1")])
    for _ in range(1 if is_closed else 3):  # the first time they are prepared, and then used again
        given_back = asyncio.Event()
        rows = await connection.pipeline([("select 7::text", ())], after=After(resets, given_back.set))
        assert rows == [[[b"7"]]]
        await asyncio.wait_for(given_back.wait(), 60)
        assert connection.is_closed() is is_closed
    connection.terminate()


async def test_a_session_that_forgot_its_prepared_resets_is_closed_and_not_given_to_the_next(
    platform: Platform,
) -> None:
    await platform.door.once(caller(ALICE), [("select 1::text", ())])
    await platform.door.once(caller(ALICE), [("deallocate all", ())])
    for _ in range(3):
        [rows] = await platform.door.once(caller(ALICE), [("select auth.uid()::text", ())])
        assert rows == [[ALICE.encode()]]


async def test_many_callers_share_few_connections_without_mixing_answers(platform: Platform) -> None:
    subs = [str(uuid4()) for _ in range(50)]
    answers = await asyncio.gather(
        *(platform.door.once(caller(sub), [("select auth.uid()::text, $1::text", [sub])]) for sub in subs)
    )
    assert [rows[0][0] for rows in answers] == [[sub.encode(), sub.encode()] for sub in subs]


async def test_a_connection_that_died_fails_a_write_and_not_a_read(platform: Platform) -> None:
    async def kill() -> None:
        connection = await asyncpg.connect(platform.settings.dsn())
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator' and datname ="
            " current_database()"
        )
        await connection.close()

    await platform.door.once(caller(ALICE), [("select 1::text", ())])
    writing = asyncio.create_task(
        platform.door.once(caller(ALICE), [("insert into public.notes (id) select 1 from pg_sleep(60)", ())])
    )
    await until_it_sleeps(platform)
    await kill()
    with pytest.raises(Unavailable):
        await writing
    await kill()
    [rows] = await platform.door.once(caller(ALICE), [("select count(*)::text from public.notes", ())], read_only=True)
    assert rows == [[b"0"]]


async def test_a_large_answer_arrives_whole(platform: Platform) -> None:
    [rows] = await platform.door.once(caller(ALICE), [("select repeat('x', 3000000)", ())])
    assert rows == [[b"x" * 3_000_000]]


async def test_the_connection_serves_asyncpgs_own_methods_between_exchanges(database: Settings) -> None:
    connection: WireConnection = await asyncpg.connect(database.dsn(), connection_class=WireConnection)
    for number in range(3):
        [rows] = await connection.pipeline([("select $1::text", [str(number)])])
        assert rows == [[str(number).encode()]]
        assert await connection.fetchval("select $1::int", number) == number
    await connection.close()

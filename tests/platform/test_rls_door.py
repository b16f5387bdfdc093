"""The one door: what a statement runs as, and that nothing of one caller is left for the next."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.config import Settings
from isobase_platform.errors import BadRequest, DatabaseError, IsobaseError, Unavailable
from isobase_platform.runtime import Platform

ALICE, BOB = str(uuid4()), str(uuid4())

SCHEMA = """
create table public.notes (id int primary key, owner uuid not null default auth.uid(), body text);
alter table public.notes enable row level security;
create policy "owners" on public.notes to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
create table public.parents (id int primary key);
create table public.children (parent int references public.parents deferrable initially deferred);
grant all on public.notes, public.parents, public.children to anon, authenticated, service_role;
"""


def caller(sub: str | None, role: str = "authenticated") -> Caller:
    claims = Claims.from_payload({"sub": sub, "role": role} if sub else {"role": role})
    return Caller(role=role, claims=claims, request=RequestFacts("GET", "/notes", '{"x-a":"1"}', '{"c":"2"}'))


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    # One connection: whatever a caller leaves, the next one would meet it.
    settings = database.model_copy(update={"database": database.database.model_copy(update={"pool_max_size": 1})})
    connection = await asyncpg.connect(settings.dsn())
    await connection.execute(SCHEMA)
    await connection.close()
    async with Platform.open(settings) as opened:
        yield opened


async def test_a_statement_runs_with_the_role_claims_and_request_of_its_caller(platform: Platform) -> None:
    async with platform.door.transaction(caller(ALICE), search_path=["public", 'odd"schema']) as connection:
        row = await connection.fetchrow(
            "select current_user::text as role, session_user::text as login, auth.uid()::text as sub,"
            " current_setting('request.method') as method, current_setting('request.path') as path,"
            " current_setting('request.headers')::json->>'x-a' as header,"
            " current_setting('request.cookies')::json->>'c' as cookie, current_setting('search_path') as search_path"
        )
    assert row is not None
    assert dict(row) == {
        "role": "authenticated",
        "login": "authenticator",
        "sub": ALICE,
        "method": "GET",
        "path": "/notes",
        "header": "1",
        "cookie": "2",
        "search_path": '"public", "odd""schema"',
    }


async def test_a_caller_reads_and_writes_its_own_rows_only(platform: Platform) -> None:
    async with platform.door.transaction(caller(ALICE)) as connection:
        await connection.execute("insert into public.notes (id, body) values (1, 'of alice')")
    async with platform.door.transaction(caller(BOB)) as connection:
        assert await connection.fetch("select * from public.notes") == []
        assert await connection.execute("update public.notes set body = 'mine'") == "UPDATE 0"
        assert await connection.execute("delete from public.notes") == "DELETE 0"
    async with platform.door.transaction(caller(None, "anon")) as connection:
        assert await connection.fetch("select * from public.notes") == []
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select body from public.notes") == "of alice"


async def test_writing_for_another_owner_is_refused_with_42501(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(caller(BOB)) as connection:
            await connection.execute(f"insert into public.notes (id, owner) values (2, '{ALICE}')")
    assert caught.value.is_insufficient_privilege


@pytest.mark.parametrize(
    "litter",
    [
        "select set_config('isobase_test.mark', 'left', false)",
        "select set_config('request.jwt.claims', '{\"sub\":\"left\"}', false)",
        "select set_config('statement_timeout', '1', false)",
        "select set_config('search_path', 'pg_temp', false)",
        "select set_config('standard_conforming_strings', 'off', false)",
        "set session characteristics as transaction read only",
        "create temporary table left_behind as select 1",
        "select pg_advisory_lock(1)",
        "declare left_cursor cursor with hold for select 1",
        "prepare left_statement as select 1",
        "listen left_channel",
        "set role service_role",
    ],
)
async def test_nothing_that_a_statement_leaves_on_the_session_meets_the_next_caller(
    platform: Platform, litter: str
) -> None:
    async with platform.door.transaction(caller(ALICE)) as connection:
        await connection.execute(litter)
    async with platform.door.transaction(caller(None, "anon")) as connection:
        row = await connection.fetchrow(
            "select current_setting('isobase_test.mark', true) as mark, auth.uid() as sub, current_user::text as role,"
            " current_setting('statement_timeout') as timeout, current_setting('search_path') as path,"
            " current_setting('standard_conforming_strings') as strings,"
            " current_setting('transaction_read_only') as read_only,"
            " (select count(*) from pg_class where relname = 'left_behind') as tables,"
            " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,"
            " (select count(*) from pg_cursors where name = 'left_cursor') as cursors,"
            " (select count(*) from pg_listening_channels()) as channels"
        )
    assert row is not None
    assert dict(row) | {"mark": row["mark"] or None, "path": ""} == {
        "mark": None,
        "sub": None,
        "role": "anon",
        "timeout": "3s",
        "path": "",
        "strings": "on",
        "read_only": "off",
        "tables": 0,
        "locks": 0,
        "cursors": 0,
        "channels": 0,
    }
    assert "pg_temp" not in row["path"]


async def test_a_failed_transaction_leaves_nothing_and_the_connection_is_used_again(platform: Platform) -> None:
    pids = set()
    for _ in range(2):
        with pytest.raises(DatabaseError) as caught:
            async with platform.door.transaction(caller(ALICE)) as connection:
                pids.add(await connection.fetchval("select pg_backend_pid()"))
                await connection.execute("insert into public.notes (id) values (7)")
                await connection.execute("select 1/0")
        assert caught.value.sqlstate == "22012"
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select count(*) from public.notes") == 0
    assert len(pids) == 1


async def test_an_error_of_the_services_own_rolls_back(platform: Platform) -> None:
    with pytest.raises(BadRequest):
        async with platform.door.transaction(caller(ALICE)) as connection:
            await connection.execute("insert into public.notes (id) values (8)")
            raise BadRequest("changed my mind")
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select count(*) from public.notes") == 0


async def test_a_cancelled_request_loses_its_connection_and_its_writes(platform: Platform) -> None:
    started = asyncio.Event()
    pids = []

    async def request() -> None:
        async with platform.door.transaction(caller(ALICE)) as connection:
            pids.append(await connection.fetchval("select pg_backend_pid()"))
            await connection.execute("insert into public.notes (id) values (9)")
            started.set()
            await connection.execute("select pg_sleep(30)")

    task = asyncio.create_task(request())
    await started.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select count(*) from public.notes") == 0
        assert await connection.fetchval("select pg_backend_pid()") not in pids


async def test_a_deferred_constraint_that_fails_at_commit_is_an_error_of_the_request(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(caller(ALICE)) as connection:
            await connection.execute("insert into public.children values (404)")
    assert caught.value.sqlstate == "23503"
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select count(*) from public.children") == 0


async def test_a_read_only_transaction_refuses_writes(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(caller(ALICE), read_only=True) as connection:
            await connection.execute("insert into public.notes (id) values (1)")
    assert caught.value.sqlstate == "25006"


async def test_a_rollback_transaction_keeps_nothing(platform: Platform) -> None:
    async with platform.door.transaction(caller(ALICE), rollback=True) as connection:
        await connection.execute("insert into public.notes (id) values (1)")
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select count(*) from public.notes") == 0


async def test_a_dry_run_leaves_no_trace_and_a_savepoint_keeps_the_transaction_usable(platform: Platform) -> None:
    async with platform.door.transaction(caller(ALICE)) as connection:
        async with connection.rolled_back():
            await connection.execute("insert into public.notes (id) values (1)")
        with pytest.raises(DatabaseError):
            async with connection.savepoint():
                await connection.execute("select 1/0")
        async with connection.savepoint():
            await connection.execute("insert into public.notes (id) values (2)")
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert [row["id"] for row in await connection.fetch("select id from public.notes")] == [2]


async def test_an_error_that_was_swallowed_is_not_reported_as_a_commit(platform: Platform) -> None:
    with pytest.raises(IsobaseError, match="swallowed"):
        async with platform.door.transaction(caller(ALICE)) as connection:
            await connection.execute("insert into public.notes (id) values (1)")
            with contextlib.suppress(DatabaseError):
                await connection.execute("select 1/0")


async def test_a_transaction_goes_on_as_another_caller(platform: Platform) -> None:
    async with platform.door.transaction(Caller.service()) as connection:
        assert await connection.fetchval("select current_user::text") == "service_role"
        await connection.switch(caller(ALICE))
        await connection.execute("insert into public.notes (id) values (1)")
        assert await connection.fetchval("show statement_timeout") == "8s"
        await connection.switch(caller(None, "anon"))
        assert await connection.fetch("select * from public.notes") == []
        await connection.switch(Caller.service())
        assert await connection.fetchval("select owner::text from public.notes") == ALICE


@pytest.mark.parametrize(
    "role", ["nobody_knows_this", "supabase_admin", "postgres", "supabase_auth_admin", "pg_monitor"]
)
async def test_a_role_that_authenticator_may_not_become_is_refused(platform: Platform, role: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(caller(ALICE, role)):
            pytest.fail("the door opened")
    assert caught.value.sqlstate in {"22023", "42501"}


@pytest.mark.parametrize("role", ["anon'; select 1; --", "anon\\'; select 1", 'a"b'])
async def test_a_role_is_a_value_and_never_sql(platform: Platform, role: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(caller(ALICE, role)):
            pytest.fail("the door opened")
    assert caught.value.sqlstate == "22023"


async def test_claims_reach_sql_as_they_are_whatever_they_hold(platform: Platform) -> None:
    payload = {"role": "authenticated", "sub": ALICE, "note": 'it\'s \\ "odd" ; drop table x -- ä\n$$'}
    asking = Caller(role="authenticated", claims=Claims.from_payload(payload))
    async with platform.door.transaction(asking) as connection:
        assert json.loads(await connection.fetchval("select auth.jwt()::text")) == payload


async def test_a_roles_own_statement_timeout_is_in_force(platform: Platform) -> None:
    async with platform.door.transaction(caller(None, "anon")) as connection:
        assert await connection.fetchval("show statement_timeout") == "3s"
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("show statement_timeout") == "8s"


async def test_waiting_for_a_connection_ends_in_unavailable(database: Settings) -> None:
    tight = database.database.model_copy(update={"pool_max_size": 1, "acquire_timeout_s": 0.2})
    async with Platform.open(database.model_copy(update={"database": tight})) as platform:
        async with platform.door.transaction(caller(ALICE)):
            with pytest.raises(Unavailable) as caught:
                async with platform.door.transaction(caller(BOB)):
                    pytest.fail("a second connection was handed out")
    assert caught.value.code == "pool_timeout"


async def test_a_server_that_went_away_is_unavailable_and_its_return_is_noticed(platform: Platform) -> None:
    admin = await asyncpg.connect(platform.settings.dsn())
    with pytest.raises(Unavailable):
        async with platform.door.transaction(caller(ALICE)) as connection:
            pid = await connection.fetchval("select pg_backend_pid()")
            await admin.fetchval("select pg_terminate_backend($1)", pid)
            async with asyncio.timeout(60):
                while True:
                    await connection.fetchval("select 1")
                    await asyncio.sleep(0.02)
    await admin.close()
    async with platform.door.transaction(caller(ALICE)) as connection:
        assert await connection.fetchval("select 1") == 1


async def test_the_owners_statements_find_nothing_that_a_migration_put_before_postgresqls_own(
    platform: Platform,
) -> None:
    connection = await asyncpg.connect(platform.settings.dsn("postgres"))
    await connection.execute(
        "create schema supabase_admin; grant usage on schema supabase_admin to public;"
        "create function supabase_admin.upper(name) returns text language sql as $$ select 'trap' $$;"
        "create function public.lower(name) returns text language sql as $$ select 'trap' $$"
    )
    await connection.close()
    async with platform.pools.acquire(None) as owner:
        row = await owner.fetchrow("select upper('a'::name) as upper, lower('A'::name) as lower")
    assert row is not None
    assert tuple(row) == ("A", "a")

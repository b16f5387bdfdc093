"""The tables of the move from Supabase: who may use them, how changes are numbered and told, what is bounded."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.schema.conftest import Sessions

TABLES = (
    "migration_state",
    "flags",
    "flag_history",
    "writers",
    "migration_rules",
    "outbox",
    "mismatches",
    "migration_counters",
    "migration_clients",
    "migration_events",
    "migration_jobs",
    "migration_auth",
)
FUNCTIONS = (
    "begin_write",
    "sent_code_to",
    "number_migration_change",
    "tell_migration_change",
    "keep_flag_history",
    "bound_migration_events",
    "write_carried_object",
)
INSERT_FLAG = "insert into isobase.flags (pattern, stage, before, reason) values ($1, 'dual_write', 'off', 'a test')"


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "authenticator"])
async def test_no_role_of_the_api_reaches_the_tables_of_the_move(shared: Sessions, role: str) -> None:
    async with shared.login() as owner:
        reachable = await owner.fetch(
            "select name from unnest($1::text[]) as name where has_table_privilege($2, 'isobase.' || name,"
            " 'select, insert, update, delete, truncate, references, trigger')",
            list(TABLES),
            role,
        )
    assert reachable == []


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "authenticator"])
async def test_no_role_of_the_api_calls_the_functions_of_the_move(shared: Sessions, role: str) -> None:
    """But for the service, which may store an object as another server has it."""
    async with shared.login() as owner:
        callable_ones = await owner.fetch(
            "select p.proname from pg_proc p where p.pronamespace in ('isobase'::regnamespace, 'storage'::regnamespace)"
            " and p.proname = any($1::text[]) and has_function_privilege($2, p.oid, 'execute')",
            list(FUNCTIONS),
            role,
        )
        lax = await owner.fetch(
            "select p.proname from pg_proc p where p.pronamespace in ('isobase'::regnamespace, 'storage'::regnamespace)"
            " and p.proname = any($1::text[]) and not coalesce(p.proconfig @> array['search_path=\"\"'], false)",
            list(FUNCTIONS),
        )
    assert {name for (name,) in callable_ones} == ({"write_carried_object"} if role == "service_role" else set())
    assert lax == [], "each has a search path of its own"


async def test_postgres_is_given_the_tables_of_the_move_and_no_other_of_the_platform(shared: Sessions) -> None:
    async with shared.login() as owner:
        # What it may do beside is what the API's roles may, of which it is a member.
        given = await owner.fetch(
            "select distinct c.relname from pg_class c, aclexplode(c.relacl) a"
            " where c.relnamespace = 'isobase'::regnamespace and c.relkind in ('r', 'p')"
            " and a.grantee = 'postgres'::regrole"
        )
    assert {name for (name,) in given} == set(TABLES)


async def test_changes_of_flags_writers_and_rules_are_numbered_and_told_to_who_listens(sessions: Sessions) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async with sessions.login("postgres") as listener, sessions.login("postgres") as postgres:

        def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            told.put_nowait(str(payload))

        await listener.add_listener("isobase_migration", heard)
        for statement, version in (
            (INSERT_FLAG, "1"),
            ("insert into isobase.writers (pattern) values ($1)", "2"),
            ("insert into isobase.migration_rules (pattern, name, value) values ($1, 'sample', '1')", "3"),
            ("delete from isobase.migration_rules where pattern = $1", "4"),
        ):
            await postgres.execute(statement, "auth")
            assert await asyncio.wait_for(told.get(), 60) == version
        assert await postgres.fetchval("select version from isobase.flags") == 1
        assert await postgres.fetchval("select version from isobase.migration_state") == 4


async def test_every_change_of_a_flag_is_kept_with_what_it_was(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute(INSERT_FLAG, "auth")
        await postgres.execute(
            "update isobase.flags set share_percent = 10, changed_by = 'ops', reason = 'a few at first'"
        )
        rows = await postgres.fetch(
            "select version, stage, share_percent, was_stage, was_share_percent, changed_by, reason"
            " from isobase.flag_history order by id"
        )
    assert [tuple(row) for row in rows] == [
        (1, "dual_write", 100.0, None, None, "postgres", "a test"),
        (2, "dual_write", 10.0, "dual_write", 100.0, "ops", "a few at first"),
    ]


async def test_only_the_newest_ten_thousand_events_are_kept(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute(
            "insert into isobase.migration_events (name) select 'fallback' from generate_series(1, 10500)"
        )
        kept = await postgres.fetchrow("select count(*), min(id), max(id) from isobase.migration_events")
    assert kept is not None
    assert tuple(kept) == (10000, 501, 10500)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into isobase.flags (pattern, stage, before) values ('auth', 'half', 'off')",
        "insert into isobase.flags (pattern, stage, before, share_percent) values ('auth', 'live', 'off', 101)",
        "insert into isobase.writers (pattern, side) values ('auth', 'elsewhere')",
        "insert into isobase.writers (pattern, side, handing_over_to) values ('auth', 'isobase', 'isobase')",
        "insert into isobase.outbox (state, capability, target) values ('pending', 'auth', 'isobase')",
    ],
)
async def test_what_makes_no_sense_is_not_kept(shared: Sessions, statement: str) -> None:
    async with shared.rolled_back("postgres") as postgres:
        with pytest.raises(asyncpg.CheckViolationError):
            await postgres.execute(statement)

"""A rehearsal at the door: several callers' statements in one round trip, of which nothing is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from isobase_platform.caller import Caller, Claims
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import Act
from isobase_platform.runtime import Platform

SCHEMA = """
create table public.desks (id integer primary key, sub text not null);
alter table public.desks enable row level security;
create policy "own" on public.desks for select using (sub = auth.jwt() ->> 'sub');
grant select, insert on public.desks to authenticated, service_role;
create sequence public.numbers;
grant usage on public.numbers to authenticated;
"""
WHO = "select concat_ws(' ', current_user, current_setting('app.note', true), current_setting('statement_timeout'))"
SERVICE = Caller.service()
ALICE = Caller(
    "authenticated", Claims({"sub": "alice", "role": "authenticated"}, '{"sub": "alice", "role": "authenticated"}')
)


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    owner = await asyncpg.connect(database.dsn(None))
    await owner.execute(SCHEMA)
    await owner.close()
    async with Platform.open(database) as opened:
        yield opened


async def test_each_act_has_its_callers_rights_and_settings_and_nothing_is_kept(platform: Platform) -> None:
    insert = "insert into public.desks (id, sub) values ($1, $2)"
    for _ in range(3):
        rows = await platform.door.rehearse(
            [
                Act(SERVICE, [(insert, ("1", "alice")), (insert, ("2", "bob")), (WHO, ())], {"app.note": "one"}),
                Act(ALICE, [("select sub from public.desks", ()), (WHO, ())], {"app.note": "two"}),
            ]
        )
        assert rows[:2] == [[], []]
        assert (rows[2][0][0] or b"").startswith(b"service_role one ")
        assert rows[3] == [[b"alice"]]
        assert (rows[4][0][0] or b"").startswith(b"authenticated two ")
    [left] = await platform.door.once(SERVICE, [("select id from public.desks", ())], read_only=True)
    assert left == []


async def test_settings_of_the_first_callers_role_do_not_reach_the_second(
    platform: Platform, database: Settings
) -> None:
    owner = await asyncpg.connect(database.dsn(None))
    await owner.execute("alter role service_role set statement_timeout = '7s'")
    try:
        platform.door.forget_role_settings()
        rows = await platform.door.rehearse([Act(SERVICE, [(WHO, ())]), Act(ALICE, [(WHO, ())])])
    finally:
        await owner.execute("alter role service_role reset statement_timeout")
        await owner.close()
    assert (rows[0][0][0] or b"").endswith(b" 7s")
    assert not (rows[1][0][0] or b"").endswith(b" 7s")


async def test_error_leaves_a_clean_connection_and_the_rows_of_none(platform: Platform) -> None:
    insert = "insert into public.desks (id, sub) values ($1, $2)"
    for _ in range(3):
        with pytest.raises(DatabaseError) as refused:
            await platform.door.rehearse(
                [
                    Act(SERVICE, [(insert, ("1", "alice"))]),
                    Act(ALICE, [("select nextval('numbers')", ()), (insert, ("3", "alice"))]),
                ]
            )
        assert refused.value.is_insufficient_privilege
        [who] = await platform.door.once(
            ALICE, [("select current_user || coalesce(current_setting('role', true), '')", ())]
        )
        assert who == [[b"authenticatedauthenticated"]]
        [left] = await platform.door.once(SERVICE, [("select id from public.desks", ())], read_only=True)
        assert left == []
        with pytest.raises(DatabaseError):
            await platform.door.once(ALICE, [("select lastval()", ())])
    # One may still be rolling back while the next exchange begins; none is given up for an error.
    assert platform.door.pool_sizes[0] <= 2

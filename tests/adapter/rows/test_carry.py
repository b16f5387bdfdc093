"""Rows carried between two databases: written, changed, deleted, left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from isobase_adapter.contracts import Conflict
from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.keys import KeyNotGiven
from isobase_adapter.rows.pairs import HiddenRows
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides

NOTES = """
create table notes (
  id bigint generated always as identity primary key, body text not null default 'none', at timestamptz default now(),
  length int generated always as (length(body)) stored);
alter table notes owner to postgres
"""


def row(table: str, *key: object) -> Thing:
    return Thing(ThingKind.ROW, f"public.{table}", key)


class CountingFence:
    """A fence that is open, and says which of its checks were to settle."""

    lock_number = 8_000_000_001

    def __init__(self) -> None:
        self.checks: list[bool] = []

    async def check(self, connection: Any | None) -> bool:
        if connection is not None:
            held = "select count(*) from pg_locks where mode = 'ShareLock' and pid = pg_backend_pid()"
            assert await connection.fetchval(held) == 1
        self.checks.append(connection is not None)
        return connection is not None


async def test_a_new_row_arrives_with_its_id_default_and_timestamp(sides: Sides) -> None:
    sides.both(NOTES)
    sides.sql(Side.SUPABASE, "insert into notes (body) values ('one'), ('two')")
    carried = await sides.carrier.carry([row("notes", 1), row("notes", 2)], Side.ISOBASE)
    assert carried.changed == 2
    query = "select id, body, at, length from notes order by id"
    assert sides.sql(Side.ISOBASE, query) == sides.sql(Side.SUPABASE, query)


async def test_a_row_that_is_equal_is_not_written_again(sides: Sides) -> None:
    sides.both(NOTES)
    sides.sql(Side.SUPABASE, "insert into notes (body) values ('one')")
    await sides.carrier.carry([row("notes", 1)], Side.ISOBASE)
    before = sides.sql(Side.ISOBASE, "select xmin::text, ctid::text from notes")
    assert (await sides.carrier.carry([row("notes", "1")], Side.ISOBASE)).changed == 0
    assert sides.sql(Side.ISOBASE, "select xmin::text, ctid::text from notes") == before


async def test_a_row_that_is_gone_is_deleted_and_one_that_changed_is_changed(sides: Sides) -> None:
    sides.both(NOTES)
    sides.sql(Side.SUPABASE, "insert into notes (body) values ('one'), ('two'), ('three')")
    await sides.carrier.carry([row("notes", n) for n in (1, 2, 3)], Side.ISOBASE)
    sides.sql(Side.SUPABASE, "delete from notes where id = 1; update notes set body = 'TWO' where id = 2")
    assert (await sides.carrier.carry([row("notes", n) for n in (1, 2, 3)], Side.ISOBASE)).changed == 2
    assert sides.sql(Side.ISOBASE, "select id, body from notes order by id") == [(2, "TWO"), (3, "three")]


async def test_rows_go_the_other_way_too(sides: Sides) -> None:
    sides.both(NOTES)
    sides.sql(Side.ISOBASE, "insert into notes (body) values ('here')")
    await sides.carrier.carry([row("notes", 1)], Side.SUPABASE)
    assert sides.sql(Side.SUPABASE, "select body from notes") == [("here",)]


async def test_triggers_do_not_run_at_the_target(sides: Sides) -> None:
    sides.both(
        "create table words (id int primary key, word text);"
        "create function shout() returns trigger language plpgsql as $$begin new.word := upper(new.word) || '!';"
        " return new; end$$; create trigger shout before insert or update on words for each row execute function shout();"
        "alter table words owner to postgres"
    )
    sides.sql(Side.SUPABASE, "insert into words values (1, 'a')")
    await sides.carrier.carry([row("words", 1)], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select word from words") == [("A!",)]


async def test_hundreds_of_rows_are_carried_in_few_transactions_and_the_last_one_settles(sides: Sides) -> None:
    sides.both("create table many (id int primary key, v text); alter table many owner to postgres")
    sides.sql(Side.SUPABASE, "insert into many select n, n::text from generate_series(1, 450) n")
    fence = CountingFence()
    carried = await sides.carrier.carry([row("many", n) for n in range(1, 501)], Side.ISOBASE, fence=fence)
    assert (carried.changed, carried.has_settled) == (450, True)
    assert fence.checks == [False, False, True]
    assert sides.sql(Side.ISOBASE, "select count(*), sum(id) from many") == [(450, 450 * 451 // 2)]


async def test_the_same_row_carried_at_once_by_many_ends_equal(sides: Sides) -> None:
    sides.both("create table counters (id int primary key, n int); alter table counters owner to postgres")
    sides.sql(Side.SUPABASE, "insert into counters values (1, 0)")

    async def change_and_carry() -> None:
        async with sides.supabase.transaction() as connection:
            await connection.execute("update public.counters set n = n + 1")
        await sides.carrier.carry([row("counters", 1)], Side.ISOBASE)

    await asyncio.gather(*(change_and_carry() for _ in range(20)))
    assert sides.sql(Side.ISOBASE, "select n from counters") == [(20,)]


async def test_a_row_that_changed_at_both_sides_is_a_conflict_with_both_versions(sides: Sides) -> None:
    sides.both("create table facts (id int primary key, v text); alter table facts owner to postgres")
    sides.both("insert into facts values (1, 'old'), (2, 'old')")
    things = [row("facts", 1), row("facts", 2)]
    images = await sides.carrier.images([*things, row("facts", 3)], Side.ISOBASE)
    assert images == await sides.carrier.images([*things, row("facts", 3)], Side.SUPABASE)
    assert [image for image, _ in images.values()] == [{"id": 1, "v": "old"}, {"id": 2, "v": "old"}, None]
    expected = {thing: digest for thing, (_, digest) in images.items()}
    sides.sql(Side.SUPABASE, "update facts set v = 'mine'")
    assert (await sides.carrier.carry([things[0]], Side.ISOBASE, expected=expected)).changed == 1
    sides.sql(Side.ISOBASE, "update facts set v = 'theirs' where id = 2")
    with pytest.raises(Conflict) as caught:
        await sides.carrier.carry([things[1]], Side.ISOBASE, expected=expected)
    assert (caught.value.source, caught.value.target) == ({"id": 2, "v": "mine"}, {"id": 2, "v": "theirs"})
    assert "mine" not in str(caught.value)
    assert sides.sql(Side.ISOBASE, "select v from facts where id = 2") == [("theirs",)]


async def test_what_cannot_be_carried_is_refused_by_name(sides: Sides) -> None:
    sides.both("create table notes (id int primary key); alter table notes owner to postgres")
    sides.sql(Side.SUPABASE, "create table alone (id int primary key); alter table alone owner to postgres")
    with pytest.raises(UnknownTable, match=r"isobase has no table public\.alone"):
        await sides.carrier.carry([row("alone", 1)], Side.ISOBASE)
    with pytest.raises(KeyNotGiven, match=r"the key is \(id\)"):
        await sides.carrier.carry([row("notes", 1, 2)], Side.ISOBASE)


async def test_a_role_from_which_rows_are_hidden_carries_nothing(sides: Sides) -> None:
    sides.both(
        "create table secret (id int primary key); alter table secret enable row level security;"
        "grant all on secret to authenticated"
    )
    sides.sql(Side.ISOBASE, "insert into secret values (1)")
    sides.sql(Side.ISOBASE, "alter role postgres nobypassrls")
    try:
        with pytest.raises(HiddenRows, match=r"public\.secret at (supabase|isobase)"):
            await sides.carrier.carry([row("secret", 1)], Side.ISOBASE)
    finally:
        sides.sql(Side.ISOBASE, "alter role postgres bypassrls")
    assert sides.sql(Side.ISOBASE, "select id from secret") == [(1,)]


async def test_a_table_that_is_altered_is_read_anew(sides: Sides) -> None:
    sides.both("create table shapes (id int primary key, a text); alter table shapes owner to postgres")
    sides.both("insert into shapes values (1, 'a')")
    await sides.carrier.carry([row("shapes", 1)], Side.ISOBASE)
    sides.both("alter table shapes drop column a; alter table shapes add b int default 5")
    sides.sql(Side.SUPABASE, "update shapes set b = 6")
    await sides.carrier.carry([row("shapes", 1)], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select * from shapes") == [(1, 6)]


async def test_an_error_names_tables_and_constraints_and_no_values(sides: Sides) -> None:
    sides.both("create table people (id int primary key, mail text, age text); alter table people owner to postgres")
    sides.sql(Side.SUPABASE, "insert into people values (1, 'secret@x', '7'), (2, 'secret@x', '8'), (3, 'c', 'secret')")
    sides.sql(Side.ISOBASE, "alter table people add constraint one_mail unique (mail)")
    with pytest.raises(asyncpg.UniqueViolationError, match="one_mail") as taken:
        await sides.carrier.carry([row("people", 1), row("people", 2)], Side.ISOBASE)
    sides.sql(Side.ISOBASE, "alter table people alter age type int using age::int")
    with pytest.raises(asyncpg.InvalidTextRepresentationError) as unreadable:
        await sides.carrier.carry([row("people", 3)], Side.ISOBASE)
    sides.sql(Side.ISOBASE, "alter table people add constraint short check (length(mail) < 2)")
    sides.sql(Side.SUPABASE, "update people set age = '1', mail = 'secret' where id = 3")
    with pytest.raises(asyncpg.CheckViolationError, match="short") as checked:
        await sides.carrier.carry([row("people", 3)], Side.ISOBASE)
    for caught in (taken, unreadable, checked):
        assert "secret" not in str(caught.value) + repr(caught.value) + str(caught.value.__dict__)

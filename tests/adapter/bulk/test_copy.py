"""Rows come over as they are, in ranges, and go on where they were."""

from __future__ import annotations

import asyncio

import pytest

from isobase_adapter.bulk.connections import Connection, connect, connected
from isobase_adapter.bulk.copied import copied_tables, cut
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.progress import Silent
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.outbox.entries import FENCE_LOCK_NUMBER
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two

FILL = """
insert into public.authors (name, "Mixed Case", home, moods)
  select 'author ' || n, 'it''s fine', row ('street "' || n, 'town')::public.address, '{ok,sad}'::public.mood[]
    from generate_series(1, 50) as n;
insert into public.notes (author_id, body, data, rank)
  select n % 50 + 1, repeat('é€', n % 7), jsonb_build_object('n', n), n from generate_series(1, 3000) as n;
insert into shop.pairs
  select gen_random_uuid(), 'b' || n, 'infinity', n / 7.0, decode(md5(n::text), 'hex') from generate_series(1, 3000) as n;
insert into public.loose select 'x' || n, n from generate_series(1, 10) as n;
insert into public.loose select 'twice', 2 from generate_series(1, 2);
insert into public.events select n, '2025-06-01'::date + n, 'k' from generate_series(1, 400) as n;
analyze;
"""
TABLES = ("public.authors", "public.notes", "shop.pairs", "public.loose", "public.events")


async def content(connection: Connection, table: str) -> list[str]:
    return [row["t"] for row in await connection.fetch(f"select t::text as t from {table} as t order by 1")]


@pytest.fixture
async def filled(two: Two) -> Two:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.source.execute(FILL)
    return two


async def test_every_row_is_at_the_target_as_it_was(filled: Two) -> None:
    report = await copy_tables(filled.dsns, range_bytes=32 * 1024)
    assert report.is_complete
    for table in TABLES:
        assert await content(filled.target, table) == await content(filled.source, table)
    by_name = {one.name: one for one in report.tables}
    assert by_name["public.notes"].method == "keys"
    assert by_name["public.notes"].ranges > 3
    assert by_name["shop.pairs"].method == "blocks"
    assert by_name["shop.pairs"].rows == 3000
    assert by_name["public.loose"].method == "whole"
    # Triggers ran at the source already.
    assert await filled.target.fetchval("select count(*) from public.loose") == 12


async def test_nothing_is_copied_any_more_once_isobase_is_written_first(filled: Two) -> None:
    """A row that was deleted there meanwhile would come back."""
    await filled.target.execute("insert into isobase.writers (pattern) values ('table:public.notes')")
    waiting = (
        "select count(*) from pg_locks as l where l.locktype = 'advisory' and not l.granted"
        " and l.database = (select oid from pg_database where datname = current_database())"
    )
    async with filled.target.transaction():
        await filled.target.execute("select pg_advisory_xact_lock($1)", FENCE_LOCK_NUMBER)
        copying = asyncio.create_task(copy_tables(filled.dsns, only=["public.notes"]))
        async with asyncio.timeout(90):
            while not await filled.target.fetchval(waiting):
                await asyncio.sleep(0.02)
        await filled.target.execute("update isobase.writers set side = 'isobase', epoch = 1")
    with pytest.raises(Refused, match=r"public\.notes: Isobase is written first by now"):
        await copying
    assert await filled.target.fetchval("select count(*) from public.notes") == 0


async def test_ranges_are_the_whole_table_and_do_not_overlap(filled: Two) -> None:
    tables, missing = await copied_tables(filled.source, filled.target)
    assert missing == []
    for table in tables:
        ranges = await cut(filled.source, table, 16 * 1024)
        counts = [
            await filled.source.fetchval(f"select count(*) from only {table.quoted} where {condition or 'true'}")
            for condition in ranges.conditions
        ]
        assert sum(counts) == await filled.source.fetchval(f"select count(*) from only {table.quoted}"), table.name


async def test_a_copy_that_is_done_copies_nothing_again(filled: Two) -> None:
    await copy_tables(filled.dsns)
    await filled.target.execute("delete from public.notes where id = 7")
    again = await copy_tables(filled.dsns)
    assert (again.rows, again.is_complete) == (0, True)
    assert await filled.target.fetchval("select count(*) from public.notes") == 2999


async def test_a_copy_that_was_ended_goes_on_with_the_ranges_that_are_left(filled: Two) -> None:
    ended = asyncio.Event()

    class Ending(Silent):
        def advance(self, part: str, amount: int) -> None:
            ended.set()

    first = asyncio.create_task(copy_tables(filled.dsns, range_bytes=16 * 1024, parallel=1, progress=Ending()))
    await ended.wait()
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    done = await filled.target.fetchval("select count(*) from isobase.migration_jobs where part ~ '#'")
    then = await copy_tables(filled.dsns, range_bytes=16 * 1024)
    assert then.is_complete
    assert sum(one.resumed for one in then.tables) == done
    for table in TABLES:
        assert await content(filled.target, table) == await content(filled.source, table)


async def test_a_copy_that_is_ended_before_it_has_its_snapshot_leaves_no_connection(
    filled: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Connection] = []

    async def connect_and_end(dsn: str, purpose: str, **settings: str) -> Connection:
        connection = await connect(dsn, purpose, **settings)
        if purpose == "copy, snapshot":
            opened.append(connection)
            copying.cancel()
        return connection

    monkeypatch.setattr("isobase_adapter.bulk.copy.connect", connect_and_end)
    copying = asyncio.create_task(copy_tables(filled.dsns, range_bytes=16 * 1024, parallel=1))
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert [connection.is_closed() for connection in opened] == [True]


async def test_rows_that_writes_carried_meanwhile_are_not_overwritten(filled: Two) -> None:
    await filled.target.execute(
        "set session_replication_role = replica;"
        "insert into public.notes (id, author_id, body) overriding system value values (11, 1, 'younger'), (2999, 2, 'too');"
        "reset session_replication_role"
    )
    report = await copy_tables(filled.dsns, range_bytes=32 * 1024)
    assert report.is_complete
    assert {one.name: one.beside for one in report.tables}["public.notes"] > 0
    assert await filled.target.fetchval("select count(*) from public.notes") == 3000
    bodies = await filled.target.fetch("select body from public.notes where id in (11, 2999) order by id")
    assert [row["body"] for row in bodies] == ["younger", "too"]


async def test_a_table_that_the_target_cannot_take_is_named_and_others_are_copied(filled: Two) -> None:
    await filled.target.execute("alter table public.notes add constraint short check (length(body) < 3)")
    await filled.target.execute("insert into public.loose values ('there', 1)")
    report = await copy_tables(filled.dsns)
    errors = {one.name: one.error for one in report.tables if one.error is not None}
    assert set(errors) == {"public.notes", "public.loose"}
    assert "23514" in str(errors["public.notes"])
    # PostgreSQL's own message goes on with the row.
    assert "é" not in str(errors["public.notes"])
    assert "without a primary key" in str(errors["public.loose"])
    assert not report.is_complete
    assert await content(filled.target, "shop.pairs") == await content(filled.source, "shop.pairs")


async def test_one_table_alone_is_copied_where_that_is_asked_for(filled: Two) -> None:
    report = await copy_tables(filled.dsns, only=["shop.pairs"])
    assert [one.name for one in report.tables] == ["shop.pairs"]
    assert await filled.target.fetchval("select count(*) from public.notes") == 0


async def test_nothing_of_a_copy_is_left_open(filled: Two) -> None:
    await copy_tables(filled.dsns, range_bytes=16 * 1024)
    async with connected(filled.dsns[Side.SUPABASE], "look") as connection:
        left = await connection.fetchval(
            "select count(*) from pg_stat_activity where application_name like 'isobase migrate copy%'"
        )
    assert left == 0

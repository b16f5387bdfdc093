"""Rows that differ are counted, named and repaired; writes on their way are not blamed."""

from __future__ import annotations

import asyncio
import json

from isobase_adapter.rows.differences import DifferenceKind
from isobase_adapter.rows.pairs import Pair
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.verify.results import TableResult
from isobase_adapter.verify.tables import TableVerifier, VerifyOptions
from tests.adapter.rows.conftest import Sides

QUICK = (0.0, 0.01)


async def verified(sides: Sides, table: str, source: Side = Side.SUPABASE, *, repair: bool = False) -> TableResult:
    options = VerifyOptions(repair=repair, recheck_pauses_s=QUICK, max_named=3)
    return await TableVerifier(sides.carrier, options).verify(f"public.{table}", source)


async def test_rows_that_differ_are_counted_and_named_with_their_columns_and_repaired(sides: Sides) -> None:
    sides.both(
        "create table facts (id bigint primary key, v text, w int, d int generated always as (w * 2) stored);"
        "alter table facts owner to postgres;"
        "insert into facts (id, v, w) select n, 'v' || n, n from generate_series(1, 5000) n; analyze facts"
    )
    sides.sql(
        Side.ISOBASE,
        "update facts set v = 'secret' where id = 17; delete from facts where id in (2, 4000);"
        "insert into facts (id) values (9999); update facts set w = -1, v = null where id = 4999",
    )
    result = await verified(sides, "facts")
    assert (result.missing, result.extra, result.different, result.in_flight) == (2, 1, 2, 0)
    assert not result.is_equal
    assert result.rows == {"supabase": 5000, "isobase": 4999}
    assert 1 <= len(result.differing_ranges) <= result.buckets
    assert result.differing_ranges[0].startswith("id ")
    named = [(str(row.kind), row.key, row.columns) for row in result.named]
    assert named == [("missing", (2,), ()), ("different", (17,), ("v",)), ("missing", (4000,), ())]
    assert "secret" not in json.dumps(result.as_json())
    repaired = await verified(sides, "facts", repair=True)
    assert (repaired.repaired, repaired.is_equal) == (5, True)
    assert (await verified(sides, "facts")).differing_ranges == []


async def test_the_side_that_is_written_first_is_the_one_that_is_right(sides: Sides) -> None:
    sides.both("create table facts (id uuid primary key, v text); alter table facts owner to postgres")
    sides.sql(Side.ISOBASE, "insert into facts values ('00000000-0000-0000-0000-000000000001', 'new')")
    assert (await verified(sides, "facts", Side.ISOBASE)).missing == 1
    assert (await verified(sides, "facts", Side.SUPABASE)).extra == 1
    assert (await verified(sides, "facts", Side.ISOBASE, repair=True)).is_equal
    assert sides.sql(Side.SUPABASE, "select v from facts") == [("new",)]


async def test_a_write_on_its_way_is_not_blamed(sides: Sides) -> None:
    sides.both("create table facts (id int primary key, v text); alter table facts owner to postgres")
    sides.sql(Side.SUPABASE, "insert into facts values (1, 'on its way')")

    class ArrivesAfterTheFirstLook(TableVerifier):
        looks = 0

        async def _still(self, pair: Pair, things: list[Thing], source: Side) -> dict[Thing, DifferenceKind]:
            differing = await super()._still(pair, things, source)
            if not self.looks:
                sides.sql(Side.ISOBASE, "insert into facts values (1, 'on its way')")
            self.looks += 1
            return differing

    verifier = ArrivesAfterTheFirstLook(sides.carrier, VerifyOptions(recheck_pauses_s=(0.0, 0.01, 0.01)))
    result = await verifier.verify("public.facts", Side.SUPABASE)
    assert (result.is_equal, result.in_flight, verifier.looks) == (True, 1, 2)


async def test_writers_at_work_leave_no_difference_once_they_are_done(sides: Sides) -> None:
    sides.both("create table facts (id int primary key, v int); alter table facts owner to postgres")
    sides.both("insert into facts select n, 0 from generate_series(1, 300) n")
    is_done = asyncio.Event()

    async def write(start: int) -> None:
        n = start
        while not is_done.is_set():
            n = n % 300 + 1
            async with sides.supabase.transaction() as connection:
                await connection.execute("update public.facts set v = v + 1 where id = $1", n)
            await sides.carrier.carry([Thing(ThingKind.ROW, "public.facts", (n,))], Side.ISOBASE)

    async with asyncio.TaskGroup() as group:
        for start in (1, 150):
            group.create_task(write(start))
        options = VerifyOptions(recheck_pauses_s=(0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0))
        for _ in range(3):
            assert (await TableVerifier(sides.carrier, options).verify("public.facts", Side.SUPABASE)).is_equal
        is_done.set()


async def test_rows_without_a_key_are_counted_by_their_copies(sides: Sides) -> None:
    sides.both("create table log (line text); alter table log owner to postgres")
    sides.sql(Side.SUPABASE, "insert into log values ('a'), ('a'), ('b')")
    sides.sql(Side.ISOBASE, "insert into log values ('a'), ('c')")
    result = await verified(sides, "log")
    assert (result.missing, result.extra) == (2, 1)
    assert (await verified(sides, "log", repair=True)).is_equal


async def test_a_generated_column_that_computes_otherwise_is_found_and_not_called_repaired(sides: Sides) -> None:
    for side, factor in ((Side.SUPABASE, 2), (Side.ISOBASE, 3)):
        sides.sql(side, f"create table facts (id int primary key, g int generated always as (id * {factor}) stored)")
    sides.both("alter table facts owner to postgres; insert into facts values (1)")
    result = await verified(sides, "facts", repair=True)
    assert (result.different, result.repaired, result.named[0].columns) == (1, 0, ("g",))


async def test_what_cannot_be_compared_says_why(sides: Sides) -> None:
    sides.sql(Side.SUPABASE, "create table alone (id int primary key); alter table alone owner to postgres")
    result = await verified(sides, "alone")
    assert (result.is_equal, result.error) == (False, "isobase has no table public.alone")
    assert await TableVerifier(sides.carrier).tables() == ([], ["public.alone"])

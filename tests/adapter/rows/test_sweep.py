"""Whole tables compared by checksums, and what differs carried."""

from __future__ import annotations

import pytest

from isobase_adapter.rows import differences
from isobase_adapter.rows.checksums import PAGES_PER_PIECE
from isobase_adapter.rows.differences import compare
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides

COUNT = 30_000
SPOIL = """
delete from {table} where n in (7, 12345);
update {table} set v = 'other' where n in (1, 29999);
insert into {table} ({extra}) values ({values})
"""


def whole(table: str) -> Thing:
    return Thing(ThingKind.TABLE, f"public.{table}")


@pytest.mark.parametrize(
    ("columns", "select", "extra", "values"),
    [
        ("n int primary key, v text", "n, n::text", "n, v", "-5, 'x'"),
        ("k uuid primary key, n int, v text", "md5(n::text)::uuid, n, 'v'", "k, n, v", "md5('z')::uuid, 0, 'x'"),
        ("k text, n int, v text, primary key (k, n)", "'é' || n % 7, n, 'v'", "k, n, v", "'Ä', 0, 'x'"),
    ],
    ids=["integer", "uuid", "text and integer"],
)
async def test_what_differs_in_a_table_is_found_and_carried(
    sides: Sides, columns: str, select: str, extra: str, values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides.both(
        f"create table big ({columns}); alter table big owner to postgres;"
        f"insert into big select {select} from generate_series(1, {COUNT}) n; analyze big"
    )
    sides.sql(Side.ISOBASE, SPOIL.format(table="big", extra=extra, values=values))
    pair = await sides.carrier.pair("public.big")
    assert not differences.is_small(pair)
    compared = await compare(pair, sides.carrier.pairs)
    assert 3 <= len(compared.differing) <= 5
    assert compared.sums[Side.SUPABASE].rows == COUNT
    assert (await sides.carrier.carry([whole("big")], Side.ISOBASE)).changed == 5
    assert (await compare(pair, sides.carrier.pairs)).differing == ()
    assert (await sides.carrier.carry([whole("big")], Side.ISOBASE)).changed == 0


async def test_rows_that_swapped_a_value_are_found_although_the_sum_of_values_is_the_same(sides: Sides) -> None:
    sides.both("create table swapped (id int primary key, v text, w uuid); alter table swapped owner to postgres")
    sides.both(
        "insert into swapped select n, n::text, md5(n::text)::uuid from generate_series(1, 100) n; analyze swapped"
    )
    sides.sql(
        Side.ISOBASE,
        "update swapped set v = (101 - n)::text from generate_series(1, 100) n where id = n and n in (3, 98)",
    )
    sides.sql(Side.ISOBASE, "update swapped set w = md5((91 - id)::text)::uuid where id in (40, 51)")
    pair = await sides.carrier.pair("public.swapped")
    assert pair.can_hash_records
    assert (await compare(pair, sides.carrier.pairs)).differing != ()
    assert (await sides.carrier.carry([whole("swapped")], Side.ISOBASE)).changed == 4


async def test_tables_of_other_keys_are_swept_one_after_the_other(sides: Sides) -> None:
    sides.both(
        "create table x (id int primary key); create table y (k text, n int, primary key (k, n)); create table z (v text)"
    )
    sides.both("alter table x owner to postgres; alter table y owner to postgres; alter table z owner to postgres")
    sides.sql(Side.SUPABASE, "insert into x values (1); insert into y values ('a', 1); insert into z values ('z')")
    assert (await sides.carrier.carry([whole("x"), whole("y"), whole("z")], Side.ISOBASE)).changed == 3


async def test_an_empty_target_is_filled_whatever_the_size_was_thought_to_be(sides: Sides) -> None:
    sides.both("create table fresh (id bigint primary key, v text); alter table fresh owner to postgres")
    sides.sql(Side.SUPABASE, "insert into fresh select n * 1000000007::bigint, 'v' from generate_series(-1500, 1500) n")
    assert (await sides.carrier.carry([whole("fresh")], Side.ISOBASE)).changed == 3001
    query = "select count(*), sum(id), min(id) from fresh"
    assert sides.sql(Side.ISOBASE, query) == sides.sql(Side.SUPABASE, query)


async def test_rows_without_a_key_are_levelled_by_their_number_of_copies(sides: Sides) -> None:
    sides.both("create table log (at int, line json); alter table log owner to postgres")
    sides.sql(Side.SUPABASE, """insert into log values (1, '{"a": 1}'), (1, '{"a": 1}'), (2, null), (3, '[]')""")
    sides.sql(Side.ISOBASE, """insert into log values (1, '{"a": 1}'), (3, '[]'), (3, '[]'), (4, null)""")
    assert (await sides.carrier.carry([whole("log")], Side.ISOBASE)).changed == 4
    query = "select at, line::text from log order by 1, 2"
    assert sides.sql(Side.ISOBASE, query) == sides.sql(Side.SUPABASE, query)


async def test_a_partitioned_table_is_compared_with_whatever_partitions_each_side_has(sides: Sides) -> None:
    sides.both(
        "create table parts (id int primary key, v text) partition by range (id); alter table parts owner to postgres"
    )
    sides.sql(
        Side.SUPABASE, "create table parts_all partition of parts default; alter table parts_all owner to postgres"
    )
    sides.sql(
        Side.ISOBASE,
        "create table parts_1 partition of parts for values from (0) to (500);"
        "create table parts_2 partition of parts for values from (500) to (5000);"
        "alter table parts_1 owner to postgres; alter table parts_2 owner to postgres",
    )
    sides.sql(Side.SUPABASE, "insert into parts select n, 'v' from generate_series(1, 1000) n")
    assert (await sides.carrier.carry([whole("parts")], Side.ISOBASE)).changed == 1000
    pair = await sides.carrier.pair("public.parts_all")
    assert pair.resource == "public.parts"
    assert (await compare(pair, sides.carrier.pairs)).differing == ()


async def test_a_table_is_read_piece_by_piece_with_progress(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_adapter.rows.checksums.PAGES_PER_PIECE", 10)
    assert PAGES_PER_PIECE > 10
    sides.both(
        "create table paged (id int primary key, v text); alter table paged owner to postgres;"
        "insert into paged select n, repeat('v', 100) from generate_series(1, 5000) n; analyze paged"
    )
    told: list[tuple[Side, int, int]] = []
    pair = await sides.carrier.pair("public.paged")
    compared = await compare(pair, sides.carrier.pairs, on_progress=lambda *at: told.append(at))
    assert compared.differing == ()
    assert {sums.rows for sums in compared.sums.values()} == {5000}
    for side in Side:
        steps = [(done, pages) for told_side, done, pages in told if told_side is side]
        assert len(steps) > 5
        assert steps[-1][0] == steps[-1][1]


async def test_a_view_stands_for_the_tables_under_it(sides: Sides) -> None:
    sides.both(
        "create table a (id int primary key); create table b (id int primary key);"
        "create view ab as select a.id from a join b using (id); create view above as select * from ab"
    )
    assert await sides.carrier.pairs.tables_under("public.above") == ("public.a", "public.b")
    assert await sides.carrier.pairs.tables_under("public.a") == ("public.a",)
    assert await sides.carrier.pairs.tables_under("public.nothing") == ()

"""Sequences are put past what either side has used."""

from __future__ import annotations

import pytest

from isobase_adapter.rows.sequences import FALLBACK_GAP, SequenceFull, move_sequences, positions
from isobase_adapter.sides import Side
from isobase_adapter.verify.schema import compare_schemas
from tests.adapter.rows.conftest import Sides

TABLES = """
create table serials (id serial primary key, v int);
create table identities (id bigint generated always as identity primary key);
create sequence shared; create table one (id bigint primary key default nextval('shared'));
create table two (id bigint primary key default nextval('shared'));
create sequence down increment -1; create table falling (id int primary key default nextval('down'));
create table plain (id int primary key);
alter table serials owner to postgres; alter table identities owner to postgres; alter table one owner to postgres;
alter table two owner to postgres; alter sequence shared owner to postgres; alter table falling owner to postgres;
alter sequence down owner to postgres; alter table plain owner to postgres;
"""


async def test_sequences_go_on_behind_the_source_and_behind_what_the_columns_hold(sides: Sides) -> None:
    sides.both(TABLES)
    sides.sql(
        Side.SUPABASE,
        "insert into serials (v) select 1 from generate_series(1, 10); insert into identities default values;"
        "insert into two (id) values (500); select nextval('down'), nextval('down')",
    )
    sides.sql(Side.ISOBASE, "insert into serials (id) values (44)")
    moves = {
        move.sequence: (move.before, move.after) for move in await move_sequences(sides.carrier.pairs, Side.ISOBASE)
    }
    assert moves == {
        "public.serials_id_seq": (1, 45),
        "public.identities_id_seq": (1, 2),
        "public.shared": (1, 501),
        "public.down": (-1, -3),
    }
    assert sides.sql(Side.ISOBASE, "insert into serials default values returning id") == [(45,)]
    assert sides.sql(Side.ISOBASE, "insert into one default values returning id") == [(501,)]
    again = await move_sequences(sides.carrier.pairs, Side.ISOBASE)
    assert {move.sequence: move.after for move in again} == {name: after for name, (_, after) in moves.items()} | {
        "public.serials_id_seq": 46,
        "public.shared": 502,
    }


async def test_a_gap_is_left_before_the_side_that_is_the_fallback(sides: Sides) -> None:
    sides.both("create table small (id smallserial primary key); alter table small owner to postgres")
    sides.both("create table large (id bigserial primary key); alter table large owner to postgres")
    sides.sql(Side.ISOBASE, "insert into large select from generate_series(1, 3); insert into small values (2760)")
    await move_sequences(sides.carrier.pairs, Side.SUPABASE, gap=FALLBACK_GAP)
    found = await positions(sides.supabase, ["public.large_id_seq", "public.small_id_seq", "public.none"])
    assert {name: at.next_value for name, at in found.items()} == {
        "public.large_id_seq": 4 + FALLBACK_GAP,
        "public.small_id_seq": 2761 + (32767 - 2761) // 10,
    }


async def test_only_the_sequences_of_the_named_tables_are_moved(sides: Sides) -> None:
    sides.both(TABLES)
    sides.sql(Side.SUPABASE, "insert into serials (v) values (1); insert into identities default values")
    moves = await move_sequences(sides.carrier.pairs, Side.ISOBASE, tables=["public.serials", "public.unknown"])
    assert [move.sequence for move in moves] == ["public.serials_id_seq"]


async def test_a_sequence_without_numbers_left_is_refused_before_any_is_moved(sides: Sides) -> None:
    sides.both("create table a (id serial primary key); alter table a owner to postgres")
    sides.sql(Side.SUPABASE, "create sequence tight; create table b (id int primary key default nextval('tight'))")
    sides.sql(
        Side.ISOBASE, "create sequence tight maxvalue 3; create table b (id int primary key default nextval('tight'))"
    )
    sides.both("alter table b owner to postgres; alter sequence tight owner to postgres")
    sides.sql(Side.SUPABASE, "insert into a default values; select nextval('tight') from generate_series(1, 5)")
    with pytest.raises(SequenceFull, match=r"public\.tight at isobase"):
        await move_sequences(sides.carrier.pairs, Side.ISOBASE)
    assert (await positions(sides.isobase, ["public.a_id_seq"]))["public.a_id_seq"].next_value == 1


COUNTED = """
create sequence bill_numbers; create sequence cases; create sequence nobody;
create table bills (id int primary key, no text); create table calls (id int primary key);
create function number_bill() returns trigger language plpgsql as
  $$begin new.no := 'B-' || nextval('public.bill_numbers'); return new; end$$;
create trigger number_bill before insert on bills for each row execute function number_bill();
create function next_case() returns bigint language sql as $$select nextval('public.cases')$$;
create function open_case() returns bigint language sql begin atomic select public.next_case(); end;
alter table bills owner to postgres; alter table calls owner to postgres;
alter sequence bill_numbers owner to postgres; alter sequence cases owner to postgres;
"""


async def test_sequences_that_functions_alone_count_with_are_moved_too(sides: Sides) -> None:
    sides.both(COUNTED)
    sides.sql(
        Side.SUPABASE,
        "insert into public.bills select n from generate_series(1, 7) n; select public.open_case(), public.next_case()",
    )
    pairs = sides.carrier.pairs
    differing = {one.name for one in await compare_schemas(pairs)}
    assert {"public.bill_numbers", "public.cases"} <= differing
    assert "public.nobody" not in {move.sequence for move in await move_sequences(pairs, Side.ISOBASE)}, "not its own"
    assert sides.sql(Side.ISOBASE, "insert into public.bills values (8) returning no") == [("B-8",)]
    assert sides.sql(Side.ISOBASE, "select public.open_case()") == [(3,)]
    # Whose numbers they are is read from the functions: those of bills leave no gap for calls.
    await move_sequences(pairs, Side.SUPABASE, gap=FALLBACK_GAP, tables=["public.calls"])
    found = await positions(sides.supabase, ["public.bill_numbers", "public.cases"])
    assert {name: at.next_value for name, at in found.items()} == {
        "public.bill_numbers": 9,
        "public.cases": 4 + FALLBACK_GAP,
    }
    await move_sequences(pairs, Side.SUPABASE, gap=FALLBACK_GAP, tables=["public.bills"])
    found = await positions(sides.supabase, ["public.bill_numbers"])
    assert found["public.bill_numbers"].next_value == 9 + FALLBACK_GAP
    assert await move_sequences(pairs, Side.SUPABASE, gap=FALLBACK_GAP, tables=[]) == []

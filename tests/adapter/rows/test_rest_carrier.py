"""Rows carried through the two data APIs, without a database URL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from isobase_adapter.contracts import Conflict
from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.rest_carrier import RestRowCarrier
from isobase_adapter.rows.rest_side import RestSide
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.pair import Pair

OWNER = "00000000-0000-0000-0000-00000000000a"
NEW = "insert into public.notes (owner_id, title, body, tags) values "


@dataclass(slots=True)
class Rest:
    pair: Pair
    carrier: RestRowCarrier
    told: list[tuple[Thing, tuple[str, ...]]]


@pytest.fixture
async def rest(clean_pair: Pair) -> AsyncIterator[Rest]:
    async with httpx.AsyncClient(timeout=30) as http:
        supabase = RestSide(Side.SUPABASE, http, clean_pair.supabase.url, clean_pair.supabase.service_role_key)
        isobase = RestSide(Side.ISOBASE, http, clean_pair.isobase.url, clean_pair.isobase.service_role_key)
        told: list[tuple[Thing, tuple[str, ...]]] = []
        yield Rest(clean_pair, RestRowCarrier(supabase, isobase, lambda *difference: told.append(difference)), told)


def note(number: int) -> Thing:
    return Thing(ThingKind.ROW, "public.notes", (number,))


async def test_rows_arrive_change_and_go_with_every_value_exact(rest: Rest) -> None:
    rest.pair.supabase.query(
        NEW + f"""('{OWNER}', 'a', E'line\\n"q" \\\\ é', '{{"a,b","c\\"d",NULL}}'), ('{OWNER}', 'b', null, '{{}}')"""
    )
    detail = '{"n": 1.00, "big": 12345678901234567890}'
    rest.pair.supabase.query(f"insert into public.orders (owner_id, net, detail) values ('{OWNER}', 1.50, '{detail}')")
    ((order,),) = rest.pair.supabase.query("select id::text from public.orders")
    things = [note(1), note(2), note(3), Thing(ThingKind.ROW, "public.orders", (order,))]
    assert (await rest.carrier.carry(things, Side.ISOBASE)).changed == 3
    assert rest.pair.differing(("public.notes", "public.orders")) == {}
    assert (await rest.carrier.carry(things, Side.ISOBASE)).changed == 0
    rest.pair.supabase.query("delete from public.notes where id = 2")
    assert (await rest.carrier.carry(things, Side.ISOBASE)).changed == 1
    assert rest.pair.differing(("public.notes", "public.orders")) == {}
    assert rest.told == []


async def test_what_a_trigger_of_the_target_makes_otherwise_is_told(rest: Rest) -> None:
    rest.pair.supabase.query(NEW + f"('{OWNER}', 'a', 'b', '{{}}')")
    await rest.carrier.carry([note(1)], Side.ISOBASE)
    rest.pair.supabase.query("update public.notes set title = 'new'")
    await rest.carrier.carry([note(1)], Side.ISOBASE)
    table = (await rest.carrier.pair("public.notes")).supabase
    assert next((column.name, column.base) for column in table.columns) == ("id", "int8")
    assert rest.told == [(note(1), ("updated_at",))]
    assert rest.pair.isobase.query("select title from public.notes") == [("new",)]


async def test_keys_of_two_columns_and_a_whole_table_are_carried(rest: Rest) -> None:
    for side in (rest.pair.supabase, rest.pair.isobase):
        side.query(f"insert into public.orders (id, owner_id, net, created_at) values ('{OWNER}', '{OWNER}', 1, now())")
    rest.pair.supabase.query(
        "insert into public.order_lines (order_id, line_no, article)"
        f" select '{OWNER}', n, 'a' || n from generate_series(1, 1100) n"
    )
    rest.pair.isobase.query(
        f"insert into public.order_lines (order_id, line_no, article) values ('{OWNER}', 5000, 'extra')"
    )
    line = Thing(ThingKind.ROW, "public.order_lines", (OWNER, 7))
    assert (await rest.carrier.carry([line], Side.ISOBASE)).changed == 1
    whole = Thing(ThingKind.TABLE, "public.order_lines")
    assert (await rest.carrier.carry([whole], Side.ISOBASE)).changed == 1100
    assert rest.pair.differing(("public.order_lines",)) == {}


async def test_a_row_that_changed_at_both_sides_is_a_conflict_here_too(rest: Rest) -> None:
    for side in (rest.pair.supabase, rest.pair.isobase):
        side.query(NEW + f"('{OWNER}', 'old', null, '{{}}')")
    await rest.carrier.carry([note(1)], Side.ISOBASE)
    images = await rest.carrier.images([note(1)], Side.ISOBASE)
    expected = {thing: digest for thing, (_, digest) in images.items()}
    rest.pair.supabase.query("update public.notes set title = 'mine'")
    rest.pair.isobase.query("update public.notes set title = 'theirs'")
    with pytest.raises(Conflict) as caught:
        await rest.carrier.carry([note(1)], Side.ISOBASE, expected=expected)
    assert (caught.value.source["title"], caught.value.target["title"]) == ("mine", "theirs")


async def test_a_table_that_the_api_does_not_offer_is_refused(rest: Rest) -> None:
    with pytest.raises(UnknownTable, match=r"supabase offers no table public\.nothing"):
        await rest.carrier.carry([Thing(ThingKind.ROW, "public.nothing", (1,))], Side.ISOBASE)
    assert json.dumps(repr(rest.carrier)).count(rest.pair.supabase.service_role_key) == 0

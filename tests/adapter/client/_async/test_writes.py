"""Writes of rows while both sides are written: the answer is the one that was asked for, and both sides are equal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from postgrest import APIError, ReturnMethod

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Pair, User

ROWS = "table:public.*"


@pytest.fixture(params=[Side.SUPABASE, Side.ISOBASE])
async def client(clean_pair: Pair, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    set_stage(clean_pair, ROWS, Stage.SHADOW_READ if request.param is Side.SUPABASE else Stage.RAMP_DOWN)
    set_stage(clean_pair, "table:shop.*", Stage.DUAL_WRITE)
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


@pytest.fixture
def user(clean_pair: Pair) -> User:
    return clean_pair.sign_up()


async def settled(client: Any, pair: Pair) -> None:
    drained = await client.migration.drain(30)
    left = pair.isobase.query("select state, capability, target, thing, error from isobase.outbox")
    assert (drained.waiting, left) == (0, [])
    assert pair.differing() == {}


async def test_what_the_first_side_made_is_on_both(client: Any, clean_pair: Pair, user: User) -> None:
    """Ids by sequence and by default, times by default and by trigger, generated columns."""
    made = await client.table("notes").insert({"title": "one", "owner_id": user.id}).execute()
    number = made.data[0]["id"]
    changed = await client.table("notes").update({"stars": 5}).eq("id", number).execute()
    assert changed.data[0]["updated_at"] > made.data[0]["updated_at"]
    order = await client.table("orders").insert({"owner_id": user.id, "net": 10, "tax": 2}).execute()
    assert order.data[0]["gross"] == 12
    assert (await client.migration.pending(), clean_pair.differing(["public.notes", "public.orders"])) == (0, {})
    await client.table("notes").delete().eq("id", number).execute()
    assert clean_pair.isobase.rows("public.notes") == clean_pair.supabase.rows("public.notes") == []


async def test_bulk_inserts_upserts_and_filter_wide_changes_are_carried_by_the_rows_they_changed(
    client: Any, clean_pair: Pair, user: User
) -> None:
    table = client.table("kinds")
    await table.insert([{"id": number, "price": number} for number in range(1, 6)]).execute()
    await table.upsert([{"id": 5, "price": 50}, {"id": 6, "price": 60}]).execute()
    await table.upsert([{"id": 6, "price": 61}, {"id": 7, "price": 70}], ignore_duplicates=True).execute()
    changed = await table.update({"nothing": "changed"}).gt("price", 2).execute()
    assert [row["id"] for row in changed.data] == [3, 4, 5, 6, 7]
    await table.update({"id": 100}).eq("id", 1).execute()
    await table.update({"id": 200}).eq("price", 2).execute()
    await table.delete().in_("id", [3, 4]).execute()
    await table.delete().eq("nothing", "changed").lt("price", 60).execute()
    await client.schema("shop").table("stock").upsert({"Article": 'a, "b"', "amount": 1}).execute()
    await client.schema("shop").table("stock").update({"amount": 2}).eq("Article", 'a, "b"').execute()
    await client.table("lines_without_key").insert([{"line": "x"}, {"line": "x"}]).execute()
    await settled(client, clean_pair)
    assert sorted(row["id"] for row in clean_pair.isobase.rows("public.kinds")) == [6, 7, 100, 200]
    assert clean_pair.isobase.rows("shop.stock")[0]["amount"] == 2
    assert len(clean_pair.isobase.rows("public.lines_without_key")) == 2


async def test_who_may_write_and_not_read_writes_all_the_same(client: Any, clean_pair: Pair) -> None:
    """Asking for the keys of what was written is refused (42501): the app's own request follows."""
    first, second = (
        "create policy drop_box on public.kinds for insert to anon with check (true)",
        "drop policy drop_box",
    )
    sides = (clean_pair.supabase, clean_pair.isobase)
    for side in sides:
        side.query(first)
    anon = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings_of(clean_pair)
    )
    try:
        await anon.table("kinds").insert({"id": 1, "price": 1}, returning=ReturnMethod.minimal).execute()
        with pytest.raises(APIError) as raised:
            await anon.table("kinds").insert({"id": 2, "price": 1}).execute()
        assert raised.value.code == "42501"
    finally:
        await anon.migration.aclose()
        for side in sides:
            side.query(f"{second} on public.kinds")
    await settled(client, clean_pair)
    assert [row["id"] for row in clean_pair.isobase.rows("public.kinds")] == [1]

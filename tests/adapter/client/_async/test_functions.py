"""Calls of database functions in the middle of a move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from postgrest import APIError

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import note, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, User


@pytest.fixture
async def client(clean_pair: Pair) -> AsyncIterator[Any]:
    for kind in ("rpc", "table"):
        set_stage(clean_pair, f"{kind}:public.*", Stage.DUAL_WRITE)
        set_stage(clean_pair, f"{kind}:shop.*", Stage.DUAL_WRITE)
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


@pytest.fixture
def user(clean_pair: Pair) -> User:
    return clean_pair.sign_up()


def set_rule(pair: Pair, function: str, rule: str) -> None:
    pair.isobase.query(
        "insert into isobase.migration_rules (pattern, name, value) values (%s, 'rpc', to_jsonb(%s::text))",
        f"rpc:{function}",
        rule,
    )


async def reloaded(client: Any) -> None:
    client._core.runtime.run(client._core.parts.control.reload())


async def test_a_function_that_only_reads_goes_as_reads_go(client: Any, clean_pair: Pair, user: User) -> None:
    note(clean_pair.isobase, "there", user.id)
    clean_pair.isobase.query("update public.notes set stars = 7")
    arguments = {"owner": user.id}
    assert (await client.rpc("stars_of", arguments).execute()).data == 0
    set_stage(clean_pair, "rpc:public.*", Stage.LIVE)
    wait_for_stage(client, "rpc:stars_of", Stage.LIVE)
    assert (await client.rpc("stars_of", arguments).execute()).data == 7
    assert (await client.rpc("stars_of", arguments, get=True).execute()).data == 7
    assert client.migration.answered.side is Side.ISOBASE


async def test_a_volatile_function_without_a_rule_is_refused_with_the_settings_name(
    client: Any, clean_pair: Pair
) -> None:
    with pytest.raises(APIError) as raised:
        await client.rpc("set_stock", {"article": "a", "amount": 1}).execute()
    assert raised.value.code == "MIGRATION_RPC_RULE"
    assert "ISOBASE_MIGRATION_RPC=public.set_stock=" in str(raised.value.hint)
    assert clean_pair.supabase.rows("shop.stock") == []


async def test_a_function_that_has_not_begun_to_move_is_called_while_its_tables_are_written_there_first(
    client: Any, clean_pair: Pair
) -> None:
    set_stage(clean_pair, "rpc:public.*", Stage.OFF)
    wait_for_stage(client, "rpc:set_stock", Stage.OFF)
    await client.rpc("set_stock", {"article": "a", "amount": 1}).execute()
    assert [row["amount"] for row in clean_pair.supabase.rows("shop.stock")] == [1]


@pytest.mark.parametrize(("stage", "tables"), [(Stage.OFF, Stage.LIVE), (Stage.COMPLETE, Stage.DUAL_WRITE)])
async def test_a_function_that_may_write_tables_of_the_other_sides_writer_needs_a_rule_too(
    client: Any, clean_pair: Pair, user: User, stage: Stage, tables: Stage
) -> None:
    set_stage(clean_pair, "table:shop.*", tables)
    wait_for_stage(client, "table:shop.stock", tables)
    set_stage(clean_pair, "rpc:public.*", stage)
    wait_for_stage(client, "rpc:set_stock", stage)
    with pytest.raises(APIError, match="it cannot be called in stage") as raised:
        await client.rpc("set_stock", {"article": "a", "amount": 1}).execute()
    assert raised.value.code == "MIGRATION_RPC_RULE"
    assert (await client.rpc("stars_of", {"owner": user.id}).execute()).data == 0
    set_rule(clean_pair, "public.set_stock", "first_only")
    await reloaded(client)
    await client.rpc("set_stock", {"article": "a", "amount": 1}).execute()
    side = clean_pair.supabase if stage is Stage.OFF else clean_pair.isobase
    assert [row["amount"] for row in side.rows("shop.stock")] == [1]


async def test_tables_that_a_rule_names_are_made_equal_after_the_call(client: Any, clean_pair: Pair) -> None:
    set_rule(clean_pair, "public.set_stock", "tables:shop.stock")
    await reloaded(client)
    await client.rpc("set_stock", {"article": "a", "amount": 3}).execute()
    assert (await client.migration.drain(30)).waiting == 0
    assert clean_pair.isobase.rows("shop.stock") == clean_pair.supabase.rows("shop.stock") != []
    assert clean_pair.differing() == {}


async def test_a_function_goes_where_the_tables_of_its_rule_are_written(client: Any, clean_pair: Pair) -> None:
    set_rule(clean_pair, "public.set_stock", "tables:shop.stock")
    set_stage(clean_pair, "table:shop.*", Stage.RAMP_DOWN)
    await reloaded(client)
    await client.rpc("set_stock", {"article": "a", "amount": 3}).execute()
    assert client.migration.answered.side is Side.ISOBASE
    set_rule(clean_pair, "public.place_order", "tables:public.orders|shop.stock")
    await reloaded(client)
    with pytest.raises(APIError, match="flags of their own"):
        await client.rpc("place_order", {"net": 1, "articles": []}).execute()


async def test_a_function_that_is_safe_to_call_twice_is_called_on_both(client: Any, clean_pair: Pair) -> None:
    set_rule(clean_pair, "public.set_stock", "both")
    await reloaded(client)
    await client.rpc("set_stock", {"article": "a", "amount": 4}).execute()
    amounts = [side.query("select amount from shop.stock") for side in (clean_pair.supabase, clean_pair.isobase)]
    assert amounts == [[(4,)], [(4,)]]


@pytest.mark.parametrize("rule", ["first_only", "sync", "both"])
async def test_a_handover_waits_for_a_call_that_is_on_its_way_whatever_its_rule(
    client: Any, clean_pair: Pair, rule: str
) -> None:
    """Else it would write at a side that is not written first any more, and be told that it counts."""
    set_rule(clean_pair, "public.set_stock", rule)
    await reloaded(client)
    # The function itself looks for what holds a handover up.
    clean_pair.isobase.query("create table shop.seen (n bigint)")
    clean_pair.isobase.query(
        "create function shop.look() returns trigger language plpgsql security definer as"
        " $$ begin insert into shop.seen select count(*) from isobase.outbox"
        " where capability = 'rpc:public.set_stock' and state = 'intent' and target = 'supabase'; return new; end $$"
    )
    clean_pair.isobase.query(
        "create trigger look before insert on shop.stock for each row execute function shop.look()"
    )
    try:
        set_stage(clean_pair, "rpc:public.*", Stage.RAMP_DOWN)
        wait_for_stage(client, "rpc:public.set_stock", Stage.RAMP_DOWN)
        await client.rpc("set_stock", {"article": "a", "amount": 4}).execute()
        assert client.migration.answered.side is Side.ISOBASE
        assert clean_pair.isobase.query("select n from shop.seen") == [(1,)]
        assert clean_pair.isobase.query("select state from isobase.outbox") == []
        assert len(clean_pair.supabase.rows("shop.stock")) == (1 if rule == "both" else 0)
    finally:
        clean_pair.isobase.query("drop table shop.seen; drop function shop.look() cascade")

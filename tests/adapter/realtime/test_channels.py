"""Channels of a migration client on two running stacks: everything is heard once, across every stage and outage."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from realtime.types import RealtimePostgresChangesListenEvent
from supabase import acreate_client

from isobase_adapter import create_async_migration_client
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair

WAIT_S = 60.0
QUIET_S = 1.0
WINDOWS = {"WINDOW_S": 6.0, "LINGER_S": 7.0}
"""Longer than a busy machine holds one side up: what comes later than this comes out of order."""


@pytest.fixture
async def client(clean_pair: Pair) -> AsyncIterator[Any]:
    made = await made_for(clean_pair)
    yield made
    await made.migration.aclose()


async def made_for(pair: Pair) -> Any:
    return await create_async_migration_client(
        pair.supabase.url, pair.supabase.service_role_key, migration=settings_of(pair)
    )


async def move(pair: Pair, client: Any, stage: Stage, *names: str) -> None:
    for name in names:
        set_stage(pair, name, stage)
        await asyncio.to_thread(wait_for_stage, client, name, stage)


async def until(condition: Any, what: str | Callable[[], str]) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what if isinstance(what, str) else what()) from None


def told_by(channel: Any) -> list[Any]:
    """What the server says to a channel from now on."""
    told: list[Any] = []
    channel.on_system(told.append)
    return told


async def until_rows_are_heard(told: list[Any]) -> None:
    """Row changes are heard from the moment when Supabase says so, which is up to seconds after the join."""
    await until(lambda: any("Subscribed to PostgreSQL" in str(each) for each in told), lambda: f"followed: {told}")


def sides_of(channel: Any) -> set[Side]:
    return {side for side, leg in channel._legs.items() if leg.is_joined}


All = RealtimePostgresChangesListenEvent.All
WAY = [*Stage, *reversed(list(Stage)[:-1])]


async def test_a_listener_hears_every_change_and_broadcast_once_from_off_to_complete_and_back(
    client: Any, clean_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in WINDOWS.items():
        monkeypatch.setattr(f"isobase_adapter.realtime.channel.{name}", seconds)
    owner = clean_pair.sign_up().id
    clean_pair.isobase.query("insert into auth.users (id) values (%s) on conflict do nothing", owner)
    heard: list[Any] = []
    said: list[Any] = []
    states: list[str] = []
    channel: Any = client.channel("room")
    assert isinstance(channel, AsyncRealtimeChannel)
    assert isinstance(client.realtime, AsyncRealtimeClient)
    channel.on_postgres_changes(All, lambda payload: heard.append(payload["data"]), table="orders", schema="public")
    channel.on_broadcast("*", lambda payload: said.append(payload["payload"]["n"]))
    told = told_by(channel)
    await channel.subscribe(lambda status, error: states.append(status.value))
    await until_rows_are_heard(told)
    other = await made_for(clean_pair)
    speaker = other.channel("room")
    await speaker.subscribe()
    expected: list[Any] = []
    try:
        for number, stage in enumerate(WAY):
            await move(clean_pair, client, stage, "realtime", "table:public.orders", "table:public.audit_log")
            await asyncio.to_thread(wait_for_stage, other, "realtime", stage)
            # Messages go on while the sides change.
            for part in range(3):
                await speaker.send_broadcast("say", {"n": 10 * number + part})
            key = str(uuid.uuid4())
            row = {"id": key, "owner_id": owner, "net": number}
            await client.table("orders").insert(row).execute()
            for state in ("paid", "open", "paid"):
                await client.table("orders").update({"state": state}).eq("id", key).execute()
            expected += [(key, "INSERT", "open"), (key, "UPDATE", "paid"), (key, "UPDATE", "open")]
            expected += [(key, "UPDATE", "paid")]
            # Supabase looks at the log ten times a second, and tells of a row with policies only while it is there: without
            # this wait it would tell of the deletes alone, to the official client too.
            await until(lambda: len(heard) >= len(expected), lambda: f"{stage}: {len(heard)} of {len(expected)}")  # noqa: B023
            await client.table("orders").delete().eq("id", key).execute()
            expected += [(key, "DELETE", None)]
            await until(lambda: len(heard) >= len(expected), lambda: f"{stage}: {len(heard)} of {len(expected)}")  # noqa: B023
            wanted = {Stage.OFF: {Side.SUPABASE}, Stage.COMPLETE: {Side.ISOBASE}}.get(stage, set(Side))
            await until(lambda: sides_of(channel) == wanted, lambda: f"{stage}: {sides_of(channel)}")  # noqa: B023
            await until(lambda: sides_of(speaker) == wanted, lambda: f"{stage}: {sides_of(speaker)}")  # noqa: B023
        await asyncio.sleep(QUIET_S)
        found = [((data.get("record") or data["old_record"])["id"], data["type"], data) for data in heard]
        assert [
            (key, kind, None if kind == "DELETE" else data["record"]["state"]) for key, kind, data in found
        ] == expected
        assert said == [10 * number + part for number in range(len(WAY)) for part in range(3)]
        assert states == ["SUBSCRIBED"]
        # Nothing is left that would be told later.
        assert not vars(channel)["_rows"].is_waiting
        await client.remove_channel(channel)
        assert (client.get_channels(), states[-1]) == ([], "CLOSED")
    finally:
        await other.migration.aclose()


async def test_who_listens_at_one_side_alone_is_heard_and_hears(client: Any, clean_pair: Pair) -> None:
    await move(clean_pair, client, Stage.SHADOW_READ, "realtime")
    heard: dict[str, list[Any]] = {"both": [], "supabase": [], "isobase": []}
    alone: dict[str, Any] = {}
    for side in Side:
        stack = clean_pair.supabase if side is Side.SUPABASE else clean_pair.isobase
        alone[side] = await acreate_client(stack.url, stack.anon_key)
    try:
        channels: dict[str, Any] = {}
        for name, each in {"both": client, **alone}.items():
            channel = channels[str(name)] = each.channel("hall", {"config": {"broadcast": {"self": False}}})
            channel.on_broadcast("say", lambda payload, name=str(name): heard[name].append(payload["payload"]["n"]))
            await channel.subscribe()
        await until(lambda: sides_of(channels["both"]) == set(Side), "both sides are joined")
        await channels["both"].send_broadcast("say", {"n": 1})
        await channels["supabase"].send_broadcast("say", {"n": 2})
        await channels["isobase"].send_broadcast("say", {"n": 3})
        await until(lambda: len(heard["both"]) == 2, "the client of both sides hears both")
        await until(lambda: heard["supabase"] and heard["isobase"], "both sides hear it")
        await asyncio.sleep(QUIET_S)
        assert sorted(heard["both"]) == [2, 3]
        assert (heard["supabase"], heard["isobase"]) == ([1], [1])
    finally:
        for each in alone.values():
            await each.realtime.close()


async def test_presences_of_both_sides_are_one(client: Any, clean_pair: Pair) -> None:
    await move(clean_pair, client, Stage.LIVE, "realtime")
    came: list[str] = []
    left: list[str] = []
    channel = client.channel("lobby", {"config": {"presence": {"key": "ann", "enabled": True}}})
    channel.on_presence_join(lambda key, before, new: came.append(key))
    channel.on_presence_leave(lambda key, after, gone: left.append(key))
    await channel.subscribe()
    await until(lambda: sides_of(channel) == set(Side), "both sides are joined")
    await channel.track({"name": "Ann"})
    guests = []
    for side, name in ((clean_pair.supabase, "bob"), (clean_pair.isobase, "cy")):
        guest: Any = await acreate_client(side.url, side.anon_key)
        guests.append(guest)
        there = guest.channel("lobby", {"config": {"presence": {"key": name, "enabled": True}}})
        await there.subscribe()
        await there.track({"name": name})
    await until(lambda: set(channel.presence_state()) == {"ann", "bob", "cy"}, str(channel.presence_state()))
    assert all(len(presences) == 1 for presences in channel.presence_state().values())
    for guest in guests:
        await guest.realtime.remove_all_channels()
    await until(lambda: set(channel.presence_state()) == {"ann"}, str(channel.presence_state()))
    await until(lambda: sorted(left) == ["bob", "cy"], str(left))
    assert sorted(came) == ["ann", "bob", "cy"]


async def test_one_side_that_is_away_is_stood_in_for_and_comes_back(proxied_pair: Any) -> None:
    pair: Pair = proxied_pair.pair
    client = await made_for(pair)
    heard: list[Any] = []
    states: list[str] = []
    try:
        await move(pair, client, Stage.LIVE, "realtime")
        channel = client.channel("room")
        channel.on_broadcast("*", lambda payload: heard.append(payload["payload"]["n"]))
        await channel.subscribe(lambda status, error: states.append(status.value))
        await until(lambda: sides_of(channel) == set(Side), "both sides are joined")
        speaker: Any = await acreate_client(pair.supabase.url, pair.supabase.anon_key)
        there = speaker.channel("room")
        await there.subscribe()
        proxied_pair.isobase.refuses = True
        proxied_pair.isobase.cut_all()
        await until(lambda: sides_of(channel) == {Side.SUPABASE}, "Isobase is away")
        await there.send_broadcast("say", {"n": 1})
        await until(lambda: heard == [1], "it is heard at Supabase")
        assert states == ["SUBSCRIBED"]
        proxied_pair.heal()
        await until(lambda: sides_of(channel) == set(Side), "Isobase is back")
        await channel.unsubscribe()
        await speaker.realtime.close()
    finally:
        proxied_pair.heal()
        await client.migration.aclose()


async def test_private_channels_take_the_users_token_on_both_sides_and_a_new_one_later(
    clean_pair: Pair,
) -> None:
    for side in (clean_pair.supabase, clean_pair.isobase):
        side.query("drop policy if exists heard on realtime.messages")
        side.query(
            "create policy heard on realtime.messages for all to authenticated"
            " using (realtime.topic() = 'of ' || auth.uid()::text) with check (true)"
        )
    ann, bob = clean_pair.sign_up(), clean_pair.sign_up()
    client: Any = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings_of(clean_pair)
    )
    try:
        await move(clean_pair, client, Stage.RAMP_DOWN, "realtime")
        await client.realtime.set_auth(ann.access_token)
        states: dict[str, list[str]] = {"ann": [], "bob": []}
        for name, user in (("ann", ann), ("bob", bob)):
            channel = client.channel(f"of {user.id}", {"config": {"private": True}})
            await channel.subscribe(lambda status, error, name=name: states[name].append(status.value))
            if name == "ann":
                await until(lambda: sides_of(channel) == set(Side), "both sides let her in")  # noqa: B023
        assert states == {"ann": ["SUBSCRIBED"], "bob": ["CHANNEL_ERROR"]}
        await client.realtime.set_auth(bob.access_token)
        await until(lambda: states["bob"][-1] == "SUBSCRIBED", "his own token lets him in")
        await client.remove_all_channels()
        assert client.get_channels() == []
    finally:
        await client.migration.aclose()
        for side in (clean_pair.supabase, clean_pair.isobase):
            side.query("drop policy heard on realtime.messages")


async def test_every_change_of_each_row_is_heard_once_while_stages_go_to_and_fro(
    client: Any, clean_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in WINDOWS.items():
        monkeypatch.setattr(f"isobase_adapter.realtime.channel.{name}", seconds)
    owner = clean_pair.sign_up().id
    clean_pair.isobase.query("insert into auth.users (id) values (%s) on conflict do nothing", owner)
    await move(clean_pair, client, Stage.DUAL_WRITE, "table:public.orders", "table:public.audit_log")
    heard: dict[str, list[tuple[str, Any]]] = {}

    def hear(payload: Any) -> None:
        record = payload["data"]["record"]
        heard.setdefault(record["id"], []).append((payload["data"]["type"], record["net"]))

    channel = client.channel("x")
    channel.on_postgres_changes(All, hear, table="orders", schema="public")
    told = told_by(channel)
    await channel.subscribe()
    await until_rows_are_heard(told)
    expected: dict[str, list[tuple[str, Any]]] = {}

    async def write() -> None:
        for number in range(40):
            key = str(uuid.uuid4())
            await client.table("orders").insert({"id": key, "owner_id": owner, "net": number}).execute()
            for net in (number + 1000, number):
                await client.table("orders").update({"net": net}).eq("id", key).execute()
            expected[key] = [("INSERT", number), ("UPDATE", number + 1000), ("UPDATE", number)]
            await asyncio.sleep(0.05)

    async def change_stages() -> None:
        generator, stages, stage = random.Random(3), list(Stage), 0
        while not writing.done():
            stage = max(0, min(len(stages) - 1, stage + generator.choice([-1, 1, 1])))
            set_stage(clean_pair, "realtime", stages[stage])
            await asyncio.sleep(generator.random())

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, change_stages())
    await until(lambda: sum(map(len, heard.values())) >= 120, lambda: f"{sum(map(len, heard.values()))} of 120")
    await asyncio.sleep(WINDOWS["WINDOW_S"] + 0.5)  # longer than what is unsure would wait
    assert heard == expected


async def test_of_rows_that_are_deleted_at_once_the_delete_is_told_once_and_nothing_after_it(
    client: Any, clean_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Supabase may tell of the delete alone, as the row is gone when it looks."""
    for name, seconds in WINDOWS.items():
        monkeypatch.setattr(f"isobase_adapter.realtime.channel.{name}", seconds)
    owner = clean_pair.sign_up().id
    clean_pair.isobase.query("insert into auth.users (id) values (%s) on conflict do nothing", owner)
    await move(clean_pair, client, Stage.DUAL_WRITE, "table:public.orders", "table:public.audit_log")
    heard: dict[str, list[str]] = {}

    def hear(payload: Any) -> None:
        data = payload["data"]
        heard.setdefault((data.get("record") or data["old_record"])["id"], []).append(data["type"].value)

    channel: Any = client.channel("x")
    channel.on_postgres_changes(All, hear, table="orders", schema="public")
    told = told_by(channel)
    await channel.subscribe()
    await until_rows_are_heard(told)
    for stage in (Stage.OFF, Stage.DUAL_WRITE, Stage.SHADOW_READ, Stage.LIVE, Stage.RAMP_DOWN):
        await move(clean_pair, client, stage, "realtime")
        wanted = {Side.SUPABASE} if stage is Stage.OFF else set(Side)
        await until(lambda: sides_of(channel) == wanted, lambda: f"{stage}: {sides_of(channel)}")  # noqa: B023
        keys = [str(uuid.uuid4()) for _ in range(5)]
        for key in keys:
            await client.table("orders").insert({"id": key, "owner_id": owner, "net": 1}).execute()
            await client.table("orders").update({"state": "paid"}).eq("id", key).execute()
            await client.table("orders").delete().eq("id", key).execute()
        await until(lambda: all("DELETE" in heard.get(key, []) for key in keys), lambda: f"{stage}: {heard}")  # noqa: B023
        await until(lambda: not vars(channel)["_rows"].is_waiting, "nothing waits")
        for key in keys:
            rest = iter(["INSERT", "UPDATE", "DELETE"])
            assert all(kind in rest for kind in heard[key]), (stage, heard[key])


async def test_rows_that_a_copy_brings_are_not_told_while_both_sides_are_listened_to(
    client: Any, clean_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in WINDOWS.items():
        monkeypatch.setattr(f"isobase_adapter.realtime.channel.{name}", seconds)
    owner = clean_pair.sign_up().id
    for side in (clean_pair.supabase, clean_pair.isobase):
        side.query("insert into auth.users (id) values (%s) on conflict do nothing", owner)
    # The old rows are told at Supabase before the channel is there: a server that looks at its log now and then is late.
    old: list[Any] = []
    alone: Any = await acreate_client(clean_pair.supabase.url, clean_pair.supabase.service_role_key)
    try:
        before = alone.channel("before")
        before.on_postgres_changes(All, old.append, table="orders", schema="public")
        told = told_by(before)
        await before.subscribe()
        await until_rows_are_heard(told)
        clean_pair.supabase.query(
            "insert into public.orders (owner_id, net) select %s, n from generate_series(1, 200) as n", owner
        )
        await until(lambda: len(old) == 200, lambda: f"{len(old)} old rows")
    finally:
        await alone.realtime.close()
    await move(clean_pair, client, Stage.DUAL_WRITE, "realtime", "table:public.orders", "table:public.audit_log")
    heard: list[Any] = []
    channel: Any = client.channel("x")
    channel.on_postgres_changes(
        All, lambda payload: heard.append(payload["data"]["record"]["net"]), table="orders", schema="public"
    )
    await channel.subscribe()
    await until(lambda: all(channel._legs[side].hears_rows for side in Side), "both sides follow the table")
    copied = await copy_tables(
        {Side.SUPABASE: clean_pair.supabase.db_url, Side.ISOBASE: clean_pair.isobase.db_url}, only=["public.orders"]
    )
    assert copied.rows == 200
    await client.table("orders").insert({"owner_id": owner, "net": 1000}).execute()
    await until(lambda: heard, "the new row is heard")
    rows = vars(channel)["_rows"]
    await until(lambda: not any(row.told or row.waiting for row in vars(rows)["_rows"].values()), "by both sides")
    assert heard == [1000]

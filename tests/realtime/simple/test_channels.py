"""Channels by name and row changes over the simple face."""

from __future__ import annotations

from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.conftest import Connect

NOTES = {"schema": "public", "table": "notes"}


async def test_a_channel_carries_what_is_published_to_the_others_and_to_supabase_clients(
    connect: Connect, stack: Stack
) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    phoenix = await stack.connect()
    await phoenix.join("news")
    for socket in (alice, bob):
        assert (await socket.do("subscribe", channel="news"))["channel"] == "news"
        await socket.do("subscribe", channel="news")
    await alice.do("publish", channel="news", event="hi", payload={"n": 1})
    heard = await bob.event("broadcast")
    assert heard == {"action": "broadcast", "channel": "news", "event": "hi", "payload": {"n": 1}}
    assert (await phoenix.event("broadcast")).payload == {"type": "broadcast", "event": "hi", "payload": {"n": 1}}
    await phoenix.send_binary("realtime:news", "bytes", b"\x00\xff", encoding=0)
    await phoenix.send("realtime:news", "broadcast", {"type": "broadcast", "event": "back", "payload": {"n": 2}})
    assert (await alice.event("broadcast"))["payload"] == {"n": 2}
    await bob.do("unsubscribe", channel="news")
    assert await bob.refused("unsubscribe", channel="news") == "not_joined"
    await phoenix.send("realtime:news", "broadcast", {"type": "broadcast", "event": "back", "payload": {"n": 3}})
    await alice.event("broadcast", payload={"n": 3})
    assert [frame["payload"] for frame in bob.events("broadcast")] == [{"n": 1}, {"n": 2}]


async def test_a_private_channel_asks_the_policies_of_the_project(connect: Connect, stack: Stack) -> None:
    await stack.sql(
        "create policy reads on realtime.messages for select to authenticated using (realtime.topic() = 'club')"
    )
    await stack.sql(
        "create policy writes on realtime.messages for insert to authenticated"
        f" with check (realtime.topic() = 'club' and auth.uid() = '{ALICE}')"
    )
    alice, bob = await connect(ALICE), await connect(BOB)
    assert await bob.refused("subscribe", channel="cellar", private=True) == "not_allowed"
    for socket in (alice, bob):
        await socket.do("subscribe", channel="club", private=True)
    assert await bob.refused("publish", channel="club", event="e", payload={}) == "not_allowed"
    await alice.do("publish", channel="club", event="e", payload={"from": "alice"})
    assert (await bob.event("broadcast"))["payload"] == {"from": "alice"}


async def test_row_changes_come_under_the_rights_of_the_caller(connect: Connect, stack: Stack) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    subscription = (await alice.do("subscribe", **NOTES))["subscription"]
    assert (await bob.do("subscribe", **NOTES))["subscription"] == subscription
    for socket in (alice, bob):
        await socket.event("subscribed", subscription=subscription)
    await stack.sql("insert into public.notes (owner, body) values ($1, 'mine')", ALICE)
    await stack.sql("insert into public.notes (owner, body) values ($1, 'his')", BOB)
    change = (await alice.event("change", subscription=subscription))["change"]
    assert (change["type"], change["table"], change["record"]["body"]) == ("INSERT", "notes", "mine")
    assert (await bob.event("change"))["change"]["record"]["body"] == "his"
    await alice.do("unsubscribe", subscription=subscription)
    await stack.sql("update public.notes set body = 'changed'")
    assert (await bob.event("change"))["change"]["record"]["body"] == "changed"
    assert len(alice.events("change")) == 1


async def test_filters_events_and_columns_are_those_of_row_changes(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    answer = await alice.do("subscribe", table="board", event="INSERT", filter="rank=gt.5", select=["body"])
    await alice.event("subscribed", subscription=answer["subscription"])
    await stack.sql("insert into public.board (body, rank) values ('low', 1), ('high', 9)")
    change = (await alice.event("change"))["change"]
    assert change["record"] == {"id": 2, "body": "high"}
    wrong = (await alice.do("subscribe", table="board", filter="nothing=eq.1"))["subscription"]
    error = await alice.event("error", subscription=wrong)
    assert (error["ok"], error["error"]["code"]) == (False, "subscription_failed")
    assert "invalid column" in error["error"]["message"]


async def test_changes_carry_positions_and_missed_ones_are_given_from_a_position_on(
    connect: Connect, stack: Stack
) -> None:
    alice = await connect(ALICE)
    subscription = (await alice.do("subscribe", table="board", position=True))["subscription"]
    await alice.event("subscribed", subscription=subscription)
    await stack.sql("insert into public.board (body) values ('seen')")
    position = (await alice.event("change"))["change"]["position"]
    await alice.do("unsubscribe", subscription=subscription)
    await stack.sql("insert into public.board (body) values ('missed')")
    await alice.do("subscribe", table="board", since=position)
    # Read from the log before or after the socket came back: it comes, once.
    await alice.wait_for(lambda frame: frame.get("change", {}).get("record", {}).get("body") == "missed")
    await stack.sql("insert into public.board (body) values ('next')")
    await alice.wait_for(lambda frame: frame.get("change", {}).get("record", {}).get("body") == "next")
    assert [frame["change"]["record"]["body"] for frame in alice.events("change")] == ["seen", "missed", "next"]
    assert isinstance(alice.events("subscribed")[-1]["position"], str)

"""Private channels: the policies of realtime.messages decide who reads and who writes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.realtime.client import PATIENCE_S, Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack

TOPIC = "realtime:room"
HI = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}
DENIED = "Unauthorized: You do not have permissions to read from this Channel topic: room"


async def policies(stack: Stack) -> None:
    """Alice reads and writes room; Bob reads its broadcasts only."""
    await stack.sql(
        "create policy r on realtime.messages for select to authenticated using (realtime.topic() = 'room' and"
        f" (auth.uid() = '{ALICE}' or (auth.uid() = '{BOB}' and extension = 'broadcast')))"
    )
    await stack.sql(
        "create policy w on realtime.messages for insert to authenticated"
        f" with check (realtime.topic() = 'room' and auth.uid() = '{ALICE}')"
    )


async def private(stack: Stack, user: str, **config: Any) -> Phoenix:
    socket = await stack.connect()
    reply = await socket.join("room", token=stack.token(user), private=True, **config)
    assert reply.payload["status"] == "ok", reply
    return socket


async def test_without_a_policy_nobody_joins(stack: Stack) -> None:
    socket = await stack.connect()
    for token in (None, stack.token(ALICE)):
        reply = await socket.join("room", token=token, private=True)
        assert reply.payload == {"status": "error", "response": {"reason": DENIED}}


async def test_a_topic_that_is_no_text_is_nobodys(stack: Stack) -> None:
    await stack.sql("create policy r on realtime.messages for all using (true) with check (true)")
    socket = await stack.connect()
    for topic in ("half \ud800", "nul \0"):
        reply = await socket.join(topic, token=stack.token(ALICE), private=True)
        assert reply.payload["status"] == "error"
        assert reply.payload["response"]["reason"].startswith("Unauthorized: ")


async def test_policies_decide_who_joins(stack: Stack) -> None:
    await policies(stack)
    await private(stack, ALICE)
    await private(stack, BOB)
    socket = await stack.connect()
    assert (await socket.join("room", private=True)).payload["response"] == {"reason": DENIED}
    other = await socket.join("other", token=stack.token(ALICE), private="true")
    assert other.payload["status"] == "error"


async def test_writer_is_heard_and_a_reader_is_silently_ignored_even_with_ack(stack: Stack) -> None:
    await policies(stack)
    alice = await private(stack, ALICE, broadcast={"ack": True})
    bob = await private(stack, BOB, broadcast={"ack": True})
    refs = [await alice.send(TOPIC, "broadcast", {**HI, "payload": {"n": n}}) for n in range(20)]
    for ref in refs:
        assert (await alice.reply(ref)).payload["status"] == "ok"
    await bob.wait_for(lambda item: item.event == "broadcast" and item.payload["payload"]["n"] == 19)
    assert [item.payload["payload"]["n"] for item in bob.events("broadcast")] == list(range(20))
    await bob.send(TOPIC, "broadcast", HI)
    await bob.nothing("phx_reply")
    assert alice.events("broadcast") == []


async def test_presence_is_withheld_from_and_denied_to_those_without_its_rights(stack: Stack) -> None:
    await policies(stack)
    alice = await private(stack, ALICE, presence={"enabled": True, "key": "alice"})
    bob = await private(stack, BOB, presence={"enabled": True, "key": "bob"})
    await alice.event("presence_state")
    ref = await alice.send(TOPIC, "presence", {"event": "track", "payload": {}})
    assert (await alice.reply(ref)).payload["status"] == "ok"
    await alice.event("presence_diff")
    ref = await bob.send(TOPIC, "presence", {"event": "track", "payload": {}})
    assert (await bob.reply(ref)).payload == {"status": "error", "response": {}}
    assert bob.events("presence_state") == bob.events("presence_diff") == []


async def test_private_and_public_channels_of_one_name_do_not_mix(stack: Stack) -> None:
    await policies(stack)
    alice = await private(stack, ALICE)
    public = await stack.connect()
    await public.join("room")
    await public.send(TOPIC, "broadcast", HI)
    await alice.send(TOPIC, "broadcast", HI)
    await alice.nothing("broadcast", 0.2)
    assert public.events("broadcast") == []


async def test_new_token_without_the_right_ends_the_channel(stack: Stack) -> None:
    await policies(stack)
    alice = await private(stack, ALICE)
    other = "33333333-3333-4333-8333-333333333333"
    await alice.send(TOPIC, "access_token", {"access_token": stack.token(other)})
    message = "You do not have permissions to read from this Channel topic: room"
    assert (await alice.event("system")).payload["message"] == message
    await alice.event("phx_close")


async def judged_slowly(stack: Stack, socket: Phoenix, token: str) -> None:
    """Send a new token; the policies answer once the advisory lock 7 is given free."""
    await stack.sql(
        "create policy waits on realtime.messages as restrictive for select"
        " using ((select pg_advisory_xact_lock_shared(7))::text is not null)"
    )
    await stack.sql("select pg_advisory_lock(7)")
    await socket.send(TOPIC, "access_token", {"access_token": token})
    async with asyncio.timeout(60):
        while not await stack.sql("select from pg_locks where locktype = 'advisory' and not granted"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_member", [True, False], ids=["confirmed", "refused"])
async def test_what_is_said_while_a_new_token_is_judged_is_heard_only_by_who_may(stack: Stack, is_member: bool) -> None:
    await policies(stack)
    alice = await private(stack, ALICE, broadcast={"ack": True})
    bob = await private(stack, BOB)
    await alice.reply(await alice.send(TOPIC, "broadcast", HI))
    await bob.event("broadcast")
    user = BOB if is_member else "33333333-3333-4333-8333-333333333333"
    await judged_slowly(stack, bob, stack.token(user, again=True))
    await alice.reply(await alice.send(TOPIC, "broadcast", {**HI, "payload": {"n": 1}}))
    await bob.reply(await bob.send("phoenix", "heartbeat", {}))
    assert len(bob.events("broadcast")) == 1
    await stack.sql("select pg_advisory_unlock(7)")
    if is_member:
        assert (await bob.event("broadcast")).payload["payload"] == {"n": 1}
    else:
        await bob.event("phx_close")
        assert len(bob.events("broadcast")) == 1


async def test_a_channel_for_which_too_much_waits_while_its_token_is_judged_ends(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.realtime.session.channel.MAX_HELD_FRAMES", 3)
    await policies(stack)
    alice = await private(stack, ALICE, broadcast={"ack": True})
    bob = await private(stack, BOB)
    await alice.reply(await alice.send(TOPIC, "broadcast", HI))
    await bob.event("broadcast")
    await judged_slowly(stack, bob, stack.token(BOB, again=True))
    for _ in range(4):
        await alice.send(TOPIC, "broadcast", HI)
    assert (await bob.event("system")).payload["message"] == "Too many messages per second"
    await bob.event("phx_close")
    await stack.sql("select pg_advisory_unlock(7)")
    await bob.reply(await bob.send("phoenix", "heartbeat", {}))
    assert len(bob.events("broadcast")) == 1


async def test_a_client_that_says_too_much_while_its_token_is_judged_loses_the_channel(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.realtime.session.channel.MAX_BACKLOG_MESSAGES", 3)
    await policies(stack)
    alice, bob = await private(stack, ALICE), await private(stack, BOB)
    await judged_slowly(stack, alice, stack.token(ALICE, again=True))
    for _ in range(4):
        await alice.send(TOPIC, "broadcast", HI)
    assert (await alice.event("system")).payload["message"] == "Too many messages per second"
    await alice.event("phx_close")
    await stack.sql("select pg_advisory_unlock(7)")
    await alice.reply(await alice.send("phoenix", "heartbeat", {}))
    assert bob.events("broadcast") == []


async def test_http_sends_to_private_channels_under_the_same_policies(stack: Stack) -> None:
    await policies(stack)
    bob = await private(stack, BOB)
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        body = {"messages": [{"topic": "room", "event": "e", "payload": {"n": 1}, "private": True}]}
        for user, expected in ((BOB, 403), (ALICE, 202)):
            headers = {"authorization": f"Bearer {stack.token(user)}"}
            assert (await http.post("/api/broadcast", json=body, headers=headers)).status_code == 202
            single = await http.post("/api/broadcast/room/events/s?private=true", json={"n": 2}, headers=headers)
            assert single.status_code == expected
    assert [(await bob.event("broadcast")).payload["event"] for _ in range(2)] == ["e", "s"]
    await bob.nothing("broadcast", 0.1)


async def test_message_from_sql_reaches_the_readers_of_its_private_channel(stack: Stack) -> None:
    await policies(stack)
    bob = await private(stack, BOB, broadcast={"replication_ready": True})
    await bob.event("system")
    await stack.sql("select realtime.send('{\"a\": 1}'::jsonb, 'hi', 'room')")
    assert (await bob.event("broadcast")).payload["event"] == "hi"


async def test_policy_that_raises_refuses_the_join_as_unauthorized(stack: Stack) -> None:
    await stack.sql(
        "create policy r on realtime.messages for select using (1 / (extract(second from now()) * 0)::int = 1)"
    )
    socket = await stack.connect()
    reply = await socket.join("room", private=True)
    assert reply.payload["response"] == {"reason": DENIED}

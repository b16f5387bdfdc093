"""A supabase client on the private channel ``room:ID`` is in the same room, under the same rights."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from realtime import AsyncRealtimeClient, RealtimeSubscribeStates
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.patience import until
from tests.realtime.client import PATIENCE_S, Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.conftest import Connect

ROOM = "realtime:room:plans"


async def in_room(stack: Stack, user: str, vsn: str = "2.0.0", *, name: str = "room:plans", **config: Any) -> Phoenix:
    phoenix = await stack.connect(vsn=vsn)
    reply = await phoenix.join(name, token=stack.token(user), private=True, **config)
    assert reply.payload["status"] == "ok", reply
    return phoenix


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_both_faces_hear_the_same_messages_in_the_same_order(connect: Connect, stack: Stack, vsn: str) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans")
    bob = await in_room(stack, BOB, vsn, broadcast={"ack": True})
    sent = await alice.do("sendMessage", roomId="plans", message="from alice", clientId="c")
    heard = (await bob.event("broadcast")).payload
    assert (heard["event"], heard["meta"]["id"]) == ("message", sent["id"])
    assert heard["payload"] == {name: sent[name] for name in sent if name not in ("action", "ok", "requestId")}
    message = {
        "type": "broadcast",
        "event": "message",
        "payload": {"message": {"text": "hi"}, "sender": ALICE, "seq": 99},
    }
    ref = await bob.send(ROOM, "broadcast", message)
    assert (await bob.reply(ref)).payload == {"status": "ok", "response": {}}
    heard_by_alice = await alice.event("message", sender=BOB)
    assert (heard_by_alice["message"], heard_by_alice["seq"]) == ({"text": "hi"}, 2)
    assert (await bob.event("broadcast")).payload["payload"]["seq"] == 2
    assert [row["seq"] for row in await stack.sql("select seq from isobase.room_messages order by seq")] == [1, 2]


async def test_typing_and_read_marks_carry_the_name_of_the_token_not_of_the_payload(
    connect: Connect, stack: Stack
) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans")
    await alice.do("sendMessage", roomId="plans", message=1)
    bob = await in_room(stack, BOB)
    await bob.send_binary(ROOM, "typing", json.dumps({"user": ALICE, "typing": True}).encode())
    assert (await alice.event("typing"))["user"] == BOB
    await bob.send(ROOM, "broadcast", {"type": "broadcast", "event": "read", "payload": {"user": ALICE, "seq": 1}})
    read = await alice.event("read")
    assert (read["user"], read["seq"]) == (BOB, 1)
    await bob.send(ROOM, "broadcast", {"type": "broadcast", "event": "member", "payload": {"change": "removed"}})
    await bob.send(ROOM, "broadcast", {"type": "broadcast", "event": "wave", "payload": {"n": 1}})
    assert (await alice.event("broadcast"))["event"] == "wave"
    assert [frame["change"] for frame in alice.events("member")] == []


async def test_presence_is_shared_by_both_faces(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans", status={"name": "Alice"})
    bob = await in_room(stack, BOB, presence={"enabled": True, "key": BOB})
    state = (await bob.event("presence_state")).payload
    assert state[ALICE]["metas"][0]["name"] == "Alice"
    await bob.send(ROOM, "presence", {"type": "presence", "event": "track", "payload": {"name": "Bob"}})
    await alice.wait_for(lambda frame: [p["user"] for p in frame.get("joined", ())] == [BOB])


async def test_no_policy_of_the_project_opens_a_room_to_a_stranger(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans")
    await stack.sql("create policy all_may on realtime.messages for all using (true) with check (true)")
    bob = await stack.connect()
    reply = await bob.join("room:plans", token=stack.token(BOB), private=True)
    assert reply.payload["status"] == "error"
    assert (await bob.join("room:other", token=stack.token(BOB), private=True)).payload["status"] == "ok"
    for topic, event in (("room:plans", "message"), ("room:plans", "wave")):
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            answer = await http.post(
                f"{stack.url}/realtime/v1/api/broadcast/{topic}/events/{event}?private=true",
                json={"message": "let me in"},
                headers={"authorization": f"Bearer {stack.token(BOB)}"},
            )
        assert answer.status_code == 403
    assert await stack.sql("select from isobase.room_messages") == []


async def test_a_room_that_begins_to_exist_closes_the_channel_that_had_its_name(connect: Connect, stack: Stack) -> None:
    await stack.sql("create policy all_may on realtime.messages for all using (true) with check (true)")
    bob = await in_room(stack, BOB)
    ref = await bob.send(
        ROOM, "broadcast", {"type": "broadcast", "event": "message", "payload": {"message": "old ways"}}
    )
    assert ref
    assert await stack.service.changes.wait_until_live(60)
    alice, service = await connect(ALICE), await connect(None, role="service_role")
    await service.do("createRoom", roomId="plans", members=[ALICE])
    await bob.event("phx_close", ROOM)
    await alice.do("sendMessage", roomId="plans", message="ours")
    assert [item for item in bob.events("broadcast") if item.payload["event"] == "message"] == []


async def test_a_member_sends_over_http_and_realtime_js_keeps_its_answer(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans")
    headers = {"authorization": f"Bearer {stack.token(BOB)}"}
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
        batch = {"messages": [{"topic": "room:plans", "event": "message", "payload": {"message": 1}, "private": True}]}
        assert (await http.post(f"{stack.url}/realtime/v1/api/broadcast", json=batch)).status_code == 202
        single = f"{stack.url}/realtime/v1/api/broadcast/room%3Aplans/events/message?private=true"
        assert (await http.post(single, json={"message": 2})).status_code == 202
    for number in (1, 2):
        heard = await alice.event("message")
        assert (heard["message"], heard["sender"], heard["seq"]) == (number, BOB, number)


async def test_realtime_py_is_in_the_room(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans")
    client = AsyncRealtimeClient(f"{stack.url}/realtime/v1", stack.anon_key, hb_interval=15, timeout=60)
    await client.set_auth(stack.token(BOB))
    heard: list[Any] = []
    states: list[RealtimeSubscribeStates] = []
    channel = client.channel("room:plans", {"config": {"private": True, "broadcast": None, "presence": None}})
    channel.on_broadcast("message", heard.append)
    try:
        await channel.subscribe(lambda state, _error: states.append(state))
        await until(lambda: RealtimeSubscribeStates.SUBSCRIBED in states)
        await channel.send_broadcast("message", {"message": "from python"})
        assert (await alice.event("message"))["sender"] == BOB
        await alice.do("sendMessage", roomId="plans", message="welcome")
        await until(lambda: len(heard) == 2)
        assert [item["payload"]["message"] for item in heard] == ["from python", "welcome"]
    finally:
        await client.close()
    await asyncio.sleep(0)


@pytest.mark.node
async def test_supabase_js_talks_in_the_room(connect: Connect, stack: Stack) -> None:
    node = node_with("@supabase")
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await alice.do("joinRoom", roomId="plans")
    process = await asyncio.create_subprocess_exec(
        node,
        "room_chat.mjs",
        stack.url,
        stack.anon_key,
        stack.token(BOB),
        stack.token("33333333-3333-4333-8333-333333333333"),
        cwd=NODE_DIRECTORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    steps: list[str] = []
    try:
        async with asyncio.timeout(110):
            while line := (await process.stdout.readline()).decode().strip():
                if line == "say":
                    await alice.do("sendMessage", roomId="plans", message="hello from JSON")
                else:
                    steps.append(line)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 0, (steps, (await process.stderr.read()).decode())
    assert steps == [
        "a member joined",
        "presence was synchronised",
        "a message was received",
        "a message was stored once and came back",
        "a stranger was refused",
    ]
    assert (await alice.event("message", sender=BOB))["clientId"] == "js-1"

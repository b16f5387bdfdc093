"""Rooms whose members are connected to different processes."""

from __future__ import annotations

import asyncio
import json

from tests.plugins.patience import until
from tests.realtime.conftest import ALICE, BOB
from tests.realtime.simple.client import Simple
from tests.realtime.test_cluster import StartNode, start_node

__all__ = ["start_node"]


async def test_a_room_is_one_room_on_all_nodes(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    alice = await Simple.open(here.port, query=f"?token={here.token(ALICE)}")
    bob = await Simple.open(there.port, query=f"?token={here.token(BOB)}")
    await alice.do("createRoom", roomId="plans", members=[BOB])
    await asyncio.gather(*(socket.do("joinRoom", roomId="plans") for socket in (alice, bob)))
    await alice.wait_for(lambda frame: BOB in json.dumps(frame.get("joined", frame.get("present", ()))))
    # Each is told of every message once, in the order of the numbers, whichever node stored it.
    for number in range(10):
        for socket in (alice, bob):
            await socket.send_raw(json.dumps({"action": "sendMessage", "roomId": "plans", "message": number}))
    for socket in (alice, bob):
        await socket.wait_for(lambda frame: frame["action"] == "message" and frame["seq"] == 20)
        heard = [frame for frame in socket.received if frame["action"] == "message"]
        assert [frame["seq"] for frame in heard] == list(range(1, 21))
    await alice.do("typing", roomId="plans")
    assert (await bob.event("typing"))["user"] == ALICE
    await bob.do("read", roomId="plans", seq=20)
    await alice.do("removeMember", roomId="plans", user=BOB)
    await alice.do("sendMessage", roomId="plans", message="without bob")
    await bob.event("left", roomId="plans")
    await alice.event("message", message="without bob")
    assert bob.events("message")[-1]["seq"] == 20
    # Before the message or behind it: the other node ends bob's membership while this one stores.
    await until(lambda: any(BOB in json.dumps(frame.get("left", "")) for frame in alice.received))
    for socket in (alice, bob):
        await socket.close()

"""Presence: state, differences, updates, and who is left when sockets go."""

from __future__ import annotations

from typing import Any

from tests.realtime.client import Phoenix
from tests.realtime.conftest import Stack

TOPIC = "realtime:room"


async def track(socket: Phoenix, fields: Any, event: str = "track") -> Any:
    ref = await socket.send(TOPIC, "presence", {"type": "presence", "event": event, "payload": fields})
    return (await socket.reply(ref)).payload


def fields_of(group: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{key: [user fields]} without the refs."""
    return {
        key: [{name: value for name, value in meta.items() if not name.startswith("phx_")} for meta in entry["metas"]]
        for key, entry in group.items()
    }


async def test_enabled_channel_gets_the_state_after_its_reply_even_when_empty(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("room", presence={"enabled": True, "key": "a"}, join_ref="j")
    assert [item.event for item in socket.received] == ["phx_reply"] or socket.received[1].event == "presence_state"
    state = await socket.event("presence_state")
    assert state.raw == ["j", None, TOPIC, "presence_state", {}]
    plain = await stack.connect(vsn=None)
    await plain.join("room")
    await plain.nothing("presence_state", 0.1)


async def test_track_update_and_untrack_are_told_as_differences(stack: Stack) -> None:
    alice, bob = await stack.connect(), await stack.connect(vsn=None)
    await alice.join("room", presence={"enabled": True, "key": "alice"})
    await bob.join("room", presence={"enabled": True, "key": "bob"})
    assert await track(alice, {"mood": "good"}) == {"status": "ok", "response": {}}
    first = {}
    for socket in (alice, bob):
        diff = (await socket.event("presence_diff")).payload
        first = diff["joins"]["alice"]["metas"][0]
        assert (fields_of(diff["joins"]), diff["leaves"]) == ({"alice": [{"mood": "good"}]}, {})
    assert await track(alice, {"mood": "good"}) == {"status": "ok", "response": {}}
    await bob.nothing("presence_diff", 0.1)
    await track(alice, {"mood": "better"}, "TRACK")
    diff = (await bob.event("presence_diff")).payload
    assert fields_of(diff["leaves"]) == {"alice": [{"mood": "good"}]}
    assert fields_of(diff["joins"]) == {"alice": [{"mood": "better"}]}
    assert diff["joins"]["alice"]["metas"][0]["phx_ref_prev"] == first["phx_ref"]
    late = await stack.connect()
    await late.join("room", presence={"enabled": "true", "key": "late"})
    assert fields_of((await late.event("presence_state")).payload) == {"alice": [{"mood": "better"}]}
    await track(alice, {}, "untrack")
    diff = (await bob.event("presence_diff")).payload
    assert (diff["joins"], fields_of(diff["leaves"])) == ({}, {"alice": [{"mood": "better"}]})


async def test_key_of_two_sockets_has_two_metas_and_a_dead_socket_leaves(stack: Stack) -> None:
    watcher, one, two = await stack.connect(), await stack.connect(), await stack.connect()
    await watcher.join("room", presence={"enabled": True})
    for number, socket in enumerate((one, two)):
        await socket.join("room", presence={"key": "shared"})
        await track(socket, {"n": number})
        await watcher.event("presence_diff")
    late = await stack.connect()
    await late.join("room", presence={"enabled": True})
    assert fields_of((await late.event("presence_state")).payload) == {"shared": [{"n": 0}, {"n": 1}]}
    one.connection.transport.abort()
    diff = (await watcher.event("presence_diff")).payload
    assert (diff["joins"], fields_of(diff["leaves"])) == ({}, {"shared": [{"n": 0}]})
    await two.send(TOPIC, "phx_leave", {})
    assert fields_of((await watcher.event("presence_diff")).payload["leaves"]) == {"shared": [{"n": 1}]}


async def test_missing_key_is_made_up_and_bad_requests_are_answered(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("room", presence={"enabled": True, "key": ""})
    assert (await track(socket, [1]))["response"] == {"reason": "Presence track payload must be a map"}
    assert (await track(socket, {}, "dance"))["status"] == "error"
    await track(socket, {"a": 1})
    (key,) = (await socket.event("presence_diff")).payload["joins"]
    assert len(key) == 36


async def test_too_many_calls_end_the_channel(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("room")
    for number in range(5):
        await track(socket, {"n": number})
    await socket.send(TOPIC, "presence", {"type": "presence", "event": "track", "payload": {}})
    assert (await socket.event("system")).payload["message"] == "Client presence rate limit exceeded"
    await socket.event("phx_close")

"""What a client sends that cannot be done: it is told why, nothing changes, and the socket stays."""

from __future__ import annotations

import json
from typing import Any

from tests.realtime.conftest import ALICE, Stack, StackFactory
from tests.realtime.simple.client import Simple
from tests.realtime.simple.conftest import Connect

REFUSED: list[tuple[str | bytes, str]] = [
    ("", "invalid_json"),
    ("{", "invalid_json"),
    ("[]", "invalid_json"),
    ("null", "invalid_json"),
    ('"joinRoom"', "invalid_json"),
    ('{"a": NaN}', "invalid_json"),
    ("[" * 100_000, "frame_too_large"),
    ("[" * 20_000, "invalid_json"),
    (b"\xff\xfe", "invalid_json"),
    ("{}", "unknown_action"),
    ('{"action": 7}', "unknown_action"),
    ('{"action": "dance"}', "unknown_action"),
    ('{"action": "joinRoom"}', "invalid_action"),
    ('{"action": "joinRoom", "roomId": 5}', "invalid_action"),
    ('{"action": "joinRoom", "roomId": ""}', "invalid_action"),
    ('{"action": "joinRoom", "roomId": "a b"}', "invalid_action"),
    ('{"action": "joinRoom", "roomId": "general", "after": -1}', "invalid_action"),
    ('{"action": "joinRoom", "roomId": "general", "limit": 201}', "invalid_action"),
    ('{"action": "sendMessage", "roomId": "general"}', "invalid_action"),
    ('{"action": "sendMessage", "roomId": "general", "message": "x", "clientId": 4}', "invalid_action"),
    ('{"action": "sendMessage", "roomId": "general", "message": "a\\u0000b"}', "invalid_value"),
    ('{"action": "sendMessage", "roomId": "general", "message": "\\ud800"}', "invalid_value"),
    ('{"action": "history", "roomId": "general", "before": 1, "after": 2}', "invalid_action"),
    ('{"action": "history", "roomId": "general", "since": "yesterday noon"}', "invalid_value"),
    ('{"action": "typing", "roomId": "general", "typing": "yes"}', "invalid_action"),
    ('{"action": "typing", "roomId": "elsewhere"}', "not_joined"),
    ('{"action": "leaveRoom", "roomId": "elsewhere"}', "not_joined"),
    ('{"action": "presence", "roomId": "elsewhere"}', "not_joined"),
    ('{"action": "subscribe"}', "invalid_action"),
    ('{"action": "subscribe", "channel": "a", "table": "b"}', "invalid_action"),
    ('{"action": "subscribe", "channel": "room:general"}', "invalid_action"),
    ('{"action": "unsubscribe", "subscription": "abc"}', "not_joined"),
    ('{"action": "publish", "channel": "a", "event": "e", "payload": {}}', "not_joined"),
    ('{"action": "publish", "channel": "a", "event": "e", "payload": 5}', "invalid_action"),
    ('{"action": "createRoom", "members": "bob"}', "invalid_action"),
    ('{"action": "createRoom", "metadata": {"a": "\\u0000"}}', "invalid_value"),
    ('{"action": "addMember", "roomId": "general", "user": "x", "role": "king"}', "invalid_action"),
    ('{"action": "ping", "requestId": {}}', "invalid_action"),
    ('{"action": "listRooms", "before": "no time"}', "invalid_value"),
]


async def test_a_frame_that_cannot_be_done_is_answered_by_an_error_and_changes_nothing(
    connect: Connect, stack: Stack
) -> None:
    socket = await connect(ALICE)
    await socket.do("joinRoom", roomId="general")
    for frame, code in REFUSED:
        await socket.send_raw(frame)
        answer = await socket.wait_for(lambda item: item.get("ok") is False)
        assert (answer["error"]["code"], answer["error"].keys()) == (
            code,
            {"code", "message", "details", "hint", "request_id"},
        ), frame[:100]
    assert (await socket.do("ping"))["action"] == "pong"
    assert [row["id"] for row in await stack.sql("select id from isobase.rooms")] == ["general"]
    assert await stack.sql("select from isobase.room_messages") == []


async def test_an_answer_names_the_action_and_what_the_client_called_it(connect: Connect) -> None:
    alice = await connect(ALICE)
    for request_id in ("a-1", 7):
        await alice.send_raw(json.dumps({"action": "leaveRoom", "roomId": "x", "requestId": request_id}))
        answer = await alice.wait_for(lambda frame: frame.get("ok") is False)
        assert (answer["action"], answer["requestId"]) == ("leaveRoom", request_id)
    await alice.send_raw('{"action": "ping"}')
    assert await alice.wait_for(lambda frame: frame["action"] == "pong") == {"action": "pong", "ok": True}


async def test_a_message_over_the_limit_is_refused_and_not_stored(start_stack: StackFactory) -> None:
    stack = await start_stack(rooms={"max_message_bytes": 100})
    socket = await Simple.open(stack.port, query=f"?token={stack.token(ALICE)}")
    assert await socket.refused("sendMessage", roomId="general", message="é" * 50) == "message_too_large"
    await socket.do("sendMessage", roomId="general", message="é" * 49)
    assert len(await stack.sql("select from isobase.room_messages")) == 1
    await socket.close()


async def test_too_many_actions_rooms_or_waiting_actions_are_refused_and_the_socket_stays(
    start_stack: StackFactory,
) -> None:
    stack = await start_stack(rooms={"max_actions_per_s": 2.0, "max_rooms_per_socket": 2, "max_waiting_actions": 3})
    socket = await Simple.open(stack.port, query=f"?token={stack.token(ALICE)}")
    await socket.do("subscribe", channel="a")
    await socket.do("joinRoom", roomId="general")
    assert await socket.refused("subscribe", channel="b") == "too_many_rooms"
    for _ in range(6):
        await socket.send_raw('{"action": "sendMessage", "roomId": "general", "message": "x"}')
    codes = [(await _answer(socket)).get("error", {}).get("code") for _ in range(6)]
    assert codes.count("too_many_waiting") >= 1
    assert codes.count(None) >= 3
    for _ in range(20):
        await socket.send_raw('{"action": "listRooms"}')
    codes = [(await _answer(socket)).get("error", {}).get("code") for _ in range(20)]
    assert codes.count("rate_limited") >= 8
    assert (await socket.do("ping"))["action"] == "pong"
    await socket.close()


async def _answer(socket: Simple) -> dict[str, Any]:
    return await socket.wait_for(lambda frame: "ok" in frame)


async def test_a_failure_inside_is_told_without_its_reason(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await stack.sql("alter table isobase.room_reads rename to gone")
    answer = await alice.ask("listRooms")
    assert (answer["error"]["code"], answer["error"]["message"]) == ("internal_error", "An unexpected error happened")
    assert answer["error"]["details"] is None

"""By which token a socket of the simple face acts, and how it ends."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets

from tests.realtime.conftest import ALICE, BOB, Stack, StackFactory, WallClock
from tests.realtime.simple.client import Simple
from tests.realtime.simple.conftest import Connect


async def test_a_token_comes_by_action_header_or_url(stack: Stack) -> None:
    token = stack.token(ALICE)
    ways: list[tuple[str, dict[str, str]]] = [
        ("", {}),
        ("", {"Authorization": f"Bearer {token}"}),
        ("", {"apikey": token}),
        (f"?token={token}", {}),
        (f"/?apikey={token}", {}),
    ]
    for query, headers in ways:
        socket = await Simple.open(stack.port, query=query, headers=headers)
        if not (query or headers):
            await socket.send_raw(json.dumps({"action": "connect", "token": token}))
        greeting = await socket.event("connect")
        assert (greeting["ok"], greeting["user"], greeting["role"]) == (True, ALICE, "authenticated")
        assert isinstance(greeting["expiresAt"], int)
        await socket.close()


async def test_a_token_that_does_not_verify_is_refused_at_the_handshake(stack: Stack) -> None:
    for token in ("", "nonsense", "sb_publishable_nobodys"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await Simple.open(stack.port, query=f"?token={token}")
        assert refused.value.response.status_code == 401
        error = json.loads(refused.value.response.body or b"")["error"]
        assert error.keys() == {"code", "message", "details", "hint", "request_id"}
        assert (error["code"], bool(error["request_id"])) == ("invalid_token", True)


async def test_before_a_token_nothing_is_done_and_a_wrong_one_leaves_the_socket_open(stack: Stack) -> None:
    socket = await Simple.open(stack.port)
    assert await socket.refused("joinRoom", roomId="general") == "sign_in_required"
    assert await socket.refused("connect", token="nonsense") == "invalid_token"
    assert (await socket.do("connect", token=stack.token(ALICE)))["user"] == ALICE
    await socket.do("joinRoom", roomId="general")
    await socket.close()


async def test_an_anonymous_key_opens_a_socket_for_channels_but_no_room(stack: Stack) -> None:
    socket = await Simple.open(stack.port, query=f"?apikey={stack.settings.publishable_key.get_secret_value()}")
    assert (await socket.event("connect"))["role"] == "anon"
    for action, members in (("joinRoom", {"roomId": "general"}), ("createRoom", {}), ("listRooms", {})):
        assert await socket.refused(action, **members) in ("sign_in_required", "room_not_found")
    await socket.do("subscribe", channel="news")
    await socket.close()


async def test_a_socket_without_a_token_is_told_and_closed(start_stack: StackFactory) -> None:
    stack = await start_stack(rooms={"sign_in_timeout_s": 0.2})
    socket = await Simple.open(stack.port)
    assert (await socket.event("error"))["error"]["code"] == "sign_in_required"
    assert await socket.closed() == 1008


async def test_a_socket_whose_token_has_expired_is_told_and_closed(wall_clock: WallClock, connect: Connect) -> None:
    socket = await connect(ALICE, life_s=1)
    await socket.do("joinRoom", roomId="general")
    wall_clock.now_s += 2
    assert await socket.closed() == 1008
    assert "token_expired" in [frame["error"]["code"] for frame in socket.events("error")]


async def test_a_new_token_keeps_the_socket_and_its_rooms_beyond_the_old_one(
    wall_clock: WallClock, stack: Stack, connect: Connect
) -> None:
    alice, bob, other = await connect(ALICE, life_s=1), await connect(BOB), await connect(ALICE, life_s=1)
    await alice.do("joinRoom", roomId="general")
    await alice.do("authenticate", token=stack.token(ALICE))
    wall_clock.now_s += 2
    # The old token has ended where it was not replaced.
    assert await other.closed() == 1008
    await bob.do("sendMessage", roomId="general", message="still there?")
    assert (await alice.event("message"))["message"] == "still there?"


async def test_the_token_of_another_user_is_refused(stack: Stack, connect: Connect) -> None:
    alice = await connect(ALICE)
    assert await alice.refused("authenticate", token=stack.token(BOB)) == "other_user"
    assert (await alice.do("createRoom"))["createdBy"] == ALICE


async def test_a_plain_request_is_told_that_this_is_a_websocket(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(b"GET /realtime HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 426")
    assert b'"code":"websocket_required"' in answer


async def test_sockets_are_told_that_the_server_restarts(start_stack: StackFactory) -> None:
    stack = await start_stack()
    socket = await Simple.open(stack.port, query=f"?token={stack.token(ALICE)}")
    await socket.event("connect")
    draining = asyncio.create_task(stack.service.hub.drain(5))
    await socket.event("restarting")
    assert await socket.closed() == 1012
    await draining


async def test_a_socket_that_only_listens_is_pinged_and_stays(start_stack: StackFactory) -> None:
    stack = await start_stack(rooms={"ping_interval_s": 0.1})
    socket = await Simple.open(stack.port, query=f"?token={stack.token(ALICE)}")
    (connection,) = stack.service.hub.connections
    connection.received_at_s -= 1_000
    for _ in range(3):
        await socket.event("ping")
    # That it takes a ping is its sign of life.
    assert asyncio.get_running_loop().time() - connection.received_at_s < 500
    await socket.send_raw('{"action": "pong"}')
    await socket.do("ping")
    assert "pong" not in [frame["action"] for frame in socket.received[:-1]]
    await socket.close()


async def test_nothing_is_missed_while_a_new_token_is_checked(stack: Stack, connect: Connect) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    for socket in (alice, bob):
        await socket.do("joinRoom", roomId="general")
    await stack.sql(
        "create policy slow on realtime.messages as restrictive for select to authenticated"
        " using ((select pg_sleep(0.5))::text is not null)"
    )
    await alice.do("authenticate", token=stack.token(ALICE))
    for number in range(5):
        await bob.do("sendMessage", roomId="general", message=number)
    await alice.event("message", seq=5)
    assert [frame["seq"] for frame in alice.events("message")] == [1, 2, 3, 4, 5]

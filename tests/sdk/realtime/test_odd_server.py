"""A server that says what no server should, or says it late: what is left of the client's channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from isobase.realtime import AsyncRealtimeClient

TOPIC = "realtime:room"
Message = dict[str, Any]
WAIT_S = 60


class OddServer:
    """A socket server that joins whoever asks, once ``may_join`` is set, and keeps what it heard."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[Message] = []
        self.connections: list[ServerConnection] = []
        self.may_join = asyncio.Event()
        self.may_join.set()
        self._came = asyncio.Condition()

    async def serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for text in connection:
            message: Message = json.loads(text)
            async with self._came:
                self.heard.append(message)
                self._came.notify_all()
            if message["event"] == "phx_join":
                await self.may_join.wait()
            reply = {"status": "ok", "response": {}}
            await connection.send(json.dumps({**message, "event": "phx_reply", "payload": reply}))

    async def until(self, condition: Callable[[Message], bool]) -> Message:
        """Wait for a message."""
        async with asyncio.timeout(WAIT_S), self._came:
            while not (found := [message for message in self.heard if condition(message)]):
                await self._came.wait()
        return found[0]


@pytest.fixture
async def odd() -> AsyncIterator[OddServer]:
    """The server on a free port."""
    server = OddServer()
    async with serve(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield server


def of_event(event: str, **payload: object) -> Callable[[Message], bool]:
    """Whether a message is one of an event with these values in its payload."""
    return lambda message: (
        message["event"] == event and all(message["payload"].get(name) == value for name, value in payload.items())
    )


BINARY = (b"", b"\x04", b"\xff" * 300, b"\x04\xff\xff\xff\x01short", b"\x04\x0d\x01\x00\x01realtime:roome{")
TEXTS = ("", "null", "17", "[]", "{}", '"text"', "[1,2,3]", "[" * 100_000, '{"topic": 1}', "\x00", "[null,null,1,2,3]")
EVENTS = ("phx_reply", "broadcast", "postgres_changes", "presence_state", "presence_diff", "unheard_of")
PAYLOADS: tuple[Any, ...] = (
    *(None, 7, "text", [], {}, {"status": "ok"}, {"status": 5, "response": [1]}, {"metas": 1}),
    *({"joins": 1, "leaves": 2}, {"joins": {"a": {}}, "leaves": {}}, {"joins": {"a": {"metas": [1]}}, "leaves": {}}),
    *({"ids": 1, "data": 2}, {"ids": [1], "data": {"type": "INSERT"}}, {"ids": ["x"], "data": {"columns": 1}}),
)
REFERENCES: tuple[Any, ...] = ((None, None), ("999", None), (None, "999"), ({"a": 1}, [1]))


def odd_messages() -> list[str | bytes]:
    """What no server should say."""
    made = (
        json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref})
        for topic in (TOPIC, "realtime:other", "phoenix", "")
        for event in EVENTS
        for payload in PAYLOADS
        for ref, join_ref in REFERENCES
    )
    return [*BINARY, *TEXTS, *made]


async def test_messages_that_make_no_sense_end_neither_the_connection_nor_the_channel(odd: OddServer) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    client = AsyncRealtimeClient(odd.url, "key")
    try:
        channel = client.channel("room")

        def fail(_payload: object) -> None:
            raise RuntimeError("the app's own")

        channel.on_broadcast("said", fail)
        channel.on_broadcast("said", heard.put_nowait)
        channel.on_presence_sync(lambda: None)
        channel.on_postgres_changes("*", lambda _payload: None)
        await channel.subscribe()
        for message in odd_messages():
            await odd.connections[0].send(message)
        said = {"type": "broadcast", "event": "said", "payload": {"a": 1}}
        await odd.connections[0].send(json.dumps({"topic": TOPIC, "event": "broadcast", "payload": said, "ref": None}))
        assert (await asyncio.wait_for(heard.get(), WAIT_S))["payload"] == {"a": 1}
        assert channel.is_joined
        assert len(odd.connections) == 1
    finally:
        await client.close()


async def test_a_user_who_changes_while_a_channel_is_joined_has_the_last_word(odd: OddServer) -> None:
    odd.may_join.clear()
    client = AsyncRealtimeClient(odd.url, "key")
    try:
        await client.set_auth("first.user.token")
        joining = asyncio.ensure_future(client.channel("room").subscribe())
        await odd.until(of_event("phx_join", access_token="first.user.token"))
        await client.set_auth("second.user.token")
        odd.may_join.set()
        await odd.until(of_event("access_token", access_token="second.user.token"))
        await joining
    finally:
        await client.close()


async def test_a_user_who_leaves_while_a_channel_is_joined_leaves_no_rights(odd: OddServer) -> None:
    odd.may_join.clear()
    client = AsyncRealtimeClient(odd.url, "sb_publishable_key")
    try:
        await client.set_auth("first.user.token")
        joining = asyncio.ensure_future(client.channel("room").subscribe())
        await odd.until(of_event("phx_join", access_token="first.user.token"))
        await client.set_auth("sb_publishable_key")
        odd.may_join.set()
        await odd.until(of_event("phx_join", access_token="sb_publishable_key"))
        await joining
    finally:
        await client.close()

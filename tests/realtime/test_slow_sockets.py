"""Clients that read slowly or not at all: what they lose, when they are given up, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.plugins.patience import until
from tests.realtime.conftest import Stack, StackFactory

TIMEOUT_S = 20.0
CONTENT = "x" * 100_000


class SlowSocket:
    """A plain connection that reads only when it is told to."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._held = b""

    @classmethod
    async def connect(cls, stack: Stack, topic: str, config: str = "{}") -> SlowSocket:
        """Open a socket with little room, join ``topic`` and read the reply."""
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", stack.port))
        slow = cls(raw)
        await loop.sock_sendall(
            raw,
            f"GET /realtime/v1/websocket?vsn=2.0.0&apikey={stack.anon_key} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode(),
        )
        while b"\r\n\r\n" not in slow._held:
            await slow._more()
        slow._held = slow._held.partition(b"\r\n\r\n")[2]
        await slow.send(f'["1","1","{topic}","phx_join",{{"config":{config}}}]')
        await slow.read(lambda frame: frame[3] == "phx_reply")
        return slow

    async def send(self, text: str) -> None:
        """Send a text message."""
        payload = text.encode()
        mask = os.urandom(4)
        body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        head = b"\x81" + (
            bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        )
        await asyncio.get_running_loop().sock_sendall(self._raw, head + mask + body)

    async def _more(self, size: int = 65536) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            data = await asyncio.get_running_loop().sock_recv(self._raw, size)
        if not data:
            raise ConnectionError("the server has closed")
        self._held += data

    async def drip(self) -> None:
        """Read a byte now and then."""
        with suppress(ConnectionError):
            while True:
                await self._more(1)
                await asyncio.sleep(0.05)

    async def frame(self) -> list[Any] | int:
        """The next message, or the code of a close frame."""
        while True:
            if len(self._held) >= 10:
                head, length = 2, self._held[1]
                if length == 126:
                    head, length = 4, int.from_bytes(self._held[2:4], "big")
                elif length == 127:
                    head, length = 10, int.from_bytes(self._held[2:10], "big")
                if len(self._held) >= head + length:
                    payload, self._held = self._held[head : head + length], self._held[head + length :]
                    parsed: list[Any] = json.loads(payload)
                    return parsed
            elif len(self._held) >= 4 and self._held[0] == 0x88:
                return int.from_bytes(self._held[2:4], "big")
            await self._more()

    async def read(self, until: Callable[[list[Any]], bool]) -> list[list[Any]]:
        """All messages up to the first for which ``until`` holds. Raises ``ConnectionError`` when the server closes."""
        frames: list[list[Any]] = []
        while True:
            frame = await self.frame()
            if isinstance(frame, int):
                raise ConnectionError(f"closed with {frame}")
            frames.append(frame)
            if until(frame):
                return frames

    def close(self) -> None:
        """Leave without a word."""
        self._raw.close()


def broadcast(number: int) -> dict[str, object]:
    return {"type": "broadcast", "event": "e", "payload": {"n": number, "x": CONTENT}}


async def test_a_slow_socket_loses_presence_first_and_gets_the_state_when_it_caught_up(
    start_stack: StackFactory,
) -> None:
    stack = await start_stack(max_send_buffer_bytes=64 * 1024 * 1024, drop_presence_above_bytes=1024 * 1024)
    hub = stack.service.hub
    slow = await SlowSocket.connect(stack, "realtime:a", '{"presence":{"enabled":true}}')
    sender = await stack.connect()
    await sender.join("a", presence={"enabled": True, "key": "sender"})
    sent = 0
    while not any(connection.outbox.size_bytes > 2 * 1024 * 1024 for connection in hub.connections):
        await sender.send("realtime:a", "broadcast", broadcast(sent))
        sent += 1
        await asyncio.sleep(0)
    others = [await stack.connect() for _ in range(3)]
    for number, other in enumerate(others):
        await other.join("a", presence={"enabled": True, "key": f"k{number}"})
        ref = await other.send(
            "realtime:a", "presence", {"type": "presence", "event": "track", "payload": {"n": number}}
        )
        await other.reply(ref)
    await others[0].send("realtime:a", "phx_leave", {})
    assert (await sender.event("presence_diff")).payload["joins"].keys() == {"k0"}
    await until(lambda: hub.counters.dropped["presence"] == 4)
    frames = await slow.read(lambda frame: frame[3] == "presence_state" and frame[4] != {})
    assert frames[-1][4].keys() == {"k1", "k2"}
    got = [frame[4]["payload"]["n"] for frame in frames if frame[3] == "broadcast"]
    assert got == list(range(sent))
    assert not [frame for frame in frames if frame[3] == "presence_diff"]
    await others[1].send("realtime:a", "phx_leave", {})
    later = await slow.read(lambda frame: frame[3] == "presence_diff")
    assert later[-1][4]["leaves"].keys() == {"k1"}
    slow.close()


async def test_sockets_that_do_not_read_are_given_up_and_others_get_everything_in_order(
    start_stack: StackFactory,
) -> None:
    stack = await start_stack(max_send_buffer_bytes=1024 * 1024, max_events_per_s=10_000_000)
    hub = stack.service.hub
    slow = [await SlowSocket.connect(stack, "realtime:a") for _ in range(60)]
    dripping = [asyncio.create_task(one.drip()) for one in slow[:30]]
    sender, reader = await stack.connect(), await stack.connect()
    await sender.join("a")
    await reader.join("a")
    sent = 0
    while hub.counters.closed[1013] < 60:
        await sender.send("realtime:a", "broadcast", broadcast(sent))
        await reader.wait_for(lambda item: item.event == "broadcast", TIMEOUT_S)
        sent += 1
        # All that waits is references to the same frames: what each socket may hold is not multiplied by the sockets.
        assert all(connection.outbox.size_bytes <= 1024 * 1024 for connection in hub.connections)
        assert sent < 1_000
    assert [item.payload["payload"]["n"] for item in reader.events("broadcast")] == list(range(sent))
    await until(lambda: len(hub.connections) == 2)
    ref = await sender.send("phoenix", "heartbeat", {})
    await sender.reply(ref)
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    for one in slow:
        one.close()


async def test_a_slow_socket_reads_why_it_was_given_up(
    start_stack: StackFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_deploy.websocket.socket.CLOSE_TIMEOUT_S", 60.0)  # however slow the machine is
    stack = await start_stack(max_send_buffer_bytes=1024 * 1024)
    slow = await SlowSocket.connect(stack, "realtime:a")
    sender = await stack.connect()
    await sender.join("a")
    sent = 0
    while not stack.service.hub.counters.closed[1013]:
        await sender.send("realtime:a", "broadcast", broadcast(sent))
        sent += 1
        await asyncio.sleep(0)
    with pytest.raises(ConnectionError, match="closed with 1013"):
        await slow.read(lambda frame: False)
    slow.close()


async def test_the_metrics_tell_of_sockets_channels_deliveries_and_drops(stack: Stack) -> None:
    sender, reader = await stack.connect(), await stack.connect(vsn="1.0.0")
    for connected in (sender, reader):
        await connected.join("a")
    await sender.join("b")
    await sender.send("realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    await reader.event("broadcast")
    stack.service.hub.counters.dropped["presence"] += 2
    await reader.close()
    await until(lambda: len(stack.service.hub.connections) == 1)
    await stack.service.drain(2.0)
    registry = stack.platform.metrics.registry
    values = {
        (sample.name.removeprefix("isobase_realtime_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("isobase_realtime_")
    }
    expected = {
        ("sockets",): 0,
        ("users",): 0,
        ("channels",): 0,
        ("topics",): 0,
        ("waiting_bytes",): 0,
        ("waiting_writes",): 0,
        ("sockets_opened_total",): 2,
        ("joins_total",): 3,
        ("messages_received_total",): 4,
        ("deliveries_total",): 1,
        ("dropped_total", "presence"): 2,
        ("closed_total", "1012"): 1,
    }
    assert {key: values[key] for key in expected} == expected
    assert values["delivered_bytes_total",] > 50

"""A small Phoenix client for tests, in both versions of the protocol: it hides nothing, frames can be sent and read raw."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

PATIENCE_S = 60.0
"""How long anything is waited for: it costs nothing where it comes, and a machine may stand still for seconds at any line."""


@dataclass(frozen=True)
class Received:
    """One frame of the server, whichever its version. ``raw`` is the parsed JSON; ``binary`` the bytes of a binary frame."""

    join_ref: Any
    ref: Any
    topic: str
    event: str
    payload: Any
    raw: Any = None
    binary: bytes | None = None


class Phoenix:
    """One socket."""

    def __init__(self, connection: ClientConnection, *, is_v2: bool) -> None:
        self.connection = connection
        self.is_v2 = is_v2
        self.received: list[Received] = []
        self._refs = itertools.count(1)
        self._join_refs: dict[str, str | None] = {}
        self._seen = 0
        self._arrived = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, *, vsn: str | None, apikey: str, path: str = "/realtime/v1/websocket") -> Phoenix:
        query = f"?apikey={apikey}" + (f"&vsn={vsn}" if vsn is not None else "")
        connection = await websockets.connect(
            f"ws://127.0.0.1:{port}{path}{query}",
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=PATIENCE_S,
        )
        return cls(connection, is_v2=vsn is not None and vsn.startswith("2"))

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                self.received.append(self._parse(frame))
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self._arrived.set()

    def _parse(self, frame: str | bytes) -> Received:
        if isinstance(frame, bytes):
            assert frame[0] == 4
            sizes = frame[1:4]
            parts: list[str] = []
            position = 5
            for size in sizes:
                parts.append(frame[position : position + size].decode())
                position += size
            content = frame[position:]
            payload: dict[str, Any] = {
                "type": "broadcast",
                "event": parts[1],
                "payload": json.loads(content) if frame[4] == 1 else content,
            }
            if parts[2]:
                payload["meta"] = json.loads(parts[2])
            return Received(None, None, parts[0], "broadcast", payload, binary=frame)
        raw = json.loads(frame)
        if self.is_v2:
            join_ref, ref, topic, event, payload = raw
            return Received(join_ref, ref, topic, event, payload, raw=raw)
        return Received(None, raw["ref"], raw["topic"], raw["event"], raw["payload"], raw=raw)

    async def send_raw(self, frame: str | bytes) -> None:
        await self.connection.send(frame)

    async def send(
        self, topic: str, event: str, payload: Any, *, join_ref: str | None = None, ref: str | None = None
    ) -> str:
        """Send a message; returns its ref. A leave carries its join's ref, as official clients send it."""
        ref = ref or str(next(self._refs))
        if event == "phx_join":
            self._join_refs[topic] = join_ref
        elif event == "phx_leave" and join_ref is None:
            join_ref = self._join_refs.get(topic)
        if self.is_v2:
            await self.send_raw(json.dumps([join_ref, ref, topic, event, payload]))
        else:
            frame = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
            await self.send_raw(json.dumps(frame))
        return ref

    async def send_binary(
        self, topic: str, event: str, content: bytes, *, join_ref: str = "", ref: str = "", encoding: int = 1
    ) -> None:
        """Send a type 3 user broadcast."""
        parts = [part.encode() for part in (join_ref, ref, topic, event, "")]
        await self.send_raw(bytes([3, *map(len, parts), encoding]) + b"".join(parts) + content)

    async def wait_for(self, matches: Callable[[Received], bool], timeout_s: float = PATIENCE_S) -> Received:
        """The first frame since the last ``wait_for`` hit that matches; frames before it are passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._arrived.clear()
                for index in range(self._seen, len(self.received)):
                    if matches(self.received[index]):
                        self._seen = index + 1
                        return self.received[index]
                if self._reader.done():
                    raise ConnectionError(f"closed with {self.connection.close_code}; received {self.received}")
                await self._arrived.wait()

    async def event(self, event: str, topic: str | None = None, timeout_s: float = PATIENCE_S) -> Received:
        """The next frame of an event."""
        return await self.wait_for(
            lambda item: item.event == event and (topic is None or item.topic == topic), timeout_s
        )

    async def reply(self, ref: str, timeout_s: float = PATIENCE_S) -> Received:
        """The reply to a message, whether or not it has been passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._arrived.clear()
                for item in self.received:
                    if item.event == "phx_reply" and item.ref == ref:
                        return item
                if self._reader.done():
                    raise ConnectionError(f"closed with {self.connection.close_code}")
                await self._arrived.wait()

    async def join(
        self, name: str, *, token: str | None = None, join_ref: str | None = None, **config: Any
    ) -> Received:
        """Join ``realtime:NAME``; returns the reply."""
        ref = str(next(self._refs))
        payload: dict[str, Any] = {"config": config}
        if token is not None:
            payload["access_token"] = token
        await self.send(f"realtime:{name}", "phx_join", payload, join_ref=join_ref or ref, ref=ref)
        return await self.reply(ref)

    async def subscribe(self, name: str, *changes: dict[str, Any], token: str | None = None, **config: Any) -> Received:
        """Join with row changes and wait until they are live."""
        reply = await self.join(name, token=token, postgres_changes=list(changes), **config)
        assert reply.payload["status"] == "ok", reply
        system = await self.event("system", f"realtime:{name}")
        assert system.payload["status"] == "ok", system
        return reply

    async def nothing(self, event: str, within_s: float = 0.3) -> None:
        """Assert that no frame of an event comes."""
        before = len(self.received)
        await asyncio.sleep(within_s)
        assert [item for item in self.received[before:] if item.event == event] == []

    def events(self, event: str) -> list[Received]:
        """All frames of an event so far."""
        return [item for item in self.received if item.event == event]

    async def closed(self, timeout_s: float = PATIENCE_S) -> int | None:
        """Wait for the server to close; returns its close code."""
        await asyncio.wait_for(self.connection.wait_closed(), timeout_s)
        return self.connection.close_code

    async def close(self) -> None:
        await self.connection.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

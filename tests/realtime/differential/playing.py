"""Playing a scenario on one side: sockets note every frame; a step ends when what it expects has come and nothing more."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

import asyncpg
import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from tests.realtime.differential.sides import ALICE, BOB, Side, token
from tests.realtime.differential.values import JsonValue, Names

__all__ = ["Stage", "Step", "Wire"]

EXPECTED_TIMEOUT_S = 8.0
"""How long a step waits for the frames that it names; upstream takes seconds to make a subscription live."""
QUIET_S = 0.35
"""A step ends when no frame has come for so long; upstream polls the log every 100 ms."""
REQUEST_TIMEOUT_S = 20.0
_LONG = re.compile(r"(.)\1{200,}")
COMPARED_HEADERS = ("content-type", "access-control-allow-origin")


@dataclass(slots=True, frozen=True)
class Step:
    """What was done, and what came back: socket -> topic and event -> frames, and the order of the events of a topic."""

    label: str
    result: dict[str, JsonValue]


@dataclass(slots=True)
class Wire:
    """One open socket."""

    name: str
    connection: ClientConnection
    frames: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Note every frame until the end."""
        try:
            async for frame in self.connection:
                self.frames.append(frame)
        except websockets.ConnectionClosed:
            pass
        self.close_code = self.connection.close_code


class Stage:
    """One side, playing one scenario; every method that does something notes a step."""

    def __init__(self, side: Side, topic: str, database: asyncpg.Connection[asyncpg.Record]) -> None:
        self.side = side
        self.topic = topic
        """A topic of the scenario's own, without ``realtime:``."""
        self.steps: list[Step] = []
        self.anon = token(role="anon")
        self.service = token(role="service_role")
        self.alice = token(ALICE)
        self.bob = token(BOB)
        self._database = database
        self._wires: dict[str, Wire] = {}
        self._names = Names(frozenset({ALICE, BOB}))

    @property
    def channel(self) -> str:
        """The scenario's own topic as sockets name it."""
        return f"realtime:{self.topic}"

    async def connect(
        self,
        name: str = "a",
        *,
        vsn: str | None = "2.0.0",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Wire | None:
        """Open a socket; a refusal is a step with its status and body, and returns None."""
        query = {"apikey": self.anon if key is None else key} | ({"vsn": vsn} if vsn is not None else {})
        query = {name: value for name, value in query.items() if value != "<none>"}
        try:
            connection = await websockets.connect(
                f"{self.side.socket_url}?{urlencode(query)}",
                compression=None,
                max_size=None,
                ping_interval=None,
                additional_headers=dict(headers or {}),
            )
        except websockets.InvalidStatus as refused:
            body = refused.response.body.decode() if refused.response.body else ""
            self._note(f"connect {name}", {"status": refused.response.status_code, "body": _parsed(body)})
            return None
        wire = Wire(name, connection)
        wire.reader = asyncio.create_task(wire.read())
        self._wires[name] = wire
        return wire

    async def say(
        self, wire: str, *frames: JsonValue | bytes | str, expect: int | Mapping[str, int] = 1, settles: bool = True
    ) -> None:
        """Send frames: JSON values, or text and bytes as they are. ``expect``: how many frames are waited for, by
        socket; without ``settles`` none is, and what comes belongs to the next step."""
        for frame in frames:
            await self.send(wire, frame)
        if not settles:
            return
        await self._settle(f"{wire} says {frames!r}", {wire: expect} if isinstance(expect, int) else expect)

    async def send(self, wire: str, frame: JsonValue | bytes | str) -> None:
        """Send a frame without a step; nothing where the server has closed the socket."""
        with suppress(websockets.ConnectionClosed):
            await self._wires[wire].connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def run(self, text: str, *values: object) -> None:
        """Run a statement as the owner without a step."""
        await self._database.fetch(text, *values)

    async def sql(
        self, text: str, *values: object, expect: Mapping[str, int] | None = None, shows: bool = False
    ) -> None:
        """Run a statement as the owner; with ``shows`` its rows belong to the step."""
        rows = await self._database.fetch(text, *values)
        shown: dict[str, JsonValue] = {}
        if shows:
            shown["rows"] = [json.loads(json.dumps(dict(row), default=str)) for row in rows]
        await self._settle(f"SQL {text}", expect or {}, shown)

    async def request(
        self,
        path: str,
        body: JsonValue | bytes = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        expect: Mapping[str, int] | None = None,
    ) -> None:
        """Send an HTTP request to ``/api{path}``; its answer belongs to the step."""
        result = await self.answer_of(path, body, method=method, headers=headers)
        await self._settle(f"{method} {path} {body!r}", expect or {}, result)

    async def answer_of(
        self,
        path: str,
        body: JsonValue | bytes = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, JsonValue]:
        """Send an HTTP request to ``/api{path}`` without a step; returns its answer as a step notes it."""
        sent = {"content-type": "application/json", "apikey": self.anon, **(headers or {})}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S) as client:
            answer = await client.request(
                method,
                f"{self.side.http_url}{path}",
                content=content,
                headers={name: value for name, value in sent.items() if value != "<none>"},
            )
        return {
            "status": answer.status_code,
            "body": _parsed(answer.text),
            "headers": {name: answer.headers[name] for name in COMPARED_HEADERS if name in answer.headers},
        }

    async def wait(self, label: str, expect: Mapping[str, int]) -> None:
        """Wait for frames that come by themselves."""
        await self._settle(label, expect)

    async def close(self, wire: str, *, expect: Mapping[str, int] | None = None) -> None:
        """Close a socket from the client's side."""
        await self._wires.pop(wire).connection.close()
        await self._settle(f"{wire} closes", expect or {})

    async def end(self) -> None:
        """Close what is open."""
        for wire in self._wires.values():
            await wire.connection.close()
            if wire.reader is not None:
                await wire.reader
        self._wires.clear()

    async def _settle(self, label: str, expect: Mapping[str, int], result: dict[str, JsonValue] | None = None) -> None:
        clock = asyncio.get_running_loop()
        deadline_s = clock.time() + EXPECTED_TIMEOUT_S
        while any(len(self._wires[name].frames) < count and self._is_open(name) for name, count in expect.items()):
            if clock.time() > deadline_s:
                break
            await asyncio.sleep(0.01)
        quiet_since_s, seen = clock.time(), -1
        while clock.time() - quiet_since_s < QUIET_S and clock.time() < deadline_s + QUIET_S:
            count = sum(len(wire.frames) for wire in self._wires.values())
            if count != seen:
                quiet_since_s, seen = clock.time(), count
            await asyncio.sleep(0.01)
        self.note(label, result)

    def arrived(self) -> dict[str, tuple[int, int | None]]:
        """How many frames have come since the last step, and the close code, by socket."""
        return {name: (len(wire.frames), wire.close_code) for name, wire in self._wires.items()}

    def note(self, label: str, result: dict[str, JsonValue] | None = None) -> None:
        """End a step: what has come belongs to it."""
        noted: dict[str, JsonValue] = dict(result or {})
        for name, wire in self._wires.items():
            frames, wire.frames = wire.frames, []
            if frames or wire.close_code is not None:
                noted[name] = self._frames(frames, wire.close_code)
        self._note(label, noted)

    def _is_open(self, name: str) -> bool:
        return self._wires[name].close_code is None

    def _frames(self, frames: Sequence[str | bytes], close_code: int | None) -> JsonValue:
        grouped: dict[str, list[JsonValue]] = {}
        order: dict[str, list[JsonValue]] = {}
        for frame in frames:
            topic, event, shown = _shown(frame)
            grouped.setdefault(f"{topic} {event}", []).append(self._names.normal(shown))
            events = order.setdefault(topic, [])
            if not events or events[-1] != event:
                events.append(event)
        result: dict[str, JsonValue] = {"frames": dict(grouped), "order": dict(order)}
        return result if close_code is None else {**result, "closed": close_code}

    def _note(self, label: str, result: dict[str, JsonValue]) -> None:
        for secret, name in ((self.anon, "ANON"), (self.service, "SERVICE"), (self.alice, "ALICE"), (self.bob, "BOB")):
            label = label.replace(secret, name)
        label = _LONG.sub(lambda found: f"{found[0][:9]}…", label)
        self.steps.append(Step(label, result))


def _parsed(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _shown(frame: str | bytes) -> tuple[str, str, JsonValue]:
    """Topic, event and content of a frame of either version."""
    if isinstance(frame, bytes):
        kind, sizes, encoding = frame[0], frame[1:4], frame[4]
        parts: list[str] = []
        position = 5
        for size in sizes:
            parts.append(frame[position : position + size].decode())
            position += size
        content = frame[position:]
        return (
            parts[0],
            "binary",
            {
                "kind": kind,
                "event": parts[1],
                "metadata": _parsed(parts[2]),
                "encoding": encoding,
                "payload": _parsed(content.decode()) if encoding == 1 else content.hex(),
            },
        )
    parsed = _parsed(frame)
    if not isinstance(parsed, list | dict):
        # A broadcast whose bytes are no JSON leaves the frame around it broken too.
        return "no JSON", "text", frame
    if isinstance(parsed, list):
        return str(parsed[2]), str(parsed[3]), parsed
    return str(parsed.get("topic")), str(parsed.get("event")), parsed

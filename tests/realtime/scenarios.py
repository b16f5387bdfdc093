"""Frames in, frames out: a scenario is a list of frames that sockets send and of those that they must then receive.

Frames are written once, as 2.0.0 has them (``[join_ref, ref, topic, event, payload]``), and are played in both versions.
What a socket receives is compared frame by frame, in order; at the end heartbeats show that nothing else came. ``ROOM``
stands for a topic of the scenario's own, so that all scenarios share one server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from isobase_services.realtime.changes.request import change_id
from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import Stack

ROOM = "<room>"
TOPIC = f"realtime:{ROOM}"
HI = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}

_rooms = itertools.count(1)


class Matching:
    """Equals every text that matches ``pattern`` as a whole."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"<text like {self.pattern}>"


UUID = Matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PHX_REF = Matching(r"[A-Za-z0-9_=-]+")


@dataclass(frozen=True)
class Up:
    """A frame of a client. ``raw`` frames are sent as they are."""

    frame: Sequence[Any] | str | bytes
    socket: str = "a"


@dataclass(frozen=True)
class Down:
    """The frame that a socket must receive next."""

    frame: Sequence[Any]
    socket: str = "a"


Step = Up | Down


def join(config: Any = None, *, ref: str = "1", socket: str = "a", topic: str = TOPIC, **payload: Any) -> Up:
    """A ``phx_join`` whose join_ref is its ref, as clients send it."""
    return Up([ref, ref, topic, "phx_join", {"config": {} if config is None else config, **payload}], socket)


def joined(echo: Sequence[Any] = (), *, ref: str = "1", socket: str = "a", topic: str = TOPIC) -> Down:
    """The reply to it."""
    response = {"postgres_changes": list(echo)}
    return Down([ref, ref, topic, "phx_reply", {"status": "ok", "response": response}], socket)


def refused(reason: str, *, ref: str = "1", socket: str = "a", topic: str = TOPIC) -> Down:
    """The reply to a join that is refused."""
    return Down([ref, ref, topic, "phx_reply", {"status": "error", "response": {"reason": reason}}], socket)


def reply(ref: Any, status: str = "ok", response: Any = None, *, join_ref: Any = "1", socket: str = "a") -> Down:
    """The reply to a message of a joined channel."""
    payload = {"status": status, "response": {} if response is None else response}
    return Down([join_ref, ref, TOPIC, "phx_reply", payload], socket)


def up(event: str, payload: Any, *, ref: Any = "2", join_ref: Any = "1", socket: str = "a") -> Up:
    """A message to a joined channel."""
    return Up([join_ref, ref, TOPIC, event, payload], socket)


def fan_out(event: str, payload: Any, *sockets: str) -> list[Step]:
    """A message that each of ``sockets`` receives without any reference."""
    return [Down([None, None, TOPIC, event, payload], socket) for socket in sockets or ("a",)]


def ended(message: str, *, ref: Any = "1", socket: str = "a") -> list[Step]:
    """A channel's end for a reason that is told: ``system``, then ``phx_close`` under the join's ref."""
    payload = {"extension": "system", "status": "error", "message": message, "channel": ROOM}
    return [Down([ref, None, TOPIC, "system", payload], socket), closed(ref=ref, socket=socket)]


def closed(*, ref: Any = "1", socket: str = "a") -> Down:
    """``phx_close``."""
    return Down([ref, ref, TOPIC, "phx_close", {}], socket)


def changes(*entries: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The part of a join's configuration and the reply's echo of it."""
    echo = [{**entry, "id": change_id(entry)} for entry in entries]
    assert all(item["id"] for item in echo)
    return {"postgres_changes": list(entries)}, echo


def system(message: str, extension: str = "postgres_changes", status: str = "ok", ref: str = "1") -> Down:
    payload = {"extension": extension, "status": status, "message": message, "channel": ROOM}
    return Down([ref, None, TOPIC, "system", payload])


def presence(event: str, fields: Any = None, *, ref: str = "2", join_ref: Any = "1", socket: str = "a") -> Up:
    payload: dict[str, Any] = {"type": "presence", "event": event}
    if fields is not None:
        payload["payload"] = fields
    return up("presence", payload, ref=ref, join_ref=join_ref, socket=socket)


def present(key: Any, *metas: dict[str, Any]) -> dict[Any, Any]:
    return {key: {"metas": [{"phx_ref": PHX_REF, **meta} for meta in metas]}}


def diff(joins: Any = None, leaves: Any = None, *sockets: str) -> list[Step]:
    return fan_out("presence_diff", {"joins": joins or {}, "leaves": leaves or {}}, *sockets)


async def play(stack: Stack, vsn: str, steps: Sequence[Step], *, apikey: str | None = None) -> None:
    """Play ``steps``; raises ``AssertionError`` at the first frame that is not the one expected."""
    room = f"room-{next(_rooms)}"
    sockets: dict[str, ClientConnection] = {}
    url = f"ws://127.0.0.1:{stack.port}/realtime/v1/websocket?vsn={vsn}&apikey={apikey or stack.anon_key}"
    is_v2 = vsn.startswith("2")
    try:
        for name in sorted({step.socket for step in steps}):
            sockets[name] = await websockets.connect(
                url, compression=None, max_size=None, ping_interval=None, open_timeout=PATIENCE_S
            )
        for number, step in enumerate(steps):
            socket = sockets[step.socket]
            if isinstance(step, Up):
                await socket.send(_sent(step.frame, room, is_v2=is_v2))
            else:
                wanted = _wanted(_named(step.frame, room), is_v2=is_v2)
                got = await _next(socket)
                assert got == wanted, f"step {number} of {step.socket}: got {got}, wanted {wanted}"
        for _ in range(2):
            # The first round has every frame handled by the server, the second what it made the server send.
            for name, socket in sockets.items():
                await socket.send(_sent([None, "end", "phoenix", "heartbeat", {}], room, is_v2=is_v2))
                end = [None, "end", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
                got = await _next(socket)
                assert got == _wanted(end, is_v2=is_v2), f"{name} got more than was expected: {got}"
    finally:
        for socket in sockets.values():
            await socket.close()


async def _next(socket: ClientConnection) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        frame = await socket.recv()
    return json.loads(frame) if isinstance(frame, str) else frame


def _sent(frame: Sequence[Any] | str | bytes, room: str, *, is_v2: bool) -> str | bytes:
    if isinstance(frame, bytes):
        return frame.replace(ROOM.encode(), room.encode())
    if isinstance(frame, str):
        return frame.replace(ROOM, room)
    join_ref, ref, topic, event, payload = list(frame)
    named: Any = (
        [join_ref, ref, topic, event, payload]
        if is_v2
        else {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
    )
    return json.dumps(named).replace(ROOM, room)


def _wanted(frame: Sequence[Any], *, is_v2: bool) -> Any:
    _join_ref, ref, topic, event, payload = list(frame)
    return list(frame) if is_v2 else {"topic": topic, "event": event, "payload": payload, "ref": ref}


def _named(value: Any, room: str) -> Any:
    match value:
        case str():
            return value.replace(ROOM, room)
        case dict():
            return {_named(key, room): _named(item, room) for key, item in value.items()}
        case list() | tuple():
            return [_named(item, room) for item in value]
        case _:
            return value

"""The conversations of docs/realtime-rooms.md take place as they are written there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from isobase_services.realtime.simple.actions import ACTIONS
from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.client import Simple

GUIDE = Path(__file__).parents[3] / "docs" / "realtime-rooms.md"
ANY = "…"
_LINE = re.compile(r"(alice|bob) (→|←) (\{.*\})")


def conversation() -> list[tuple[str, str, dict[str, Any]]]:
    blocks = re.findall(r"```text\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    matches = [_LINE.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [(match[1], match[2], json.loads(match[3])) for match in matches if match]


def fits(written: object, real: object) -> bool:
    """Whether a frame is as it is written, but for what is left open."""
    if written == ANY:
        return True
    if isinstance(written, dict) and isinstance(real, dict):
        return written.keys() == real.keys() and all(fits(value, real[name]) for name, value in written.items())
    if isinstance(written, list) and isinstance(real, list):
        return len(written) == len(real) and all(fits(*pair) for pair in zip(written, real, strict=True))
    return written == real


async def test_every_conversation_of_the_guide_takes_place(stack: Stack) -> None:
    tokens = {"alice": stack.token(ALICE), "bob": stack.token(BOB)}
    sockets = {"alice": await Simple.open(stack.port), "bob": await Simple.open(stack.port)}
    await sockets["bob"].do("connect", token=tokens["bob"])
    for who, direction, frame in conversation():
        if direction == "→":
            if frame.get("token") == ANY:
                frame["token"] = tokens[who]
            await sockets[who].send_raw(json.dumps(frame))
            continue
        socket = sockets[who]
        try:
            async with asyncio.timeout(60):
                while not any(fits(frame, real) for real in socket.received):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            near = [real for real in socket.received if real["action"] == frame["action"]]
            raise AssertionError(f"{who} did not get {frame}, but {near}") from None
        socket.received = [real for real in socket.received if not fits(frame, real)]
    for socket in sockets.values():
        await socket.close()


def test_the_guide_shows_every_action() -> None:
    shown = {frame["action"] for _, direction, frame in conversation() if direction == "→"}
    text = GUIDE.read_text()
    assert [name for name in ACTIONS if name not in shown and f"`{name}`" not in text and name != "pong"] == []

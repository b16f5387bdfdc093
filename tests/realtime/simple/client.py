"""A plain WebSocket client of the simple face: it sends JSON actions and keeps every frame that comes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import websockets
from websockets.asyncio.client import ClientConnection

from tests.realtime.client import PATIENCE_S

Frame: TypeAlias = dict[str, Any]


class Simple:
    """One socket at ``/realtime``."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[Frame] = []
        self._ids = itertools.count(1)
        self._seen = 0
        self._arrived = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, port: int, *, query: str = "", headers: dict[str, str] | None = None, path: str = "/realtime"
    ) -> Simple:
        connection = await websockets.connect(
            f"ws://127.0.0.1:{port}{path}{query}",
            compression=None,
            max_size=None,
            ping_interval=None,
            additional_headers=headers or {},
            open_timeout=PATIENCE_S,
        )
        return cls(connection)

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                assert isinstance(frame, str)
                self.received.append(json.loads(frame))
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self._arrived.set()

    async def send_raw(self, frame: str | bytes) -> None:
        await self.connection.send(frame)

    async def ask(self, action: str, timeout_s: float = PATIENCE_S, **members: Any) -> Frame:
        """Send an action and return its answer, an error too."""
        request_id = f"q{next(self._ids)}"
        await self.send_raw(json.dumps({"action": action, "requestId": request_id, **members}))
        return await self._first(lambda frame: frame.get("requestId") == request_id, timeout_s, start=0)

    async def do(self, action: str, **members: Any) -> Frame:
        """Send an action that must succeed."""
        answer = await self.ask(action, **members)
        assert answer["ok"] is True, answer
        return answer

    async def refused(self, action: str, **members: Any) -> str:
        """Send an action that must be refused; returns the error's code."""
        answer = await self.ask(action, **members)
        assert answer["ok"] is False, answer
        assert answer["error"].keys() == {"code", "message", "details", "hint", "request_id"}
        code = answer["error"]["code"]
        assert isinstance(code, str)
        return code

    async def wait_for(self, matches: Callable[[Frame], bool], timeout_s: float = PATIENCE_S) -> Frame:
        """The first frame since the last hit of ``wait_for`` that matches; frames before it are passed over."""
        frame = await self._first(matches, timeout_s, start=self._seen)
        self._seen = next(number for number, item in enumerate(self.received) if item is frame) + 1
        return frame

    async def event(self, action: str, timeout_s: float = PATIENCE_S, **members: Any) -> Frame:
        """The next frame that is no answer, with this action and these members."""
        return await self.wait_for(
            lambda frame: (
                frame["action"] == action
                and "requestId" not in frame
                and all(frame.get(name) == value for name, value in members.items())
            ),
            timeout_s,
        )

    async def _first(self, matches: Callable[[Frame], bool], timeout_s: float, *, start: int) -> Frame:
        async with asyncio.timeout(timeout_s):
            while True:
                self._arrived.clear()
                for frame in self.received[start:]:
                    if matches(frame):
                        return frame
                if self._reader.done():
                    raise ConnectionError(f"closed with {self.connection.close_code}; received {self.received}")
                await self._arrived.wait()

    def events(self, action: str) -> list[Frame]:
        """All frames so far with this action that are no answers."""
        return [frame for frame in self.received if frame["action"] == action and "requestId" not in frame]

    async def closed(self, timeout_s: float = PATIENCE_S) -> int | None:
        """Wait for the server to close; returns its close code."""
        await asyncio.wait_for(self.connection.wait_closed(), timeout_s)
        await asyncio.gather(self._reader)
        return self.connection.close_code

    async def close(self) -> None:
        await self.connection.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

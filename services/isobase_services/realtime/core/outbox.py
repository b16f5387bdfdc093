"""What waits to be sent to one socket: bounded, filled without waiting, emptied by one writer task.

Fan-out never waits for a socket: it puts a frame and goes on. A socket that does not read its frames fills its own outbox
and is closed with 1013, which concerns nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from isobase_services.realtime.wire.messages import Frame

__all__ = ["Outbox"]


class Outbox:
    """A queue of frames with a limit in bytes; text counts by its characters."""

    __slots__ = ("_frames", "_is_closed", "_max_bytes", "_on_overflow", "_size_bytes", "_wakeup")

    def __init__(self, max_bytes: int, on_overflow: Callable[[], None]) -> None:
        self._frames: deque[Frame] = deque()
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._on_overflow = on_overflow
        self._is_closed = False
        self._wakeup = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Queue ``frame``. Beyond the limit everything queued is dropped and ``on_overflow`` is called, once."""
        if self._is_closed:
            return
        self._size_bytes += len(frame)
        # A single frame larger than the limit still goes to a socket that has nothing else waiting.
        if self._size_bytes > self._max_bytes and self._frames:
            self.close()
            self._frames.clear()
            self._on_overflow()
            return
        self._frames.append(frame)
        if not self._wakeup.is_set():
            self._wakeup.set()

    def close(self) -> None:
        """Take no more frames; what is queued is still given out."""
        self._is_closed = True
        self._wakeup.set()

    async def get(self) -> Frame | None:
        """The next frame, waiting for one; None once the outbox is closed and empty."""
        while not self._frames:
            if self._is_closed:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        frame = self._frames.popleft()
        self._size_bytes -= len(frame)
        return frame

    @property
    def size_bytes(self) -> int:
        """What is queued now."""
        return self._size_bytes

"""What one socket is sent: straight to its transport while that takes it, else queued, with limits.

Fan-out never waits for a socket: it puts a frame and goes on. Where the server gives the bare socket, a frame is one call of
``write`` until the transport says that the client reads too slowly; then frames queue here, by reference, so that many slow
sockets share the bytes. Where there is no bare socket everything queues and a task of the edge takes it with ``get``.

Limits: above ``droppable_bytes`` in the queue, what may be lost (``offer``) is; above ``max_bytes`` the socket is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from isobase_services.realtime.wire.frames import Frame, FrameRun

__all__ = ["Outbox"]

Write = Callable[[bytes], None]


class Outbox:
    """Frames for one socket.

    ``on_overflow`` is called once, when the queue passes ``max_bytes``: everything queued is dropped by then.
    ``on_drained`` is called when a queue that had dropped frames has emptied.
    """

    __slots__ = (
        "_droppable_bytes",
        "_has_dropped",
        "_is_clear",
        "_is_closed",
        "_max_bytes",
        "_on_drained",
        "_on_overflow",
        "_queue",
        "_wakeup",
        "_write",
        "size_bytes",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        droppable_bytes: int,
        on_overflow: Callable[[], None],
        on_drained: Callable[[], None],
    ) -> None:
        self._max_bytes = max_bytes
        self._droppable_bytes = droppable_bytes
        self._on_overflow = on_overflow
        self._on_drained = on_drained
        self._write: Write | None = None
        self._is_clear = False
        self._is_closed = False
        self._has_dropped = False
        # Most sockets never queue anything: an empty deque would take more memory than all the rest.
        self._queue: deque[Frame] | None = None
        self._wakeup: asyncio.Event | None = None
        self.size_bytes = 0
        """What is queued now."""

    def put(self, frame: Frame) -> None:
        """Send ``frame``, now or when the socket takes it."""
        if self._is_clear:
            self._write(frame.wire)  # type: ignore[misc]  # clear only while there is one
        elif not self._is_closed:
            self._enqueue(frame)

    def put_run(self, run: FrameRun) -> None:
        """Send several frames, in one write where the socket takes it."""
        if self._is_clear:
            self._write(run.wire)  # type: ignore[misc]  # clear only while there is one
        else:
            for frame in run.frames:
                self.put(frame)

    def offer(self, frame: Frame) -> bool:
        """As ``put``, but a socket that is behind does not get it: False when the frame was dropped."""
        if not self._is_clear and self.size_bytes > self._droppable_bytes:
            self._has_dropped = True
            return False
        self.put(frame)
        return True

    def _enqueue(self, frame: Frame) -> None:
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        self.size_bytes += len(frame.wire)
        # A single frame larger than the limit still goes to a socket that has nothing else waiting.
        if self.size_bytes > self._max_bytes and queue:
            queue.clear()
            self.size_bytes = 0
            self._on_overflow()
            return
        queue.append(frame)
        if self._wakeup is not None:
            self._wakeup.set()

    # -- a bare socket ------------------------------------------------------------------------------------------------

    def attach(self, write: Write) -> None:
        """Send to ``write`` from now on, beginning with what is queued."""
        self._write = write
        self.release()

    def hold(self) -> None:
        """The transport holds enough: queue what comes."""
        self._is_clear = False

    def release(self) -> None:
        """The transport has room: write what is queued, until it says ``hold`` again."""
        write = self._write
        if write is None or self._is_closed:
            return
        self._is_clear = True
        queue = self._queue
        while queue and self._is_clear:
            frame = queue.popleft()
            self.size_bytes -= len(frame.wire)
            write(frame.wire)
        if self._is_clear:
            self._drained()

    def _drained(self) -> None:
        self._queue = None
        if self._has_dropped:
            self._has_dropped = False
            self._on_drained()

    # -- a task that sends --------------------------------------------------------------------------------------------

    async def get(self) -> Frame | None:
        """The next frame, waiting for one; None once the outbox is closed and empty. For one task, without ``attach``."""
        if self._wakeup is None:
            self._wakeup = asyncio.Event()
        while not self._queue:
            if self._is_closed:
                return None
            self._drained()
            self._wakeup.clear()
            if not self._queue:
                await self._wakeup.wait()
        frame = self._queue.popleft()
        self.size_bytes -= len(frame.wire)
        return frame

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more frames. What is queued is still given out: at once to a transport, or by ``get``."""
        if self._is_closed:
            return
        self._is_closed = True
        self._is_clear = False
        if self._wakeup is not None:
            self._wakeup.set()
        if self._write is not None:
            for frame in self._queue or ():
                self._write(frame.wire)
            self.discard()

    def discard(self) -> None:
        """Take no more frames and forget what is queued: the socket is gone."""
        self._is_closed = True
        self._is_clear = False
        self._write = None
        self._queue = None
        self.size_bytes = 0
        if self._wakeup is not None:
            self._wakeup.set()

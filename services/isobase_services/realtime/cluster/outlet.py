"""What waits to be sent on one channel of the bus: filled without waiting, emptied by one task, bounded in bytes.

While one call to the bus is under way, more messages gather and go with the next, so the load decides the size of the
batches. What does not fit, or is put while the bus is away, is dropped and counted, and leaves a gap in the numbers by which
the receivers know. Neighbours: ``envelope`` (the batches), ``cluster`` (who puts).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from isobase_platform.bus import Bus
from isobase_platform.errors import IsobaseError
from isobase_services.realtime.cluster.envelope import MESSAGE_OVERHEAD_BYTES, OVERHEAD_BYTES, Header, Seals

__all__ = ["Outlet"]

MAX_ENVELOPES_PER_CALL = 32


class Outlet:
    """The queue of one channel of the bus."""

    def __init__(
        self,
        bus: Bus,
        seals: Seals,
        node_id: str,
        bus_channel: str,
        channel: str,
        *,
        max_bytes: int,
        on_outcome: Callable[[str, int, bool], None],
    ) -> None:
        """``on_outcome`` gets the channel, the number of messages of each call to the bus, and whether it took them."""
        self.bus_channel = bus_channel
        # Numbers are nonces: a queue that is made anew for the same peer must not begin where the last one did.
        self._number = time.monotonic_ns() // 1000
        self._bus = bus
        self._seals = seals
        self._node_id = node_id
        self._channel = channel
        self._max_bytes = max_bytes
        self._on_outcome = on_outcome
        self._queue: deque[bytes | None] = deque()
        """Messages; None where some were dropped, which takes a number too."""
        self._size_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._ends_in_gap = False

    @property
    def number(self) -> int:
        """Of the last envelope; where something was dropped since, of what was dropped."""
        return self._number

    def put(self, payload: bytes) -> bool:
        """Queue a message; False when it does not fit and is dropped."""
        # One message larger than the limit still goes where nothing else waits.
        if self._queue and self._size_bytes + len(payload) > self._max_bytes:
            self.skip()
            return False
        self._queue.append(payload)
        self._ends_in_gap = False
        self._size_bytes += len(payload) + MESSAGE_OVERHEAD_BYTES
        if self._size_bytes > self._max_bytes // 2:
            self._room.clear()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send(), name=f"realtime bus {self._channel}")
        return True

    def skip(self) -> None:
        """Leave a gap in the numbers: something was not sent. One is enough until something is."""
        if self._ends_in_gap:
            return
        self._ends_in_gap = True
        if self._queue:
            self._queue.append(None)
        else:
            self._number += 1

    async def room(self) -> None:
        """Wait until the queue is at most half full. Ends when the bus is away too: what is put then is dropped."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Wait until everything queued was handed to the bus, or dropped."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def discard(self) -> None:
        """Drop what is queued: its receiver is gone."""
        self._queue.clear()
        self._size_bytes = 0

    async def close(self) -> None:
        """Drop what is queued and stop."""
        self.discard()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        try:
            while self._queue:
                await self._send_some()
        finally:
            self._task = None
            self._room.set()

    async def _send_some(self) -> None:
        envelopes: list[bytes] = []
        count = 0
        while self._queue and len(envelopes) < MAX_ENVELOPES_PER_CALL:
            payloads = self._take()
            self._number += 1
            if payloads:
                count += len(payloads)
                header = Header(self._node_id, self._number)
                envelopes.append(self._seals.seal(header, self.bus_channel, payloads))
        if self._size_bytes <= self._max_bytes // 2:
            self._room.set()
        if not envelopes:
            return
        try:
            await self._bus.publish_many(self.bus_channel, envelopes)
        except IsobaseError:
            count += sum(payload is not None for payload in self._queue)
            self.discard()
            self._ends_in_gap = False
            self.skip()
            self._on_outcome(self._channel, count, False)
        else:
            self._on_outcome(self._channel, count, True)

    def _take(self) -> list[bytes]:
        """Messages for one envelope of the size that suits the bus; a larger one goes alone. None at all for a gap."""
        left_bytes = self._bus.batch_bytes - OVERHEAD_BYTES
        payloads: list[bytes] = []
        while self._queue:
            payload = self._queue[0]
            if payload is None:
                if not payloads:
                    self._queue.popleft()
                break
            size_bytes = len(payload) + MESSAGE_OVERHEAD_BYTES
            if payloads and size_bytes > left_bytes:
                break
            left_bytes -= size_bytes
            self._size_bytes -= size_bytes
            payloads.append(payload)
            self._queue.popleft()
        return payloads

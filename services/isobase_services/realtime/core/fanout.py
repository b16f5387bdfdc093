"""Writing one message to many members, in turns: thousands of writes must not keep the sockets' reads and heartbeats waiting.

Jobs run in the order in which they came, so the order of a topic is kept for every member. A turn of the event loop makes
``WRITES_PER_TURN`` writes; what is over that goes on in the next turn. ``is_full`` tells those that make jobs from what a
client sends to stop reading, and ``wait_for_room`` when to go on; jobs that come nevertheless are done at once and in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["FanOut", "Send"]

WRITES_PER_TURN = 500
MAX_WAITING_WRITES = 20_000
"""Above it readers should stop, until half of it is done: about a tenth of a second of writing."""
MAX_WAITING_JOBS = 2_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Above these a job is not taken in; everything that waits is written at once, which holds up whoever made the job."""

Send: TypeAlias = Callable[[int, int], None]
"""Write to the members from the first number on, up to the second."""


@dataclass(slots=True)
class _Job:
    send: Send
    count: int
    size_bytes: int
    at: int = 0


class FanOut:
    """The jobs of one process."""

    __slots__ = ("_budget", "_is_turn_due", "_jobs", "_waiting_bytes", "_waiting_readers", "_waiting_writes")

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._budget = WRITES_PER_TURN
        self._is_turn_due = False
        self._waiting_writes = 0
        self._waiting_bytes = 0
        self._waiting_readers: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        """True when who can wait should."""
        return self._waiting_writes > MAX_WAITING_WRITES

    @property
    def waiting_writes(self) -> int:
        """Writes that are due and not made yet."""
        return self._waiting_writes

    def wait_for_room(self, resume: Callable[[], None]) -> None:
        """Call ``resume`` once when there is room again."""
        self._waiting_readers.append(resume)

    def submit(self, send: Send, count: int, size_bytes: int) -> None:
        """Let ``send`` write to ``count`` members, now where the turn allows it. ``size_bytes`` is what its frames hold."""
        if not self._is_turn_due:
            self._is_turn_due = True
            self._budget = WRITES_PER_TURN
            asyncio.get_running_loop().call_soon(self._turn)
        if not self._jobs and count <= self._budget:
            self._budget -= count
            send(0, count)
            return
        self._jobs.append(_Job(send, count, size_bytes))
        self._waiting_writes += count
        self._waiting_bytes += size_bytes
        if len(self._jobs) > MAX_WAITING_JOBS or self._waiting_bytes > MAX_WAITING_BYTES:
            self._work(self._waiting_writes)

    def _turn(self) -> None:
        self._is_turn_due = False
        if not self._jobs:
            return
        self._work(WRITES_PER_TURN)
        self._budget = 0
        self._is_turn_due = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _work(self, writes: int) -> None:
        while self._jobs and writes > 0:
            job = self._jobs[0]
            until = min(job.count, job.at + writes)
            start, job.at = job.at, until
            done = until - start
            writes -= done
            self._waiting_writes -= done
            if until == job.count:
                self._jobs.popleft()
                self._waiting_bytes -= job.size_bytes
            job.send(start, until)
        if self._waiting_readers and self._waiting_writes <= MAX_WAITING_WRITES // 2:
            readers, self._waiting_readers = self._waiting_readers, []
            for resume in readers:
                resume()

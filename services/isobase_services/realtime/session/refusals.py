"""Answers to refused joins of one socket, each held back for a while against storms of clients that try again.

One timer for all of them, because all wait equally long; neighbour: ``connection``. Source: contracts/realtime.md 1.6.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from isobase_services.realtime.wire.messages import Ref

__all__ = ["Refusals"]

MAX_WAITING_REFUSALS = 1_000
"""Beyond it the oldest is answered at once: a storm must neither fill the memory nor cost the client its socket."""


class Refusals:
    """Calls ``answer`` with join_ref, ref, topic and the response's JSON text, ``delay_s`` seconds after ``add``."""

    __slots__ = ("_answer", "_delay_s", "_timer", "_waiting")

    def __init__(self, delay_s: float, answer: Callable[[Ref, Ref, str, str], None]) -> None:
        self._delay_s = delay_s
        self._answer = answer
        self._waiting: deque[tuple[float, Ref, Ref, str, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, join_ref: Ref, ref: Ref, topic: str, response: str) -> None:
        """Answer later, in the order of the joins."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._delay_s, join_ref, ref, topic, response))
        if len(self._waiting) > MAX_WAITING_REFUSALS:
            self._answer(*self._waiting.popleft()[1:])
        if self._timer is None:
            self._timer = loop.call_later(self._delay_s, self._give_out)

    def _give_out(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            self._answer(*self._waiting.popleft()[1:])
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._give_out)

    def stop(self) -> None:
        """Answer nothing any more: the socket is gone."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

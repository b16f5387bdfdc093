"""Rates as upstream counts them: a rolling average over a minute, so that bursts pass and sustained excess does not.

Source: contracts/realtime.md 1.14 (60 s window in steps of 5 s).
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["CallWindow", "RollingRate"]

WINDOW_S = 60
STEP_S = 5
STEPS = WINDOW_S // STEP_S


class RollingRate:
    """Counts events and knows their average per second over the last minute."""

    __slots__ = ("_clock", "_counts", "_step", "_total", "limit_per_s")

    def __init__(self, limit_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_per_s = limit_per_s
        self._clock = clock
        self._counts = [0] * STEPS
        self._step = int(clock() // STEP_S)
        self._total = 0

    def add(self, count: int = 1) -> None:
        """Count ``count`` events now."""
        self._advance()
        self._counts[self._step % STEPS] += count
        self._total += count

    @property
    def average_per_s(self) -> float:
        """Events per second over the last minute."""
        self._advance()
        return self._total / WINDOW_S

    @property
    def is_exceeded(self) -> bool:
        """True once the average reached the limit."""
        return self.average_per_s >= self.limit_per_s

    def _advance(self) -> None:
        now = int(self._clock() // STEP_S)
        passed = now - self._step
        if passed <= 0:
            return
        for step in range(self._step + 1, self._step + 1 + min(passed, STEPS)):
            self._total -= self._counts[step % STEPS]
            self._counts[step % STEPS] = 0
        self._step = now


class CallWindow:
    """At most ``limit`` calls in ``window_s`` seconds, counted from the first one (upstream's presence limit)."""

    __slots__ = ("_clock", "_count", "_limit", "_reset_at_s", "_window_s")

    def __init__(self, limit: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._count = 0
        self._reset_at_s = 0.0

    def take(self) -> bool:
        """Count one call; False when it is over the limit."""
        now_s = self._clock()
        if now_s >= self._reset_at_s:
            self._count = 0
            self._reset_at_s = now_s + self._window_s
        self._count += 1
        return self._count <= self._limit

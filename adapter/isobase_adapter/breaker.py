"""A circuit breaker: whether a side may be asked for a capability, after what it did lately.

A pure state machine: it is told of calls and asked whether the next may go, and reads no clock but the one that it is
given. One breaker stands for one side and one capability.

``closed`` -> (too many failed or slow calls in the window) -> ``open`` -> (its time is over) -> ``half_open``: one call at
a time is let through; ``trial_calls`` that succeed in a row close it, one that fails opens it for twice as long.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from isobase_adapter.settings import BreakerSettings

__all__ = ["Breaker", "BreakerState", "Change"]


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True, frozen=True)
class Change:
    """A breaker went from one state to another; ``why`` in words for operators."""

    before: BreakerState
    after: BreakerState
    why: str


@dataclass(slots=True, frozen=True)
class _Seen:
    at: float
    is_failure: bool
    is_slow: bool


class Breaker:
    """May be used from any thread. ``clock`` gives seconds that only grow; ``on_change`` is told of every change."""

    def __init__(
        self, settings: BreakerSettings, clock: Callable[[], float], on_change: Callable[[Change], None] | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._seen: deque[_Seen] = deque()
        self._opened_at = 0.0
        self._open_s = settings.open_s
        self._trial_since: float | None = None
        self._succeeded = 0

    @property
    def state(self) -> BreakerState:
        """Its state now; an open one whose time is over says ``half_open``."""
        if self._state is BreakerState.OPEN and self._clock() >= self._opened_at + self._open_s:
            return BreakerState.HALF_OPEN
        return self._state

    def allows(self) -> bool:
        """Whether the next call may go to the side. Who is told True says what came of it, with ``tell``.

        In the half-open state one call at a time is let through; one of which nothing is heard counts as lost after
        ``open_s``.
        """
        if self._state is BreakerState.CLOSED:
            return True
        change: Change | None = None
        with self._lock:
            now = self._clock()
            if self._state is BreakerState.OPEN:
                if now < self._opened_at + self._open_s:
                    return False
                change = self._become(BreakerState.HALF_OPEN, "its time is over: a call is tried")
                self._succeeded = 0
                self._trial_since = None
            if self._state is BreakerState.HALF_OPEN:
                if self._trial_since is not None and now < self._trial_since + self._settings.open_s:
                    return False
                self._trial_since = now
        self._announce(change)
        return True

    def tell(self, elapsed_s: float, *, is_failure: bool) -> None:
        """Hear what came of a call: the seconds it took, and whether the side failed (not: whether it refused)."""
        is_slow = elapsed_s >= self._settings.slow_call_s
        change: Change | None = None
        with self._lock:
            now = self._clock()
            if self._state is BreakerState.HALF_OPEN:
                change = self._tried(now, is_good=not is_failure and not is_slow)
            elif self._state is BreakerState.CLOSED:
                self._seen.append(_Seen(now, is_failure, is_slow))
                change = self._judged(now)
        self._announce(change)

    def reset(self, why: str) -> None:
        """Begin anew, closed: somebody found the side well."""
        with self._lock:
            self._seen.clear()
            self._open_s = self._settings.open_s
            self._trial_since = None
            change = None if self._state is BreakerState.CLOSED else self._become(BreakerState.CLOSED, why)
        self._announce(change)

    def forget(self) -> None:
        """A call that was let through was given up by its caller: nothing is known of the side."""
        with self._lock:
            self._trial_since = None

    def _tried(self, now: float, *, is_good: bool) -> Change | None:
        self._trial_since = None
        if not is_good:
            self._open_s = min(2 * self._open_s, self._settings.longest_open_s)
            self._opened_at = now
            return self._become(BreakerState.OPEN, "the call that was tried failed or was slow")
        self._succeeded += 1
        if self._succeeded < self._settings.trial_calls:
            return None
        self._seen.clear()
        self._open_s = self._settings.open_s
        return self._become(BreakerState.CLOSED, f"{self._succeeded} calls in a row succeeded")

    def _judged(self, now: float) -> Change | None:
        settings, seen = self._settings, self._seen
        while seen and seen[0].at <= now - settings.window_s:
            seen.popleft()
        number = len(seen)
        if number < settings.least_calls:
            return None
        failed, slow = sum(one.is_failure for one in seen), sum(one.is_slow for one in seen)
        if failed / number < settings.failure_rate and slow / number < settings.slow_rate:
            return None
        self._opened_at = now
        return self._become(BreakerState.OPEN, f"of {number} calls {failed} failed and {slow} were slow")

    def _become(self, state: BreakerState, why: str) -> Change:
        change = Change(self._state, state, why)
        self._state = state
        return change

    def _announce(self, change: Change | None) -> None:
        if change is not None and self._on_change is not None:
            self._on_change(change)

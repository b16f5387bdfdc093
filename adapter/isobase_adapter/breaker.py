"""A circuit breaker: whether a side may be asked for a capability, after what it did lately.

A pure state machine: it is told of calls and asked whether the next may go, and reads no clock but the one that it is
given. One breaker stands for one side, one capability and one kind of calls (reads, writes).

``closed`` -> (too many failed or slow calls in the window) -> ``open`` -> (its time is over) -> ``half_open``: one call at
a time is let through; ``trial_calls`` that succeed in a row close it, one that fails opens it for twice as long.

Calls of other kinds (``hear``) tell it one thing alone: whether the side can be reached at all. It opens as well where too
many calls of all kinds together got no connection; then calls of any kind that come through are trials of it, too.
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
    """A call in the window. The last three are never said of a call of another kind but ``is_refused``."""

    at: float
    is_own: bool
    is_refused: bool
    is_failure: bool = False
    is_slow: bool = False


@dataclass(slots=True)
class _Tally:
    """What the calls of the window come to; kept by steps, as a busy app has many thousands of them."""

    number: int = 0
    refused: int = 0
    own: int = 0
    failed: int = 0
    slow: int = 0

    def add(self, seen: _Seen, step: int) -> None:
        """Count a call that comes (1) or leaves (-1)."""
        self.number += step
        self.refused += step * seen.is_refused
        self.own += step * seen.is_own
        self.failed += step * seen.is_failure
        self.slow += step * seen.is_slow


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
        self._tally = _Tally()
        self._opened_at = 0.0
        self._is_unreached = False
        """Whether it opened because no connections came about."""
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
                change = self._half_opened()
            if self._state is BreakerState.HALF_OPEN:
                if self._trial_since is not None and now < self._trial_since + self._settings.open_s:
                    return False
                self._trial_since = now
        self._announce(change)
        return True

    def tell(self, elapsed_s: float, *, is_failure: bool, is_refused: bool = False) -> None:
        """Hear what came of a call: the seconds it took, and whether the side failed (not: whether it said no).

        is_refused: no connection to the side came about.
        """
        is_slow = elapsed_s >= self._settings.slow_call_s
        change: Change | None = None
        with self._lock:
            now = self._clock()
            if self._state is BreakerState.HALF_OPEN:
                self._trial_since = None
                change = self._tried(now, is_good=not is_failure and not is_slow, is_refused=is_refused)
            elif self._state is BreakerState.CLOSED:
                change = self._judged(_Seen(now, True, is_refused, is_failure, is_slow))
        self._announce(change)

    def hear(self, *, is_refused: bool) -> None:
        """Hear of a call of another kind: whether the side was reached. What it was slow or failed with tells nothing.

        One that is open listens only where it was opened because the side could not be reached.
        """
        changes: list[Change | None] = []
        with self._lock:
            now = self._clock()
            if self._state is BreakerState.CLOSED:
                changes.append(self._judged(_Seen(now, False, is_refused)))
            elif self._is_unreached and now >= self._opened_at + self._open_s:
                if self._state is BreakerState.OPEN:
                    changes.append(self._half_opened())
                changes.append(self._tried(now, is_good=not is_refused, is_refused=is_refused))
        for change in changes:
            self._announce(change)

    def reset(self, why: str) -> None:
        """Begin anew, closed: somebody found the side well."""
        with self._lock:
            self._clear()
            self._open_s = self._settings.open_s
            self._trial_since = None
            change = None if self._state is BreakerState.CLOSED else self._become(BreakerState.CLOSED, why)
        self._announce(change)

    def forget(self) -> None:
        """A call that was let through was given up by its caller: nothing is known of the side."""
        with self._lock:
            self._trial_since = None

    def _half_opened(self) -> Change:
        self._succeeded = 0
        self._trial_since = None
        return self._become(BreakerState.HALF_OPEN, "its time is over: a call is tried")

    def _tried(self, now: float, *, is_good: bool, is_refused: bool) -> Change | None:
        if not is_good:
            self._open_s = min(2 * self._open_s, self._settings.longest_open_s)
            self._opened_at = now
            self._is_unreached = self._is_unreached and is_refused
            return self._become(BreakerState.OPEN, "the call that was tried failed or was slow")
        self._succeeded += 1
        if self._succeeded < self._settings.trial_calls:
            return None
        self._clear()
        self._open_s = self._settings.open_s
        return self._become(BreakerState.CLOSED, f"{self._succeeded} calls in a row succeeded")

    def _judged(self, call: _Seen) -> Change | None:
        settings, seen, tally = self._settings, self._seen, self._tally
        seen.append(call)
        tally.add(call, 1)
        while seen[0].at <= call.at - settings.window_s:
            tally.add(seen.popleft(), -1)
        is_unreached = tally.number >= settings.least_calls and tally.refused / tally.number >= settings.failure_rate
        is_bad = tally.own >= settings.least_calls and (
            tally.failed / tally.own >= settings.failure_rate or tally.slow / tally.own >= settings.slow_rate
        )
        if not is_unreached and not is_bad:
            return None
        self._opened_at, self._is_unreached = call.at, is_unreached
        if is_unreached:
            return self._become(BreakerState.OPEN, f"{tally.refused} of {tally.number} calls got no connection")
        return self._become(BreakerState.OPEN, f"of {tally.own} calls {tally.failed} failed and {tally.slow} were slow")

    def _clear(self) -> None:
        self._seen.clear()
        self._tally = _Tally()

    def _become(self, state: BreakerState, why: str) -> Change:
        change = Change(self._state, state, why)
        self._state = state
        return change

    def _announce(self, change: Change | None) -> None:
        if change is not None and self._on_change is not None:
            self._on_change(change)

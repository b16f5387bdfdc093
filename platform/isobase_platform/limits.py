"""Rate limits on top of the store: token buckets and counters that all processes share.

Where the store does not answer, each process limits by itself with buckets in its memory: the same numbers, so nobody is
locked out, and no door stands open for longer than a restart takes. The log says so, and a metric counts it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from isobase_platform.errors import DatabaseError, Unavailable

if TYPE_CHECKING:
    from prometheus_client import Counter

    from isobase_platform.store import KeyValueStore

__all__ = ["MAX_LOCAL_BUCKETS", "Rate", "RateLimiter"]

MAX_LOCAL_BUCKETS = 10_000
"""Buckets that a process remembers while the store is out of reach; the longest unused goes first."""
MAX_REFUSAL_S = 0.5
"""How long a refusal stands without another question to the store, which a flood of refused calls shall not reach."""
STORE_PAUSE_S = 5.0
"""How long a store that failed is not asked again: a request must not wait for its timeout each time."""

_Question: TypeAlias = Callable[[str, float, int], Awaitable[bool]]

_log = logging.getLogger("isobase.limits")


@dataclass(slots=True, frozen=True)
class Rate:
    """``events`` per ``per_s`` seconds in the long run, of which ``burst`` may come at once."""

    events: float
    per_s: float
    burst: int

    @property
    def never(self) -> bool:
        """Whether nothing at all is allowed."""
        return self.events <= 0 or self.burst <= 0

    @property
    def interval_s(self) -> float:
        """The time in which a bucket gets one token back."""
        return self.per_s / self.events


class RateLimiter:
    """Asks the store, or, while that fails, its own memory. ``failures``: a counter of the store's failures."""

    def __init__(self, store: KeyValueStore, failures: Counter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._failures = failures
        self._clock = clock
        self._full_again_at_s: OrderedDict[str, float] = OrderedDict()
        self._refused_until_s: OrderedDict[str, float] = OrderedDict()
        self._asks_store_from_s = 0.0

    async def allows(self, key: str, rate: Rate) -> bool:
        """Take a token from the bucket ``key``; False when there is none."""
        if rate.never or self._clock() < self._refused_until_s.get(key, 0.0):
            return False
        answer = await self._ask(self._store.spend, key, rate)
        is_allowed = self._spend_locally(key, rate) if answer is None else answer
        if not is_allowed:
            _put(self._refused_until_s, key, self._clock() + min(MAX_REFUSAL_S, rate.interval_s / 4))
        return is_allowed

    async def would_allow(self, key: str, rate: Rate) -> bool:
        """Whether ``allows`` would find a token now; none is taken."""
        if rate.never:
            return False
        answer = await self._ask(self._store.can_spend, key, rate)
        if answer is not None:
            return answer
        now_s = self._clock()
        return self._full_again_at_s.get(key, now_s) - now_s <= rate.interval_s * (rate.burst - 1)

    async def _ask(self, question: _Question, key: str, rate: Rate) -> bool | None:
        """The store's answer; None while it does not answer."""
        if self._clock() < self._asks_store_from_s:
            return None
        try:
            return await question(f"limit:{key}", rate.interval_s, rate.burst)
        except (Unavailable, DatabaseError) as error:
            self._failures.inc()
            self._asks_store_from_s = self._clock() + STORE_PAUSE_S
            _log.warning(
                "the store does not answer: this process limits by itself",
                extra={"store": self._store.kind, "reason": error.message, "pause_s": STORE_PAUSE_S},
            )
            return None

    def _spend_locally(self, key: str, rate: Rate) -> bool:
        now_s = self._clock()
        full_at_s = max(self._full_again_at_s.pop(key, now_s), now_s)
        is_allowed = full_at_s - now_s <= rate.interval_s * (rate.burst - 1)
        _put(self._full_again_at_s, key, full_at_s + rate.interval_s if is_allowed else full_at_s)
        return is_allowed


def _put(places: OrderedDict[str, float], key: str, value: float) -> None:
    places[key] = value
    places.move_to_end(key)
    if len(places) > MAX_LOCAL_BUCKETS:
        places.popitem(last=False)

"""One breaker per capability and side, and what counts as a side's failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from time import monotonic

import httpx

from isobase_adapter.breaker import Breaker, BreakerState, Change
from isobase_adapter.capabilities import fits_written
from isobase_adapter.contracts import Event
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side

__all__ = ["Breakers", "is_unavailable"]

GATEWAY_STATUSES = frozenset({502, 503, 504, 520, 521, 522, 523, 524})
SQLSTATE_LENGTH = 5


class Breakers:
    """Makes them as they are needed. tell: is told of every change."""

    def __init__(
        self, settings: BreakerSettings, tell: Callable[[Event], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._breakers: dict[tuple[str, Side], Breaker] = {}

    def of(self, capability: str, side: Side) -> Breaker:
        """Give the breaker of a capability at a side."""
        breaker = self._breakers.get((capability, side))
        if breaker is None:
            with self._lock:
                breaker = self._breakers.setdefault(
                    (capability, side),
                    Breaker(self._settings, self._clock, lambda change: self._changed(capability, side, change)),
                )
        return breaker

    def states(self) -> dict[str, dict[str, BreakerState]]:
        """Give every breaker's state, by capability and side."""
        found: dict[str, dict[str, BreakerState]] = {}
        for (capability, side), breaker in sorted(self._breakers.items()):
            found.setdefault(capability, {})[side] = breaker.state
        return found

    def reset(self, pattern: str, side: Side) -> None:
        """Close the breakers of a pattern's capabilities: the writer was handed to ``side``, which is well."""
        for (capability, of_side), breaker in list(self._breakers.items()):
            if of_side is side and fits_written(pattern, capability):
                breaker.reset(f"{side} is written first again")

    def _changed(self, capability: str, side: Side, change: Change) -> None:
        detail = {"side": side, "before": change.before, "after": change.after, "why": change.why}
        self._tell(Event("breaker", capability, detail))


def is_unavailable(response: httpx.Response) -> bool:
    """Whether an answer says that the side is down rather than that it refuses: a gateway's status, or a 500 that no
    database gave (the database's own errors, which both sides would give, have an SQLSTATE).
    """
    if response.status_code in GATEWAY_STATUSES:
        return True
    if response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
        return False
    if not hasattr(response, "_content"):
        return False  # it was not read: it is still arriving, or nobody asked for it whole
    try:
        body = json.loads(response.content)
    except ValueError:
        return True
    code = body.get("code") if isinstance(body, dict) else None
    return not (isinstance(code, str) and len(code) == SQLSTATE_LENGTH)

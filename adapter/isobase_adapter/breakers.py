"""One breaker per capability, side and kind of calls, and what counts as a side's failure.

Reads and writes are judged apart: the breaker of the reads sends reads to the other side, that of the writes moves the
writer, for everybody. What a call tells depends on how far it came:

    no connection came about     of both kinds: nothing reaches the side
    an answer, of any status     of its own kind; of the other one only that the side can be reached
    slow, lost on its way, 5xx   of its own kind alone: a statement, or what stands before the side, may be the cause
    no connection was free here  of a read: its own kind; of a write nothing: this client's own calls hold them all
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

import httpx

from isobase_adapter.breaker import Breaker, BreakerState, Change
from isobase_adapter.capabilities import fits_written
from isobase_adapter.contracts import Event
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side

__all__ = ["Breakers", "CallKind", "Gate", "is_unavailable"]

GATEWAY_STATUSES = frozenset({502, 503, 504, 520, 521, 522, 523, 524})
SQLSTATE_LENGTH = 5
NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class CallKind(StrEnum):
    """What is judged apart."""

    READS = "reads"
    WRITES = "writes"


@dataclass(slots=True, frozen=True)
class Gate:
    """Before the calls of one kind: says whether the next may go, and is told what came of it.

    own: the breaker of this kind. other: that of the other kind, which hears of what concerns both.
    """

    kind: CallKind
    own: Breaker
    other: Breaker

    @property
    def state(self) -> BreakerState:
        """The state of this kind's breaker."""
        return self.own.state

    def allows(self) -> bool:
        """Whether the next call may go (``Breaker.allows``)."""
        return self.own.allows()

    def answered(self, response: httpx.Response, elapsed_s: float) -> bool:
        """Hear of an answer; gives whether it says that the side is down."""
        is_failure = is_unavailable(response)
        self.own.tell(elapsed_s, is_failure=is_failure)
        if not is_failure:
            self.other.hear(is_refused=False)
        return is_failure

    def failed(self, error: Exception, elapsed_s: float = 0.0) -> None:
        """Hear of a call without an answer. elapsed_s: what it may have taken, where its time was over."""
        if isinstance(error, httpx.PoolTimeout) and self.kind is CallKind.WRITES:
            self.own.forget()
            return
        is_refused = isinstance(error, NO_CONNECTION)
        self.own.tell(
            elapsed_s if isinstance(error, httpx.TimeoutException) else 0.0, is_failure=True, is_refused=is_refused
        )
        if is_refused:
            self.other.hear(is_refused=True)

    def forget(self) -> None:
        """A call that was let through was given up by its caller: nothing is known of the side."""
        self.own.forget()


class Breakers:
    """Makes them as they are needed.

    settings: for reads, and for writes where ``writes`` is None. tell: is told of every change.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = monotonic,
        *,
        writes: BreakerSettings | None = None,
    ) -> None:
        self._settings = {CallKind.READS: settings, CallKind.WRITES: writes or settings}
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._breakers: dict[tuple[str, Side], dict[CallKind, Breaker]] = {}

    def gate(self, capability: str, side: Side, kind: CallKind) -> Gate:
        """Give what stands before the calls of a kind for a capability at a side."""
        breakers = self._breakers.get((capability, side))
        if breakers is None:
            with self._lock:
                breakers = self._breakers.setdefault((capability, side), self._made(capability, side))
        other = CallKind.READS if kind is CallKind.WRITES else CallKind.WRITES
        return Gate(kind, breakers[kind], breakers[other])

    def states(self) -> dict[str, dict[str, dict[str, BreakerState]]]:
        """Give every breaker's state, by capability, side and kind."""
        found: dict[str, dict[str, dict[str, BreakerState]]] = {}
        for (capability, side), breakers in sorted(self._breakers.items()):
            states = {str(kind): breaker.state for kind, breaker in breakers.items()}
            found.setdefault(capability, {})[side] = states
        return found

    def reset(self, pattern: str, side: Side) -> None:
        """Close the breakers of a pattern's capabilities: the writer was handed to ``side``, which is well."""
        for (capability, of_side), breakers in list(self._breakers.items()):
            if of_side is side and fits_written(pattern, capability):
                for breaker in breakers.values():
                    breaker.reset(f"{side} is written first again")

    def _made(self, capability: str, side: Side) -> dict[CallKind, Breaker]:
        def made(kind: CallKind) -> Breaker:
            return Breaker(
                self._settings[kind], self._clock, lambda change: self._changed(capability, side, kind, change)
            )

        return {kind: made(kind) for kind in CallKind}

    def _changed(self, capability: str, side: Side, kind: CallKind, change: Change) -> None:
        detail = {"side": side, "calls": kind, "before": change.before, "after": change.after, "why": change.why}
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

"""What becomes of a write in stage ``live`` while Isobase, which is written first, is down.

A write that surely never left this process is tried again for a moment. Writes that fail or are slow, and calls of any
kind that get no connection, open the breaker of the capability's writes; reads that are slow or fail do not. Then the
writer is moved back to Supabase, for everybody, and the write goes there. A write of which nobody knows whether Isobase
has it is never sent elsewhere: its caller gets the error, and both sides are made equal in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from isobase_adapter.breakers import Breakers, CallKind, Gate
from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Writer
from isobase_adapter.metrics import Metrics
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute
from isobase_adapter.steps import ELAPSED_EXTENSION, Flow, OnRuntime, Wait
from isobase_adapter.writing import Outcome, WriteNotAdmitted, outcome_of_error

__all__ = ["WriteFallback"]

FIRST_WAIT_S = 0.05
MOST_ATTEMPTS = 8
"""Waits of 0.05 s, doubled each time: six seconds together."""


@dataclass(slots=True, frozen=True)
class WriteFallback:
    """Guards the first writes of one client. fail_over: moves the writer; None where that cannot be agreed upon."""

    breakers: Breakers
    fail_over: Callable[[Capability, int], Coroutine[Any, Any, Writer | None]]
    metrics: Metrics

    def lost(self, capability: Capability, route: WriteRoute) -> None:
        """Hear of an attempt at Isobase that was lost on the way and is made anew."""
        if route.falls_back:
            self._gate(str(capability)).own.tell(0.0, is_failure=True)

    def guarded(
        self,
        capability: Capability,
        acted: Callable[[], tuple[WriteRoute, Writer]],
        attempt: Callable[[], Flow[httpx.Response]],
    ) -> Flow[httpx.Response]:
        """Attempt a write, and once more where that is safe. acted: gives the route and the writer of this moment.

        Raises what the last attempt raised.
        """
        name = str(capability)
        for number in range(MOST_ATTEMPTS):
            route, writer = acted()
            if not (route.falls_back and route.first is Side.ISOBASE):
                return (yield from attempt())
            gate = self._gate(name)
            if not gate.allows():
                moved = yield OnRuntime(partial(self.fail_over, capability, writer.epoch))
                if moved is not None:
                    self.metrics.add("fallback_writes", name)
                return (yield from attempt())
            try:
                response = yield from attempt()
            except WriteNotAdmitted:
                gate.forget()
                raise
            except httpx.TransportError as error:
                gate.failed(error)
                if outcome_of_error(error) is not Outcome.REFUSED or number == MOST_ATTEMPTS - 1:
                    raise
                yield Wait(FIRST_WAIT_S * 2**number)
            except BaseException:
                gate.forget()
                raise
            else:
                gate.answered(response, response.extensions.get(ELAPSED_EXTENSION, 0.0))
                return response
        raise AssertionError("the last attempt returns or raises")

    def _gate(self, capability: str) -> Gate:
        return self.breakers.gate(capability, Side.ISOBASE, CallKind.WRITES)

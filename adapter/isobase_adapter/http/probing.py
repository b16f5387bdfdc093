"""Asks Isobase whether it is well again, through the breakers that the app's own calls go through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import httpx

from isobase_adapter.breaker import BreakerState
from isobase_adapter.breakers import Breakers, CallKind, is_unavailable
from isobase_adapter.capabilities import Capability, Kind, fits
from isobase_adapter.rows.quoting import split_resource
from isobase_adapter.sides import Side

__all__ = ["Probe", "answering"]

STEP_TIMEOUT_S = 5.0
MOST_TRIALS = 10
ANSWER_TIMEOUT_S = 3.0
SMALL_QUESTIONS = ("/rest/v1/isobase_is_this_answered?limit=0", "/auth/v1/health")
"""There is no such table; who says so has looked."""


class Probe:
    """Asks one small question for each capability of whose writes the breaker is not closed.

    url: Isobase's, with a slash at its end. key: the publishable one.
    """

    def __init__(self, breakers: Breakers, url: str, key: str) -> None:
        """Take the parts; nothing is connected yet."""
        self._breakers = breakers
        self._url = url
        self._headers = {"apikey": key, "authorization": f"Bearer {key}"}

    async def is_well(self, pattern: str) -> bool:
        """Whether Isobase answers, and every breaker of writes of the pattern's capabilities is closed or closes now.

        Those of reads are not asked: slow reads keep no writer away.
        """
        broken = [
            _capability(name)
            for name, sides in self._breakers.states().items()
            if Side.ISOBASE in sides and sides[Side.ISOBASE][CallKind.WRITES] is not BreakerState.CLOSED
        ]
        async with httpx.AsyncClient(timeout=STEP_TIMEOUT_S) as http:
            for capability in broken:
                if fits(pattern, capability) and not await self._closes(http, capability):
                    return False
            return await self._asked(http, None)

    async def _closes(self, http: httpx.AsyncClient, capability: Capability) -> bool:
        breaker = self._breakers.gate(str(capability), Side.ISOBASE, CallKind.WRITES).own
        for _ in range(MOST_TRIALS):
            if breaker.state is BreakerState.CLOSED:
                return True
            if not breaker.allows():
                return False
            began = monotonic()
            is_good = await self._asked(http, capability)
            breaker.tell(monotonic() - began, is_failure=not is_good)
        return breaker.state is BreakerState.CLOSED

    async def _asked(self, http: httpx.AsyncClient, capability: Capability | None) -> bool:
        path, headers = _question(capability)
        try:
            answer = await http.get(self._url + path, headers=self._headers | headers)
        except (httpx.TransportError, OSError):
            return False
        return not is_unavailable(answer)


def answering(urls: Mapping[Side, str], keys: Mapping[Side, str]) -> Callable[[Side], Awaitable[bool]]:
    """Give what asks a side's data API and auth something small, and says whether both answer within a moment.

    urls: the projects', keys: one of each, of any role.
    """

    async def answers(side: Side) -> bool:
        headers = {"apikey": keys[side], "authorization": f"Bearer {keys[side]}"}
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, headers=headers) as http:
            try:
                found = [await http.get(urls[side].rstrip("/") + path) for path in SMALL_QUESTIONS]
            except (httpx.TransportError, OSError):
                return False
        return not any(map(is_unavailable, found))

    return answers


def _question(capability: Capability | None) -> tuple[str, dict[str, str]]:
    """Give a path and headers; whether the answer is a refusal does not matter."""
    if capability is None or capability.kind in (Kind.RPC, Kind.REALTIME, Kind.FUNCTIONS):
        return "rest/v1/", {}
    if capability.kind is Kind.TABLE:
        schema, name = split_resource(capability.name)
        return f"rest/v1/{name}?limit=0", {"accept-profile": schema}
    return ("auth/v1/health" if capability.kind is Kind.AUTH else f"storage/v1/bucket/{capability.name}"), {}


def _capability(written: str) -> Capability:
    kind, _, name = written.partition(":")
    return Capability(Kind(kind), name)

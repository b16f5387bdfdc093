"""Which side answered: said with every answer, in a header and to the code that made the call.

``answered()`` gives it for the last call of this task or thread. The headers ``x-isobase-side`` and (where it holds)
``x-isobase-fallback`` stand in the answer for whoever sees the response itself.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

import httpx

from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage

__all__ = ["FALLBACK_HEADER", "PENDING_HEADER", "SIDE_HEADER", "Answer", "answered", "mark"]

SIDE_HEADER = "x-isobase-side"
FALLBACK_HEADER = "x-isobase-fallback"
PENDING_HEADER = "x-isobase-pending"


@dataclass(slots=True, frozen=True)
class Answer:
    """Where an answer came from."""

    side: Side
    capability: str
    stage: Stage
    is_fallback: bool = False
    """The side that should have answered was down or slow."""
    is_behind: bool = False
    """Writes were still on their way to this side when it answered: it may be older than what the other has."""


_answered: ContextVar[Answer | None] = ContextVar("isobase_answered", default=None)


def answered() -> Answer | None:
    """Give where the answer of the last call of this task or thread came from; None before the first."""
    return _answered.get()


def mark(response: httpx.Response, answer: Answer) -> httpx.Response:
    """Say in the response's headers, and to the caller's task or thread, where the answer came from."""
    _answered.set(answer)
    response.headers[SIDE_HEADER] = answer.side
    for name, holds in ((FALLBACK_HEADER, answer.is_fallback), (PENDING_HEADER, answer.is_behind)):
        # What a server says under these names is none of its business.
        response.headers.pop(name, None)
        if holds:
            response.headers[name] = "true"
    return response

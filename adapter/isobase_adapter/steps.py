"""What a protocol of several steps asks its driver for: send a request to a side, or do something on the runtime.

A protocol is a generator that yields steps and is sent their results; an error of a step is thrown into it where it
stands. The transports (``isobase_adapter.http``) drive it, sync and async, so that each protocol is written once and
does no I/O itself:

    def ask_both(request: httpx.Request) -> Flow[httpx.Response]:
        first = yield Send(Side.SUPABASE, request)
        yield OnRuntime(lambda: outbox.settle(intent))
        return first
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx

from isobase_adapter.sides import Side

__all__ = ["ELAPSED_EXTENSION", "Flow", "OnRuntime", "Send", "Step", "Wait"]

ELAPSED_EXTENSION = "isobase_elapsed_s"
"""In the extensions of an answer to ``Send``: the seconds that it took."""


@dataclass(slots=True, frozen=True)
class Send:
    """Send ``request`` to a side; its result is an ``httpx.Response``.

    The request is addressed as the app wrote it (Supabase's URL and keys); whoever sends it puts the side's own in their
    place. Raises httpx's errors.
    """

    side: Side
    request: httpx.Request
    is_streamed: bool = False
    """Whether the body may still be arriving; else it was read whole, and ``content`` holds it."""
    most_step_s: float | None = None
    """The most seconds that each step of the exchange (connect, read, write) may take, where the request says no less."""


@dataclass(slots=True, frozen=True)
class OnRuntime:
    """Run ``work()``, a coroutine, on the runtime's event loop; its result is the coroutine's."""

    work: Callable[[], Coroutine[Any, Any, Any]]


@dataclass(slots=True, frozen=True)
class Wait:
    """Let ``seconds`` pass."""

    seconds: float


Step: TypeAlias = Send | OnRuntime | Wait
Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]

"""Statements that are finished though nobody waits for them any more.

A statement that is cancelled costs its database connection, and clients leave channels and close sockets while policies and
parameters are being checked all the time. What runs here is short and bounded by its own time limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["undisturbed"]

_Result = TypeVar("_Result")

_running: set[asyncio.Task[Any]] = set()
"""The loop itself holds tasks weakly."""


async def undisturbed(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await ``work``. It goes on when the waiting task is cancelled; what it then returns or raises is dropped."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        # Looked at, so that the loop does not report an error which nobody waited for.
        task.exception()

"""What the async and the sync client both need under two names, so that one source serves both.

``scripts/async_to_sync.py`` renames: ``asleep`` -> ``sleep``, ``ALock`` -> ``Lock``, ``AEvent`` -> ``Event``,
``aspawn`` -> ``spawn``. Each pair means the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["AEvent", "ALock", "Event", "Lock", "asleep", "aspawn", "sleep", "spawn"]

ALock = asyncio.Lock
Lock = threading.Lock
AEvent = asyncio.Event
Event = threading.Event


async def asleep(seconds: float) -> None:
    """Wait without holding the loop; ``seconds`` may be 0."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait in this thread; ``seconds`` may be 0."""
    time.sleep(seconds)


def aspawn(work: Callable[..., Coroutine[Any, Any, None]], *arguments: object, name: str) -> asyncio.Task[None]:
    """Begin ``work(*arguments)`` beside the caller; the caller keeps the task, or it may be collected."""
    return asyncio.get_running_loop().create_task(work(*arguments), name=name)


def spawn(work: Callable[..., None], *arguments: object, name: str) -> threading.Thread:
    """Begin ``work(*arguments)`` in a daemon thread, which never keeps the process alive."""
    thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
    thread.start()
    return thread

"""What the async and the sync client both need under two names, so that one source serves both.

``scripts/async_to_sync.py`` renames: ``asleep`` -> ``sleep``, ``ALock`` -> ``Lock``, ``AEvent`` -> ``Event``,
``aspawn`` -> ``spawn``, ``ablocking`` -> ``blocking``. Each pair means the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "AEvent",
    "ALock",
    "Event",
    "Lock",
    "ablocking",
    "asleep",
    "aspawn",
    "blocking",
    "sleep",
    "spawn",
]

Given = ParamSpec("Given")
Result = TypeVar("Result")

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


async def ablocking(work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """Do what blocks, such as reading a file, in a thread, so that the loop goes on; gives its result."""
    return await asyncio.to_thread(work, *arguments, **named)


def blocking(work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """Do what blocks; gives its result."""
    return work(*arguments, **named)

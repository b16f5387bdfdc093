"""What the async and the sync client both need under two names, so that one source serves both.

``scripts/async_to_sync.py`` renames: ``asleep`` -> ``sleep``, ``ALock`` -> ``Lock``, ``AEvent`` -> ``Event``,
``aspawn`` -> ``spawn``, ``ablocking`` -> ``blocking``. Each pair means the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "AEvent",
    "ALock",
    "Event",
    "Lock",
    "ablocking",
    "abounded",
    "asleep",
    "aspawn",
    "blocking",
    "bounded",
    "sleep",
    "spawn",
]

Given = ParamSpec("Given")
Item = TypeVar("Item")
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


async def abounded(work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], limit: int) -> list[Result]:
    """Do ``work`` with every item, ``limit`` at a time; gives the results in order. The first error ends the others."""
    done: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def take() -> None:
        for at, item in waiting:
            done[at] = await work(item)

    tasks = [asyncio.get_running_loop().create_task(take()) for _ in range(limit)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [done[at] for at in sorted(done)]


def bounded(work: Callable[[Item], Result], items: Iterable[Item], limit: int) -> list[Result]:
    """Do ``work`` with every item, ``limit`` at a time; gives the results in order.

    The first error ends the others' calls, so that no thread goes on behind the caller's back.
    """
    from isobase._http.options import Cancellation, call_options, current_options  # the transport stands on this module

    done: dict[int, Result] = {}
    waiting = iter(enumerate(items))
    lock = threading.Lock()
    ending = Cancellation()
    outer = current_options().cancel
    forget = outer.on_cancel(ending.cancel) if outer is not None else None

    def take() -> None:
        while not ending.cancelled:
            with lock:
                following = next(waiting, None)
            if following is None:
                return
            done[following[0]] = work(following[1])

    with ThreadPoolExecutor(limit) as threads, call_options(cancel=ending):
        running = [threads.submit(copy_context().run, take) for _ in range(limit)]
        try:
            ended, _ = wait(running, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
        finally:
            ending.cancel()
            if forget is not None:
                forget()
    return [done[at] for at in sorted(done)]

"""Many pieces of work side by side, a bounded number at a time: with tasks, and with threads.

``scripts/async_to_sync.py`` renames ``abounded`` -> ``bounded``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from isobase._http.options import Cancellation, call_options, current_options

__all__ = ["abounded", "bounded"]

Item = TypeVar("Item")
Result = TypeVar("Result")


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

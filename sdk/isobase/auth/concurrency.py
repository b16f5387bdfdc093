"""Callers side by side, in the async and in the threaded form: one run of a piece of work for all who ask for it, and a
lock.

The auth client refreshes a session in a single flight: a refresh token is worth one exchange, so whoever needs the new
session while an exchange is on its way waits for that one and gets its result, also when that is an error.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

__all__ = ["AsyncMutex", "AsyncSingleFlight", "SyncMutex", "SyncSingleFlight"]

T = TypeVar("T")


class AsyncSingleFlight(Generic[T]):
    """Work by key, at most one of a key at a time.

    The work runs in a task of its own: a caller that is cancelled leaves it running, because what the server has handed
    out by then would be lost otherwise.
    """

    def __init__(self) -> None:
        self._flights: dict[tuple[str, asyncio.AbstractEventLoop], asyncio.Task[T]] = {}

    async def run(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Give the result of the work that runs for ``key``; begin ``work()`` when none does. Raises what the work
        raises.
        """
        place = (key, asyncio.get_running_loop())
        task = self._flights.get(place)
        if task is None:
            task = self._flights[place] = place[1].create_task(work(), name="isobase-auth-refresh")
            task.add_done_callback(lambda done: self._landed(place, done))
        return await asyncio.shield(task)

    def _landed(self, place: tuple[str, asyncio.AbstractEventLoop], task: asyncio.Task[T]) -> None:
        self._flights.pop(place, None)
        if not task.cancelled():
            task.exception()  # looked at, so that an error whose callers have all gone is not reported as unseen

    async def wait(self) -> None:
        """Wait until nothing runs, whatever comes of it."""
        loop = asyncio.get_running_loop()
        if tasks := [task for (_, home), task in self._flights.items() if home is loop]:
            await asyncio.wait(tasks)


class SyncSingleFlight(Generic[T]):
    """Work by key, at most one of a key at a time: the first thread does it, the others wait for its result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, tuple[Future[T], int]] = {}

    def run(self, key: str, work: Callable[[], T]) -> T:
        """Give the result of the work that runs for ``key``; do ``work()`` here when none does. Raises what the work
        raises.

        Raises ``RuntimeError`` when the work itself asks for its own result, which nobody could answer.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine: Future[T] = Future()
                self._flights[key] = (mine, threading.get_ident())
        if flight is not None:
            future, leader = flight
            if leader == threading.get_ident():
                raise RuntimeError("this work is being done by the thread that asks for its result")
            return future.result()
        try:
            result = work()
        except BaseException as error:
            self._land(key)
            mine.set_exception(error)
            raise
        self._land(key)
        mine.set_result(result)
        return result

    def _land(self, key: str) -> None:
        with self._lock:
            self._flights.pop(key, None)

    def wait(self) -> None:
        """Wait until nothing runs, whatever comes of it. What this thread does itself is not waited for."""
        with self._lock:
            flights = [future for future, leader in self._flights.values() if leader != threading.get_ident()]
        for future in flights:
            future.exception()


class AsyncMutex:
    """A lock for a client that lives longer than one event loop: an asyncio lock belongs to the loop that first waited
    for it.
    """

    def __init__(self) -> None:
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    def held(self) -> asyncio.Lock:
        """Give the lock of the running loop, for ``async with``."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


class SyncMutex:
    """The same for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def held(self) -> threading.Lock:
        """Give the lock, for ``with``."""
        return self._lock

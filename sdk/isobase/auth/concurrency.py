"""Callers side by side, in the async and in the threaded form: one run of a piece of work for all who ask for it, and a
lock.

The auth client refreshes a session in a single flight: a refresh token is worth one exchange, so whoever needs the new
session while an exchange is on its way waits for that one and gets its result, also when that is an error.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from isobase._http import DeadlineExceeded, current_options, shared_context

__all__ = ["AsyncMutex", "AsyncSingleFlight", "SyncMutex", "SyncSingleFlight"]

T = TypeVar("T")


class AsyncSingleFlight(Generic[T]):
    """Work by key, at most one of a key at a time.

    The work runs in a task of its own, without the call options of who asked first: a caller whose time is over, or who is
    cancelled, leaves it running, because what the server has handed out by then would be lost otherwise.
    """

    def __init__(self) -> None:
        self._flights: dict[tuple[str, asyncio.AbstractEventLoop], asyncio.Task[T]] = {}

    async def run(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Give the result of the work that runs for ``key``; begin ``work()`` when none does. Raises what the work raises.

        Raises ``DeadlineExceeded`` when the caller's own time (``call_options(timeout=...)``) is over first.
        """
        place = (key, asyncio.get_running_loop())
        task = self._flights.get(place)
        if task is None or task.done():  # what has ended is nobody's any more who asks now
            context = shared_context(is_limited=False)
            task = place[1].create_task(work(), name="isobase-auth-refresh", context=context)
            self._flights[place] = task
            task.add_done_callback(lambda done: self._landed(place, done))
        timeout = current_options().timeout
        if timeout is None:
            return await asyncio.shield(task)
        done, _ = await asyncio.wait([task], timeout=timeout if timeout < math.inf else None)
        if not done:
            raise DeadlineExceeded(timeout)
        return task.result()

    def _landed(self, place: tuple[str, asyncio.AbstractEventLoop], task: asyncio.Task[T]) -> None:
        if self._flights.get(place) is task:
            del self._flights[place]
        if not task.cancelled():
            task.exception()  # looked at, so that an error whose callers have all gone is not reported as unseen

    async def wait(self) -> None:
        """Wait until nothing runs, whatever comes of it."""
        loop = asyncio.get_running_loop()
        if tasks := [task for (_, home), task in self._flights.items() if home is loop]:
            await asyncio.wait(tasks)


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    """Work that a thread does; ``is_limited``: as long as that thread's own time limit or cancellation allows."""

    leader: int
    is_limited: bool
    future: Future[T] = field(default_factory=Future)


class SyncSingleFlight(Generic[T]):
    """Work by key, at most one of a key at a time: the first thread does it, the others wait for its result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight[T]] = {}

    def run(self, key: str, work: Callable[[], T]) -> T:
        """Give the result of the work that runs for ``key``; do ``work()`` here when none does. Raises what the work raises.

        Who waits does the work itself when the other thread gave up for reasons of its own. Raises ``DeadlineExceeded`` when
        the caller's own time is over first, and ``RuntimeError`` when the work itself asks for its own result.
        """
        options = current_options()
        ends_at = math.inf if options.timeout is None else time.monotonic() + options.timeout
        while True:
            with self._lock:
                flight = self._flights.get(key)
                is_mine = flight is None
                if flight is None:
                    is_limited = options.timeout is not None or options.cancel is not None
                    flight = self._flights[key] = _Flight(threading.get_ident(), is_limited)
            left_s = ends_at - time.monotonic()
            if is_mine:
                return self._do(key, work, flight, max(left_s, 0.0) if left_s < math.inf else None)
            if flight.leader == threading.get_ident():
                raise RuntimeError("this work is being done by the thread that asks for its result")
            done, _ = wait_for_futures([flight.future], timeout=left_s if left_s < math.inf else None)
            if not done:
                raise DeadlineExceeded(options.timeout or 0.0)
            error = flight.future.exception()
            if error is None or (isinstance(error, Exception) and not flight.is_limited):
                return flight.future.result()

    def _do(self, key: str, work: Callable[[], T], flight: _Flight[T], left_s: float | None) -> T:
        try:
            result = shared_context(is_limited=True, timeout=left_s).run(work)
        except BaseException as error:
            self._land(key)
            flight.future.set_exception(error)
            raise
        self._land(key)
        flight.future.set_result(result)
        return result

    def _land(self, key: str) -> None:
        with self._lock:
            self._flights.pop(key, None)

    def wait(self) -> None:
        """Wait until nothing runs, whatever comes of it. What this thread does itself is not waited for."""
        with self._lock:
            futures = [one.future for one in self._flights.values() if one.leader != threading.get_ident()]
        wait_for_futures(futures)


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

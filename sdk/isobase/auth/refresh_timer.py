"""What calls the auth client when its session is to be refreshed, in the async and in the threaded form.

A time is given by the wall clock, and looked at again every ``LONGEST_WAIT_S``: a machine that slept wakes up late for
its monotonic clock, but right for this one, and no waiting adds up to a drift. A timer holds its client weakly and
never keeps a process or a client alive.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from isobase._http import shared_context

__all__ = ["AsyncRefreshTimer", "SyncRefreshTimer"]

LONGEST_WAIT_S = 30.0

logger: logging.Logger = logging.getLogger("isobase.auth")


class AsyncRefreshTimer:
    """Calls a coroutine method once, at a time that can be moved. While it waits there is no task, only a timer of the
    event loop.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = weakref.WeakMethod(work)
        self._due_at = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def arm(self, due_at: float) -> None:
        """Call the work at ``due_at``, in seconds of ``time.time()``, in the place of what was due before."""
        self.cancel()
        self._due_at = due_at
        self._loop = asyncio.get_running_loop()
        self._wait()

    def is_armed(self) -> bool:
        """Tell whether the work will be called: a time is set, in the event loop that runs now."""
        return self._handle is not None and self._loop is asyncio.get_running_loop()

    def cancel(self) -> None:
        """Call nothing more; work that runs already goes on."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self) -> None:
        assert self._loop is not None
        left_s = self._due_at - time.time()
        if left_s <= 0:
            self._handle = None
            self._begin()
        else:
            # Not in the context of who armed it: a time limit that holds for their calls is none of this one's.
            context = shared_context(is_limited=False)
            self._handle = self._loop.call_later(min(left_s, LONGEST_WAIT_S), self._wait, context=context)

    def _begin(self) -> None:
        work = self._work()
        if work is not None and self._loop is not None:
            context = shared_context(is_limited=False)
            self._task = self._loop.create_task(_logged(work), name="isobase-auth-refresh-timer", context=context)

    async def close(self) -> None:
        """Call nothing more, and end what runs."""
        self.cancel()
        task, self._task = self._task, None
        current = asyncio.current_task()
        if task is not None and task is not current and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])


async def _logged(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except Exception:
        logger.exception("the refresh in the background failed")


class SyncRefreshTimer:
    """Calls a method once, at a time that can be moved, from a daemon thread that is there only while something is
    due.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = weakref.WeakMethod(work, self._forget)
        self._changed = threading.Condition()
        self._due_at: float | None = None
        self._thread: threading.Thread | None = None

    def _forget(self, _: object) -> None:
        # No lock: this may run in the collector, inside any other code; the thread looks again in time.
        self._due_at = None

    def arm(self, due_at: float) -> None:
        """Call the work at ``due_at``, in seconds of ``time.time()``, in the place of what was due before."""
        with self._changed:
            self._due_at = due_at
            # Not alive: this process is a fork of the one that began it.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="isobase-auth-refresh", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def is_armed(self) -> bool:
        """Tell whether the work will be called."""
        with self._changed:
            return self._due_at is not None and self._thread is not None and self._thread.is_alive()

    def cancel(self) -> None:
        """Call nothing more; work that runs already goes on."""
        with self._changed:
            self._due_at = None
            self._changed.notify_all()

    def _run(self) -> None:
        while self._is_due():
            work = self._work()
            if work is None:
                continue
            try:
                work()
            except Exception:
                logger.exception("the refresh in the background failed")
            del work

    def _is_due(self) -> bool:
        """Wait for the time; False when there is nothing to wait for any more, and then the thread is given up."""
        with self._changed:
            while self._due_at is not None:
                left_s = self._due_at - time.time()
                if left_s <= 0:
                    self._due_at = None
                    return True
                self._changed.wait(min(left_s, LONGEST_WAIT_S))
            self._thread = None
            return False

    def close(self) -> None:
        """Call nothing more, and wait for the thread, unless it is the one that calls."""
        with self._changed:
            self._due_at = None
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

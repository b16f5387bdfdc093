"""A call that is made once, later: in the running event loop for a coroutine function, in a daemon thread otherwise.

Kept for code that imports ``supabase_auth.timer``; neither form keeps the process alive.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

__all__ = ["Timer"]


class Timer:
    """Call ``function`` once, ``seconds`` **milliseconds** after ``start()``.

    The parameter's name and its unit disagree upstream, and are kept. Source: ``supabase_auth.timer.Timer``.
    """

    def __init__(self, seconds: float, function: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        self._milliseconds = seconds
        self._function = function
        self._task: asyncio.Task[None] | None = None
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin to wait; a coroutine function needs a running event loop (else RuntimeError)."""
        if inspect.iscoroutinefunction(self._function):
            self._task = asyncio.get_running_loop().create_task(self._wait_and_call())
            self._task.add_done_callback(self._forget)
            return
        self._timer = threading.Timer(self._milliseconds / 1000, self._function)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Give the call up, when it has not begun; a call that cancels its own timer runs on."""
        task, self._task = self._task, None
        if task is not None and task is not _current_task():
            task.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def is_alive(self) -> bool:
        """Tell whether the call is still to come, or being made."""
        return self._task is not None or (self._timer is not None and self._timer.is_alive())

    async def _wait_and_call(self) -> None:
        await asyncio.sleep(self._milliseconds / 1000)
        await cast("Callable[[], Coroutine[Any, Any, None]]", self._function)()

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None

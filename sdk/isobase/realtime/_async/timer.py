"""Runs something once after a delay that grows with every time it had to be scheduled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

__all__ = ["AsyncTimer"]

logger = logging.getLogger("isobase.realtime")


class AsyncTimer:
    """A timer that is set anew each time: ``timer_calc(tries)`` gives the seconds, tries counting from 1."""

    def __init__(self, callback: Callable[[], Awaitable[None]], timer_calc: Callable[[int], float]) -> None:
        self.callback = callback
        self.timer_calc = timer_calc
        self.timer: asyncio.Task[None] | None = None
        self.tries: int = 0

    def reset(self) -> None:
        """Forget the tries, and what is scheduled. What runs already goes on when it is the caller itself."""
        self.tries = 0
        timer, self.timer = self.timer, None
        if timer is not None and not timer.done() and timer is not _current_task():
            timer.cancel()

    def schedule_timeout(self, delay: float | None = None) -> None:
        """Run the callback after ``delay`` seconds, or after those of ``timer_calc``, in place of what was scheduled."""
        timer = self.timer
        if timer is not None and not timer.done() and timer is not _current_task():
            timer.cancel()
        self.tries += 1
        self.timer = asyncio.get_running_loop().create_task(
            self._run_timer(self.timer_calc(self.tries) if delay is None else delay), name="isobase-realtime-timer"
        )

    async def _run_timer(self, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
            await self.callback()
        except Exception:  # whatever it raises, the timer goes on to be used
            logger.exception("a realtime timer's callback failed")


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None

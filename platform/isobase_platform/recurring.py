"""Work that a server does again and again beside its requests: one loop, for every service that has some.

Waits differ a little, so that processes that were started together do not all wake together. A fault in the work is told
whole and ends nothing: the next round comes all the same. What is expected to fail the work handles itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

__all__ = ["Recurring"]

SPREAD = 0.2
"""The part by which waits differ from ``interval_s``."""

_log = logging.getLogger("isobase.recurring")


class Recurring:
    """Runs ``work`` every ``interval_s`` seconds, the first time after one such wait. ``name`` says what it is in the log."""

    def __init__(self, name: str, interval_s: float, work: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._interval_s = interval_s
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait; nothing where it has begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cancel the wait or the work, and return when it has ended."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(1 - SPREAD, 1 + SPREAD))  # noqa: S311  no secret
            try:
                await self._work()
            except Exception:  # noqa: BLE001  a fault of ours is told whole, and must not end all regular work
                _log.exception("regular work failed", extra={"work": self._name})

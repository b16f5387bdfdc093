"""Several workers beside each other: tasks for the async client, threads for the sync one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["AsyncWorkers", "SyncWorkers"]


class AsyncWorkers:
    """``run`` lets tasks work until all are through; the first error is raised."""

    @staticmethod
    async def run(work: Callable[[int], Awaitable[None]], count: int) -> None:
        """Call ``work`` with 0 to ``count`` - 1."""
        await asyncio.gather(*(work(worker) for worker in range(count)))


class SyncWorkers:
    """``run`` lets threads work until all are through; the first error is raised."""

    @staticmethod
    def run(work: Callable[[int], None], count: int) -> None:
        """Call ``work`` with 0 to ``count`` - 1."""
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))

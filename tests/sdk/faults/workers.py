"""Several workers beside each other: tasks for the async client, threads for the sync one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil

__all__ = ["AsyncRemains", "AsyncWorkers", "SyncRemains", "SyncWorkers"]

REMAINS_S = 60.0


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


class _Remains:
    """What a process has of its own now, to be compared with what it has when clients have been closed."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._threads = set(threading.enumerate())

    def found(self) -> list[str]:
        """Tell what clients left behind: threads of theirs, connections to the network."""
        threads = [one.name for one in set(threading.enumerate()) - self._threads if one.name.startswith("isobase")]
        sockets = [
            f"{one.laddr} -> {one.raddr} {one.status}"
            for one in psutil.Process().net_connections("tcp")
            if getattr(one.raddr, "port", None) == self._port
        ]
        return threads + sockets


class AsyncRemains(_Remains):
    """What tasks leave behind."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._tasks = asyncio.all_tasks()

    async def check(self) -> None:
        """Raise ``AssertionError`` where something is left a moment after clients were closed."""
        deadline_s = time.monotonic() + REMAINS_S
        while left := [*self.found(), *map(repr, asyncio.all_tasks() - self._tasks)]:
            assert time.monotonic() < deadline_s, left
            await asyncio.sleep(0.02)


class SyncRemains(_Remains):
    """What threads leave behind."""

    def check(self) -> None:
        """Raise ``AssertionError`` where something is left a moment after clients were closed."""
        deadline_s = time.monotonic() + REMAINS_S
        while left := self.found():
            assert time.monotonic() < deadline_s, left
            time.sleep(0.02)

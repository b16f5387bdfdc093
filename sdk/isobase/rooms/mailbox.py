"""What one part puts things in and another waits at, in both worlds: ``AsyncMailbox`` for tasks, ``SyncMailbox`` for
threads."""

from __future__ import annotations

import asyncio
import queue
from typing import Generic, TypeVar

__all__ = ["AsyncMailbox", "SyncMailbox"]

T = TypeVar("T")


class AsyncMailbox(Generic[T]):
    """Keeps at most ``size`` things (0: any number), then forgets the oldest."""

    def __init__(self, size: int = 0) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(size)

    def put(self, thing: T) -> bool:
        """Put something in, without waiting; gives whether something had to be forgotten."""
        is_full = self._queue.full()
        if is_full:
            self._queue.get_nowait()
        self._queue.put_nowait(thing)
        return is_full

    async def get(self, timeout: float | None = None) -> T:
        """Wait for the next thing, at most ``timeout`` seconds. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            return await self._queue.get()


class SyncMailbox(Generic[T]):
    """Keeps at most ``size`` things (0: any number), then forgets the oldest. One thread puts."""

    def __init__(self, size: int = 0) -> None:
        self._queue: queue.Queue[T] = queue.Queue(size)

    def put(self, thing: T) -> bool:
        """Put something in, without waiting; gives whether something had to be forgotten."""
        is_full = False
        while True:
            try:
                self._queue.put_nowait(thing)
                return is_full
            except queue.Full:
                is_full = True
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    continue

    def get(self, timeout: float | None = None) -> T:
        """Wait for the next thing, at most ``timeout`` seconds. Raises ``TimeoutError``."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

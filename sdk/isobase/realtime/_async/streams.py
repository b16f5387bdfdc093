"""Events of a channel for ``async for``, in place of callbacks."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from isobase.realtime.exceptions import RealtimeBufferFullError

if TYPE_CHECKING:
    from isobase.realtime._async.channel import AsyncRealtimeChannel

__all__ = ["AsyncEvents"]

T = TypeVar("T")


class AsyncEvents(Generic[T]):
    """What comes in on a channel, one event after another. The first step subscribes the channel if nobody has.

    It ends when the channel is closed or ``close`` is called. At most ``max_waiting`` events wait; what comes beyond
    is dropped, and the step after those that wait raises ``RealtimeBufferFullError``.
    """

    def __init__(self, channel: AsyncRealtimeChannel, max_waiting: int) -> None:
        self._channel = channel
        self._max_waiting = max_waiting
        self._waiting: deque[T] = deque()
        self._news = asyncio.Event()
        self._overflowed = False
        self._ended = False
        channel._streams.append(self)

    def put(self, event: T) -> None:
        """Add an event; the channel's listeners do."""
        if self._ended or self._overflowed:
            return
        if len(self._waiting) >= self._max_waiting:
            self._overflowed = True
        else:
            self._waiting.append(event)
        self._news.set()

    def close(self) -> None:
        """End it: what waits is still given, nothing comes after."""
        self._ended = True
        self._news.set()

    def __aiter__(self) -> AsyncEvents[T]:
        return self

    async def __anext__(self) -> T:
        if not self._ended and not self._channel._joined_once:
            await self._channel.subscribe()
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._overflowed:
                self._overflowed = False
                raise RealtimeBufferFullError(f"more than {self._max_waiting} events waited; later ones were dropped")
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

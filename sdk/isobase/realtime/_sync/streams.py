"""Events of a sync channel for ``for``, in place of callbacks."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from isobase.realtime.exceptions import RealtimeBufferFullError

if TYPE_CHECKING:
    from isobase.realtime._sync.channel import SyncRealtimeChannel

__all__ = ["SyncEvents"]

T = TypeVar("T")


class SyncEvents(Generic[T]):
    """What comes in on a channel, one event after another. The first step subscribes the channel if nobody has.

    It ends when the channel is closed or ``close`` is called. At most ``max_waiting`` events wait; what comes beyond
    is dropped, and the step after those that wait raises ``RealtimeBufferFullError``.
    """

    def __init__(self, channel: SyncRealtimeChannel, max_waiting: int) -> None:
        self._channel = channel
        self._max_waiting = max_waiting
        self._waiting: deque[T] = deque()
        self._news = threading.Condition()
        self._overflowed = False
        self._ended = False

    def put(self, event: T) -> None:
        """Add an event; the channel's listeners do."""
        with self._news:
            if self._ended or self._overflowed:
                return
            if len(self._waiting) >= self._max_waiting:
                self._overflowed = True
            else:
                self._waiting.append(event)
            self._news.notify_all()

    def close(self) -> None:
        """End it: what waits is still given, nothing comes after."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def __iter__(self) -> SyncEvents[T]:
        return self

    def __next__(self) -> T:
        if not self._ended and not self._channel._core._joined_once:
            self._channel.subscribe()
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._overflowed or self._ended)
            if self._waiting:
                return self._waiting.popleft()
            if self._overflowed:
                self._overflowed = False
                raise RealtimeBufferFullError(f"more than {self._max_waiting} events waited; later ones were dropped")
            raise StopIteration

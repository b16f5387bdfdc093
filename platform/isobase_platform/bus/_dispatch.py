"""What both buses share: the table of subscriptions, and one queue and task per subscription.

A slow handler delays only its own subscription; its queue is bounded, and when it is full the oldest message goes, which
at-most-once delivery allows and a log line says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from isobase_platform.bus import Handler

__all__ = ["Dispatcher", "LiveSubscription"]

MAX_QUEUED_MESSAGES = 10_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
LOGGED_DROPS = 1_000
"""One line in the log stands for so many dropped messages: who is too slow must not be made slower."""

_log = logging.getLogger("isobase.bus")


class LiveSubscription:
    """One handler with its queue and task."""

    def __init__(
        self,
        channel: str,
        handler: Handler,
        on_reconnect: Callable[[], Awaitable[None]] | None,
        on_cancel: Callable[[LiveSubscription], Awaitable[None]],
    ) -> None:
        self.channel = channel
        self.on_reconnect = on_reconnect
        self._handler = handler
        self._on_cancel = on_cancel
        self._queue: deque[bytes | None] = deque()
        """Messages; None where the connection was made again, so that the subscriber learns it in the right place."""
        self._size_bytes = 0
        self._dropped = 0
        self._wakeup = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"bus {channel}")

    def offer(self, payload: bytes) -> None:
        """Queue a message for the handler."""
        self._queue.append(payload)
        self._size_bytes += len(payload)
        # A single message larger than the limit is still handed on.
        while len(self._queue) > MAX_QUEUED_MESSAGES or (self._size_bytes > MAX_QUEUED_BYTES and len(self._queue) > 1):
            self._size_bytes -= len(self._queue.popleft() or b"")
            if self._dropped % LOGGED_DROPS == 0:
                _log.warning("bus subscriber is too slow, oldest messages are dropped", extra={"channel": self.channel})
            self._dropped += 1
        self._wakeup.set()

    def tell_reconnected(self) -> None:
        """Call ``on_reconnect`` after the messages that came before, and before those that come now."""
        if self.on_reconnect is not None:
            self._queue.append(None)
            self._wakeup.set()

    async def cancel(self) -> None:
        """See ``Subscription.cancel``."""
        await self._on_cancel(self)
        await self.stop()

    async def stop(self) -> None:
        """End the task that hands messages on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            while self._queue:
                payload = self._queue.popleft()
                try:
                    if payload is not None:
                        self._size_bytes -= len(payload)
                        await self._handler(payload)
                    elif self.on_reconnect is not None:
                        await self.on_reconnect()
                except Exception:  # noqa: BLE001  a bus carries on
                    # One bad message must not end the subscription; the handler's own tests are the place to find it.
                    _log.exception("bus handler failed", extra={"channel": self.channel})


class Dispatcher:
    """Channel -> subscriptions."""

    def __init__(self) -> None:
        self._by_channel: dict[str, list[LiveSubscription]] = {}

    def add(self, subscription: LiveSubscription) -> bool:
        """Register; True when it is the channel's first."""
        subscriptions = self._by_channel.setdefault(subscription.channel, [])
        subscriptions.append(subscription)
        return len(subscriptions) == 1

    def remove(self, subscription: LiveSubscription) -> bool:
        """Forget; True when it was the channel's last."""
        subscriptions = self._by_channel.get(subscription.channel, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._by_channel[subscription.channel]
                return True
        return False

    def deliver(self, channel: str, payload: bytes) -> None:
        """Queue ``payload`` for every subscription of ``channel``."""
        for subscription in self._by_channel.get(channel, ()):
            subscription.offer(payload)

    def tell_reconnected(self) -> None:
        """Let every subscription know that it may have missed messages."""
        for subscription in self.subscriptions:
            subscription.tell_reconnected()

    @property
    def channels(self) -> list[str]:
        """The channels with a subscription."""
        return list(self._by_channel)

    @property
    def subscriptions(self) -> list[LiveSubscription]:
        """All live subscriptions."""
        return [subscription for group in self._by_channel.values() for subscription in group]

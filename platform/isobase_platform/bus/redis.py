"""``Bus`` on Redis pub/sub: one connection reads for all subscriptions and is made again when it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from isobase_platform.bus import Handler, Subscription
from isobase_platform.bus._dispatch import Dispatcher, LiveSubscription
from isobase_platform.errors import Unavailable

__all__ = ["RedisBus"]

CHANNEL_PREFIX = "isobase:bus:"
TIMEOUT_S = 2.0
MAX_RECONNECT_DELAY_S = 5.0

_log = logging.getLogger("isobase.bus")
_FAILURES = (RedisError, OSError, TimeoutError)


class RedisBus:
    """Redis by its URL; connects on first use."""

    kind = "redis"

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_connect_timeout=TIMEOUT_S)
        self._pubsub: PubSub | None = None
        self._dispatcher = Dispatcher()
        self._reader: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def publish(self, channel: str, payload: bytes) -> None:
        """See ``Bus.publish``."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._redis.publish(CHANNEL_PREFIX + channel, payload)
        except _FAILURES as error:
            raise Unavailable("The bus is not available") from error

    async def subscribe(
        self, channel: str, handler: Handler, *, on_reconnect: Callable[[], Awaitable[None]] | None = None
    ) -> Subscription:
        """See ``Bus.subscribe``."""
        async with self._changing:
            subscription = LiveSubscription(channel, handler, on_reconnect, self._forget)
            is_first = self._dispatcher.add(subscription)
            try:
                if self._pubsub is None:
                    self._pubsub = self._redis.pubsub()
                if is_first:
                    await self._pubsub.subscribe(CHANNEL_PREFIX + channel)
            except _FAILURES as error:
                self._dispatcher.remove(subscription)
                raise Unavailable("The bus is not available") from error
            if self._reader is None:
                self._reader = asyncio.create_task(self._read(), name="bus reader")
        return subscription

    async def _forget(self, subscription: LiveSubscription) -> None:
        async with self._changing:
            if self._dispatcher.remove(subscription) and self._pubsub is not None:
                try:
                    await self._pubsub.unsubscribe(CHANNEL_PREFIX + subscription.channel)
                except _FAILURES:
                    _log.info("bus was away while a subscription ended", extra={"channel": subscription.channel})

    async def _read(self) -> None:
        delay_s = 0.1
        while True:
            try:
                assert self._pubsub is not None
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=30.0)
                delay_s = 0.1
                if message is not None and message["type"] == "message":
                    channel = message["channel"].decode().removeprefix(CHANNEL_PREFIX)
                    self._dispatcher.deliver(channel, message["data"])
                elif not self._dispatcher.channels:
                    await asyncio.sleep(0.05)  # with nothing subscribed get_message answers at once
            except _FAILURES as error:
                _log.warning("bus connection lost, connecting again", extra={"reason": type(error).__name__})
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RECONNECT_DELAY_S)
                await self._resubscribe()

    async def _resubscribe(self) -> None:
        async with self._changing:
            try:
                if self._pubsub is not None:
                    await self._pubsub.aclose()  # type: ignore[no-untyped-call]
                self._pubsub = self._redis.pubsub()
                if self._dispatcher.channels:
                    await self._pubsub.subscribe(*(CHANNEL_PREFIX + name for name in self._dispatcher.channels))
            except _FAILURES:
                return  # the reader comes back here after a longer delay
        for subscription in self._dispatcher.subscriptions:
            if subscription.on_reconnect is not None:
                await subscription.on_reconnect()

    async def ping(self) -> bool:
        """See ``Bus.ping``."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return bool(await self._redis.ping())
        except _FAILURES:
            return False

    async def close(self) -> None:
        """See ``Bus.close``."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        for subscription in self._dispatcher.subscriptions:
            await subscription.cancel()
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()

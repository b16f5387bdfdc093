"""``Bus`` on Redis pub/sub: one connection reads for all subscriptions and is made again when it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from isobase_platform.bus import Handler, Subscription
from isobase_platform.bus._dispatch import Dispatcher, LiveSubscription
from isobase_platform.errors import Unavailable

__all__ = ["RedisBus"]

CHANNEL_PREFIX = "isobase:bus:"
TIMEOUT_S = 2.0
MIN_RECONNECT_DELAY_S = 0.1
MAX_RECONNECT_DELAY_S = 2.0
READ_TIMEOUT_S = 30.0
IDLE_PAUSE_S = 0.05

_log = logging.getLogger("isobase.bus")
_FAILURES = (RedisError, OSError, TimeoutError)


class RedisBus:
    """Redis by its URL; connects on first use."""

    kind = "redis"
    batch_bytes = 256 * 1024

    def __init__(self, url: str) -> None:
        # Without retries of its own: a connection that it made again in silence would hide what was missed meanwhile.
        self._redis = Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))
        self._pubsub: PubSub | None = None
        self._dispatcher = Dispatcher()
        self._unconfirmed: dict[str, asyncio.Event] = {}
        self._is_back = False
        self._reader: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def publish(self, channel: str, payload: bytes) -> None:
        """See ``Bus.publish``."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._redis.publish(CHANNEL_PREFIX + channel, payload)
        except _FAILURES as error:
            raise Unavailable("The bus is not available") from error

    async def publish_many(self, channel: str, payloads: Sequence[bytes]) -> None:
        """See ``Bus.publish_many``."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for payload in payloads:
                        pipeline.publish(CHANNEL_PREFIX + channel, payload)
                    await pipeline.execute()
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
                async with asyncio.timeout(TIMEOUT_S):
                    if self._pubsub is None:
                        await self._connect()
                    elif is_first:
                        await self._ask_for(self._pubsub, channel)
                    if self._reader is None:
                        self._reader = asyncio.create_task(self._read(), name="bus reader")
                    # Redis takes commands of different connections in any order: only its answer says that it listens.
                    if (confirmed := self._unconfirmed.get(channel)) is not None:
                        await confirmed.wait()
            except _FAILURES as error:
                self._dispatcher.remove(subscription)
                await subscription.stop()
                raise Unavailable("The bus is not available") from error
        return subscription

    async def _connect(self) -> None:
        """A new connection with every subscription on it. Raises what Redis raises."""
        self._unconfirmed.clear()
        pubsub = self._redis.pubsub()
        try:
            if self._dispatcher.channels:
                await self._ask_for(pubsub, *self._dispatcher.channels)
        except _FAILURES:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            raise
        self._pubsub = pubsub

    async def _ask_for(self, pubsub: PubSub, *channels: str) -> None:
        for channel in channels:
            self._unconfirmed[channel] = asyncio.Event()
        await pubsub.subscribe(*(CHANNEL_PREFIX + channel for channel in channels))

    async def _forget(self, subscription: LiveSubscription) -> None:
        async with self._changing:
            if self._dispatcher.remove(subscription) and self._pubsub is not None:
                self._unconfirmed.pop(subscription.channel, None)
                try:
                    await self._pubsub.unsubscribe(CHANNEL_PREFIX + subscription.channel)
                except _FAILURES:
                    _log.info("bus was away while a subscription ended", extra={"channel": subscription.channel})

    async def _read(self) -> None:
        delay_s = MIN_RECONNECT_DELAY_S
        while True:
            pubsub = self._pubsub
            try:
                if pubsub is None:
                    await self._reconnect()
                    delay_s = MIN_RECONNECT_DELAY_S
                elif not self._dispatcher.channels:
                    await asyncio.sleep(IDLE_PAUSE_S)  # with nothing subscribed get_message answers at once
                else:
                    self._hand_on(await pubsub.get_message(timeout=READ_TIMEOUT_S))
            except _FAILURES as error:
                if pubsub is not None:
                    _log.warning("bus connection lost, connecting again", extra={"reason": type(error).__name__})
                    self._pubsub = None
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RECONNECT_DELAY_S)

    async def _reconnect(self) -> None:
        async with self._changing:
            async with asyncio.timeout(TIMEOUT_S):
                await self._connect()
            self._is_back = True

    def _hand_on(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        channel = message["channel"].decode().removeprefix(CHANNEL_PREFIX)
        if message["type"] == "message":
            self._dispatcher.deliver(channel, message["data"])
        elif message["type"] == "subscribe":
            if (event := self._unconfirmed.pop(channel, None)) is not None:
                event.set()
            if self._is_back and not self._unconfirmed:
                self._is_back = False
                self._dispatcher.tell_reconnected()

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

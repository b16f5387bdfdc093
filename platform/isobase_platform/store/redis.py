"""``KeyValueStore`` on Redis. Keys get the prefix ``isobase:``; every operation is one command, or one script."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from isobase_platform.errors import Unavailable

__all__ = ["RedisStore"]

KEY_PREFIX = "isobase:"
TIMEOUT_S = 2.0

# The expiry is set with the first increment only, in the same step, so that no counter can live for ever.
_INCREMENT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""
# A bucket is a key that lives until it is full again (GCRA): each token prolongs its life by one interval, and there is one
# as long as that life is shorter than the whole bucket. The server's own clock counts for every process.
_SPEND = """
local left = math.max(redis.call('PTTL', KEYS[1]), 0)
local interval = tonumber(ARGV[1])
if left > interval * (tonumber(ARGV[2]) - 1) then return 0 end
redis.call('SET', KEYS[1], '', 'PX', left + interval)
return 1
"""


class RedisStore:
    """Redis by its URL; connects on first use."""

    kind = "redis"

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)

    async def get(self, key: str) -> bytes | None:
        """See ``KeyValueStore.get``."""
        async with _mapped():
            value = await self._redis.get(KEY_PREFIX + key)
        return _bytes(value)

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """See ``KeyValueStore.set``."""
        async with _mapped():
            await self._redis.set(KEY_PREFIX + key, value, px=_milliseconds(ttl_s))

    async def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        """See ``KeyValueStore.add``."""
        async with _mapped():
            return bool(await self._redis.set(KEY_PREFIX + key, value, px=_milliseconds(ttl_s), nx=True))

    async def take(self, key: str) -> bytes | None:
        """See ``KeyValueStore.take``."""
        async with _mapped():
            value = await self._redis.getdel(KEY_PREFIX + key)
        return _bytes(value)

    async def increment(self, key: str, ttl_s: float) -> int:
        """See ``KeyValueStore.increment``."""
        async with _mapped():
            return int(await self._redis.eval(_INCREMENT, 1, KEY_PREFIX + key, str(_milliseconds(ttl_s))))

    async def spend(self, key: str, interval_s: float, burst: int) -> bool:
        """See ``KeyValueStore.spend``."""
        async with _mapped():
            arguments = (str(_milliseconds(interval_s)), str(burst))
            return bool(await self._redis.eval(_SPEND, 1, KEY_PREFIX + key, *arguments))

    async def can_spend(self, key: str, interval_s: float, burst: int) -> bool:
        """See ``KeyValueStore.can_spend``."""
        async with _mapped():
            left_ms = int(await self._redis.pttl(KEY_PREFIX + key))
        return left_ms <= _milliseconds(interval_s) * (burst - 1)

    async def delete(self, key: str) -> None:
        """See ``KeyValueStore.delete``."""
        async with _mapped():
            await self._redis.delete(KEY_PREFIX + key)

    async def ping(self) -> bool:
        """See ``KeyValueStore.ping``."""
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    async def sweep(self) -> int:
        """Redis expires keys by itself: nothing to do."""
        return 0

    async def close(self) -> None:
        """See ``KeyValueStore.close``."""
        await self._redis.aclose()


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _milliseconds(ttl_s: float) -> int:
    return max(1, math.ceil(ttl_s * 1000))


@asynccontextmanager
async def _mapped() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("The key-value store is not available") from error

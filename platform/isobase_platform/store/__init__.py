"""Key-value with expiry, shared by all processes: Redis, or PostgreSQL where no Redis is configured.

``KeyValueStore`` is the interface; ``open_store`` chooses. Values are bytes, times to live are seconds. What must never be
lost does not belong here: Redis may evict, and the PostgreSQL table is unlogged (empty after a crash).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from isobase_platform.config import Settings
    from isobase_platform.pool import Pools

__all__ = ["KeyValueStore", "open_store"]


class KeyValueStore(Protocol):
    """What both implementations offer. Every method raises ``Unavailable`` when the server is out of reach."""

    @property
    def kind(self) -> str:
        """``redis`` or ``postgresql``."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The live value of ``key``, or None."""
        ...

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Store ``value`` for ``ttl_s`` seconds, replacing what was there."""
        ...

    async def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Store ``value`` only where no live value is; True when it was stored."""
        ...

    async def take(self, key: str) -> bytes | None:
        """Remove ``key`` and return its live value; of several callers at once only one gets it."""
        ...

    async def increment(self, key: str, ttl_s: float) -> int:
        """Add one to a counter and return it; a new counter lives ``ttl_s`` seconds from its first increment."""
        ...

    async def spend(self, key: str, interval_s: float, burst: int) -> bool:
        """Take a token from the bucket ``key``, which holds ``burst`` and gets one back every ``interval_s`` seconds.

        True when there was one. One atomic round trip; a bucket that is full again leaves nothing behind.
        """
        ...

    async def can_spend(self, key: str, interval_s: float, burst: int) -> bool:
        """Whether ``spend`` would find a token now; none is taken."""
        ...

    async def delete(self, key: str) -> None:
        """Remove ``key``; no error where it is absent."""
        ...

    async def ping(self) -> bool:
        """True when the store answers."""
        ...

    async def sweep(self) -> int:
        """Remove expired entries where the server does not do so by itself; returns how many."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


def open_store(settings: Settings, pools: Pools) -> KeyValueStore:
    """The store that the settings ask for: Redis when ``redis_url`` is set. Connects on first use."""
    if settings.redis_url is not None:
        from isobase_platform.store.redis import RedisStore

        return RedisStore(settings.redis_url.get_secret_value())
    from isobase_platform.store.postgres import PostgresStore

    return PostgresStore(pools)

"""``KeyValueStore`` on the table ``isobase.key_values``, for projects without Redis. One statement per operation."""

from __future__ import annotations

from datetime import timedelta

from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.pool import Pools

__all__ = ["PostgresStore"]

_SET = """
insert into isobase.key_values (key, value, expires_at) values ($1, $2, clock_timestamp() + $3)
on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at
"""
_ADD = """
insert into isobase.key_values as kv (key, value, expires_at) values ($1, $2, clock_timestamp() + $3)
on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at
 where kv.expires_at <= clock_timestamp()
returning true
"""
# The counter is kept as text in the value column; an expired one starts anew with a new life.
_INCREMENT = """
insert into isobase.key_values as kv (key, value, expires_at) values ($1, '1'::bytea, clock_timestamp() + $2)
on conflict (key) do update set
  value = case when kv.expires_at <= clock_timestamp() then '1'::bytea
               else convert_to((convert_from(kv.value, 'UTF8')::bigint + 1)::text, 'UTF8') end,
  expires_at = case when kv.expires_at <= clock_timestamp() then excluded.expires_at else kv.expires_at end
returning convert_from(value, 'UTF8')::bigint
"""
# A bucket is kept as the time at which it is full again (GCRA): each token moves it on by one interval, and there is one
# as long as it lies less than the whole bucket ahead. So the row expires by itself when it means nothing any more.
_SPEND = """
insert into isobase.key_values as kv (key, value, expires_at) values ($1, ''::bytea, clock_timestamp() + $2::interval)
on conflict (key) do update
  set value = excluded.value, expires_at = greatest(kv.expires_at, clock_timestamp()) + $2::interval
where kv.expires_at - clock_timestamp() <= $2::interval * ($3::integer - 1)
returning true
"""
_CAN_SPEND = """
select not exists (
  select from isobase.key_values
   where key = $1 and expires_at - clock_timestamp() > $2::interval * ($3::integer - 1))
"""


class PostgresStore:
    """The owner's pool is used: no user's statement ever touches the table."""

    kind = "postgresql"

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    async def get(self, key: str) -> bytes | None:
        """See ``KeyValueStore.get``."""
        async with self._pools.acquire(None) as connection:
            value: bytes | None = await connection.fetchval(
                "select value from isobase.key_values where key = $1 and expires_at > clock_timestamp()", key
            )
        return value

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """See ``KeyValueStore.set``."""
        async with self._pools.acquire(None) as connection:
            await connection.execute(_SET, key, value, timedelta(seconds=ttl_s))

    async def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        """See ``KeyValueStore.add``."""
        async with self._pools.acquire(None) as connection:
            return bool(await connection.fetchval(_ADD, key, value, timedelta(seconds=ttl_s)))

    async def take(self, key: str) -> bytes | None:
        """See ``KeyValueStore.take``."""
        async with self._pools.acquire(None) as connection:
            row = await connection.fetchrow(
                "delete from isobase.key_values where key = $1"
                " returning value, expires_at > clock_timestamp() as is_live",
                key,
            )
        return row["value"] if row is not None and row["is_live"] else None

    async def increment(self, key: str, ttl_s: float) -> int:
        """See ``KeyValueStore.increment``."""
        async with self._pools.acquire(None) as connection:
            return int(await connection.fetchval(_INCREMENT, key, timedelta(seconds=ttl_s)))

    async def spend(self, key: str, interval_s: float, burst: int) -> bool:
        """See ``KeyValueStore.spend``."""
        async with self._pools.acquire(None) as connection:
            return bool(await connection.fetchval(_SPEND, key, timedelta(seconds=interval_s), burst))

    async def can_spend(self, key: str, interval_s: float, burst: int) -> bool:
        """See ``KeyValueStore.can_spend``."""
        async with self._pools.acquire(None) as connection:
            return bool(await connection.fetchval(_CAN_SPEND, key, timedelta(seconds=interval_s), burst))

    async def delete(self, key: str) -> None:
        """See ``KeyValueStore.delete``."""
        async with self._pools.acquire(None) as connection:
            await connection.execute("delete from isobase.key_values where key = $1", key)

    async def ping(self) -> bool:
        """See ``KeyValueStore.ping``."""
        try:
            async with self._pools.acquire(None) as connection:
                await connection.execute("select from isobase.key_values limit 1")
        except (Unavailable, DatabaseError):
            return False
        return True

    async def sweep(self) -> int:
        """See ``KeyValueStore.sweep``."""
        async with self._pools.acquire(None) as connection:
            tag = await connection.execute("delete from isobase.key_values where expires_at <= clock_timestamp()")
        return int(tag.rpartition(" ")[2])

    async def close(self) -> None:
        """The pools are closed by whoever made them."""

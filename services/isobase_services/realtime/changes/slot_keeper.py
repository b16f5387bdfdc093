"""What is done about the slot on the service's own connections: open a stream on it, watch its lag, drop it when unused."""

from __future__ import annotations

import asyncio
import logging
from enum import StrEnum

from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.pool import Pools
from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.slots import LOCK_CLASS, LOCK_OBJECT, SLOT_PREFIX, NotLeader, SlotPolicy
from isobase_services.realtime.changes.stream import LogStream, StreamRefused, StreamSink, open_stream

__all__ = ["SlotKeeper", "WatchEnd"]

WATCH_INTERVAL_S = 3.0
CANNOT_CONNECT_NOW = "57P03"
DROP_DELAYS_S = (0.05, 0.1, 0.5, 2.0)
"""A session that was closed may take a moment to give its slot free."""

_IS_LED_SQL = """
select exists (
  select from pg_catalog.pg_locks as l
   where l.locktype = 'advisory' and l.granted and l.objsubid = 2
     and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid
     and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
)
"""
_PUBLICATIONS_SQL = "select p.pubname::text from pg_catalog.pg_publication as p where p.pubname = any ($1)"
_UNREAD_SQL = """
select s.slot_name::text
  from pg_catalog.pg_replication_slots as s
 where s.database = pg_catalog.current_database() and s.slot_name ^@ $1 and not s.temporary
"""
_DROP_SQL = """
select s.slot_name::text, pg_catalog.pg_drop_replication_slot(s.slot_name)
  from pg_catalog.pg_replication_slots as s
 where s.database = pg_catalog.current_database() and s.slot_name = any ($3) and not s.active and not s.temporary
   and pg_catalog.pg_try_advisory_xact_lock($1, $2)
"""
_LAG_SQL = """
select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint
  from pg_catalog.pg_replication_slots as s
 where s.slot_name = $1
"""

_log = logging.getLogger("isobase.realtime")


class WatchEnd(StrEnum):
    """Why a stream must be ended.

    ``SHUTDOWN``: the server takes no connections while the stream still runs. It waits for its senders until everything is
    acknowledged, which a stream does only as what it keeps grows old: it would hold the server up for the retention.
    """

    OUTGROWN = "outgrown"
    SHUTDOWN = "shutdown"


class SlotKeeper:
    """One per process. ``dsn``: of the server itself, not of a pooler. ``publications``: those that exist are streamed."""

    def __init__(
        self, pools: Pools, dsn: str, publications: tuple[str, ...], policy: SlotPolicy, figures: ChangeFigures
    ) -> None:
        self._pools = pools
        self._dsn = dsn
        self._publications = publications
        self._policy = policy
        self._figures = figures
        self._unread: frozenset[str] = frozenset()

    async def open(self, sink: StreamSink) -> LogStream:
        """Become the leader and stream. Raises ``NotLeader``, ``StreamRefused``, ``Unavailable`` and ``DatabaseError``."""
        async with self._pools.acquire(None) as connection:
            # Asked first, because a connection for replication costs the server a process.
            if self._policy.is_shared and await connection.fetchval(_IS_LED_SQL, LOCK_CLASS, LOCK_OBJECT):
                raise NotLeader
            rows = await connection.fetch(_PUBLICATIONS_SQL, list(self._publications))
        # A name that does not exist would end the stream at its first change.
        names = [row[0] for row in rows]
        if not names:
            raise StreamRefused(f"none of the publications {', '.join(self._publications)} exists", is_lasting=True)
        return await open_stream(self._dsn, names, self._policy, sink)

    async def watch(self, slot: str) -> WatchEnd:
        """Look after ``slot`` every ``WATCH_INTERVAL_S`` seconds, until its stream must be ended; returns why."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                async with self._pools.acquire(None) as connection:
                    lag_bytes = await connection.fetchval(_LAG_SQL, slot)
            except Unavailable as error:
                if getattr(error.__cause__, "sqlstate", None) == CANNOT_CONNECT_NOW:
                    _log.info("the database server is shutting down: the log is not read any more")
                    return WatchEnd.SHUTDOWN
                continue
            except DatabaseError:
                continue
            if lag_bytes is None:
                continue
            self._figures.lag(lag_bytes)
            if lag_bytes > self._policy.max_lag_bytes:
                _log.error(
                    "the replication slot holds back too much of the log and is made anew",
                    extra={"slot": slot, "lag_bytes": lag_bytes},
                )
                return WatchEnd.OUTGROWN

    async def drop(self) -> None:
        """Drop the permanent slots of ours that nobody reads, once a stream that was closed has let go of its own."""
        for delay_s in DROP_DELAYS_S:
            await asyncio.sleep(delay_s)
            try:
                unread = await self._permanent_slots()
                dropped = await self._drop(unread)
            except (Unavailable, DatabaseError) as error:
                _log.warning("a replication slot could not be dropped", extra={"reason": error.message})
                continue
            if dropped >= unread:
                return

    async def sweep(self) -> None:
        """Drop the slots that nobody reads now, nor did when this was called last. Errors are logged."""
        try:
            unread = await self._permanent_slots()
            dropped = await self._drop(unread & self._unread)
        except (Unavailable, DatabaseError) as error:
            _log.warning("replication slots could not be swept", extra={"reason": error.message})
            return
        for name in dropped:
            _log.info("a replication slot that nobody read any more was dropped", extra={"slot": name})
        self._unread = unread - dropped

    async def _permanent_slots(self) -> frozenset[str]:
        async with self._pools.acquire(None) as connection:
            return frozenset(row[0] for row in await connection.fetch(_UNREAD_SQL, SLOT_PREFIX))

    async def _drop(self, names: frozenset[str]) -> frozenset[str]:
        if not names:
            return names
        async with self._pools.acquire(None) as connection:
            rows = await connection.fetch(_DROP_SQL, LOCK_CLASS, LOCK_OBJECT, list(names))
        return frozenset(row[0] for row in rows)

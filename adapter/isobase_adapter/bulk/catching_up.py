"""Before a writer moves, ``sync`` has to have read all that the old one committed."""

from __future__ import annotations

import asyncio
import time

from isobase_adapter.bulk.capture import read_slot
from isobase_adapter.bulk.connections import connected
from isobase_adapter.control.store import SYNC_LOCK_NUMBER
from isobase_adapter.handover_desk import HandoverRefused
from isobase_adapter.sides import Side

__all__ = ["wait_until_polled", "wait_until_read"]

POLL_S = 0.05
CATCH_UP_S = 20.0
"""How long a handover waits for ``sync`` to have read the log of the side that was written first."""

POLLED = """
select coalesce((state ->> 'polled_at')::float8, 0) from isobase.migration_jobs
 where job = 'sync' and part = 'state' and state ->> 'method' = 'polling'
   and exists (select from pg_locks where locktype = 'advisory' and granted and objsubid = 1
                  and database = (select oid from pg_database where datname = current_database())
                  and classid = ($1::bigint >> 32)::oid and objid = ($1::bigint & 4294967295)::oid)
"""


async def wait_until_read(dsn: str, writer: Side) -> None:
    """Wait until ``sync`` has read all that ``writer`` has committed, where it is used. Raises ``HandoverRefused``."""
    deadline_s = time.monotonic() + CATCH_UP_S
    async with connected(dsn, "cutover") as connection:
        if await read_slot(connection) is None:
            return
        reached = await connection.fetchval("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
        while True:
            slot = await read_slot(connection)
            if slot is None or slot.confirmed_lsn >= reached:
                return
            if time.monotonic() > deadline_s:
                raise HandoverRefused(
                    f"sync has not read {slot.held_bytes} bytes of {writer}'s log; is it running?"
                    " (isobase migrate sync, or --stop-capture where it is not used)"
                )
            await asyncio.sleep(POLL_S)


async def wait_until_polled(dsn: str) -> None:
    """Where ``sync`` goes by polling: wait until a look that began after now is over. Raises ``HandoverRefused``.

    While no write is let in, such a look finds the last rows of triggers and of everybody else. dsn: of Isobase's database.
    """
    deadline_s = time.monotonic() + CATCH_UP_S
    async with connected(dsn, "cutover") as connection:
        began_at = await connection.fetchval("select extract(epoch from clock_timestamp())::float8")
        while True:
            polled_at = await connection.fetchval(POLLED, SYNC_LOCK_NUMBER)
            if polled_at is None or polled_at >= began_at:
                return
            if time.monotonic() > deadline_s:
                raise HandoverRefused(f"sync --method polling has not looked at the sides for {CATCH_UP_S:g} s")
            await asyncio.sleep(POLL_S)

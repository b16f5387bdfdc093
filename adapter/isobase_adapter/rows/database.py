"""One side's database: a small pool whose every transaction reads and writes values in one exact written form.

Through a pooler in transaction mode the settings are made inside each transaction, else once for each connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.poolers import is_transaction_pooler
from isobase_adapter.rows.catalog import Catalog
from isobase_adapter.sides import Side

__all__ = ["APPLICATION_NAME", "CARRIED_MARK", "COPIED", "SideDatabase"]

APPLICATION_NAME = "isobase-migration"
POOL_SIZE = 4
SCANS_POOL_SIZE = 6
CONNECT_TIMEOUT_S = 15.0
STATEMENT_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 30.0
ROLLBACK_TIMEOUT_S = 5.0
CARRIED_MARK = "isobase.carried"
"""What a carrier's transaction says of itself in the log, so that whoever follows the log does not carry it back."""
COPIED = "copied"
"""What a copy's transaction says besides, before its rows: Isobase's realtime tells nobody of them."""

SNAPSHOT_CHARACTERS = frozenset("0123456789ABCDEF-")

EXACT = {
    "search_path": "",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
}
"""Settings under which a value's text is the same on any server, and is read back as the same value."""


class _Use(Enum):
    """What a pool's connections are for."""

    READ = auto()
    WRITE = auto()
    SCAN = auto()


class SideDatabase:
    """A side's database. ``dsn`` holds a password: it is never shown.

    ``pool_size``: connections for reading, and as many for writing, default 4; they are opened when they are needed and
    closed when idle. Scans of whole tables take up to ``SCANS_POOL_SIZE`` besides. ``statement_timeout_s``: after which
    the server gives a statement up, default 60.
    """

    def __init__(
        self, side: Side, dsn: str, *, pool_size: int = POOL_SIZE, statement_timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> None:
        self.side = side
        self.catalog = Catalog(self)
        self.version = 0
        """The server's major version; known after the first connection."""
        self.can_silence_triggers = True
        """Whether the role may set ``session_replication_role``; known after the first connection."""
        self._dsn = dsn
        self._is_pooled = is_transaction_pooler(dsn)
        self._pool_size = pool_size
        # Who writes at one side waits for a reading of the other while holding its connection, and a scan holds one
        # while rows are carried: with one pool for all, each could wait for the other for ever.
        self._pools: dict[_Use, asyncpg.Pool] = {}
        self._starting = asyncio.Lock()
        self._statement_timeout_s = statement_timeout_s

    def __repr__(self) -> str:
        """Show the side and the host, no secrets."""
        return f"<SideDatabase {self.side} at {urlsplit(self._dsn).hostname}>"

    async def start(self) -> None:
        """Connect. Raises asyncpg's errors and ``OSError`` where that fails."""
        await self._pool(_Use.WRITE)

    async def close(self) -> None:
        """Close all connections, at once where one is busy."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.terminate()

    async def _pool(self, use: _Use) -> asyncpg.Pool:
        if use in self._pools:
            return self._pools[use]
        async with self._starting:
            if use in self._pools:
                return self._pools[use]
            pool = await asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=SCANS_POOL_SIZE if use is _Use.SCAN else self._pool_size,
                timeout=CONNECT_TIMEOUT_S,
                statement_cache_size=0 if self._is_pooled else 200,
                init=None if self._is_pooled else self._settle_session,
                reset=_nothing_to_reset,
                server_settings={"application_name": APPLICATION_NAME},
            )
            if not self.version:
                try:
                    await self._look(pool)
                except BaseException:
                    pool.terminate()
                    raise
            self._pools[use] = pool
            return pool

    async def _look(self, pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection:
            try:
                async with connection.transaction():
                    await connection.execute("set local session_replication_role = replica")
                self.can_silence_triggers = True
            except asyncpg.InsufficientPrivilegeError:
                self.can_silence_triggers = False
            self.version = connection.get_server_version().major

    @asynccontextmanager
    async def transaction(
        self,
        *,
        is_writer: bool = False,
        locks: Sequence[int] = (),
        shared_lock: int | None = None,
        statement_timeout_s: float | None = None,
        snapshot: str | None = None,
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Begin a transaction with the exact settings, and with advisory ``locks`` taken in sorted order.

        shared_lock: another one, taken before them and shared (a fence's). is_writer: triggers and foreign keys do not run
        (where the role may ask for that). snapshot: one of ``snapshot``, to see what it sees, or empty for one of its
        own that lasts. One round trip to begin.
        """
        use = _Use.SCAN if snapshot is not None else _Use.WRITE if is_writer else _Use.READ
        pool = await self._pool(use)
        async with pool.acquire() as connection:
            timeout_s = self._statement_timeout_s if statement_timeout_s is None else statement_timeout_s
            is_done = False
            try:
                await connection.execute(self._beginning(is_writer, locks, shared_lock, timeout_s, snapshot))
                yield connection
                await connection.execute("commit")
                is_done = True
            finally:
                if not is_done:
                    await _roll_back(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[str]:
        """Hold the database's present state, for transactions that are given the name that this yields."""
        async with self.transaction(snapshot="", statement_timeout_s=0) as connection:
            yield await connection.fetchval("select pg_export_snapshot()")

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run one reading statement; one round trip, or three through a pooler."""
        if self._is_pooled:
            async with self.transaction() as connection:
                return await connection.fetch(query, *args)
        pool = await self._pool(_Use.READ)
        async with pool.acquire() as connection:
            return await connection.fetch(query, *args)

    async def _settle_session(self, connection: asyncpg.Connection) -> None:
        settings = EXACT | {"statement_timeout": f"{int(self._statement_timeout_s * 1000)}"}
        await connection.execute(";".join(f"set {name} = '{value}'" for name, value in settings.items()))

    def _beginning(
        self, is_writer: bool, locks: Sequence[int], shared_lock: int | None, timeout_s: float, snapshot: str | None
    ) -> str:
        settings = (EXACT if self._is_pooled else {}) | {
            "statement_timeout": f"{int(timeout_s * 1000)}",
            "lock_timeout": f"{int(LOCK_TIMEOUT_S * 1000)}",
            "idle_in_transaction_session_timeout": f"{int((timeout_s + 60) * 1000) if timeout_s else 0}",
        }
        if is_writer and self.can_silence_triggers:
            settings["session_replication_role"] = "replica"
        # All of it is constants and integers: a statement of several parts takes no parameters.
        begin = "begin" if snapshot is None else "begin isolation level repeatable read, read only"
        take = [f"set transaction snapshot '{_snapshot_name(snapshot)}'"] if snapshot else []
        parts = [begin, *take, *(f"set local {name} = '{value}'" for name, value in settings.items())]
        if shared_lock is not None:
            parts.append(f"select pg_advisory_xact_lock_shared({int(shared_lock)})")
        if locks:
            numbers = ",".join(str(int(number)) for number in sorted(set(locks)))
            parts.append(f"select pg_advisory_xact_lock(n) from unnest('{{{numbers}}}'::bigint[]) as n")
        if is_writer:
            parts.append(f"select pg_logical_emit_message(true, '{CARRIED_MARK}', '')")
        return ";".join(parts)


def _snapshot_name(name: str) -> str:
    if not set(name) <= SNAPSHOT_CHARACTERS:
        raise ValueError("not the name of a snapshot")
    return name


async def _roll_back(connection: asyncpg.pool.PoolConnectionProxy) -> None:
    try:
        await asyncio.wait_for(connection.execute("rollback"), ROLLBACK_TIMEOUT_S)
    except DATABASE_FAILURES:
        connection.terminate()  # Its state is unknown: the pool makes another one.


async def _nothing_to_reset(connection: asyncpg.Connection) -> None:
    """All settings were local to their transaction."""

"""asyncpg pools: one per login role, opened on first use, errors mapped to the house's tree.

``Pools`` is made once per process and closed with it. The pool of ``authenticator`` belongs to ``rls`` alone; the others
are for what a service does on its own behalf (auth's tables, platform bookkeeping). Neighbour: ``errors.database_error``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from isobase_platform.config import Settings
from isobase_platform.errors import IsobaseError, Unavailable, database_error

if TYPE_CHECKING:
    # asyncpg's own classes take no type argument at run time; its pools hand out a proxy with a connection's methods.
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    PooledConnection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    PooledConnection = asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool

__all__ = [
    "CONNECT_TIMEOUT_S",
    "DATABASE_FAILURES",
    "LOST_CONNECTION_FAILURES",
    "Connection",
    "Pools",
    "application_name",
    "discard",
]

CONNECT_TIMEOUT_S = 10.0

LOST_CONNECTION_FAILURES = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg and the socket raise when the server went away; database_error maps them to Unavailable."""
DATABASE_FAILURES = (asyncpg.PostgresError, *LOST_CONNECTION_FAILURES)
"""Everything that using a connection may raise, to be mapped by database_error where it enters."""


class Pools:
    """The pools of one process, by login role; ``None`` stands for the owner of the schema.

    A pool starts empty and gives idle connections back after ``database.pool_max_idle_s``: an idle Isobase holds few.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools: dict[str | None, Pool] = {}
        self._opening = asyncio.Lock()

    async def open(self, role: str | None, *, max_size: int | None = None, min_size: int = 0) -> Pool:
        """The pool that logs in as ``role``, made on the first call. Sizes count connections.

        Raises ``Unavailable`` when ``min_size`` connections cannot be made.
        """
        async with self._opening:
            pool = self._pools.get(role)
            if pool is None:
                pooled = self._settings.database.mode == "transaction_pooler"
                server_settings = application_name(self._settings.dsn(role), f"isobase {role or 'owner'}")
                if role is None and not pooled:
                    # The owner may be a superuser, and schemas of its own path (public, one of its own name) are open to
                    # the role of migrations: no function or operator from there may stand in for PostgreSQL's.
                    server_settings["search_path"] = ""
                try:
                    pool = await asyncpg.create_pool(
                        self._settings.dsn(role),
                        min_size=min_size,
                        max_size=max_size or self._settings.database.service_pool_max_size,
                        max_inactive_connection_lifetime=self._settings.database.pool_max_idle_s,
                        timeout=CONNECT_TIMEOUT_S,
                        statement_cache_size=0 if pooled else 512,
                        max_cached_statement_lifetime=0,
                        reset=_roll_back,
                        server_settings=server_settings,
                    )
                except DATABASE_FAILURES as error:
                    raise database_error(error) from error
                self._pools[role] = pool
        return pool

    @asynccontextmanager
    async def acquire(self, role: str | None) -> AsyncIterator[Connection]:
        """A connection that is logged in as ``role``, for a service's own statements, autocommitting.

        Raises ``Unavailable`` when none is free in ``database.acquire_timeout_s``; asyncpg's errors raised inside the
        block leave it as ``DatabaseError`` or ``Unavailable``.
        """
        pool = self._pools.get(role) or await self.open(role)
        try:
            connection = await pool.acquire(timeout=self._settings.database.acquire_timeout_s)
        except TimeoutError as error:
            raise Unavailable("No database connection became free in time", code="pool_timeout") from error
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        try:
            yield connection
        except IsobaseError:
            raise
        except asyncpg.InterfaceError as error:
            discard(connection)
            raise database_error(error) from error
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        finally:
            await _release(pool, connection)

    @asynccontextmanager
    async def transaction(self, role: str | None) -> AsyncIterator[Connection]:
        """As ``acquire``, inside one transaction: committed when the block ends, rolled back when it raises."""
        async with self.acquire(role) as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Close every pool; connections still in use after two seconds are terminated."""
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), timeout=2.0)
            except TimeoutError:
                pool.terminate()
        self._pools.clear()

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Per role (connections open, of which idle), for the metrics."""
        return {role or "owner": (pool.get_size(), pool.get_idle_size()) for role, pool in self._pools.items()}


async def _roll_back(connection: Connection) -> None:
    """What a pool does before a connection is used again. asyncpg's own reset would cost a round trip every time.

    A service's statements leave nothing but, after a cancellation, an open transaction; the door cleans up by itself.
    """
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def _release(pool: Pool, connection: PooledConnection) -> None:
    """Give a connection back; one that cannot be reset is closed by asyncpg, which is what we want, so only say so."""
    try:
        await pool.release(connection, timeout=5.0)
    except (TimeoutError, *DATABASE_FAILURES):
        discard(connection)


def application_name(dsn: str, name: str) -> dict[str, str]:
    """The setting by which PostgreSQL lists a connection as ``name``, unless ``dsn`` names it already."""
    return {} if "application_name=" in dsn else {"application_name": name}


def discard(connection: Connection) -> None:
    """Close a connection at once, without asking the server; no error where it is closed already."""
    with contextlib.suppress(asyncpg.InterfaceError):  # asyncpg's proxy says so when the connection was lost
        connection.terminate()

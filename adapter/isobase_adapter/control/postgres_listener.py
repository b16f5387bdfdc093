"""The control store's connection to PostgreSQL: one, which listens for changes and does everything else.

One statement at a time; behind a pooler LISTEN hears nothing, and the heartbeat finds changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from isobase_adapter.control.errors import ControlAway, LoginRefused, NotInstalled
from isobase_adapter.failures import AWAY
from isobase_adapter.reasons import reason_of

__all__ = ["CHANNEL", "Connection", "PostgresListener"]

CHANNEL = "isobase_migration"
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STORE_AWAY = (*AWAY, asyncpg.ReadOnlySQLTransactionError)
MISSING = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedColumnError)


class PostgresListener:
    """The connection.

    dsn: the URL of the Isobase side's database, for the role ``postgres``. name: shown as application name.
    """

    def __init__(self, dsn: str, *, name: str = "isobase migration control") -> None:
        """Connect to nothing yet."""
        self._dsn = dsn
        self._name = name
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._on_change: Callable[[], None] | None = None

    async def open(self, on_change: Callable[[], None] | None = None) -> None:
        """Connect and listen. Raises ``ControlAway``."""
        self._on_change = on_change
        async with self._used():
            pass

    async def close(self) -> None:
        """Close the connection."""
        self._on_change = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*STORE_AWAY):
                await connection.close(timeout=2)

    @asynccontextmanager
    async def _used(self) -> AsyncIterator[Connection]:
        async with self._lock:
            try:
                connection = self._connection
                if connection is None or connection.is_closed():
                    connection = self._connection = await self._connect()
                yield connection
            except STORE_AWAY as error:
                self._drop()
                raise ControlAway(f"the control store does not answer: {type(error).__name__}") from error
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                self._drop()
                raise LoginRefused(
                    f"Isobase's database, which holds the flags, refuses the login: {reason_of(error)}"
                    " (role, password and name are in ISOBASE_DB_URL)"
                ) from error
            except MISSING as error:
                raise NotInstalled(
                    "the database has no tables of the move: start this version of Isobase on it once"
                ) from error
            except asyncio.CancelledError:
                # Whatever was under way may have left the connection in the middle of a statement.
                self._drop()
                raise

    async def _connect(self) -> Connection:
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            statement_cache_size=0,
            server_settings={"application_name": self._name},
        )
        connection.add_termination_listener(self._lost)
        if self._on_change is not None:
            try:
                await connection.add_listener(CHANNEL, self._heard)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def _heard(self, *_: object) -> None:
        if self._on_change is not None:
            self._on_change()

    def _lost(self, connection: object) -> None:
        if connection is self._connection:
            self._connection = None
        if self._on_change is not None:
            self._on_change()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

"""One ``isobase storage move`` at a time on one database: two would take each other's half-done copies for whole ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from isobase_platform.config import Settings
from isobase_platform.errors import IsobaseError, database_error
from isobase_platform.pool import CONNECT_TIMEOUT_S, DATABASE_FAILURES

__all__ = ["MoveRunningError", "connected", "only_move"]

# Of the transaction and not of the session, so that it holds behind a transaction pooler too.
_LOCK = "select pg_try_advisory_xact_lock(hashtextextended('isobase storage move', 0))"


class MoveRunningError(IsobaseError):
    """Another move of objects runs on this database."""

    default_code = "already_running"

    def __init__(self) -> None:
        super().__init__(
            "another isobase storage move runs on this database",
            hint="wait for it, or end it: the next one goes on from there",
        )


@asynccontextmanager
async def connected(settings: Settings, what: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection as the role that migrations run as, called ``what`` in pg_stat_activity. Raises ``Unavailable``."""
    dsn = settings.dsn("postgres") if settings.is_embedded else settings.dsn()
    try:
        connection = await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0, server_settings={"application_name": what}
        )
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


@asynccontextmanager
async def only_move(settings: Settings) -> AsyncIterator[None]:
    """The right to move, for as long as the block runs. Raises ``MoveRunningError``, ``Unavailable``."""
    async with connected(settings, "isobase storage move") as connection, connection.transaction():
        await connection.execute("set local idle_in_transaction_session_timeout = 0")
        if not await connection.fetchval(_LOCK):
            raise MoveRunningError
        yield

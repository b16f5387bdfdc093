"""Connections of the bulk move: as role postgres, without a time limit of their own, named for who looks at the server."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from isobase_adapter.bulk.errors import Refused, SideAway
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side

__all__ = ["Connection", "check_sides", "close", "connect", "connected"]

CONNECT_TIMEOUT_S = 20.0
KEEPALIVE_S = 30
if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


async def connect(dsn: str, purpose: str, **settings: str) -> Connection:
    """Open a connection for long work.

    purpose: what ``pg_stat_activity`` shows after "isobase migrate". settings: parameters of the session. Raises what
    asyncpg raises when it cannot be opened within ``CONNECT_TIMEOUT_S``.
    """
    connection: Any = await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_S,
        # Nothing is prepared by name: poolers in front of a project may be in transaction mode for what is short.
        statement_cache_size=0,
        server_settings={"application_name": f"isobase migrate {purpose}"},
    )
    _watch_over(connection)
    # Not among the start parameters: poolers refuse those that they do not know.
    values = {
        "jit": "off",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "tcp_keepalives_idle": str(KEEPALIVE_S),
        "extra_float_digits": "3",
        "datestyle": "ISO, YMD",
        "intervalstyle": "postgres",
        "timezone": "UTC",
        **settings,
    }
    try:
        for name, value in values.items():
            await connection.execute("select set_config($1, $2, false)", name, value)
    except BaseException:
        await connection.close(timeout=1)
        raise
    opened: Connection = connection
    return opened


def _watch_over(connection: Any) -> None:
    """Have the operating system see when the server is gone without a word, in the middle of a statement that takes hours.

    libpq does that by itself; asyncpg does not, and would wait for ever.
    """
    transport = getattr(connection, "_transport", None)
    wire = None if transport is None else transport.get_extra_info("socket")
    if wire is None or wire.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@asynccontextmanager
async def connected(dsn: str, purpose: str, **settings: str) -> AsyncIterator[Connection]:
    """Open a connection for a block; it is ended with the block, however that ends."""
    connection = await connect(dsn, purpose, **settings)
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: Connection) -> None:
    """End a connection, at once where it is in the middle of something; never raises."""
    if connection.is_closed():
        return
    if connection.is_in_transaction():
        # A COPY may be under way: asking politely would wait for its end.
        connection.terminate()
        return
    try:
        await connection.close(timeout=5)
    except DATABASE_FAILURES:
        connection.terminate()


async def check_sides(dsns: Mapping[Side, str]) -> None:
    """See that both databases let us in, in sessions of our own, and that they are two.

    Raises ``SideAway``, which names the side, and ``Refused`` where both URLs lead to one database (a copy would be made of
    the project into itself), or one to a pooler in transaction mode.
    """
    number = secrets.randbits(62)
    async with AsyncExitStack() as opened:
        connections: list[Connection] = []
        for side in Side:
            try:
                if await _shares_sessions(dsns[side]):
                    # What is set for a copy would be set for the app's calls, and a copy would run with theirs.
                    raise Refused(
                        f"{side.upper()}_DB_URL leads to a pooler in transaction mode",
                        hint="give the direct connection's, or the pooler's in session mode (at Supabase port 5432)",
                    )
                connections.append(await opened.enter_async_context(connected(dsns[side], "check")))
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                raise SideAway(side, reason_of(error), is_login=True) from error
            except DATABASE_FAILURES as error:
                raise SideAway(side, reason_of(error), is_login=False) from error
        one, other = connections
        # A lock of a database, and not addresses or names: these have aliases. In transactions, as poolers may be between.
        async with one.transaction(), other.transaction():
            await one.fetchval("select pg_advisory_xact_lock($1)", number)
            if not await other.fetchval("select pg_try_advisory_xact_lock($1)", number):
                raise Refused(
                    "both database URLs lead to the same database",
                    hint="SUPABASE_DB_URL is the project's that is left, ISOBASE_DB_URL that of the new Isobase",
                )


async def _shares_sessions(dsn: str) -> bool:
    """Whether a second connection works in the session of a first one that is idle."""
    pids: list[int] = []
    async with AsyncExitStack() as opened:
        for _ in range(2):
            # Bare: what ``connect`` sets would stay in a session that is shared.
            one: Any = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
            opened.push_async_callback(close, one)
            async with one.transaction():
                pids.append(await one.fetchval("select pg_backend_pid()"))
    return pids[0] == pids[1]

"""A service's own short questions, asked again and again: the owner's connections without a pool's hand-over.

For statements that run once per batch on a hot path. Everything else a service does goes through ``pool.Pools``, and whatever
users say through ``rls``. The connections keep prepared statements with generic plans: planning such a question can cost
more than running it. Neighbours: ``wire`` for the connection, ``wire_pool`` for how long it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from isobase_platform.config import Settings
from isobase_platform.errors import database_error
from isobase_platform.pool import CONNECT_TIMEOUT_S, DATABASE_FAILURES, application_name, discard
from isobase_platform.wire import WireConnection
from isobase_platform.wire_messages import Parameter, Row
from isobase_platform.wire_pool import WirePool

__all__ = ["OwnerWire"]


class OwnerWire:
    """At most ``max_size`` connections of the schema's owner, opened when they are needed and closed when they are idle."""

    def __init__(self, settings: Settings, *, max_size: int) -> None:
        self._settings = settings
        self._is_pooled = settings.database.mode == "transaction_pooler"
        self._pool = WirePool(
            self._connect,
            max_size=max_size,
            acquire_timeout_s=settings.database.acquire_timeout_s,
            max_idle_s=settings.database.pool_max_idle_s,
            max_life_s=settings.database.pool_max_life_s,
        )

    async def _connect(self) -> WireConnection:
        dsn = self._settings.dsn(None)
        server_settings = application_name(dsn, "isobase owner")
        if not self._is_pooled:
            server_settings |= {"search_path": "", "plan_cache_mode": "force_generic_plan"}
        connection: WireConnection = await asyncpg.connect(
            dsn,
            connection_class=WireConnection,
            timeout=CONNECT_TIMEOUT_S,
            statement_cache_size=0,
            server_settings=server_settings,
        )
        connection.uses_statements = not self._is_pooled
        return connection

    async def ask(self, sql: str, values: Sequence[Parameter] = ()) -> list[Row]:
        """Run one statement in a round trip and return its rows, columns as bytes; values travel as text.

        ``sql`` names everything with its schema. Raises ``Unavailable`` and ``DatabaseError``.
        """
        connection = self._pool.take() or await self._pool.acquire()
        try:
            [rows] = await connection.pipeline([(sql, values)])
        except DATABASE_FAILURES as error:
            if isinstance(error, asyncpg.PostgresError):
                connection.forget_statements()
            raise database_error(error) from error
        except BaseException:
            discard(connection)  # cancelled: the answer is still to come and nobody's
            raise
        finally:
            self._pool.release(connection)
        return rows

    async def close(self) -> None:
        """Close the connections, also those in use."""
        await self._pool.close()

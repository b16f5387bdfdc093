"""Opens what carries objects for one client or command: an http client, both databases' connections, the carrier."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack

import asyncpg
import httpx

from isobase_adapter.poolers import is_transaction_pooler
from isobase_adapter.settings import MigrationSettings
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import PARALLEL_TRANSFERS, ObjectCarrier
from isobase_adapter.storage.store import Store

__all__ = ["OpenStorage"]

TRANSFER_STEP_TIMEOUT_S = 60.0
"""The most seconds that a transfer may stand still."""
MAX_NAME_CHARS = 63
"""PostgreSQL cuts longer names."""


class OpenStorage:
    """Both sides' storage. Nothing is connected before it is used; ``close`` ends it.

    supabase_url: the Supabase project's URL. settings: the other side, both service keys, and the databases where they
    are known. parallel: how many objects are carried at a time. Raises ``ValueError`` where a service key is missing.
    """

    def __init__(
        self,
        supabase_url: str,
        settings: MigrationSettings,
        *,
        parallel: int = PARALLEL_TRANSFERS,
        reads_back: bool = False,
    ) -> None:
        keys = {Side.SUPABASE: settings.supabase_service_role_key, Side.ISOBASE: settings.isobase_service_role_key}
        urls = {Side.SUPABASE: supabase_url, Side.ISOBASE: settings.isobase_url}
        self._parts = AsyncExitStack()
        self._http = httpx.AsyncClient(timeout=TRANSFER_STEP_TIMEOUT_S, limits=httpx.Limits(max_connections=64))
        self._parts.push_async_callback(self._http.aclose)
        stores: dict[Side, Store] = {}
        for side in Side:
            key, dsn = keys[side], settings.db_url(side)
            if key is None:
                raise ValueError(f"{side.name}_SERVICE_ROLE_KEY is not set, and objects are to be carried")
            pool = None if dsn is None else _pool(dsn, parallel + 2)
            if pool is not None:
                self._parts.callback(pool.terminate)
            stores[side] = Store(side, self._http, urls[side], key, pool)
        self.carrier = ObjectCarrier(
            stores[Side.SUPABASE], stores[Side.ISOBASE], parallel=parallel, reads_back=reads_back
        )

    async def start(self) -> None:
        """Make the pools ready; connections are opened when they are needed."""
        for side in Side:
            pool = self.carrier.store(side).pool
            if pool is not None:
                await pool

    async def close(self) -> None:
        """End all connections."""
        await self._parts.aclose()

    async def __aenter__(self) -> OpenStorage:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()


def _pool(dsn: str, size: int) -> asyncpg.Pool[asyncpg.Record]:
    # Behind a pooler in transaction mode no prepared statement outlives its transaction.
    cached = 0 if is_transaction_pooler(dsn) else 100
    settings = {} if cached == 0 else {"application_name": _name()}
    return asyncpg.create_pool(
        dsn, min_size=0, max_size=size, statement_cache_size=cached, server_settings=settings, timeout=15
    )


def _name() -> str:
    """What a database knows this process by: a handover that waits for its transfer tells an operator whom to look for."""
    return f"isobase-migration storage {os.getpid()}@{socket.gethostname()}"[:MAX_NAME_CHARS]

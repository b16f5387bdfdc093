"""Keeps the schema cache: loads it at start, reloads it on ``NOTIFY pgrst``, and hands out the newest whole one.

A request keeps the cache it began with; a reload builds a new value beside it, so no request fails meanwhile. Notices that
come while a reload runs cause one more reload, not one each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import asyncpg

from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable, database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.runtime import Platform
from isobase_services.database.query.load_cache import load_schema_cache
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.authenticate import create_authenticator

__all__ = ["CacheKeeper"]

NOTICE_CHANNEL = "pgrst"
MAX_RECONNECT_DELAY_S = 5.0

_log = logging.getLogger("isobase.database")


class CacheKeeper:
    """One per process."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._cache: SchemaCache | None = None
        self._time_zones: frozenset[str] | None = None
        self._wanted = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._asked = 0
        self._done = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._lost = asyncio.Event()
        self.schemas: tuple[str, ...] = platform.settings.rest.schemas
        self.settings = platform.settings.rest
        self.authenticator = create_authenticator(self.settings, platform.keys)

    @property
    def cache(self) -> SchemaCache:
        """The newest cache. Raises ``Unavailable`` before the first load."""
        if self._cache is None:
            raise Unavailable("The schema cache is not loaded yet")
        return self._cache

    async def start(self) -> None:
        """Load the cache once, then keep it fresh in the background."""
        listener = await self._listen()
        await self.reload()
        self._tasks = [
            asyncio.create_task(self._reload_when_wanted(), name="schema cache reload"),
            asyncio.create_task(self._keep_listening(listener), name="schema cache notices"),
        ]

    async def stop(self) -> None:
        """End the background tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Read the database anew; the old cache stays in use until the new one is whole.

        What is committed when this is called is in the cache when it returns. One load at a time, or a slow one could put an
        older picture over a newer; callers that wait meanwhile share the next load.
        """
        self._asked += 1
        wanted = self._asked
        async with self._reloading:
            if self._done >= wanted:
                return
            covered = self._asked
            async with self._platform.pools.acquire(None) as connection:
                rows = await connection.fetch("select schema_name from isobase.databases")
                dynamic = [row["schema_name"] for row in rows]
                schemas = (*self.settings.schemas, *dynamic)
                self._cache = await load_schema_cache(connection, schemas)
                self.schemas = schemas
            self._done = covered

    async def time_zones(self) -> frozenset[str]:
        """The names of the server's time zones; read when first asked for, as few requests name one."""
        if self._time_zones is None:
            async with self._platform.pools.acquire(None) as connection:
                rows = await connection.fetch("select name from pg_catalog.pg_timezone_names")
            self._time_zones = frozenset(row["name"] for row in rows)
        return self._time_zones

    def want_reload(self) -> None:
        """Ask for a reload soon."""
        self._wanted.set()

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.reload()
            except IsobaseError as error:
                _log.warning("schema cache reload failed, trying again", extra={"reason": error.message})
                await asyncio.sleep(1)
                self._wanted.set()

    async def _listen(self) -> asyncpg.Connection[asyncpg.Record]:
        try:
            listener = await asyncpg.connect(
                self._platform.settings.dsn(), server_settings={"application_name": "isobase schema cache"}
            )
            self._lost.clear()
            listener.add_termination_listener(lambda _: self._lost.set())
            await listener.add_listener(NOTICE_CHANNEL, self._noticed)
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        return listener

    def _noticed(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._platform.door.forget_role_settings()
        if payload in {"reload schema", ""}:
            self.want_reload()

    async def _keep_listening(self, listener: asyncpg.Connection[asyncpg.Record]) -> None:
        delay_s = 0.1
        try:
            while True:
                await self._lost.wait()
                await asyncio.sleep(delay_s)
                try:
                    listener = await self._listen()
                except (Unavailable, DatabaseError):
                    delay_s = min(delay_s * 2, MAX_RECONNECT_DELAY_S)
                    continue
                delay_s = 0.1
                self.want_reload()  # notices may have been missed
        finally:
            with contextlib.suppress(asyncpg.InterfaceError):
                listener.terminate()

"""Keeps what requests work with: the settings in force, who may come in, and the schema cache.

Loads them at start, reloads them on ``NOTIFY pgrst``, and hands out the newest whole ones. A request keeps what it began
with; a reload builds new values beside them, so no request fails meanwhile. Notices that come while a reload runs cause one
more reload, not one each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from isobase_platform.config import RestSettings
from isobase_platform.config_postgrest import over_rest_settings
from isobase_platform.errors import ConfigurationError, DatabaseError, IsobaseError, Unavailable
from isobase_platform.rls import LOGIN_ROLE
from isobase_platform.runtime import Platform
from isobase_services.database.notices import NoticeListener
from isobase_services.database.query.load_cache import load_part, load_schema_cache
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.authenticate import Authenticator, create_authenticator
from isobase_services.database.stored_settings import read_stored_settings

__all__ = ["CacheKeeper", "LoadCounts"]

FIRST_RETRY_DELAY_S = 1.0
MAX_RETRY_DELAY_S = 32.0
DATABASE_NOTICE = "reload schema "
"""The notice that the tables of one dynamic database changed; the name of its schema follows."""
LOGIN_REFUSED = frozenset({"28000", "28P01"})
"""SQLSTATEs of a wrong user or password: trying again does not help."""

_log = logging.getLogger("isobase.database")


@dataclass(slots=True)
class LoadCounts:
    """What the metrics tell of the schema cache."""

    succeeded: int = 0
    failed: int = 0
    last_s: float = 0.0


@dataclass(slots=True, frozen=True)
class _State:
    """What belongs together: a reload puts a new one in the place of the old."""

    settings: RestSettings
    authenticator: Authenticator
    schemas: tuple[str, ...]
    cache: SchemaCache | None


class CacheKeeper:
    """One per process.

    Parameters: ``read_settings`` gives the settings below the database's own, anew for every reload of the configuration;
    ``is_bare`` where the database has none of Isobase's schema: no dynamic databases, and no keys but those in the settings.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        read_settings: Callable[[], RestSettings] | None = None,
        is_bare: bool = False,
    ) -> None:
        self._platform = platform
        self._read_settings = read_settings or (lambda: platform.settings.rest)
        self._project_verifier = None if is_bare else platform.new_verifier
        self._is_bare = is_bare
        settings = platform.settings.rest
        authenticator = create_authenticator(settings, self._project_verifier)
        self._state = _State(settings, authenticator, settings.schemas, None)
        self._time_zones: frozenset[str] | None = None
        self._wanted = asyncio.Event()
        self._wants_cache = self._wants_configuration = False
        self._reloading = asyncio.Lock()
        self._changed: set[str] = set()
        self._asked = 0
        self._done = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: NoticeListener | None = None
        if settings.channel_enabled:
            self._listener = NoticeListener(
                platform.settings.dsn(),
                settings.channel,
                on_notice=self._noticed,
                on_reconnect=self._listening_again,
                on_lost=self._lost,
            )
        self.counts = LoadCounts()
        self.ended: asyncio.Future[IsobaseError] = asyncio.get_running_loop().create_future()
        """Set to what makes it pointless to go on: the database refuses the login, or automatic recovery is off."""
        self.retry_delay_s = 0.0
        """Seconds until the next try where the last one failed."""
        self.is_pending = True
        """Whether a load is being tried and what is there may be old."""

    @property
    def cache(self) -> SchemaCache:
        """The newest cache. Raises ``Unavailable`` (code ``schema_cache``) before the first load."""
        if self._state.cache is None:
            raise Unavailable("The schema cache is not loaded yet", code="schema_cache")
        return self._state.cache

    @property
    def cache_or_none(self) -> SchemaCache | None:
        """The newest cache, None before the first load."""
        return self._state.cache

    @property
    def settings(self) -> RestSettings:
        """The settings in force."""
        return self._state.settings

    @property
    def authenticator(self) -> Authenticator:
        """Who may come in, by the settings in force."""
        return self._state.authenticator

    @property
    def schemas(self) -> tuple[str, ...]:
        """The exposed schemas, the default first, dynamic databases last."""
        return self._state.schemas

    async def start(self) -> None:
        """Load everything once, then keep it fresh in the background. Raises what the load raises."""
        if self._listener is not None:
            await self._listener.connect()
        self._state = await self._configured()
        await self.reload()
        self._start_tasks()

    def start_trying(self) -> None:
        """Load in the background until it succeeds: requests are answered 503 until then, as upstream."""
        self.want_reload()
        self._start_tasks()

    def _start_tasks(self) -> None:
        self._tasks = [asyncio.create_task(self._reload_when_wanted(), name="schema cache reload")]
        if self._listener is not None:
            self._tasks.append(asyncio.create_task(self._listener.keep(), name="schema cache notices"))

    async def stop(self) -> None:
        """End the background tasks, also those of a start that failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            await asyncio.sleep(0)  # the loop closes the socket in its next round

    async def is_connected(self) -> bool:
        """Whether the database can be reached: the listener is up or, without one, a query is answered."""
        return self._listener.is_listening if self._listener is not None else await self._platform.door.can_connect()

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
            self._state = await self._loaded(self._state)
            self._done = covered

    async def reload_database(self, schema: str) -> None:
        """Read the tables of a dynamic database anew, and of others that changed meanwhile; else as ``reload``.

        Callers that wait while a load runs share the next one, so that many tables made at once cost few loads.
        """
        self._changed.add(schema)
        async with self._reloading:
            if schema in self._changed:
                await self._reload_changed()

    async def catch_up(self, cache: SchemaCache) -> bool:
        """Whether there is a newer schema cache than ``cache``; a reload that has been asked for is awaited."""
        if self._state.cache is cache and self._listener is not None:
            await self._listener.hear()
        try:
            if self._state.cache is cache and (self._wants_cache or self._asked > self._done):
                await self.reload()
            elif self._state.cache is cache and self._changed:
                async with self._reloading:
                    await self._reload_changed()
        except (Unavailable, DatabaseError):
            # What reads the catalog can meet what is just being dropped. The request's own error stands then.
            self.want_reload()
        return self._state.cache is not cache

    async def time_zones(self) -> frozenset[str]:
        """The names of the server's time zones; read when first asked for, as few requests name one."""
        if self._time_zones is None:
            async with self._platform.pools.acquire(None) as connection:
                rows = await connection.fetch("select name from pg_catalog.pg_timezone_names")
            self._time_zones = frozenset(row["name"] for row in rows)
        return self._time_zones

    def want_reload(self) -> None:
        """Ask for a reload of the schema cache soon; the settings in the database are read again with it, as upstream."""
        self._platform.door.forget_role_settings()
        self._wants_cache = True
        self._wanted.set()

    def want_configuration(self) -> None:
        """Ask for a reload of the settings soon; the schema cache follows where they change what is exposed."""
        self._wants_configuration = True
        self._wanted.set()

    async def _loaded(self, state: _State) -> _State:
        started_s = time.perf_counter()
        try:
            async with self._platform.pools.acquire(None) as connection:
                dynamic = [] if self._is_bare else await connection.fetch("select schema_name from isobase.databases")
                schemas = (*state.settings.schemas, *(row["schema_name"] for row in dynamic))
                cache = await load_schema_cache(connection, schemas, state.settings.hoisted_tx_settings)
        except IsobaseError:
            self.counts.failed += 1
            raise
        self.counts.succeeded += 1
        self.counts.last_s = time.perf_counter() - started_s
        self.is_pending = False
        return replace(state, schemas=schemas, cache=cache)

    async def _reload_changed(self) -> None:
        """Read the dynamic databases that changed, all at once. Under the lock. What failed stays to be read."""
        changed, self._changed = self._changed, set()
        if not changed:
            return
        before = self._state.cache
        try:
            self._state = await self._partly_loaded(self._state, changed)
        except BaseException:
            self._changed |= changed
            raise
        now = self.cache.relations
        if before is not None and any(
            now.get(key) != relation for key, relation in before.relations.items() if key[0] in changed
        ):
            self._platform.door.renew_connections()  # sessions may hold plans of what is gone

    async def _partly_loaded(self, state: _State, changed: set[str]) -> _State:
        if state.cache is None or self._is_bare:
            return await self._loaded(state)
        async with self._platform.pools.acquire(None) as connection:
            rows = await connection.fetch(
                "select schema_name from isobase.databases where schema_name = any($1::text[])", list(changed)
            )
            living = [row["schema_name"] for row in rows]
            cache = await load_part(connection, state.cache, changed, living)
        if cache is None:
            return await self._loaded(state)
        others = [schema for schema in state.schemas if schema not in changed or schema in state.settings.schemas]
        return replace(state, schemas=(*others, *living), cache=cache)

    async def _configured(self) -> _State:
        """The state with the settings read anew, its cache still the old one."""
        settings = self._read_settings()
        if settings.config_in_database:
            held = await read_stored_settings(self._platform.settings.dsn(LOGIN_ROLE), settings.pre_config)
            settings = over_rest_settings(settings, held)
        if settings == self._state.settings:
            return self._state
        return replace(
            self._state, settings=settings, authenticator=create_authenticator(settings, self._project_verifier)
        )

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._reload_what_is_wanted()
            except (Unavailable, DatabaseError) as error:
                self._failed(error)
            else:
                self.retry_delay_s = 0.0

    def _failed(self, error: IsobaseError) -> None:
        """Try again after a while; a notice ends the wait, as then the database is there again or was put right."""
        self.is_pending = True
        self._wants_cache = True
        self.retry_delay_s = min(max(self.retry_delay_s * 2, FIRST_RETRY_DELAY_S), MAX_RETRY_DELAY_S)
        _log.warning(
            "schema cache reload failed, trying again",
            extra={"reason": error.details or error.message, "delay_s": self.retry_delay_s},
        )
        asyncio.get_running_loop().call_later(self.retry_delay_s, self._wanted.set)
        is_final = isinstance(error, DatabaseError) and error.sqlstate in LOGIN_REFUSED
        if (is_final or not self.settings.automatic_recovery) and not self.ended.done():
            self.ended.set_result(error)

    async def _reload_what_is_wanted(self) -> None:
        if self._changed and not (self._wants_cache or self._wants_configuration):
            async with self._reloading:
                await self._reload_changed()
            return
        async with self._reloading:
            covered = self._asked
            wants_cache, self._wants_cache = self._wants_cache, False
            wants_configuration, self._wants_configuration = self._wants_configuration, False
            before = state = self._state
            if wants_configuration or before.settings.config_in_database:
                state = await self._configured_or_before()
                if wants_configuration and state is not before:
                    _log.info("configuration reloaded")
            exposure = (state.settings.schemas, state.settings.hoisted_tx_settings)
            if not wants_cache and exposure == (before.settings.schemas, before.settings.hoisted_tx_settings):
                self._state = state
                return
            self._state = await self._loaded(state)
            self._done = covered
        # Settings of the login role count from the next login on, and sessions may hold plans of what is gone.
        self._platform.door.renew_connections()
        extra = {"relations": len(self.cache.relations), "functions": len(self.cache.functions)}
        _log.info("schema cache loaded", extra={**extra, "duration_ms": round(self.counts.last_s * 1000, 1)})
        if self._is_bare and not (self.cache.relations or self.cache.functions):
            # Nothing but 404 from now on; most often a name is misspelt, which PostgreSQL takes for an empty schema.
            _log.warning("the exposed schemas hold no tables and no functions", extra={"schemas": self._state.schemas})

    async def _configured_or_before(self) -> _State:
        """The settings read anew. Those in force stay where that fails: who changes them is not here to be told."""
        try:
            return await self._configured()
        except ConfigurationError as error:
            _log.error("the configuration cannot be reloaded", extra={"reason": error.message})
        except DatabaseError as error:
            if error.sqlstate in LOGIN_REFUSED:
                raise
            _log.error("the settings in the database cannot be read", extra={"reason": error.message})
        return self._state

    def _noticed(self, payload: str) -> None:
        self._platform.door.forget_role_settings()
        if payload in {"reload schema", ""}:
            self.want_reload()
        elif payload.startswith(DATABASE_NOTICE):
            self._changed.add(payload.removeprefix(DATABASE_NOTICE))
            self._wanted.set()
        elif payload == "reload config":
            self.want_configuration()

    def _lost(self) -> None:
        if not self.settings.automatic_recovery and not self.ended.done():
            self.ended.set_result(Unavailable("The connection that listens for notices was lost"))

    def _listening_again(self) -> None:
        """Notices may have been missed."""
        self.want_reload()

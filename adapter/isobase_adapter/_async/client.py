"""The migration client: supabase-py's client, whose requests go to Supabase, to Isobase, or to both.

``create_migration_client`` takes what ``create_client`` takes. Every builder, option and error is the official
package's own; only the transport under its http clients is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import httpx
from postgrest import AsyncPostgrestClient
from storage3 import AsyncStorageClient
from supabase import AsyncClient as OfficialClient
from supabase._async.auth_client import AsyncSupabaseAuthClient
from supabase.lib.client_options import AsyncClientOptions
from supabase_functions import AsyncFunctionsClient

from isobase._http import AsyncSession, CallPolicy
from isobase_adapter._async.auth import AsyncMigrationAuthClient
from isobase_adapter._async.migration import AsyncMigration
from isobase_adapter._async.rows import AsyncMigrationPostgrestClient
from isobase_adapter.core import Core
from isobase_adapter.http._async.transport import AsyncMigrationTransport, AsyncSides
from isobase_adapter.http.addresses import is_well_formed
from isobase_adapter.http.redirects import keeps_keys
from isobase_adapter.settings import MigrationSettings
from isobase_adapter.storage.urls import AsyncMigrationStorage

__all__ = ["AsyncMigrationClient", "create_async_migration_client"]

ISOBASE_RETRIES = 1
"""A read that lost its connection is sent again once; then the fallback is quicker than more waiting."""


class AsyncFamilyClient(httpx.AsyncClient):
    """The http client of one service, with that service's time limits, on the migration client's transport."""

    def _redirect_headers(self, request: httpx.Request, url: httpx.URL, method: str) -> httpx.Headers:
        """Leave the project's key behind where a redirect leaves the project."""
        headers = super()._redirect_headers(request, url, method)
        if not keeps_keys(request.url, url):
            headers.pop("apikey", None)
        return headers


class AsyncHttp:
    """The http clients of one migration client: one for each service, all on one transport."""

    def __init__(self, core: Core, given: httpx.AsyncClient | None) -> None:
        """Take the client that the app gave, if it did: its settings serve the Supabase side, and it stays the app's."""

        def supabase() -> httpx.AsyncClient:
            return given if given is not None else httpx.AsyncClient(http2=True)

        isobase = AsyncSession(
            policy=CallPolicy(retries=ISOBASE_RETRIES), timeout=None, follow_redirects=False, headers={}
        )
        self.sides = AsyncSides(core, supabase, is_own=given is None, isobase=isobase)
        self.transport = AsyncMigrationTransport(core, self.sides)
        self._given = given
        self._clients: dict[str, httpx.AsyncClient] = {}

    def client(self, family: str, timeout: float | httpx.Timeout | None = None) -> httpx.AsyncClient:
        """Give the client of a service; made anew where it was closed. timeout: seconds of each step, None: httpx's."""
        known = self._clients.get(family)
        if known is not None and not known.is_closed:
            return known
        if self._given is not None:
            made = copy.copy(self._given)
            made._transport, made._mounts = self.transport, {}
        else:
            limits: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
            made = AsyncFamilyClient(transport=self.transport, follow_redirects=True, **limits)
        self._clients[family] = made
        return made

    def tell(self, family: str, headers: Mapping[str, str], base_url: str = "") -> None:
        """Give a service's client (``client.postgrest.session``) the headers and the URL that the official one has.

        An app's own client has what the app gave it.
        """
        if self._given is None:
            client = self._clients[family]
            client.headers.update(headers)
            client.base_url = base_url

    async def aclose(self) -> None:
        """Close what was made here."""
        for client in self._clients.values():
            if self._given is None:
                await client.aclose()
        await self.sides.aclose()


class AsyncMigrationClient(OfficialClient):
    """A Supabase client whose requests go where their flags say; ``migration`` tells of the move."""

    def __init__(
        self, supabase_url: str, supabase_key: str, options: AsyncClientOptions | None = None, *, core: Core
    ) -> None:
        """Make it of a ``core``; use ``create_async_migration_client``."""
        self._http = AsyncHttp(core, options.httpx_client if options is not None else None)
        self._core = core
        super().__init__(supabase_url, supabase_key, options)
        self.migration = AsyncMigration(core, self._closed)

    @classmethod
    async def create_migration(
        cls,
        supabase_url: str,
        supabase_key: str,
        options: AsyncClientOptions | None = None,
        migration: MigrationSettings | None = None,
    ) -> Self:
        """Make a client and wait until its flags are known."""
        if not is_well_formed(supabase_url, supabase_key):
            OfficialClient(supabase_url, supabase_key, options)  # raises the official client's own error
        settings = migration if migration is not None else MigrationSettings.from_environment()
        authorization = options.headers.get("Authorization") if options is not None else None
        core = Core.of(settings, supabase_url, supabase_key)
        try:
            client = cls(supabase_url, supabase_key, options, core=core)
        except BaseException:
            core.close()
            raise
        try:
            # [async]
            await core.ready()
            # [/async]
            # [sync] core.ready_now()
            if authorization is None:
                await client._take_session()
        except BaseException:
            await client.migration.aclose()
            raise
        return client

    async def _take_session(self) -> None:
        """Begin with the session that the app's storage keeps, as the official client does; without one, with the key."""
        try:
            session = await self.auth.get_session()
        except Exception:  # noqa: BLE001  (the official client goes on without a session, whatever kept it)
            session = None
        token = self._create_auth_header(session.access_token) if session is not None else None
        self.options.headers.update(self._get_auth_headers(token))

    async def _closed(self) -> None:
        # [async]
        await self.realtime.close()
        # [/async]
        await self._http.aclose()

    # The official client's sub-clients, each on its service's http client.

    def _init_supabase_auth_client(  # type: ignore[override]
        self, auth_url: str, client_options: AsyncClientOptions, **_unused: Any
    ) -> AsyncSupabaseAuthClient:
        return AsyncMigrationAuthClient.on(
            self._core,
            url=auth_url,
            auto_refresh_token=client_options.auto_refresh_token,
            persist_session=client_options.persist_session,
            storage=client_options.storage,
            headers=client_options.headers,
            flow_type=client_options.flow_type,
            http_client=self._http.client("auth"),
        )

    def _init_postgrest_client(  # type: ignore[override]
        self,
        rest_url: str,
        headers: dict[str, str],
        schema: str,
        timeout: float | httpx.Timeout,
        retry_enabled: bool = True,
        **_unused: Any,
    ) -> AsyncPostgrestClient:
        limit = timeout if isinstance(timeout, httpx.Timeout) else int(abs(timeout))
        client = OfficialClient._init_postgrest_client(
            rest_url=rest_url,
            headers=headers,
            schema=schema,
            retry_enabled=retry_enabled,
            http_client=self._http.client("rest", limit),
        )
        client.timeout = limit
        self._http.tell("rest", client.headers, rest_url)
        return AsyncMigrationPostgrestClient.like(client)

    def _init_storage_client(  # type: ignore[override]
        self, storage_url: str, headers: dict[str, str], storage_client_timeout: int, **_unused: Any
    ) -> AsyncStorageClient:
        limit = int(abs(storage_client_timeout))
        client = AsyncMigrationStorage(
            url=storage_url, headers=headers, http_client=self._http.client("storage", limit)
        )
        client.side_url = self._core.storage_url
        client.timeout = limit
        self._http.tell("storage", client._headers)
        return client

    # [async]
    def _init_realtime_client(self, realtime_url: Any, supabase_key: str, options: Any = None) -> Any:  # type: ignore[override]
        from isobase_adapter.realtime.client import AsyncMigrationRealtime

        addresses = self._core.addresses
        return AsyncMigrationRealtime(
            str(realtime_url),
            supabase_key,
            isobase_url=f"{addresses.isobase_url}realtime/v1",
            key_at_isobase=addresses.isobase_key,
            following=self._core,
            **(options or {}),
        )

    # [/async]
    @property
    def functions(self) -> AsyncFunctionsClient:
        """The client of edge functions."""
        if self._functions is None:
            limit = int(abs(self.options.function_client_timeout))
            self._functions = AsyncFunctionsClient(
                url=str(self.functions_url),
                headers=self.options.headers,
                http_client=self._http.client("functions", limit),
            )
            self._functions.timeout = limit
        return self._functions


async def create_async_migration_client(
    supabase_url: str,
    supabase_key: str,
    options: AsyncClientOptions | None = None,
    *,
    migration: MigrationSettings | None = None,
) -> AsyncMigrationClient:
    """Make a client of a Supabase project that moves to Isobase; put it in the place of supabase-py's ``create_client``.

    supabase_url, supabase_key, options: as for supabase-py. migration: the Isobase side and the move's settings, None:
    from the environment (docs/migration/client.md). Waits until the flags are known, at most ``start_timeout_s``.
    Raises supabase-py's errors for a URL or key of the wrong form, ``SettingsError`` for settings that are missing or
    wrong, ``ControlError`` where no flags can be learned: no side is chosen without them.
    """
    return await AsyncMigrationClient.create_migration(supabase_url, supabase_key, options, migration)

"""The data client: tables, functions and schemas of one data API. Source: postgrest-py 2.34.1 ``_async/client.py``."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, overload
from warnings import warn

from httpx import AsyncClient, Timeout
from typing_extensions import TypeVar

from isobase._deprecation import warn_of_http_settings
from isobase._http import AsyncSession, CallPolicy
from isobase._identity import client_info
from isobase.postgrest._async.request_builder import AsyncRequestBuilder, AsyncRPCFilterRequestBuilder
from isobase.postgrest._bodies import rows_to_send
from isobase.postgrest._request import RequestConfig
from isobase.postgrest.base_client import BasePostgrestClient, rpc_pairs, timeout_of

# [sync] from isobase.postgrest.base_client import SyncNames
from isobase.postgrest.constants import DEFAULT_POSTGREST_CLIENT_HEADERS
from isobase.postgrest.types import JSON, CountMethod
from isobase.postgrest.version import __version__

Model = TypeVar("Model")


class AsyncPostgrestClient(
    BasePostgrestClient,
    # [sync] SyncNames,
):
    """A client of the data API.

    ``base_url``: its address (``https://…/rest/v1``). ``schema``: the schema of tables and functions. ``headers``:
    sent with every request. ``http_client``: what sends; without it the client makes its own. ``retry_enabled``:
    whether reads may be sent again. ``timeout`` (seconds, default 120), ``verify`` and ``proxy`` are deprecated as
    upstream has them: give an ``http_client``. Closing the client closes what sends.
    """

    session: AsyncClient

    def __init__(
        self,
        base_url: str,
        *,
        schema: str = "public",
        headers: Mapping[str, str] = DEFAULT_POSTGREST_CLIENT_HEADERS,
        timeout: int | float | Timeout | None = None,
        verify: bool | None = None,
        proxy: str | None = None,
        http_client: AsyncClient | None = None,
        retry_enabled: bool = True,
    ) -> None:
        warn_of_http_settings(stacklevel=2, timeout=timeout, verify=verify, proxy=proxy)
        super().__init__(
            base_url,
            schema=schema,
            headers={"X-Client-Info": client_info(f"isobase-py/postgrest v{__version__}"), **headers},
            timeout=timeout_of(timeout),
            verify=True if verify is None else verify,
            proxy=proxy,
        )
        self.retry_enabled = retry_enabled
        self._owns_session = True
        if http_client is not None:
            self.session = AsyncSession.of(http_client)
        else:
            whole = self.timeout if timeout is not None and not isinstance(self.timeout, Timeout) else None
            self.session = AsyncSession(
                base_url=base_url,
                headers=self.headers,
                timeout=self.timeout,
                verify=self.verify,
                proxy=proxy,
                policy=CallPolicy(timeout=whole),
            )

    def schema(self, schema: str) -> AsyncPostgrestClient:
        """Give a client of another schema, which sends through this one and does not close it."""
        client = AsyncPostgrestClient(
            str(self.base_url),
            schema=schema,
            headers=self.headers,
            http_client=self.session,
            retry_enabled=self.retry_enabled,
        )
        client.basic_auth = self.basic_auth
        client._owns_session = False
        return client

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a client made by ``schema()`` leaves that to the one it was made of."""
        if self._owns_session:
            await self.session.aclose()

    @overload
    def from_(self, table: str, *, model: None = None) -> AsyncRequestBuilder[JSON]: ...
    @overload
    def from_(self, table: str, *, model: type[Model]) -> AsyncRequestBuilder[Model]: ...

    def from_(self, table: str, *, model: Any = None) -> AsyncRequestBuilder[Any]:
        """Choose a table or view.

        ``model``: what its rows become: a pydantic model, a dataclass or a TypedDict; not given, they are JSON.
        """
        return AsyncRequestBuilder(
            self.session,
            self._url_of(table),
            self.headers,
            self.basic_auth,
            self.retry_enabled,
            model=model,
            table=table,
        )

    @overload
    def table(self, table: str) -> AsyncRequestBuilder[JSON]: ...
    @overload
    def table(self, table: str, *, model: type[Model]) -> AsyncRequestBuilder[Model]: ...

    def table(self, table: str, *, model: Any = None) -> AsyncRequestBuilder[Any]:
        """Do as ``from_``."""
        return self.from_(table, model=model)

    def from_table(self, table: str) -> AsyncRequestBuilder[JSON]:
        """Do as ``from_``; deprecated."""
        warn("from_table is deprecated: use from_ instead", DeprecationWarning, stacklevel=2)
        return self.from_(table)

    @overload
    def rpc(
        self,
        func: str,
        params: Mapping[str, Any],
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
    ) -> AsyncRPCFilterRequestBuilder[JSON]: ...
    @overload
    def rpc(
        self,
        func: str,
        params: Mapping[str, Any],
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
        *,
        model: type[Model],
    ) -> AsyncRPCFilterRequestBuilder[Model]: ...

    def rpc(
        self,
        func: str,
        params: Mapping[str, Any],
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
        *,
        model: Any = None,
    ) -> AsyncRPCFilterRequestBuilder[Any]:
        """Call a function of the database.

        ``params``: its arguments by name. ``count``: also give the total number of rows. ``head``: give the number
        alone. ``get``: call it read-only, with the arguments in the URL. ``model``: what the whole result becomes,
        ``list[Todo]`` or ``Todo`` or ``int``; not given, it is JSON.
        """
        method = "HEAD" if head else "GET" if get else "POST"
        request = RequestConfig(
            self.session,
            self._url_of(func, "rpc/"),
            method,
            self.headers,
            [] if method == "POST" else rpc_pairs(params),
            self.basic_auth,
            rows_to_send(params),
            self.retry_enabled,
            prefer=f"count={count}" if count else "",
            model=model,
            table=func,
        )
        return AsyncRPCFilterRequestBuilder(request)

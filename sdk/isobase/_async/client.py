"""The client: auth, data, storage, functions and realtime under one URL and key, on one pool of connections.

Sub-clients are made when they are first used. All of them follow the signed-in user, except where the client was made
with a secret key (docs/sdk/clients.md). ``parts`` makes them and says whose rights they have, ``connections`` what they
send through; what is decided about keys is in ``isobase._keys``, the transport is ``isobase._http``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import httpx

from isobase._async.parts import AsyncParts
from isobase._keys import (
    bearer,
    check_arguments,
    given_authorization,
    warn_of_unknown_key,
)
from isobase.auth._async.storage import AsyncMemoryStorage
from isobase.errors import SupabaseException
from isobase.lib.client_options import AsyncClientOptions

if TYPE_CHECKING:
    from isobase.postgrest import AsyncPostgrestClient, AsyncRequestBuilder, AsyncRPCFilterRequestBuilder
    from isobase.postgrest.types import JSON, CountMethod
    from isobase.realtime import AsyncRealtimeChannel, RealtimeChannelOptions

__all__ = ["AsyncClient", "SupabaseException", "create_client"]

Model = TypeVar("Model")


class AsyncClient(AsyncParts):
    """A client of one Isobase or Supabase project.

    ``async with`` closes it; without, ``await client.aclose()`` does. One client may be used by many tasks; for
    requests in the name of many users see ``as_user``.
    """

    def __init__(
        self,
        supabase_url: str,
        supabase_key: str,
        options: AsyncClientOptions | None = None,
    ) -> None:
        """Make a client; nothing is sent.

        supabase_url: the project's URL. supabase_key: its API key. options: see ``AsyncClientOptions``.
        Raises ``SupabaseException`` for a URL or key of the wrong form. Source: supabase-py's ``AsyncClient``.
        """
        check_arguments(supabase_url, supabase_key)
        warn_of_unknown_key(supabase_key)
        self.supabase_url: httpx.URL = httpx.URL(supabase_url if supabase_url.endswith("/") else f"{supabase_url}/")
        self.supabase_key = supabase_key
        self._set_options(options or AsyncClientOptions())
        self.rest_url: httpx.URL = self.supabase_url.join("rest/v1")
        self.realtime_url: httpx.URL = self.supabase_url.join("realtime/v1").copy_with(
            scheme="wss" if self.supabase_url.scheme == "https" else "ws"
        )
        self.auth_url: httpx.URL = self.supabase_url.join("auth/v1")
        self.storage_url: httpx.URL = self.supabase_url.join("storage/v1/")
        self.functions_url: httpx.URL = self.supabase_url.join("functions/v1")
        self._own_session = None
        self._own_features = None
        self._owner = None
        self._followed = None
        self._user_token = None

    @classmethod
    async def create(
        cls,
        supabase_url: str,
        supabase_key: str,
        options: AsyncClientOptions | None = None,
    ) -> Self:
        """Make a client that begins with the session kept in ``options.storage``, if there is one; arguments as for
        the class.
        """
        client = cls(supabase_url, supabase_key, options)
        if options is not None and options.access_token is None and given_authorization(options.headers) is None:
            from isobase.auth.errors import AuthError

            with contextlib.suppress(AuthError, httpx.HTTPError):
                session = await client.auth.get_session()
                if session is not None:
                    client._use_session(session)
        return client

    # Short ways to them.

    @overload
    def table(self, table_name: str) -> AsyncRequestBuilder[JSON]: ...
    @overload
    def table(self, table_name: str, *, model: type[Model]) -> AsyncRequestBuilder[Model]: ...

    def table(self, table_name: str, *, model: Any = None) -> AsyncRequestBuilder[Any]:
        """Begin a query of a table or view of the client's schema; the same as ``from_``."""
        return self.from_(table_name, model=model)

    def schema(self, schema: str) -> AsyncPostgrestClient:
        """Give a data client of another exposed schema."""
        return self.postgrest.schema(schema)

    @overload
    def from_(self, table_name: str) -> AsyncRequestBuilder[JSON]: ...
    @overload
    def from_(self, table_name: str, *, model: type[Model]) -> AsyncRequestBuilder[Model]: ...

    def from_(self, table_name: str, *, model: Any = None) -> AsyncRequestBuilder[Any]:
        """Begin a query of a table or view of the client's schema.

        model: what its rows become, a pydantic model, a dataclass or a TypedDict; not given, they are JSON.
        """
        return self.postgrest.from_(table_name, model=model)

    @overload
    def rpc(
        self,
        fn: str,
        params: Mapping[str, Any] | None = None,
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
    ) -> AsyncRPCFilterRequestBuilder[JSON]: ...
    @overload
    def rpc(
        self,
        fn: str,
        params: Mapping[str, Any] | None = None,
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
        *,
        model: type[Model],
    ) -> AsyncRPCFilterRequestBuilder[Model]: ...

    def rpc(
        self,
        fn: str,
        params: Mapping[str, Any] | None = None,
        count: CountMethod | None = None,
        head: bool = False,
        get: bool = False,
        *,
        model: Any = None,
    ) -> AsyncRPCFilterRequestBuilder[Any]:
        """Call a function of the database.

        fn: its name. params: its arguments by name. count: how rows are counted. head: count only, no rows.
        get: as a read-only call. model: what the whole result becomes (``list[Todo]``, ``Todo``, ``int``); not given, it
        is JSON. Gives a builder that filters what the function returns.
        """
        return self.postgrest.rpc(fn, params or {}, count, head, get, model=model)

    def channel(self, topic: str, params: RealtimeChannelOptions | None = None) -> AsyncRealtimeChannel:
        """Give a channel for broadcasts, presence and row changes; ``subscribe`` joins it."""
        return self.realtime.channel(topic, params or {})

    def get_channels(self) -> list[AsyncRealtimeChannel]:
        """Give the channels there are."""
        return self.realtime.get_channels()

    async def remove_channel(self, channel: AsyncRealtimeChannel) -> None:
        """Leave a channel and forget it."""
        await self.realtime.remove_channel(channel)

    async def remove_all_channels(self) -> None:
        """Leave every channel and forget them."""
        await self.realtime.remove_all_channels()

    # Views: other rights or options on the same connections.

    def as_user(self, access_token: str) -> Self:
        """Give a client that acts as the user of ``access_token``, on this client's connections.

        Made for web servers: it costs microseconds, keeps no session, renews none, and needs no closing. It
        ends with this client. Its ``auth`` speaks of that user: ``get_user()``, ``get_claims()`` and what else needs a user
        work without a session. Raises ``ValueError`` for an empty token, with which servers would look at the key.
        """
        if not access_token or access_token.isspace():
            raise ValueError("access_token must be a user's token, not empty")
        headers = {**self.options.headers, "Authorization": bearer(access_token)}
        options = self.options.replace(headers=headers, persist_session=False, auto_refresh_token=False)
        options.storage = AsyncMemoryStorage()
        # Where the client's own tokens come from is not the user's business.
        options.access_token = None
        if options.realtime is not None:
            options.realtime = {**options.realtime}
            options.realtime.pop("access_token", None)
        view = self._view(options)
        view._follows_session = False
        view._followed = None
        view._user_token = access_token
        return view

    def with_options(self, **changes: Any) -> Self:
        """Give a client with other options (``timeout=2.0``, ``schema="other"`` ...) on this client's connections.

        It acts as this client does, whoever signs in or out, and has the same ``auth``, so auth's options cannot differ.
        Raises ``TypeError`` for an unknown option.
        """
        options = self.options.replace(**changes)
        if given_authorization(options.headers) is None:
            # Other headers are no other rights: else a user's view would become the key's.
            options.headers = {**options.headers, "Authorization": self.options.headers["Authorization"]}
        view = self._view(options)
        view._followed = self
        return view

    def _view(self, options: AsyncClientOptions) -> Self:
        view = copy.copy(self)
        view._set_options(options)
        view._owner = self._owner or self
        return view

    # The end.

    async def aclose(self) -> None:
        """Close everything: the session's renewal, the channels, the connections. A client that the app gave stays
        open.
        """
        if self._realtime is not None:
            await self._realtime.close()
        if self._auth is not None and self._followed is None:
            await self._auth.close()
        # [async]
        for task in self._background_tasks:
            task.cancel()
        # [/async]
        if self._own_session is not None and self._owner is None:
            await self._own_session.aclose()

    # [async]
    async def close(self) -> None:
        """Close everything; the same as ``aclose``."""
        await self.aclose()

    # [/async]

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the client."""
        await self.aclose()


async def create_client(
    supabase_url: str,
    supabase_key: str,
    options: AsyncClientOptions | None = None,
) -> AsyncClient:
    """Make a client.

    supabase_url: the project's URL. supabase_key: its API key. options: see ``AsyncClientOptions``.
    Begins with the session kept in ``options.storage``, if there is one. Raises ``SupabaseException`` for a URL or
    key of the wrong form.
    Source: supabase-py's ``create_client``.
    """
    return await AsyncClient.create(supabase_url=supabase_url, supabase_key=supabase_key, options=options)

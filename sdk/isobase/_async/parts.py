"""The parts of a client (auth, data, storage, functions, realtime, and Isobase's own): made at their first use, and told
whose rights they act by.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx

from isobase._acompat import aspawn
from isobase._async.connections import AsyncConnections
from isobase._http._async.session import AsyncSession
from isobase._http.options import CallPolicy, whole_timeout_s
from isobase._keys import bearer, is_opaque_key, is_secret_key, project_headers
from isobase._making import MAKING
from isobase.errors import SupabaseException
from isobase.lib.client_options import AsyncClientOptions

if TYPE_CHECKING:
    from isobase._async.auth_client import AsyncSupabaseAuthClient
    from isobase.auth.types import AuthChangeEvent, Session
    from isobase.db import AsyncDatabases
    from isobase.functions import AsyncFunctionsClient
    from isobase.postgrest import AsyncPostgrestClient
    from isobase.realtime import AsyncRealtimeClient
    from isobase.rooms import AsyncRooms
    from isobase.storage import AsyncStorageClient
    from isobase.uploads import AsyncUploads

__all__ = ["AsyncParts"]

EXPIRY_MARGIN_S = 10
"""A session that ends within this time is renewed before a call, should the background renewal not have come to it."""
REMEMBERED_TOKENS = 8
AUTH_STEP_TIMEOUT_S = 5.0
"""Limit of each step of an auth call: httpx's default, which upstream's auth client has."""
OWN_STEP_TIMEOUT_S = 60.0
"""Limit of each step of a call of ``db``, ``rooms`` and ``uploads``."""


class AsyncParts(AsyncConnections):
    """The parts, under upstream's names. A view acts as the client it ``_followed``, or by its own ``_user_token``."""

    supabase_key: str
    auth_url: httpx.URL
    rest_url: httpx.URL
    realtime_url: httpx.URL
    storage_url: httpx.URL
    functions_url: httpx.URL
    _owner: AsyncParts | None
    _followed: AsyncParts | None
    _user_token: str | None

    def _set_options(self, options: AsyncClientOptions) -> None:
        """Begin with ``options``: no sub-client, no session."""
        self.options: AsyncClientOptions = copy.copy(options)
        self.options.headers = project_headers(options.headers, self.supabase_key)
        follows = options.session_authorization
        self._follows_session = not is_secret_key(self.supabase_key) if follows is None else follows
        self._earlier: deque[str] = deque([bearer(self.supabase_key)], maxlen=REMEMBERED_TOKENS)
        self._session_ends_at: float | None = None
        self._auth: AsyncSupabaseAuthClient | None = None
        self._realtime: AsyncRealtimeClient | None = None
        self._postgrest: AsyncPostgrestClient | None = None
        self._storage: AsyncStorageClient | None = None
        self._functions: AsyncFunctionsClient | None = None
        self._db: AsyncDatabases | None = None
        self._rooms: AsyncRooms | None = None
        self._uploads: AsyncUploads | None = None
        self._sessions: list[AsyncSession] = []
        # [async]
        self._background_tasks: set[asyncio.Task[None]] = set()
        # [/async]

    # The sub-clients.

    @property
    def auth(self) -> AsyncSupabaseAuthClient:
        """The auth client. Raises ``SupabaseException`` where tokens come from ``options.access_token``."""
        if self._followed is not None:
            return self._followed.auth
        if self._auth is None:
            if self.options.access_token is not None:
                raise SupabaseException("auth cannot be used by a client whose tokens come from access_token")
            with MAKING:
                if self._auth is None:
                    auth = self._init_supabase_auth_client(str(self.auth_url), self.options)
                    auth.on_auth_state_change(self._listen_to_auth_events)
                    if self._user_token is not None and self._owner is not None:
                        auth._act_for(self._user_token, keys_of=self._owner.auth)
                    self._auth = auth
        return self._auth

    @auth.setter
    def auth(self, client: AsyncSupabaseAuthClient) -> None:
        self._auth = client

    @property
    def realtime(self) -> AsyncRealtimeClient:
        """The realtime client."""
        # [sync] if self._realtime is not None and self._realtime.is_left_behind:
        # [sync]     self._realtime = None
        if self._realtime is None:
            with MAKING:
                if self._realtime is None:
                    realtime = self._init_realtime_client(
                        self.realtime_url,
                        self.supabase_key,
                        self._realtime_options(),
                    )
                    realtime.access_token = self._current_token()  # what is sent over HTTP before anything was joined
                    self._realtime = realtime
        return self._realtime

    @realtime.setter
    def realtime(self, client: AsyncRealtimeClient) -> None:
        self._realtime = client

    def _realtime_options(self) -> dict[str, Any]:
        return {
            "access_token": self.options.access_token or self._current_token,
            "http_client": self._session(OWN_STEP_TIMEOUT_S),
            **(self.options.realtime or {}),
        }

    @property
    def postgrest(self) -> AsyncPostgrestClient:
        """The data client."""
        if self._postgrest is None:
            with MAKING:
                if self._postgrest is None:
                    self._postgrest = self._init_postgrest_client(
                        rest_url=str(self.rest_url),
                        headers=self.options.headers,
                        schema=self.options.schema,
                        http_client=self._session(
                            self.options.postgrest_client_timeout,
                            retries=self.options.retries if self.options.postgrest_client_retry else 0,
                            unsaid_timeout=whole_timeout_s(self.options.postgrest_client_timeout),
                            may_have_keys=True,
                        ),
                        retry_enabled=self.options.postgrest_client_retry,
                    )
        return self._postgrest

    @property
    def storage(self) -> AsyncStorageClient:
        """The storage client."""
        if self._storage is None:
            with MAKING:
                if self._storage is None:
                    self._storage = self._init_storage_client(
                        storage_url=str(self.storage_url),
                        headers=self.options.headers,
                        http_client=self._session(self.options.storage_client_timeout),
                    )
        return self._storage

    @property
    def functions(self) -> AsyncFunctionsClient:
        """The client of edge functions. A key of the new kind goes as ``apikey`` alone: it is no token that a function
        could check.
        """
        if self._functions is None:
            with MAKING:
                if self._functions is None:
                    from isobase.functions import AsyncFunctionsClient

                    headers = dict(self.options.headers)
                    if is_opaque_key(self.supabase_key) and headers["Authorization"] == bearer(self.supabase_key):
                        del headers["Authorization"]
                    self._functions = AsyncFunctionsClient(
                        url=str(self.functions_url),
                        headers=headers,
                        http_client=self._session(
                            self.options.function_client_timeout,
                            headers=headers,
                            unsaid_timeout=whole_timeout_s(self.options.function_client_timeout),
                        ),
                    )
        return self._functions

    # Isobase's own.

    @property
    def db(self) -> AsyncDatabases:
        """Databases and tables made at run time; Isobase alone has them."""
        if self._db is None:
            with MAKING:
                if self._db is None:
                    from isobase.db import AsyncDatabases

                    self._db = AsyncDatabases(str(self.supabase_url), http_client=self._session(OWN_STEP_TIMEOUT_S))
        return self._db

    @property
    def rooms(self) -> AsyncRooms:
        """Chat rooms; Isobase alone has them."""
        if self._rooms is None:
            with MAKING:
                if self._rooms is None:
                    from isobase.rooms import AsyncRooms

                    self._rooms = AsyncRooms(
                        str(self.supabase_url), token=self._bearer, http_client=self._session(OWN_STEP_TIMEOUT_S)
                    )
        return self._rooms

    @property
    def uploads(self) -> AsyncUploads:
        """Uploads of users by kind; Isobase alone has them."""
        if self._uploads is None:
            with MAKING:
                if self._uploads is None:
                    from isobase.uploads import AsyncUploads

                    # A store of its own (S3) must not see the project's keys, and refuses an Authorization beside its
                    # signature.
                    store = (
                        AsyncSession.sharing(
                            self._pool(), headers={}, timeout=OWN_STEP_TIMEOUT_S, policy=CallPolicy(), authorize=None
                        )
                        if self.options.httpx_client is None
                        else self.options.httpx_client
                    )
                    self._uploads = AsyncUploads(
                        str(self.supabase_url), http_client=self._session(OWN_STEP_TIMEOUT_S), store_client=store
                    )
        return self._uploads

    # Whose rights a call has.

    async def _bearer(self) -> str:
        """The token by which the client acts now."""
        present = self.options.headers["Authorization"]
        return (await self._authorize(present) or present).removeprefix("Bearer ")

    def _may_wait(self) -> bool:
        """Whether ``_authorize`` may have to ask somebody now; else it answers at once."""
        if self._followed is not None:
            return self._followed._may_wait()
        return self.options.access_token is not None or (self._follows_session and self._is_ending())

    def _is_ending(self) -> bool:
        return self._session_ends_at is not None and self._session_ends_at - EXPIRY_MARGIN_S <= time.time()

    async def _authorize(self, present: str | None) -> str | None:
        """Say what a call's ``Authorization`` should be instead of ``present``; None: it may stay.

        Only what this client once put there is replaced: a header that the app set itself stays.
        """
        if self._followed is not None:
            return await self._followed._authorize(present)
        if (ask := self.options.access_token) is not None:
            if present is not None and present not in self._earlier:
                return None
            token = await ask()
            return None if token is None else bearer(token)
        if not self._follows_session:
            return None
        current = self.options.headers["Authorization"]
        if self._is_ending() and present in (None, current):
            from isobase.auth.errors import AuthError

            with contextlib.suppress(AuthError):
                await self.auth.get_session()
            current = self.options.headers["Authorization"]
        return current if present != current and present in self._earlier else None

    def _current_token(self) -> str:
        """The token that a call made now would carry: the user's, or the key."""
        if self._followed is not None:
            return self._followed._current_token()
        return self.options.headers["Authorization"].removeprefix("Bearer ")

    # The auth client's events.

    def _use_session(self, session: Session | None) -> None:
        """Let every sub-client act as the session's user; without one, with the key again."""
        if not self._follows_session:
            return
        token = session.access_token if session else self.supabase_key
        ends_at = session.expires_at if session else None
        self._session_ends_at = ends_at if isinstance(ends_at, int | float) else None
        authorization = bearer(token)
        if (former := self.options.headers["Authorization"]) != authorization:
            if former not in self._earlier:
                self._earlier.append(former)
            self.options.headers["Authorization"] = authorization
        for session_ in self._sessions:
            session_.headers["Authorization"] = authorization
        if self._auth is not None:
            self._auth._headers["Authorization"] = authorization
        if self._postgrest is not None:
            self._postgrest.headers["Authorization"] = authorization
        if self._storage is not None:
            self._storage._headers["Authorization"] = authorization
        if self._functions is not None:
            own = [each.headers for each in self._sessions if each is self._functions._client]
            for headers in (self._functions.headers, *own):
                if session is None and is_opaque_key(self.supabase_key):
                    headers.pop("Authorization", None)
                else:
                    headers["Authorization"] = authorization

    def _listen_to_auth_events(self, event: AuthChangeEvent, session: Session | None) -> None:
        """Follow the auth client: every event but SIGNED_OUT carries the session that holds from now on."""
        if not self._follows_session:
            return
        self._use_session(session)
        if self._realtime is not None:
            token = session.access_token if session else self.supabase_key
            self._realtime.access_token = token  # at once, for joins that begin before channels were told
            # [async]
            task = aspawn(self._realtime.set_auth, token, name="isobase-realtime-token")
            self._background_tasks.add(task)
            task.add_done_callback(self._background_tasks.discard)
            # [/async]
            # [sync] self._realtime.set_auth(token)

    # The sub-clients' making; names and arguments are upstream's, which apps override.

    @staticmethod
    def _init_realtime_client(
        realtime_url: httpx.URL,
        supabase_key: str,
        options: Any = None,
    ) -> AsyncRealtimeClient:
        from isobase.realtime import AsyncRealtimeClient

        return AsyncRealtimeClient(str(realtime_url), token=supabase_key, **(options or {}))

    @staticmethod
    def _init_storage_client(
        storage_url: str,
        headers: dict[str, str],
        http_client: httpx.AsyncClient | None = None,
    ) -> AsyncStorageClient:
        from isobase.storage import AsyncStorageClient

        return AsyncStorageClient(url=storage_url, headers=headers, http_client=http_client)

    def _init_supabase_auth_client(self, auth_url: str, client_options: AsyncClientOptions) -> AsyncSupabaseAuthClient:
        from isobase._async.auth_client import AsyncSupabaseAuthClient

        return AsyncSupabaseAuthClient(
            url=auth_url,
            auto_refresh_token=client_options.auto_refresh_token,
            persist_session=client_options.persist_session,
            storage=client_options.storage,
            headers=client_options.headers,
            storage_key=client_options.storage_key,
            append_flow_id_to_redirects=client_options.append_flow_id_to_redirects,
            flow_type=client_options.flow_type,
            http_client=self._session(
                AUTH_STEP_TIMEOUT_S, authorize=False, unsaid_timeout=whole_timeout_s(AUTH_STEP_TIMEOUT_S)
            ),
            detect_session_in_url=client_options.detect_session_in_url,
        )

    @staticmethod
    def _init_postgrest_client(
        rest_url: str,
        headers: dict[str, str],
        schema: str,
        http_client: httpx.AsyncClient | None = None,
        retry_enabled: bool = True,
    ) -> AsyncPostgrestClient:
        from isobase.postgrest import AsyncPostgrestClient

        return AsyncPostgrestClient(
            rest_url, headers=headers, schema=schema, http_client=http_client, retry_enabled=retry_enabled
        )

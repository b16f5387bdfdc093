"""The options of a client: the public names of ``supabase.lib.client_options``, and Isobase's own, which are
keyword-only.

The two classes differ in the session storage and the httpx client they take.
"""

# Annotations are values here, as upstream's are: apps read the types of the options' fields.

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from httpx import AsyncClient as AsyncHttpxClient
from httpx import Client as SyncHttpxClient
from httpx import Timeout

from isobase._http.options import DEFAULT_RETRIES
from isobase._identity import client_info
from isobase.auth._async.storage import AsyncMemoryStorage, AsyncSupportedStorage
from isobase.auth._sync.storage import SyncMemoryStorage, SyncSupportedStorage
from isobase.types import RealtimeClientOptions, SessionInUrl, TracePropagationOptions
from isobase.version import __version__

__all__ = [
    "DEFAULT_HEADERS",
    "AsyncClientOptions",
    "AsyncHttpxClient",
    "ClientOptions",
    "SyncClientOptions",
    "SyncHttpxClient",
]

AuthFlowType = Literal["pkce", "implicit"]

# Upstream's defaults; the data client's, storage's and functions' own modules hold the same numbers and load more.
DEFAULT_POSTGREST_CLIENT_TIMEOUT = 120
DEFAULT_STORAGE_CLIENT_TIMEOUT = 20
DEFAULT_FUNCTION_CLIENT_TIMEOUT = 5

DEFAULT_HEADERS = {"X-Client-Info": client_info(f"isobase-py/{__version__}")}


@dataclass
class ClientOptions:
    """What both clients may be told. Times are in seconds."""

    schema: str = "public"
    """The PostgreSQL schema of tables and functions; it has to be exposed by the server."""

    headers: dict[str, str] = field(default_factory=DEFAULT_HEADERS.copy, repr=False)  # they may hold keys
    """Headers of every request of every sub-client."""

    auto_refresh_token: bool = True
    """Whether the session of a signed-in user is renewed before it ends."""

    persist_session: bool = True
    """Whether the session is kept in ``storage``; else it lives as long as the client."""

    realtime: RealtimeClientOptions | None = None
    """Arguments of the realtime client."""

    postgrest_client_timeout: int | float | Timeout = DEFAULT_POSTGREST_CLIENT_TIMEOUT
    """Limit of each step (connect, send, wait for bytes) of a data call; ``timeout`` limits the whole."""

    postgrest_client_retry: bool = True
    """Whether data calls are sent again where that is safe."""

    storage_client_timeout: int = DEFAULT_STORAGE_CLIENT_TIMEOUT
    """Limit of each step of a storage call."""

    function_client_timeout: int = DEFAULT_FUNCTION_CLIENT_TIMEOUT
    """Limit of each step of a function's call."""

    flow_type: AuthFlowType = "pkce"
    """The OAuth flow: ``pkce``, or ``implicit`` (tokens in the URL)."""

    timeout: float | None = field(default=None, kw_only=True)
    """The whole time of a call, retries and waits included; None: no limit beside those of the steps."""

    retries: int = field(default=DEFAULT_RETRIES, kw_only=True)
    """How often a call may be sent again: reads, and writes that cannot be done twice."""

    http2: bool = field(default=False, kw_only=True)
    """Whether HTTP/2 is offered (needs ``isobase[http2]``); a pool of HTTP/1.1 connections is faster for most apps."""

    idempotency_keys: bool = field(default=False, kw_only=True)
    """Whether every data write gets an idempotency key of its own where the server keeps them (Isobase does), so
    that a write whose answer was lost is sent again and done once."""

    session_authorization: bool | None = field(default=None, kw_only=True)
    """Whether data, storage, functions and realtime act as the signed-in user. None: yes, unless the client was
    made with a secret or service-role key, which then stays what it is; True: always; False: never."""

    storage_key: str | None = field(default=None, kw_only=True)
    """The name under which the session is kept in ``storage``; None: the auth client's default."""
    append_flow_id_to_redirects: bool = field(default=False, kw_only=True)
    """Whether the addresses that PKCE sign-ins come back to carry ``sb_flow_id``: see docs/sdk/auth.md."""

    detect_session_in_url: SessionInUrl = field(default=True, kw_only=True)
    """Whether ``auth.initialize(url=...)`` looks for a session in the URL, or a function of the URL and its parameters
    that says.
    """

    trace_propagation: bool | TracePropagationOptions = field(default=False, kw_only=True)
    """Whether the current OpenTelemetry span's context goes with requests (needs ``isobase[otel]``)."""

    trace_spans: bool = field(default=False, kw_only=True)
    """Whether every call is a client span of its own (needs ``isobase[otel]``)."""

    def _replaced(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Give the fields with the changes that were given; as upstream's, an empty text, dict or storage counts as
        not given.
        """
        given = {
            name: value
            for name, value in changes.items()
            if value is not None and (value or isinstance(value, bool | int | float | Timeout))
        }
        return {each.name: given.get(each.name, getattr(self, each.name)) for each in dataclasses.fields(self)}


@dataclass
class AsyncClientOptions(ClientOptions):
    """Options of ``AsyncClient``."""

    storage: AsyncSupportedStorage | SyncSupportedStorage = field(default_factory=AsyncMemoryStorage)
    """Where the session is kept: an object with ``get_item``, ``set_item`` and ``remove_item``."""

    httpx_client: AsyncHttpxClient | None = None
    """The client all sub-clients send through; it is not closed with them."""

    access_token: Callable[[], Awaitable[str | None]] | None = field(default=None, kw_only=True)
    """Gives the token of every call from another auth provider (called for each; it should remember its answer).
    ``auth`` cannot be used then."""

    def replace(
        self,
        schema: str | None = None,
        headers: dict[str, str] | None = None,
        auto_refresh_token: bool | None = None,
        persist_session: bool | None = None,
        storage: AsyncSupportedStorage | SyncSupportedStorage | None = None,
        realtime: RealtimeClientOptions | None = None,
        httpx_client: AsyncHttpxClient | None = None,
        postgrest_client_timeout: int | float | Timeout | None = None,
        postgrest_client_retry: bool | None = None,
        storage_client_timeout: int | None = None,
        flow_type: AuthFlowType | None = None,
        function_client_timeout: int | None = None,
        **more: Any,
    ) -> "AsyncClientOptions":
        """Give a copy with the fields that are given (Isobase's own by name); raises ``TypeError`` for an unknown one."""
        changes = {name: value for name, value in locals().items() if name not in ("self", "more", "__class__")}
        unknown = more.keys() - {each.name for each in dataclasses.fields(self)}
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        return AsyncClientOptions(**self._replaced(changes | more))


@dataclass
class SyncClientOptions(ClientOptions):
    """Options of ``Client``."""

    storage: SyncSupportedStorage = field(default_factory=SyncMemoryStorage)
    """Where the session is kept: an object with ``get_item``, ``set_item`` and ``remove_item``."""

    httpx_client: SyncHttpxClient | None = None
    """The client all sub-clients send through; it is not closed with them."""

    access_token: Callable[[], str | None] | None = field(default=None, kw_only=True)
    """Gives the token of every call from another auth provider (called for each; it should remember its answer).
    ``auth`` cannot be used then."""

    def replace(
        self,
        schema: str | None = None,
        headers: dict[str, str] | None = None,
        auto_refresh_token: bool | None = None,
        persist_session: bool | None = None,
        storage: SyncSupportedStorage | None = None,
        realtime: RealtimeClientOptions | None = None,
        httpx_client: SyncHttpxClient | None = None,
        postgrest_client_timeout: int | float | Timeout | None = None,
        postgrest_client_retry: bool | None = None,
        storage_client_timeout: int | None = None,
        flow_type: AuthFlowType | None = None,
        function_client_timeout: int | None = None,
        **more: Any,
    ) -> "SyncClientOptions":
        """Give a copy with the fields that are given (Isobase's own by name); raises ``TypeError`` for an unknown one."""
        changes = {name: value for name, value in locals().items() if name not in ("self", "more", "__class__")}
        unknown = more.keys() - {each.name for each in dataclasses.fields(self)}
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        return SyncClientOptions(**self._replaced(changes | more))

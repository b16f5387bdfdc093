"""The Python client of Isobase, with the face of supabase-py.

``create_client`` makes a client, ``create_async_client`` one for asyncio; docs/sdk tells the rest. Names are loaded
when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from isobase.version import __version__

if TYPE_CHECKING:
    from isobase._async.auth_client import AsyncSupabaseAuthClient as ASupabaseAuthClient
    from isobase._async.client import AsyncClient
    from isobase._async.client import AsyncClient as AClient
    from isobase._async.client import create_client as acreate_client
    from isobase._async.client import create_client as create_async_client
    from isobase._http.options import Cancellation, call_options
    from isobase._sync.auth_client import SyncSupabaseAuthClient as SupabaseAuthClient
    from isobase._sync.client import Client, create_client
    from isobase.auth.errors import (
        AuthApiError,
        AuthError,
        AuthImplicitGrantRedirectError,
        AuthInvalidCredentialsError,
        AuthRetryableError,
        AuthSessionMissingError,
        AuthUnknownError,
        AuthWeakPasswordError,
    )
    from isobase.errors import CallCancelled, DeadlineExceeded, IsobaseAPIError, SupabaseException
    from isobase.errors import SupabaseException as ASupabaseException
    from isobase.errors import SupabaseException as AsyncSupabaseException
    from isobase.errors import SupabaseException as SyncSupabaseException
    from isobase.functions.errors import FunctionsError, FunctionsHttpError, FunctionsRelayError
    from isobase.lib.client_options import AsyncClientOptions, SyncClientOptions
    from isobase.lib.client_options import AsyncClientOptions as AClientOptions
    from isobase.lib.client_options import SyncClientOptions as ClientOptions
    from isobase.postgrest import APIError as PostgrestAPIError
    from isobase.postgrest import APIResponse as PostgrestAPIResponse
    from isobase.realtime import AuthorizationError, NotConnectedError
    from isobase.storage import AsyncStorageClient as ASupabaseStorageClient
    from isobase.storage import SyncStorageClient as SupabaseStorageClient
    from isobase.storage.utils import StorageException

# Where each public name lives, and under which name there.
_PLACES = {
    "acreate_client": ("_async.client", "create_client"),
    "create_async_client": ("_async.client", "create_client"),
    "AClient": ("_async.client", "AsyncClient"),
    "AsyncClient": ("_async.client", "AsyncClient"),
    "create_client": ("_sync.client", "create_client"),
    "Client": ("_sync.client", "Client"),
    "ASupabaseAuthClient": ("_async.auth_client", "AsyncSupabaseAuthClient"),
    "SupabaseAuthClient": ("_sync.auth_client", "SyncSupabaseAuthClient"),
    "ASupabaseStorageClient": ("storage", "AsyncStorageClient"),
    "SupabaseStorageClient": ("storage", "SyncStorageClient"),
    "AClientOptions": ("lib.client_options", "AsyncClientOptions"),
    "AsyncClientOptions": ("lib.client_options", "AsyncClientOptions"),
    "ClientOptions": ("lib.client_options", "SyncClientOptions"),
    "SyncClientOptions": ("lib.client_options", "SyncClientOptions"),
    "PostgrestAPIError": ("postgrest", "APIError"),
    "PostgrestAPIResponse": ("postgrest", "APIResponse"),
    "StorageException": ("storage.utils", "StorageException"),
    "AuthApiError": ("auth.errors", "AuthApiError"),
    "AuthError": ("auth.errors", "AuthError"),
    "AuthImplicitGrantRedirectError": ("auth.errors", "AuthImplicitGrantRedirectError"),
    "AuthInvalidCredentialsError": ("auth.errors", "AuthInvalidCredentialsError"),
    "AuthRetryableError": ("auth.errors", "AuthRetryableError"),
    "AuthSessionMissingError": ("auth.errors", "AuthSessionMissingError"),
    "AuthUnknownError": ("auth.errors", "AuthUnknownError"),
    "AuthWeakPasswordError": ("auth.errors", "AuthWeakPasswordError"),
    "FunctionsHttpError": ("functions.errors", "FunctionsHttpError"),
    "FunctionsRelayError": ("functions.errors", "FunctionsRelayError"),
    "FunctionsError": ("functions.errors", "FunctionsError"),
    "AuthorizationError": ("realtime", "AuthorizationError"),
    "NotConnectedError": ("realtime", "NotConnectedError"),
    "SupabaseException": ("errors", "SupabaseException"),
    "ASupabaseException": ("errors", "SupabaseException"),
    "AsyncSupabaseException": ("errors", "SupabaseException"),
    "SyncSupabaseException": ("errors", "SupabaseException"),
    "CallCancelled": ("errors", "CallCancelled"),
    "Cancellation": ("_http.options", "Cancellation"),
    "DeadlineExceeded": ("errors", "DeadlineExceeded"),
    "IsobaseAPIError": ("errors", "IsobaseAPIError"),
    "call_options": ("_http.options", "call_options"),
}

__all__ = (
    "AClient",
    "AClientOptions",
    "ASupabaseAuthClient",
    "ASupabaseException",
    "ASupabaseStorageClient",
    "AsyncClient",
    "AsyncClientOptions",
    "AsyncSupabaseException",
    "AuthApiError",
    "AuthError",
    "AuthImplicitGrantRedirectError",
    "AuthInvalidCredentialsError",
    "AuthRetryableError",
    "AuthSessionMissingError",
    "AuthUnknownError",
    "AuthWeakPasswordError",
    "AuthorizationError",
    "CallCancelled",
    "Cancellation",
    "Client",
    "ClientOptions",
    "DeadlineExceeded",
    "FunctionsError",
    "FunctionsHttpError",
    "FunctionsRelayError",
    "IsobaseAPIError",
    "NotConnectedError",
    "PostgrestAPIError",
    "PostgrestAPIResponse",
    "StorageException",
    "SupabaseAuthClient",
    "SupabaseException",
    "SupabaseStorageClient",
    "SyncClientOptions",
    "SyncSupabaseException",
    "__version__",
    "acreate_client",
    "call_options",
    "create_async_client",
    "create_client",
)


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    try:
        module, attribute = _PLACES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported, loaded or not."""
    return sorted({*globals(), *__all__})

"""Calls of a project's HTTP functions: the face of ``supabase_functions``.

``utils`` and ``errors`` hold names, ``calls`` what is sent and how it is read (no I/O), ``events`` reads server-sent
events; ``_async`` sends.
"""

from __future__ import annotations

from typing import Literal, overload

from isobase.functions._async.functions_client import AsyncFunctionsClient
from isobase.functions._sync.functions_client import SyncFunctionsClient
from isobase.functions.calls import FunctionInvokeOptions
from isobase.functions.errors import FunctionsApiErrorDict, FunctionsError, FunctionsHttpError, FunctionsRelayError
from isobase.functions.events import ServerSentEvent
from isobase.functions.utils import FunctionRegion

__all__ = [
    "AsyncFunctionsClient",
    "FunctionInvokeOptions",
    "FunctionRegion",
    "FunctionsApiErrorDict",
    "FunctionsError",
    "FunctionsHttpError",
    "FunctionsRelayError",
    "ServerSentEvent",
    "SyncFunctionsClient",
    "create_client",
]


@overload
def create_client(
    url: str, headers: dict[str, str], *, is_async: Literal[True], verify: bool = ...
) -> AsyncFunctionsClient: ...


@overload
def create_client(
    url: str, headers: dict[str, str], *, is_async: Literal[False], verify: bool = ...
) -> SyncFunctionsClient: ...


def create_client(
    url: str, headers: dict[str, str], *, is_async: bool, verify: bool = True
) -> AsyncFunctionsClient | SyncFunctionsClient:
    """Make a client of the functions alone.

    url: where the functions are, as ``https://PROJECT/functions/v1``; ``ValueError`` when it is no HTTP URL.
    headers: sent with every call (``apikey``, ``Authorization``).
    is_async: which of the two clients.
    verify: whether TLS certificates are checked, default true.
    Source: supabase_functions ``create_client``.
    """
    chosen = AsyncFunctionsClient if is_async else SyncFunctionsClient
    # `verify` of the constructor warns upstream's users of its end; theirs who did not say it are not warned.
    return chosen(url, headers) if verify else chosen(url, headers, verify=verify)

"""The data client: tables, views and functions of the database over the data API.

The names are postgrest-py's; ``UNSET``, ``SingleAPIResponse`` and ``RowValidationError`` are added.
"""

from __future__ import annotations

from httpx import Timeout

from isobase.postgrest._async.client import AsyncPostgrestClient
from isobase.postgrest._async.request_builder import (
    AsyncExplainRequestBuilder,
    AsyncFilterRequestBuilder,
    AsyncMaybeSingleRequestBuilder,
    AsyncQueryRequestBuilder,
    AsyncRequestBuilder,
    AsyncRPCFilterRequestBuilder,
    AsyncSelectRequestBuilder,
    AsyncSingleRequestBuilder,
)
from isobase.postgrest._bodies import UNSET
from isobase.postgrest._sync.client import SyncPostgrestClient
from isobase.postgrest._sync.request_builder import (
    SyncExplainRequestBuilder,
    SyncFilterRequestBuilder,
    SyncMaybeSingleRequestBuilder,
    SyncQueryRequestBuilder,
    SyncRequestBuilder,
    SyncRPCFilterRequestBuilder,
    SyncSelectRequestBuilder,
    SyncSingleRequestBuilder,
)
from isobase.postgrest.base_request_builder import APIResponse, SingleAPIResponse
from isobase.postgrest.constants import DEFAULT_POSTGREST_CLIENT_HEADERS
from isobase.postgrest.exceptions import APIError, RowValidationError
from isobase.postgrest.types import Bytea, CountMethod, Filters, RequestMethod, ReturnMethod
from isobase.postgrest.version import __version__

__all__ = [
    "DEFAULT_POSTGREST_CLIENT_HEADERS",
    "UNSET",
    "APIError",
    "APIResponse",
    "AsyncExplainRequestBuilder",
    "AsyncFilterRequestBuilder",
    "AsyncMaybeSingleRequestBuilder",
    "AsyncPostgrestClient",
    "AsyncQueryRequestBuilder",
    "AsyncRPCFilterRequestBuilder",
    "AsyncRequestBuilder",
    "AsyncSelectRequestBuilder",
    "AsyncSingleRequestBuilder",
    "Bytea",
    "CountMethod",
    "Filters",
    "RequestMethod",
    "ReturnMethod",
    "RowValidationError",
    "SingleAPIResponse",
    "SyncExplainRequestBuilder",
    "SyncFilterRequestBuilder",
    "SyncMaybeSingleRequestBuilder",
    "SyncPostgrestClient",
    "SyncQueryRequestBuilder",
    "SyncRPCFilterRequestBuilder",
    "SyncRequestBuilder",
    "SyncSelectRequestBuilder",
    "SyncSingleRequestBuilder",
    "Timeout",
    "__version__",
]

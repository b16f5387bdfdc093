"""The parts of the builders that do no I/O, under the names that postgrest-py has them by."""

from __future__ import annotations

from isobase.postgrest._filters import BaseFilterRequestBuilder
from isobase.postgrest._modifiers import BaseRPCRequestBuilder, BaseSelectRequestBuilder
from isobase.postgrest._request import MAX_RETRIES, C, RequestConfig
from isobase.postgrest._responses import APIResponse, SingleAPIResponse
from isobase.postgrest._writes import QueryArgs, pre_delete, pre_insert, pre_select, pre_update, pre_upsert
from isobase.postgrest.types import JSON, CountMethod, Filters, FilterValue, RequestBody, RequestMethod, ReturnMethod
from isobase.postgrest.utils import sanitize_array_param, sanitize_param

__all__ = [
    "JSON",
    "MAX_RETRIES",
    "APIResponse",
    "BaseFilterRequestBuilder",
    "BaseRPCRequestBuilder",
    "BaseSelectRequestBuilder",
    "C",
    "CountMethod",
    "FilterValue",
    "Filters",
    "QueryArgs",
    "RequestBody",
    "RequestConfig",
    "RequestMethod",
    "ReturnMethod",
    "SingleAPIResponse",
    "pre_delete",
    "pre_insert",
    "pre_select",
    "pre_update",
    "pre_upsert",
    "sanitize_array_param",
    "sanitize_param",
]

"""How values are written into the query string of the data API. Source: PostgREST's "Reserved characters",
PostgreSQL's array literals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, Protocol
from warnings import warn

from httpx import AsyncClient, Client

from isobase._quoting import quoted

__all__ = [
    "AsyncClient",
    "SyncClient",
    "filter_key",
    "filter_value",
    "is_http_url",
    "list_element",
    "rpc_query_param",
    "sanitize_array_element",
    "sanitize_array_param",
    "sanitize_param",
]

_RESERVED = frozenset(',:()"\\')
_ARRAY_RESERVED = frozenset('{},"\\')
_PLAIN_COLUMN = re.compile(r"[\w$.]+")
_PLAIN_NAME = re.compile(r"[\w$](?:[\w $-]*[\w$])?")
_PLAIN_STEP = re.compile(r"-?[0-9]+|[^\s\-.>](?:[^\-.>]|-(?=[^\-.>]))*(?<!\s)")
# Parameters that are no filters, by themselves or behind the name of an embedded table.
_TAKEN = re.compile(r"(?:^|\.)(?:limit|offset|order|and|or)$|^(?:select|columns|on_conflict|apikey)$")


class _HasScheme(Protocol):
    """An address, of httpx or of yarl."""

    @property
    def scheme(self) -> str: ...


class SyncClient(Client):
    """httpx's client under an old name; deprecated since postgrest-py 1.0.2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warn("SyncClient is deprecated: use Client of the httpx package instead", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)

    def aclose(self) -> None:
        """Close; deprecated, use ``close``."""
        warn("aclose is deprecated: use close of httpx's Client instead", DeprecationWarning, stacklevel=2)
        self.close()


def sanitize_param(param: Any) -> str:
    """Write one name or one value of a list: in double quotes where it holds a character with a meaning of its own."""
    text = param if isinstance(param, str) else str(param)
    return text if _RESERVED.isdisjoint(text) else quoted(text)


def filter_key(column: object) -> str:
    """Write the column of a filter as a parameter's name.

    A column with a name that means something else there (``limit``, ``order``, ``or`` ...) or with characters that the
    server would not read as part of it is quoted: else the filter would be lost, and an update or delete would reach
    every row.
    """
    text = column if isinstance(column, str) else str(column)
    if _PLAIN_COLUMN.fullmatch(text) and not _TAKEN.search(text):
        return text
    if not _RESERVED.isdisjoint(text):
        return quoted(text)
    path, *steps = re.split("(->>?)", text)
    *tables, name = path.split(".")
    if _TAKEN.search(path) or not _PLAIN_NAME.fullmatch(name):
        name = quoted(name)
    written = (step if at % 2 == 0 or _PLAIN_STEP.fullmatch(step) else quoted(step) for at, step in enumerate(steps))
    return ".".join([*tables, name]) + "".join(written)


def list_element(value: Any) -> str:
    """Write one value of a list (``in``), quoted where the server would read something else."""
    text = filter_value(value)
    return quoted(text) if not _RESERVED.isdisjoint(text) or text.strip() != text or not text else text


def filter_value(value: Any) -> str:
    """Write the value of a filter: ``null``, ``true``, ``false``, compact JSON for dicts and lists, an enum's value,
    bytes as PostgreSQL has ``bytea``, else its text.
    """
    if type(value) is str:
        return value
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, Enum):
        return filter_value(value.value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    return str(value)


def sanitize_array_element(element: Any) -> str:
    """Write one element of a PostgreSQL array literal, quoted where PostgreSQL would read something else; None is
    ``NULL``.
    """
    if element is None:
        return "NULL"
    text = str(element.value if isinstance(element, Enum) else element)
    if text == "" or text.lower() == "null" or not _ARRAY_RESERVED.isdisjoint(text) or any(map(str.isspace, text)):
        return quoted(text)
    return text


def sanitize_array_param(values: Iterable[Any]) -> str:
    """Write a PostgreSQL array literal, ``{a,b}``."""
    return "{" + ",".join(map(sanitize_array_element, values)) + "}"


def rpc_query_param(value: Any) -> Any:
    """Write an argument of a function that is called with GET or HEAD: lists as arrays, dicts as JSON."""
    if isinstance(value, list | tuple):
        return sanitize_array_param(value)
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return value


def is_http_url(url: _HasScheme) -> bool:
    """Tell whether the URL is one of HTTP."""
    return url.scheme in {"https", "http"}

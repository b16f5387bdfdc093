"""The closed sets and value types of the data API. Source: postgrest-py 2.34.1 ``types.py`` (the same names)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BaseModel, BeforeValidator, PlainSerializer
from typing_extensions import TypeAliasType

__all__ = [
    "JSON",
    "Bytea",
    "CountMethod",
    "FilterValue",
    "Filters",
    "RequestBody",
    "RequestMethod",
    "ReturnMethod",
    "Writable",
]

JSON = TypeAliasType("JSON", "bool | str | int | float | Sequence[JSON] | Mapping[str, JSON] | None")
"""What a JSON document can hold."""

RequestBody = TypeAliasType("RequestBody", "JSON | Mapping[str, object] | Sequence[Mapping[str, object]]")
"""What may be sent as rows: a TypedDict is to type checkers a ``Mapping[str, object]`` and no more."""


class DataclassInstance(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Writable = Mapping[str, object] | BaseModel | DataclassInstance | Sequence[Any] | str | int | float | bool | None
"""What a statement takes as rows: a dict, a pydantic model, a dataclass, a list of them, or any JSON that was read.

(``RequestBody`` in this union would have type checkers refuse a list of dicts whose values differ in type.)
"""

FilterValue = str | int | float | bool
"""One value of a filter that takes several."""


def _bytes_from_hex(value: Any) -> Any:
    """PostgreSQL writes ``bytea`` in JSON as ``\\x`` and two hexadecimal digits for each byte."""
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    return value


def _bytes_to_hex(value: bytes) -> str:
    return "\\x" + value.hex()


Bytea = Annotated[bytes, BeforeValidator(_bytes_from_hex), PlainSerializer(_bytes_to_hex, when_used="json")]
"""A ``bytea`` column in a model: bytes for Python, ``\\x...`` on the wire."""


class CountMethod(StrEnum):
    """How the total number of rows is found: counted, from the planner, or counted up to the server's limit."""

    exact = "exact"
    planned = "planned"
    estimated = "estimated"


class Filters(StrEnum):
    """The operators of a filter, as they stand in the query string."""

    NOT = "not"
    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IS = "is"
    IS_DISTINCT = "isdistinct"
    LIKE = "like"
    LIKE_ALL = "like(all)"
    LIKE_ANY = "like(any)"
    ILIKE = "ilike"
    ILIKE_ALL = "ilike(all)"
    ILIKE_ANY = "ilike(any)"
    MATCH = "match"
    IMATCH = "imatch"
    FTS = "fts"
    PLFTS = "plfts"
    PHFTS = "phfts"
    WFTS = "wfts"
    IN = "in"
    CS = "cs"
    CD = "cd"
    OV = "ov"
    SL = "sl"
    SR = "sr"
    NXL = "nxl"
    NXR = "nxr"
    ADJ = "adj"


class RequestMethod(StrEnum):
    """The HTTP methods of the data API."""

    GET = "GET"
    POST = "POST"
    PATCH = "PATCH"
    PUT = "PUT"
    DELETE = "DELETE"
    HEAD = "HEAD"


class ReturnMethod(StrEnum):
    """What a write answers: nothing, or the rows that it wrote."""

    minimal = "minimal"
    representation = "representation"

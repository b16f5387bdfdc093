"""What is sent as rows: dicts, models and dataclasses become the JSON body and the list of its columns.

A model is written by its columns' names (a pydantic field's alias, else its own) and without the fields that were
never given, so that the database's defaults hold. A dataclass is written whole, but for the fields whose value is
``isobase.postgrest.UNSET``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeGuard
from uuid import UUID

from pydantic import BaseModel

from isobase._quoting import quoted

__all__ = ["UNSET", "columns_parameter", "encode_body", "rows_to_send"]


class Unset:
    """The type of ``UNSET``: a dataclass's field that holds it is not sent, so that the column keeps its default."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final[Any] = Unset()


def rows_to_send(body: Any) -> Any:
    """Give the body with its models and dataclasses as dicts; what holds none is given back as it is."""
    if isinstance(body, list | tuple):
        if any(isinstance(row, BaseModel) or is_dataclass(row) for row in body):
            return [_row(row) for row in body]
        return body
    return _row(body)


def _row(row: Any) -> Any:
    if isinstance(row, BaseModel):
        return row.model_dump(by_alias=True, exclude_unset=True)
    if is_dataclass(row) and not isinstance(row, type):
        held = ((field.metadata.get("column", field.name), getattr(row, field.name)) for field in fields(row))
        return {column: value for column, value in held if value is not UNSET}
    return row


def is_row_list(body: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    """Tell whether several rows are sent: only then the server is told the columns."""
    return (
        isinstance(body, Sequence)
        and not isinstance(body, str | bytes | bytearray)
        and all(isinstance(row, Mapping) for row in body)
    )


def columns_parameter(rows: Iterable[Mapping[str, object]]) -> str:
    """Give the ``columns`` of a bulk write: every key of any row, quoted, in the order of first appearance."""
    return ",".join(quoted(key) for key in dict.fromkeys(key for row in rows for key in row))


def encode_body(body: object) -> bytes:
    """Write a body as compact JSON.

    Dates and times are ISO 8601, UUIDs and Decimals text (PostgreSQL reads a number from it without loss), bytes
    ``\\x`` and hexadecimal digits as PostgreSQL has ``bytea``, enums their value, sets lists, intervals days and seconds.

    Raises TypeError for what has no JSON form, ValueError for a float that is not finite.
    """
    return json.dumps(body, default=_json_form, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _json_form(value: object) -> object:
    match value:
        case BaseModel():
            return value.model_dump(by_alias=True, exclude_unset=True)
        case date() | time():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case timedelta():
            return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(value).hex()
        case Enum():
            return value.value
        case Mapping():
            return dict(value)
        case Sequence() | set() | frozenset():
            return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _row(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

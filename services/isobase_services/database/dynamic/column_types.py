"""The closed list of column types, and a typed JSON default as SQL.

A default is never SQL text of the client: each type checks the JSON value in Python and writes it in one canonical way, so
that words that PostgreSQL would evaluate once at creation (``'now'::timestamptz``) do not pass either.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from uuid import UUID

from pydantic import JsonValue

from isobase_platform.errors import BadRequest
from isobase_platform.sql import quote_literal

__all__ = ["MAX_DEFAULT_LENGTH_CHARS", "ColumnType", "default_sql"]

MAX_DEFAULT_LENGTH_CHARS = 10_000


class ColumnType(StrEnum):
    """The types a column may have; the values are PostgreSQL's own names and stand in SQL as they are."""

    TEXT = "text"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    NUMERIC = "numeric"
    REAL = "real"
    DOUBLE_PRECISION = "double precision"
    BOOLEAN = "boolean"
    TIMESTAMPTZ = "timestamptz"
    DATE = "date"
    TIME = "time"
    UUID = "uuid"
    JSONB = "jsonb"
    TEXT_ARRAY = "text[]"
    INTEGER_ARRAY = "integer[]"
    UUID_ARRAY = "uuid[]"


_FUNCTIONS = {(ColumnType.TIMESTAMPTZ, "now()"): "now()", (ColumnType.UUID, "gen_random_uuid()"): "gen_random_uuid()"}
"""Defaults that PostgreSQL evaluates for each row; the only ones that are no literals."""

_INTEGER_BITS = {ColumnType.SMALLINT: 16, ColumnType.INTEGER: 32, ColumnType.BIGINT: 64}
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_MAX_SINGLE = 3.4028235e38


class _Mismatch(Exception):
    """The value is not of the type; the argument says what would be."""


def default_sql(column: str, kind: ColumnType, value: JsonValue) -> str:
    """The default as an SQL expression of the type. Raises ``BadRequest`` naming column, expected type and value."""
    if isinstance(value, str) and (function := _FUNCTIONS.get((kind, value))) is not None:
        return function
    try:
        text = _text(kind, value)
    except _Mismatch as mismatch:
        shown = json.dumps(value, ensure_ascii=False)
        shown = shown if len(shown) <= 100 else f"{shown[:100]}..."
        raise BadRequest(
            f"The default of column {column} must be {mismatch}",
            code="invalid_default",
            details=f"expected {kind}, got {shown}",
        ) from None
    if len(text) > MAX_DEFAULT_LENGTH_CHARS:
        raise BadRequest(
            f"The default of column {column} is longer than {MAX_DEFAULT_LENGTH_CHARS} characters",
            code="invalid_default",
        )
    return f"{quote_literal(text)}::{kind.value}"


def _text(kind: ColumnType, value: JsonValue) -> str:
    """The value in PostgreSQL's text form for ``kind``."""
    if kind in _INTEGER_BITS:
        return _integer(value, _INTEGER_BITS[kind])
    if kind is ColumnType.JSONB:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    return _WRITERS[kind](value)


def _integer(value: JsonValue, bits: int) -> str:
    bound = 1 << (bits - 1)
    if isinstance(value, bool) or not isinstance(value, int) or not -bound <= value < bound:
        raise _Mismatch(f"a whole number of {bits} bits")
    return str(value)


def _plain_text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise _Mismatch("a text")
    return value


def _boolean(value: JsonValue) -> str:
    if not isinstance(value, bool):
        raise _Mismatch("true or false")
    return "true" if value else "false"


def _number(value: JsonValue) -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not _NUMERIC.fullmatch(text):
        raise _Mismatch("a number")
    try:
        return str(Decimal(text))
    except InvalidOperation:
        raise _Mismatch("a number") from None


def _floating(limit: float) -> Callable[[JsonValue], str]:
    def write(value: JsonValue) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Mismatch("a number")
        try:
            number = float(value)
        except OverflowError:
            raise _Mismatch("a number in range") from None
        if not math.isfinite(number) or abs(number) > limit:
            raise _Mismatch("a number in range")
        return repr(number)

    return write


def _parsed(parse: Callable[[str], object], expected: str) -> Callable[[JsonValue], str]:
    def write(value: JsonValue) -> str:
        if not isinstance(value, str):
            raise _Mismatch(expected)
        try:
            return str(parse(value))
        except ValueError:
            raise _Mismatch(expected) from None

    return write


def _instant(text: str) -> datetime:
    """With its offset: without one PostgreSQL would read it in the session's time zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found


def _time_of_day(text: str) -> time:
    """Without an offset, which the type would drop in silence."""
    found = time.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError("a time zone")
    return found


def _array(write: Callable[[JsonValue], str], expected: str) -> Callable[[JsonValue], str]:
    def write_all(value: JsonValue) -> str:
        if not isinstance(value, list):
            raise _Mismatch(expected)
        try:
            parts = [write(element) for element in value]
        except _Mismatch:
            raise _Mismatch(expected) from None
        # Every element quoted, so that no NULL, comma or brace is read out of a text.
        quoted = ('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
        return "{" + ",".join(quoted) + "}"

    return write_all


_uuid = _parsed(UUID, "a UUID or gen_random_uuid()")

_WRITERS: dict[ColumnType, Callable[[JsonValue], str]] = {
    ColumnType.TEXT: _plain_text,
    ColumnType.NUMERIC: _number,
    ColumnType.REAL: _floating(_MAX_SINGLE),
    ColumnType.DOUBLE_PRECISION: _floating(math.inf),
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMPTZ: _parsed(_instant, "a time in ISO 8601 with its offset, or now()"),
    ColumnType.DATE: _parsed(date.fromisoformat, "a date as 2026-01-31"),
    ColumnType.TIME: _parsed(_time_of_day, "a time of day as 18:30:00"),
    ColumnType.UUID: _uuid,
    ColumnType.TEXT_ARRAY: _array(_plain_text, "a list of texts"),
    ColumnType.INTEGER_ARRAY: _array(lambda value: _integer(value, 32), "a list of whole numbers of 32 bits"),
    ColumnType.UUID_ARRAY: _array(_uuid, "a list of UUIDs"),
}

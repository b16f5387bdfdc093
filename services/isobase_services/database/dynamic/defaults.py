"""A typed JSON default as SQL.

A default is never SQL text of the client: each type checks the JSON value in Python and writes it in one canonical way, so
that words that PostgreSQL would evaluate once at creation (``'now'::timestamptz``) do not pass either.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from uuid import UUID

from pydantic import JsonValue

from isobase_platform.errors import BadRequest
from isobase_platform.sql import quote_literal
from isobase_services.database.dynamic.column_types import BaseType, ColumnType

__all__ = ["MAX_DEFAULT_LENGTH_CHARS", "default_sql", "shown_value"]

MAX_DEFAULT_LENGTH_CHARS = 10_000
MAX_SHOWN_LENGTH_CHARS = 100

_FUNCTIONS = {
    (BaseType.TIMESTAMPTZ, "now()"): "now()",
    (BaseType.DATE, "current_date"): "current_date",
    (BaseType.UUID, "gen_random_uuid()"): "gen_random_uuid()",
    (BaseType.UUID, "auth.uid()"): "auth.uid()",
}
"""Defaults that PostgreSQL evaluates for each row; the only ones that are no literals."""

_INTEGER_BITS = {BaseType.SMALLINT: 16, BaseType.INTEGER: 32, BaseType.BIGINT: 64}
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_INTERVAL = re.compile(r"[+-]?[0-9][0-9a-zA-Z:.+ -]{0,100}|P[0-9TYMWDHS.:+-]{1,100}")
_RANGE = re.compile(r'empty|[\[(][0-9TZ:+., "-]{1,200}[\])]')
_HEX = re.compile(r"\\x(?:[0-9a-fA-F]{2})*")
_MAX_SINGLE = 3.4028235e38


class _Mismatch(Exception):
    """The value is not of the type; the argument says what would be."""


def default_sql(column: str, kind: ColumnType, value: JsonValue) -> str:
    """The default as an SQL expression of the type. Raises ``BadRequest`` naming column, expected type and value."""
    if not kind.is_array and isinstance(value, str) and (function := _FUNCTIONS.get((kind.base, value))) is not None:
        return function
    try:
        text = _list_text(kind, value) if kind.is_array else _text(kind, value)
    except _Mismatch as mismatch:
        raise BadRequest(
            f"The default of column {column} must be {mismatch}",
            code="invalid_default",
            details=f"expected {kind}, got {shown_value(value)}",
        ) from None
    if len(text) > MAX_DEFAULT_LENGTH_CHARS:
        raise BadRequest(
            f"The default of column {column} is longer than {MAX_DEFAULT_LENGTH_CHARS} characters",
            code="invalid_default",
        )
    return f"{quote_literal(text)}::{kind}"


def shown_value(value: object) -> str:
    """A JSON value for an error's text, cut where it is long."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= MAX_SHOWN_LENGTH_CHARS else f"{shown[:MAX_SHOWN_LENGTH_CHARS]}..."


def _text(kind: ColumnType, value: JsonValue) -> str:
    """The value in PostgreSQL's text form for ``kind``."""
    if kind.base in _INTEGER_BITS:
        return _integer(value, _INTEGER_BITS[kind.base])
    if kind.base in {BaseType.JSON, BaseType.JSONB}:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    text = _WRITERS[kind.base](value)
    if kind.base is BaseType.VARCHAR and kind.first is not None and len(text) > kind.first:
        raise _Mismatch(f"a text of at most {kind.first} characters")
    return text


def _list_text(kind: ColumnType, value: JsonValue) -> str:
    expected = f"a list of {kind.element}"
    if not isinstance(value, list):
        raise _Mismatch(expected)
    try:
        parts = [_text(kind.element, element) for element in value]
    except _Mismatch:
        raise _Mismatch(expected) from None
    # Every element quoted, so that no NULL, comma or brace is read out of a text.
    quoted = ('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
    return "{" + ",".join(quoted) + "}"


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


def _shaped(shape: re.Pattern[str], expected: str) -> Callable[[JsonValue], str]:
    """Text of a shape in which no word has a meaning that changes; PostgreSQL reads the rest."""

    def write(value: JsonValue) -> str:
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise _Mismatch(expected)
        return value

    return write


def _instant(text: str) -> datetime:
    """With its offset: without one PostgreSQL would read it in the session's time zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found


def _local_time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError("a time zone")
    return found


def _time_of_day(text: str) -> time:
    """Without an offset, which the type would drop in silence."""
    found = time.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError("a time zone")
    return found


_range = _shaped(_RANGE, "a range as [1,10)")

_WRITERS: dict[BaseType, Callable[[JsonValue], str]] = {
    BaseType.TEXT: _plain_text,
    BaseType.VARCHAR: _plain_text,
    BaseType.NUMERIC: _number,
    BaseType.REAL: _floating(_MAX_SINGLE),
    BaseType.DOUBLE_PRECISION: _floating(math.inf),
    BaseType.BOOLEAN: _boolean,
    BaseType.TIMESTAMPTZ: _parsed(_instant, "a time in ISO 8601 with its offset, or now()"),
    BaseType.TIMESTAMP: _parsed(_local_time, "a time in ISO 8601 without an offset"),
    BaseType.DATE: _parsed(date.fromisoformat, "a date as 2026-01-31, or current_date"),
    BaseType.TIME: _parsed(_time_of_day, "a time of day as 18:30:00"),
    BaseType.INTERVAL: _shaped(_INTERVAL, "an interval as 1 day 02:00:00 or P1DT2H"),
    BaseType.UUID: _parsed(UUID, "a UUID, gen_random_uuid() or auth.uid()"),
    BaseType.BYTEA: _shaped(_HEX, "bytes in hex as \\x00ff"),
    BaseType.INET: _parsed(ipaddress.ip_interface, "an address as 192.0.2.1 or 192.0.2.0/24"),
    BaseType.CIDR: _parsed(ipaddress.ip_network, "a network as 192.0.2.0/24"),
    BaseType.INT4RANGE: _range,
    BaseType.INT8RANGE: _range,
    BaseType.NUMRANGE: _range,
    BaseType.DATERANGE: _range,
    BaseType.TSRANGE: _range,
    BaseType.TSTZRANGE: _range,
}

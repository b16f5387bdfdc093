"""Parse: bodies of rows, how a row's key stands in a path, and what a write's query string says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from isobase_platform.errors import BadRequest
from isobase_platform.strict_json import refuse_constant
from isobase_services.database.dynamic.rows_query import query_pairs

__all__ = ["InsertOptions", "NewRows", "parse_insert_options", "parse_new_rows", "parse_row_change", "parse_row_id"]

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON writes it, and not a backslash followed by u0000. PostgreSQL's text cannot hold it."""
_KEY_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"]*)')


@dataclass(slots=True, frozen=True)
class NewRows:
    """Rows to insert as JSON text, the names in any of them, and whether the body was one object."""

    payload: str
    names: tuple[str, ...]
    is_single: bool


@dataclass(slots=True, frozen=True)
class InsertOptions:
    """``upsert``: what to do with a row that is there; ``conflict``: the columns that tell, empty for the primary key."""

    upsert: Literal["merge", "ignore"] | None = None
    conflict: tuple[str, ...] = ()
    is_minimal: bool = False


def parse_new_rows(raw: bytes, max_rows: int) -> NewRows:
    """A body of one object or a list of objects, which need not have the same names. Raises ``BadRequest``."""
    text, value = _json(raw)
    rows: list[object] = value if isinstance(value, list) else [value]
    objects = [row for row in rows if isinstance(row, dict)]
    if not objects or len(objects) != len(rows):
        raise BadRequest("The body must be an object or a list of objects, at least one", code="invalid_body")
    if len(rows) > max_rows:
        raise BadRequest(f"At most {max_rows} rows can be inserted at once", code="too_many_rows")
    names = tuple(dict.fromkeys(name for row in objects for name in row))
    return NewRows(text, names, not isinstance(value, list))


def parse_row_change(raw: bytes) -> NewRows:
    """A body of one object with the columns to change, at least one. Raises ``BadRequest``."""
    text, value = _json(raw)
    if not isinstance(value, dict) or not value:
        raise BadRequest("The body must be an object with the columns to change", code="invalid_body")
    return NewRows(text, tuple(value), True)


def _json(raw: bytes) -> tuple[str, object]:
    try:
        text = raw.decode()
        value: object = json.loads(text, parse_constant=refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadRequest("The request body is not valid JSON", code="invalid_json") from error
    if _NUL.search(text):
        raise BadRequest("A text must not hold NUL", code="invalid_text")
    return text, value


def parse_insert_options(raw: bytes) -> InsertOptions:
    """``upsert=merge|ignore``, ``on_conflict=a,b`` and ``return=minimal|representation``; else 400 ``invalid_query``."""
    given: dict[str, str] = {}
    for key, value in query_pairs(raw):
        if key in given:
            raise BadRequest(f"{key} is given twice", code="invalid_query")
        given[key] = value
    given.pop("apikey", None)  # the gateway's key may travel in the query string
    upsert = _one_of(given, "upsert", ("merge", "ignore"))
    shown = _one_of(given, "return", ("minimal", "representation"))
    conflict = tuple(name for name in given.pop("on_conflict", "").split(",") if name)
    if given:
        raise BadRequest(f"An insert takes no {min(given)[:63]}", code="invalid_query")
    if conflict and upsert is None:
        raise BadRequest("on_conflict goes with upsert=merge or upsert=ignore", code="invalid_query")
    return InsertOptions(
        "merge" if upsert == "merge" else "ignore" if upsert == "ignore" else None, conflict, shown == "minimal"
    )


def _one_of(given: dict[str, str], key: str, values: tuple[str, ...]) -> str | None:
    value = given.pop(key, None)
    if value is not None and value not in values:
        raise BadRequest(f"{key} is one of {', '.join(values)}", code="invalid_query")
    return value


def parse_row_id(text: str, size: int) -> tuple[str, ...] | None:
    """The values of a primary key of ``size`` columns, separated by commas; None for a text that is no such key.

    A value that holds a comma or a quote is written in double quotes, with backslashes before quotes and backslashes.
    """
    if "\x00" in text:
        return None
    if size == 1 and not text.startswith('"'):
        return (text,) if text else None
    parts: list[str] = []
    position = 0
    while True:
        found = _KEY_PART.match(text, position)
        assert found is not None  # it may match nothing, but it matches
        quoted, plain = found.groups()
        parts.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
        position = found.end()
        if position == len(text):
            break
        if text[position] != ",":
            return None
        position += 1
    return tuple(parts) if len(parts) == size else None

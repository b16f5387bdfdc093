"""The body of a write or a call: JSON, CSV or a form, made JSON text that PostgreSQL turns into rows.

Source: PostgREST v14 ``ApiRequest/Payload.hs``.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

from isobase_services.database.query.errors import RequestError

__all__ = ["Body", "parse_call_body", "parse_write_body"]

# The body's own limit bounds a field; the csv module's 128 KiB, which is the process's, would refuse what upstream takes.
csv.field_size_limit(2**31 - 1)

_ARGUMENT_TYPES = {
    "text/plain": ("text",),
    "text/xml": ("xml",),
    "application/octet-stream": ("bytea",),
}
_INVALID_JSON = "Empty or invalid json"
_UNEQUAL_KEYS = "All object keys must match"


@dataclass(slots=True, frozen=True)
class Body:
    """A body, read.

    ``json`` is JSON text of an object or array and ``keys`` its members' names; ``form`` instead holds a call's form;
    ``raw`` instead the whole body that is one argument of a type in ``argument_types``.
    """

    kind: str
    json: str = "[]"
    is_object: bool = False
    keys: tuple[str, ...] = ()
    form: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    argument_types: tuple[str, ...] = ()


def parse_write_body(body: bytes, content_type: str | None, columns: tuple[str, ...] | None) -> Body:
    """The body of a POST, PATCH or PUT of a relation. With ``columns`` the keys of the rows need not be equal.

    Raises PGRST102 (400) for what is no JSON, CSV or form, is broken, or has rows of unequal keys.
    """
    kind = _media_type(content_type)
    match kind:
        case "application/json":
            return _json_body(body, columns)
        case "text/csv":
            return _csv_body(_text(body))
        case "application/x-www-form-urlencoded":
            pairs = dict(_form(body))
            return Body(kind, json.dumps(pairs), True, tuple(pairs))
        case _:
            raise RequestError(f"Content-Type not acceptable: {kind}", code="PGRST102")


def parse_call_body(body: bytes, content_type: str | None, columns: tuple[str, ...] | None) -> Body:
    """The body of a POST of a function; an empty JSON body calls without arguments. Errors as ``parse_write_body``."""
    kind = _media_type(content_type)
    if kind == "application/json" and not body and columns is None:
        return Body(kind, "{}", True, argument_types=("json", "jsonb"))
    if kind in _ARGUMENT_TYPES:
        return Body(kind, raw=body, argument_types=_ARGUMENT_TYPES[kind])
    if kind == "application/x-www-form-urlencoded":
        pairs = tuple(_form(body))
        return Body(kind, form=pairs, keys=tuple(dict(pairs)))
    return parse_write_body(body, content_type, columns)


def _media_type(content_type: str | None) -> str:
    return (content_type or "application/json").partition(";")[0].strip().lower()


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError("The body is not valid UTF-8", code="PGRST102") from error
    if "\x00" in text:
        raise RequestError("The body contains NUL", code="PGRST102")
    return text


def _json_body(body: bytes, columns: tuple[str, ...] | None) -> Body:
    kind, types = "application/json", ("json", "jsonb")
    if columns is not None:
        # As upstream: where the columns are named, what the body is made of is PostgreSQL's to see.
        text = _text(body)
        return Body(kind, text, text.lstrip(" \t\r\n").startswith("{"), columns, argument_types=types)
    try:
        text = body.decode()
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(_INVALID_JSON, code="PGRST102") from error
    if isinstance(value, dict):
        return Body(kind, text, True, tuple(value), argument_types=types)
    if not isinstance(value, list) or not value:
        return Body(kind, "[]", argument_types=types)
    first = value[0]
    if not isinstance(first, dict) or any(not isinstance(row, dict) or row.keys() != first.keys() for row in value):
        raise RequestError(_UNEQUAL_KEYS, code="PGRST102")
    return Body(kind, text, False, tuple(first), argument_types=types)


def _refuse_constant(name: str) -> object:
    # Python would read NaN and Infinity, which are no JSON.
    raise ValueError(name)


def _csv_body(text: str) -> Body:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise RequestError("The CSV cannot be read", code="PGRST102", details=str(error)) from error
    if not rows:
        raise RequestError("The CSV is empty", code="PGRST102")
    header, *data = rows
    if any(len(row) != len(header) for row in data):
        raise RequestError("All lines must have same number of fields", code="PGRST102")
    objects = [{name: None if cell == "NULL" else cell for name, cell in zip(header, row, strict=True)} for row in data]
    return Body("text/csv", json.dumps(objects), False, tuple(dict.fromkeys(header)) if data else ())


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(_text(body), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise RequestError("The form cannot be read", code="PGRST102") from error
    if any("\x00" in part for pair in pairs for part in pair):
        raise RequestError("The body contains NUL", code="PGRST102")
    return pairs

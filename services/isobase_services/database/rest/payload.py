"""The body of a write or a call: JSON, CSV or a form, made JSON text that PostgreSQL turns into rows.

Source: PostgREST v14 ``ApiRequest/Payload.hs``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from isobase_platform.wire_messages import Binary
from isobase_services.database.query.errors import RequestError
from isobase_services.database.rest.csv_rows import csv_rows
from isobase_services.database.rest.json_shape import LARGE_BODY_BYTES, shape_of, walk_shape
from isobase_services.database.rest.media import parse_media_type

__all__ = ["MAX_FORM_FIELDS", "Body", "given_body", "parse_call_body", "parse_write_body"]

T = TypeVar("T")
MAX_FORM_FIELDS = 10_000
"""A form of more fields is refused: as Python values they take forty times the memory of their text."""
_OBJECT = re.compile(rb"[ \t\r\n]*\{")

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

    ``json`` is JSON text of an object or array, as bytes that PostgreSQL gets as they are, and ``keys`` its members' names;
    ``form`` instead holds a call's form; ``raw`` instead the whole body that is one argument of a type in
    ``argument_types``.
    """

    kind: str
    json: bytes = b"[]"
    is_object: bool = False
    keys: tuple[str, ...] = ()
    form: tuple[tuple[str, str], ...] = ()
    raw: Binary | None = None
    argument_types: tuple[str, ...] = ()


def given_body(body: Body | None) -> bytes | None:
    """What of a body is one parameter of the statement, if anything is."""
    if body is None or body.form:
        return None
    return body.json if body.raw is None else body.raw


async def parse_write_body(body: bytes, content_type: str | None, columns: tuple[str, ...] | None) -> Body:
    """The body of a POST, PATCH or PUT of a relation. With ``columns`` the keys of the rows need not be equal.

    Raises PGRST102 (400) for what is no JSON, CSV or form, is broken, or has rows of unequal keys.
    """
    kind = _media_type(content_type)
    match kind:
        case "application/json":
            return await _json_body(body, columns)
        case "text/csv":
            return await _csv_body(body)
        case "application/x-www-form-urlencoded":
            pairs = dict(await _form(body))
            return Body(kind, json.dumps(pairs).encode(), True, tuple(pairs))
        case _:
            raise RequestError(f"Content-Type not acceptable: {kind}", code="PGRST102")


async def parse_call_body(body: bytes, content_type: str | None, columns: tuple[str, ...] | None) -> Body:
    """The body of a POST of a function; an empty JSON body names no arguments. Errors as ``parse_write_body``."""
    kind = _media_type(content_type)
    if kind == "application/json" and not body and columns is None:
        return Body(kind, b"", True, argument_types=("json", "jsonb"))
    if kind in _ARGUMENT_TYPES:
        return Body(kind, raw=Binary(body), argument_types=_ARGUMENT_TYPES[kind])
    if kind == "application/x-www-form-urlencoded":
        pairs = tuple(await _form(body))
        return Body(kind, form=pairs, keys=tuple(dict(pairs)))
    return await parse_write_body(body, content_type, columns)


def _media_type(content_type: str | None) -> str:
    """Read as Accept is, so that ``application/vnd.pgrst.array+json`` is JSON too."""
    return "application/json" if content_type is None else parse_media_type(content_type).mime


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RequestError("The body is not valid UTF-8", code="PGRST102") from error


async def _json_body(body: bytes, columns: tuple[str, ...] | None) -> Body:
    kind, types = "application/json", ("json", "jsonb")
    if columns is not None:
        # As upstream: where the columns are named, what the body is made of is PostgreSQL's to see.
        return Body(kind, body, _OBJECT.match(body) is not None, columns, argument_types=types)
    try:
        shape = shape_of(body) if len(body) <= LARGE_BODY_BYTES else await _in_slices(walk_shape(body.decode()))
    except (ValueError, RecursionError) as error:
        raise RequestError(_INVALID_JSON, code="PGRST102") from error
    if shape.is_ragged:
        raise RequestError(_UNEQUAL_KEYS, code="PGRST102")
    if not shape.is_object and not shape.has_rows:
        return Body(kind, argument_types=types)
    return Body(kind, body, shape.is_object, shape.keys, argument_types=types)


async def _csv_body(body: bytes) -> Body:
    rows, keys = await _in_slices(csv_rows(_decoded(body)))
    return Body("text/csv", rows, False, keys)


async def _in_slices(work: Generator[None, None, T]) -> T:
    """The result of work that pauses now and then, so that no large body keeps the other requests waiting."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def _form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a form, which a semicolon parts too, as upstream. A NUL in them is PostgreSQL's to refuse."""
    if len(body) <= LARGE_BODY_BYTES:
        return _form_pairs(body)
    # Escapes take a second for each 5 MB: beside the other requests, not before them.
    return await asyncio.to_thread(_form_pairs, body)


def _form_pairs(body: bytes) -> list[tuple[str, str]]:
    text = _decoded(body).replace(";", "&")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise RequestError("The form cannot be read", code="PGRST102") from error

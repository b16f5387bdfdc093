"""What a JSON body is made of: an object or rows, and their keys. The values are PostgreSQL's to read, from the same bytes.

A small body is parsed whole. A large one is walked member by member, with a pause after each ``SLICE_CHARS``: other requests
are served meanwhile, and no more than one member is held as Python values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, cast

import orjson

from isobase_platform.strict_json import refuse_constant

__all__ = ["LARGE_BODY_BYTES", "SLICE_CHARS", "JsonShape", "shape_of", "walk_shape"]

LARGE_BODY_BYTES = 1024 * 1024
"""A body of more bytes is walked; parsing this much takes about 20 ms."""
SLICE_CHARS = 128 * 1024
"""How far a walk goes between two pauses: a few milliseconds."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(slots=True, frozen=True)
class JsonShape:
    """``is_object``: an object, else an array of rows. ``keys``: the object's, or those that all rows have.

    ``is_ragged``: the members of the array are not all objects of the same keys. Anything else than an object or array
    reads as no rows, as upstream.
    """

    is_object: bool = False
    keys: tuple[str, ...] = ()
    is_ragged: bool = False
    has_rows: bool = False


Walk: TypeAlias = Generator[None, None, JsonShape]


def shape_of(body: bytes) -> JsonShape:
    """The shape of a whole body. Raises ``ValueError`` for what is no JSON, ``RecursionError`` for what is too deep."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        # It also refuses numbers beyond a double, which PostgreSQL takes: Python's own reader has the last word.
        value = json.loads(body.decode(), parse_constant=refuse_constant)
        _refuse_surrogates(value)
    if isinstance(value, dict):
        return JsonShape(is_object=True, keys=tuple(value))
    if not isinstance(value, list) or not value:
        return JsonShape()
    first: object = value[0]
    if not isinstance(first, dict):
        return JsonShape(is_ragged=True, has_rows=True)
    keys = first.keys()
    for row in value:
        if not isinstance(row, dict) or row.keys() != keys:
            return JsonShape(is_ragged=True, has_rows=True)
    return JsonShape(keys=tuple(first), has_rows=True)


def _refuse_surrogates(value: object) -> None:
    """``UnicodeEncodeError``, a ``ValueError``, for half a surrogate pair, which Python would read and upstream refuses."""
    json.dumps(value, ensure_ascii=False).encode()


_DECODER = json.JSONDecoder(parse_constant=refuse_constant)


def walk_shape(text: str) -> Walk:
    """The shape of a large body, yielding now and then. Errors as ``shape_of``."""
    walker = _Walker(text)
    return walker.body()


class _Walker:
    """A place in the text. Members of arrays are read by Python's own scanner, those of objects looked into once more."""

    __slots__ = ("_has_surrogates", "_pause_at", "_place", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._pause_at = SLICE_CHARS
        self._has_surrogates = _SURROGATE.search(text) is not None

    def body(self) -> Walk:
        start = self._skip_space()
        if start == "{":
            shape = JsonShape(is_object=True, keys=(yield from self._object()))
        elif start == "[":
            shape = yield from self._array()
        else:
            self._scan()
            shape = JsonShape()
        if self._skip_space():
            raise ValueError("extra data")
        return shape

    def _skip_space(self) -> str:
        """The next character that is no space; empty at the end."""
        found = _SPACE.match(self._text, self._place)
        self._place = found.end() if found is not None else self._place
        return self._text[self._place : self._place + 1]

    def _scan(self) -> object:
        value, self._place = _DECODER.raw_decode(self._text, self._place)
        if self._has_surrogates:
            _refuse_surrogates(value)
        return cast(object, value)

    def _take(self, *wanted: str) -> str:
        """Step over one of these characters."""
        found = self._skip_space()
        if found not in wanted:
            raise ValueError(f"expecting {' or '.join(wanted)}")
        self._place += 1
        return found

    def _is_due(self) -> bool:
        if self._place < self._pause_at:
            return False
        self._pause_at = self._place + SLICE_CHARS
        return True

    def _array(self) -> Walk:
        self._place += 1
        if self._skip_space() == "]":
            self._place += 1
            return JsonShape()
        first = self._scan()
        keys = first.keys() if isinstance(first, dict) else None
        is_ragged = keys is None
        while self._take(",", "]") == ",":
            self._skip_space()
            row = self._scan()
            is_ragged = is_ragged or not isinstance(row, dict) or row.keys() != keys
            if self._is_due():
                yield
        return JsonShape(keys=tuple(keys or ()), is_ragged=is_ragged, has_rows=True)

    def _object(self) -> Generator[None, None, tuple[str, ...]]:
        self._place += 1
        keys: dict[str, None] = {}
        if self._skip_space() == "}":
            self._place += 1
            return ()
        while True:
            if self._skip_space() != '"':
                raise ValueError("expecting a key")
            keys[cast(str, self._scan())] = None
            self._take(":")
            start = self._skip_space()
            if start == "{":
                yield from self._object()
            elif start == "[":
                yield from self._array()
            else:
                self._scan()
            if self._is_due():
                yield
            if self._take(",", "}") == "}":
                return tuple(keys)

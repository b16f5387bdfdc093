"""Column values as JSON: the text that PostgreSQL writes to the log, turned into what ``to_jsonb`` makes of the value.

The stream's session fixes the text forms (ISO dates, UTC, hex bytea, shortest floats). Types whose JSON only PostgreSQL knows
(composites, types with their own cast to json) have no converter here and are asked for in SQL. Source: PostgreSQL's
``json_categorize_type`` and ``datum_to_jsonb``; contracts/realtime.md 1.10 (bytea without ``\\x``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring as quote_json
from typing import TypeAlias

__all__ = [
    "BOOL_OID",
    "INT8_OID",
    "INTEGER_OIDS",
    "TEXT_OID",
    "TEXT_OIDS",
    "UUID_OID",
    "Converter",
    "TypeFacts",
    "array_items",
    "converter_for",
    "quote_json",
]

Converter: TypeAlias = Callable[[str], str]
"""From the log's text of a value that is not NULL to JSON text."""

ArrayItem: TypeAlias = "str | list[ArrayItem] | None"

FIRST_USER_OID = 16_384
MAX_NESTING = 8
"""Domains over arrays over domains ...: deeper than this a type is left to SQL."""

BOOL_OID = 16
BYTEA_OID = 17
INTEGER_OIDS = frozenset({20, 21, 23})
NUMBER_OIDS = frozenset({700, 701, 1700})
INT8_OID = 20
TEXT_OID = 25
TEXT_OIDS = frozenset({TEXT_OID, 1043})
"""text and varchar."""
UUID_OID = 2950
JSON_OIDS = frozenset({114, 3802})
TIMESTAMP_OID = 1114
TIMESTAMPTZ_OID = 1184
VECTOR_OIDS = frozenset({22, 30})
"""int2vector and oidvector call themselves arrays but are written without braces."""


@dataclass(slots=True, frozen=True)
class TypeFacts:
    """What pg_type says of a type: ``kind`` is typtype, ``base_oid`` a domain's type, ``element_oid`` an array's.

    ``delimiter``: what stands between an array's items; ``own_delimiter``: between values of this type in an array of them.
    """

    oid: int
    kind: str
    base_oid: int
    element_oid: int
    is_array: bool
    delimiter: str
    own_delimiter: str
    has_json_cast: bool


def converter_for(oid: int, types: Mapping[int, TypeFacts], depth: int = 0) -> Converter | None:
    """The converter of a type, or None where only PostgreSQL can say. ``types`` holds the facts of all types involved."""
    simple = _SIMPLE.get(oid)
    if simple is not None:
        return simple
    facts = types.get(oid)
    if facts is None or depth > MAX_NESTING or oid in VECTOR_OIDS or facts.kind == "c":
        return None
    if facts.kind == "d":
        return converter_for(facts.base_oid, types, depth + 1)
    if facts.is_array:
        # A bytea by itself comes to upstream as bare digits; in an array it is what to_jsonb makes of it, with its prefix.
        is_bytea = facts.element_oid == BYTEA_OID
        element = quote_json if is_bytea else converter_for(facts.element_oid, types, depth + 1)
        return None if element is None else _array_converter(element, facts.delimiter)
    if facts.has_json_cast and oid >= FIRST_USER_OID:
        return None
    return quote_json


def _bool(text: str) -> str:
    return "true" if text == "t" else "false"


def _integer(text: str) -> str:
    return text


def _number(text: str) -> str:
    if text[-1] in "Ny":  # NaN, Infinity, -Infinity
        return f'"{text}"'
    return format(Decimal(text), "f") if "e" in text else text


def _json(text: str) -> str:
    return text


def _timestamp(text: str) -> str:
    return f'"{text.replace(" ", "T", 1)}"' if text[0].isdigit() else f'"{text}"'


def _timestamptz(text: str) -> str:
    if not text[0].isdigit():  # infinity, -infinity
        return f'"{text}"'
    moment, _, era = text.replace(" ", "T", 1).partition(" ")
    # The session's time zone is UTC, so the offset is always written +00.
    moment = moment.removesuffix("+00") + "+00:00"
    return f'"{moment} {era}"' if era else f'"{moment}"'


def _bytea(text: str) -> str:
    return f'"{text[2:]}"'


_SIMPLE: dict[int, Converter] = {
    BOOL_OID: _bool,
    BYTEA_OID: _bytea,
    TIMESTAMP_OID: _timestamp,
    TIMESTAMPTZ_OID: _timestamptz,
    **dict.fromkeys(INTEGER_OIDS, _integer),
    **dict.fromkeys(NUMBER_OIDS, _number),
    **dict.fromkeys(JSON_OIDS, _json),
}


def _array_converter(element: Converter, delimiter: str) -> Converter:
    def convert(text: str) -> str:
        return _render_items(array_items(text, delimiter), element)

    return convert


def _render_items(items: list[ArrayItem], element: Converter) -> str:
    parts = [
        "null" if item is None else _render_items(item, element) if isinstance(item, list) else element(item)
        for item in items
    ]
    return f"[{','.join(parts)}]"


def array_items(text: str, delimiter: str = ",") -> list[ArrayItem]:
    """Read an array literal, ``{1,NULL,"a b"}`` or nested, with or without leading bounds (``[0:1]={...}``).

    Raises ``ValueError`` for what is no array literal.
    """
    start = text.find("{")
    if start < 0:
        raise ValueError("not an array literal")
    stack: list[list[ArrayItem]] = []
    position = start
    length = len(text)
    expects_item = True
    while position < length:
        character = text[position]
        if character == "{":
            stack.append([])
            position += 1
            expects_item = True
        elif character == "}":
            done = stack.pop()
            if not stack:
                if text[position + 1 :].strip():
                    break
                return done
            stack[-1].append(done)
            position += 1
            expects_item = False
        elif character == delimiter:
            position += 1
            expects_item = True
        elif character.isspace():
            position += 1
        elif expects_item and stack:
            item, position = _array_item(text, position, delimiter)
            stack[-1].append(item)
            expects_item = False
        else:
            break
    raise ValueError("not an array literal")


def _array_item(text: str, position: int, delimiter: str) -> tuple[str | None, int]:
    is_quoted = text[position] == '"'
    if is_quoted:
        position += 1
    characters: list[str] = []
    has_escape = False
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            characters.append(text[position + 1])
            has_escape = True
            position += 2
            continue
        if is_quoted and character == '"':
            return "".join(characters), position + 1
        if not is_quoted and character in (delimiter, "{", "}"):
            break
        characters.append(character)
        position += 1
    if is_quoted:
        raise ValueError("not an array literal")
    item = "".join(characters).rstrip()
    return (None if item.upper() == "NULL" and not has_escape else item), position

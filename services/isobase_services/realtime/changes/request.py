"""Reading one ``postgres_changes`` entry of a join: event, schema, table, filters, selected columns.

Pure. The texts of refusals are upstream's, Elixir notation included, because clients show them to their users.
Source: contracts/realtime.md 1.11.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from isobase_services.realtime.wire.messages import dump

__all__ = ["ANY", "ChangeRequest", "Filter", "Operator", "RequestRefused", "change_id", "parse_change_request"]

ANY = "*"
MAX_FILTER_LENGTH_CHARS = 20_000
MAX_CONDITIONS = 50
"""Conditions of one filter: each may be a question to the database for every change of its table."""


class Operator(StrEnum):
    """The operators of a filter, by their names on the wire."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    LIKE = "like"
    ILIKE = "ilike"
    IS = "is"
    MATCH = "match"
    IMATCH = "imatch"
    ISDISTINCT = "isdistinct"


_OPERATORS = frozenset(operator.value for operator in Operator)


class RequestRefused(Exception):
    """An entry that cannot be served; the text goes to the client in a ``system`` message."""


@dataclass(slots=True, frozen=True)
class Filter:
    """One condition. ``value`` is text; for ``in`` it is an array literal (``{a,b}``)."""

    column: str
    operator: Operator
    value: str
    is_negated: bool


@dataclass(slots=True, frozen=True)
class ChangeRequest:
    """What a subscription asks for. ``event``, ``schema`` and ``table`` may be ``*``; ``columns`` None means all."""

    event: str
    schema: str
    table: str
    filters: tuple[Filter, ...] = ()
    columns: tuple[str, ...] | None = None

    @property
    def description(self) -> str:
        """The entry in the notation of upstream's messages."""
        filters = ", ".join(
            f'{{"{item.column}", "{item.operator}", {dump(item.value)}, {str(item.is_negated).lower()}}}'
            for item in self.filters
        )
        columns = "nil" if self.columns is None else dump(list(self.columns)).replace('","', '", "')
        return (
            f"event: {self.event}, schema: {self.schema}, table: {self.table}, filters: [{filters}], select: {columns}"
        )


def change_id(entry: Mapping[str, object]) -> int:
    """The id of an entry: the same for equal entries on every socket and process, never zero, below 2**27."""
    text = dump({name: entry[name] for name in sorted(entry)})
    return zlib.crc32(text.encode()) % (2**27 - 1) + 1


def parse_change_request(entry: Mapping[str, object]) -> ChangeRequest:
    """Read an entry. Raises ``RequestRefused``."""
    columns = _selected_columns(entry.get("select"))
    event = entry.get("event")
    event = event.upper() if isinstance(event, str) else ANY
    event = event if event in ("INSERT", "UPDATE", "DELETE") else ANY
    schema, table, text = entry.get("schema"), entry.get("table"), entry.get("filter")
    # Null is not the same as absent: official clients leave out what is undefined, and who says null is refused.
    has_filter = "filter" in entry
    filters: tuple[Filter, ...] = ()
    if isinstance(schema, str) and isinstance(table, str) and (isinstance(text, str) or not has_filter):
        if isinstance(text, str):
            filters = _parse_filters(text)
    elif isinstance(schema, str) and "table" not in entry and not has_filter:
        table = ANY
    elif isinstance(table, str) and "schema" not in entry and not has_filter:
        schema = "public"
    else:
        raise RequestRefused(
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            + _described(entry)
        )
    if columns is not None and ANY in (schema, table):
        raise RequestRefused(
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
        )
    texts = (schema, table, *(columns or ()), *(text for item in filters for text in (item.column, item.value)))
    if not all(map(_is_database_text, texts)):
        # To PostgreSQL this is an error that looks like a passing one, and it would be asked again and again.
        raise RequestRefused(
            "Unable to subscribe to changes with given parameters. Names and values must be Unicode text without NUL."
        )
    return ChangeRequest(event=event, schema=schema, table=table, filters=filters, columns=columns)


def _is_database_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _described(entry: Mapping[str, object]) -> str:
    if "user_token" in entry or "auth_token" in entry:
        return "<redacted>"
    return _elixir(entry)


def _elixir(value: object) -> str:
    """A JSON value as upstream's language shows it."""
    if isinstance(value, Mapping):
        return "%{" + ", ".join(f"{dump(name)} => {_elixir(item)}" for name, item in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_elixir, value)) + "]"
    return "nil" if value is None else dump(value)


def _selected_columns(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        raise RequestRefused(
            'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
        )
    if not isinstance(value, list):
        return None
    names = tuple(sorted({name for name in value if isinstance(name, str)}))
    return names or None


def _parse_filters(text: str) -> tuple[Filter, ...]:
    if len(text) > MAX_FILTER_LENGTH_CHARS:
        raise _bad_filter(f"filter must have at most {MAX_FILTER_LENGTH_CHARS} characters")
    text = text.strip()
    parts = _split_top_level(text) if text else []
    if len(parts) > MAX_CONDITIONS:
        raise _bad_filter(f"filter must have at most {MAX_CONDITIONS} conditions")
    return tuple(_parse_filter(part) for part in parts)


def _split_top_level(text: str) -> list[str]:
    """Split at commas that stand outside quotes and parentheses. A quote opens only after ``.``, ``(`` or ``,``."""
    parts: list[str] = []
    start = depth = position = 0
    previous = ""
    is_quoted = False
    while position < len(text):
        character = text[position]
        if is_quoted:
            if character == "\\":
                position += 1
            elif character == '"':
                is_quoted = False
        elif character == '"' and previous in (".", "(", ","):
            is_quoted = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        previous = text[min(position, len(text) - 1)]
        position += 1
    parts.append(text[start:])
    return parts


def _parse_filter(part: str) -> Filter:
    part = part.strip()
    if not part:
        raise _bad_filter("filter must not contain empty segments (check for extra commas)")
    column, equals, rest = part.partition("=")
    if not equals:
        raise _bad_filter(f"[{dump(column)}]")
    is_negated = rest.startswith("not.")
    operation = rest.removeprefix("not.")
    operator, dot, value = operation.partition(".")
    if not dot:
        raise _bad_filter(f"[{dump(operation)}]")
    if operator not in _OPERATORS:
        raise _bad_filter(f"[{dump(operator)}, {dump(value)}]")
    if operator == Operator.IN:
        if not (len(value) >= 2 and value.startswith("(") and value.endswith(")")):
            raise _bad_filter("`in` filter value must be wrapped by parentheses")
        value = "{" + value[1:-1] + "}"
    else:
        value = _unquoted(value)
    return Filter(column=column, operator=Operator(operator), value=value, is_negated=is_negated)


def _unquoted(value: str) -> str:
    """The content of ``"..."`` with its backslashes resolved; anything else as it is."""
    if not value.startswith('"'):
        return value
    content: list[str] = []
    position = 1
    while position < len(value):
        character = value[position]
        if character == '"':
            return "".join(content) if position == len(value) - 1 else value
        if character == "\\" and position + 1 < len(value):
            position += 1
            character = value[position]
        content.append(character)
        position += 1
    return value


def _bad_filter(reason: str) -> RequestRefused:
    return RequestRefused(f"Error parsing `filter` params: {reason}")

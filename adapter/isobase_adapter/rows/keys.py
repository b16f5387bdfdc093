"""Names rows as things: a key's values in one written form, whoever names them.

Two who carry the same row must take the same lock, so ``5`` and ``"5"``, or two ways to write one moment, have to come
out alike. That is done here, by the type of each key column, without asking a database. Types whose equality cannot
be told from the text (``TYPES_WITH_A_WRITTEN_FORM`` names the others) are carried under the lock of their whole table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from isobase_adapter.rows.tables import Table
from isobase_adapter.things import Thing, ThingKind

__all__ = ["TYPES_WITH_A_WRITTEN_FORM", "KeyNotGiven", "canonical", "key_text", "lock_of", "row_thing", "table_thing"]

INTEGERS = frozenset({"int2", "int4", "int8", "oid"})
TEXTS = frozenset({"text", "varchar", "name", "bpchar"})
MOMENTS = frozenset({"timestamptz", "timestamp", "date"})
TYPES_WITH_A_WRITTEN_FORM = INTEGERS | TEXTS | MOMENTS | {"uuid", "bool", "numeric"}


class KeyNotGiven(LookupError):
    """A row's key is not among the values that are known of it, or the table has none."""


def row_thing(table: Table, values: Mapping[str, Any]) -> Thing:
    """Name the row of ``table`` whose columns hold ``values`` (JSON values, as the data API gives them).

    Raises ``KeyNotGiven`` where a column of the key is missing or null, or where the table has no key.
    """
    if not table.key or any(values.get(column) is None for column in table.key):
        raise KeyNotGiven(table.resource)
    return canonical(table, Thing(ThingKind.ROW, table.resource, tuple(values[column] for column in table.key)))


def table_thing(table: Table) -> Thing:
    """Name everything in ``table``."""
    return Thing(ThingKind.TABLE, table.resource)


def canonical(table: Table, thing: Thing) -> Thing:
    """Give ``thing``, a row of ``table``, with its key in the one written form.

    Raises ``KeyNotGiven`` where the key has another number of values than the table's.
    """
    if len(thing.key) != len(table.key) or not table.key:
        raise KeyNotGiven(f"{table.resource}: the key is ({', '.join(table.key)})")
    key = tuple(
        _written(column.base, value, column.collation)
        for column, value in zip(table.key_columns, thing.key, strict=True)
    )
    return Thing(ThingKind.ROW, table.resource, key)


def lock_of(table: Table, thing: Thing) -> int:
    """Give the number of the advisory lock under which ``thing`` (canonical) is carried."""
    is_written = all(
        column.base in TYPES_WITH_A_WRITTEN_FORM and (column.collation is None or column.collation == 'pg_catalog."C"')
        for column in table.key_columns
    )
    return thing.lock_number if is_written else table_thing(table).lock_number


def key_text(value: Any) -> str:
    """Give a key's value as text that PostgreSQL reads as the column's type."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def keys_by_column(keys: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Turn keys into one list of texts for each column of the key."""
    return [[key_text(value) for value in values] for values in zip(*keys, strict=True)]


def _written(base: str, value: Any, collation: str | None) -> Any:
    text = key_text(value)
    try:
        if base in INTEGERS:
            return int(text)
        if base == "bool":
            return text.lower() in {"true", "t", "1", "yes", "on", "y"}
        if base == "uuid":
            return str(UUID(text))
        if base == "numeric":
            return _number(text)
        if base in MOMENTS:
            return _moment(base, text)
    except (ValueError, InvalidOperation):
        return text
    return text.rstrip(" ") if base == "bpchar" else text


def _number(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        return str(number).lower()
    return format(number.normalize() if number else Decimal(0), "f")


def _moment(base: str, text: str) -> str:
    if base == "date":
        return date.fromisoformat(text.strip()[:10]).isoformat() if "BC" not in text else text
    moment = datetime.fromisoformat(text.strip())
    if base == "timestamptz":
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    else:
        moment = moment.replace(tzinfo=None)
    shown = datetime.combine(moment.date(), time(moment.hour, moment.minute, moment.second, moment.microsecond))
    return shown.isoformat(sep=" ") + ("+00:00" if base == "timestamptz" else "")

"""Keys that rows get when they are inserted: which of them no row can have had before.

A row with such a key has never been deleted, so no row refers to it that should not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from isobase_adapter.rows.tables import Column, Identity, Table

__all__ = ["are_new", "are_unique", "random_key"]

MAKES_NEXT = re.compile(r"\bnextval\(")
MAKES_UNIQUE = re.compile(r"\b(gen_random_uuid|uuid_generate_v\w+|uuidv[47])\(")
MAKES_RANDOM = re.compile(r"(\w+\.)?(gen_random_uuid|uuid_generate_v4|uuidv4)\(\)")


def are_unique(table: Table, rows: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether each of ``rows`` (None: nobody knows them) gets a part of its key that no row had before."""
    return _lack_one(table, rows, [column for column in table.key_columns if _is_unique(column)])


def are_new(table: Table, rows: Sequence[Mapping[str, Any]] | None) -> bool:
    """The same, numbers of sequences included: a row had one before only where it was given by hand, or one was set back."""
    return _lack_one(table, rows, [column for column in table.key_columns if _is_unique(column) or _is_next(column)])


def random_key(table: Table) -> str | None:
    """Name the key's one column where it is a uuid that may as well be made by whoever inserts the row."""
    columns = table.key_columns
    if len(columns) != 1 or columns[0].type != "uuid" or _has_writers(table):
        return None
    is_random = MAKES_RANDOM.fullmatch(columns[0].default or "") is not None
    return columns[0].name if is_random else None


def _lack_one(table: Table, rows: Sequence[Mapping[str, Any]] | None, columns: Sequence[Column]) -> bool:
    if rows is None or _has_writers(table):
        return False
    return all(any(column.name not in row for column in columns) for row in rows)


def _is_unique(column: Column) -> bool:
    return MAKES_UNIQUE.search(column.default or "") is not None


def _is_next(column: Column) -> bool:
    return column.identity is not Identity.NOT or MAKES_NEXT.search(column.default or "") is not None


def _has_writers(table: Table) -> bool:
    """Whether triggers may give a new row another key."""
    return any(" BEFORE " in trigger.definition and "INSERT" in trigger.definition for trigger in table.triggers)

"""Where a page of rows ends, as an opaque text, and the filter that begins the next page there (keyset paging).

A cursor holds the sort values of the last row that was shown, so rows that come or go meanwhile move nothing. It is checked
and not signed: its values travel as parameters under the caller's own policies and can show nothing else.
Pure. Neighbours: ``rows_query`` (parses), ``rows`` (executes).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from isobase_platform.errors import BadRequest
from isobase_services.database.query.ast import ColumnItem, Field, Filter, LogicTree, OrderTerm
from isobase_services.database.query.schema_cache import Relation

__all__ = ["Keyset", "keyset_of"]

MAX_CURSOR_LENGTH_CHARS = 16 * 1024
_VERSION = 1


@dataclass(slots=True, frozen=True)
class _Key:
    field: Field
    is_descending: bool
    puts_nulls_first: bool
    is_nullable: bool


@dataclass(slots=True, frozen=True)
class Keyset:
    """The columns that sort a table's rows without ties."""

    keys: tuple[_Key, ...]
    order: tuple[OrderTerm, ...]
    digest: str
    """Tells a cursor of this table and order from others."""

    @property
    def items(self) -> list[ColumnItem]:
        """What to select to make a cursor of a row: the sort values as text."""
        return [ColumnItem(key.field, alias=f"k{number}", cast="text") for number, key in enumerate(self.keys)]

    @property
    def names(self) -> list[str]:
        """The names of ``items``."""
        return [f"k{number}" for number in range(len(self.keys))]

    def encode(self, values: Sequence[str | None]) -> str:
        """The cursor behind a row with these sort values."""
        raw = json.dumps([_VERSION, self.digest, *values], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def decode(self, text: str) -> list[str | None]:
        """The sort values of a cursor. Raises ``BadRequest`` (``invalid_cursor``) for one of another table or order."""
        if len(text) > MAX_CURSOR_LENGTH_CHARS:
            raise _refusal()
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            found = json.loads(raw)
        except (binascii.Error, ValueError, RecursionError) as error:
            raise _refusal() from error
        if not isinstance(found, list) or len(found) != len(self.keys) + 2 or found[:2] != [_VERSION, self.digest]:
            raise _refusal()
        values: list[str | None] = []
        for key, value in zip(self.keys, found[2:], strict=True):
            is_text = isinstance(value, str) and "\x00" not in value
            if not is_text and not (value is None and key.is_nullable):
                raise _refusal()
            values.append(value)
        return values

    def after(self, values: Sequence[str | None]) -> list[Filter | LogicTree]:
        """The filters that let through what comes behind a row with these sort values."""
        branches: list[Filter | LogicTree] = []
        same: list[Filter | LogicTree] = []
        for key, value in zip(self.keys, values, strict=True):
            later = _later(key, value)
            if later is not None:
                branches.append(LogicTree("and", False, (*same, later)))
            same.append(_is_null(key.field) if value is None else Filter(key.field, "eq", value))
        filters: list[Filter | LogicTree] = [LogicTree("or", False, tuple(branches))]
        first, value = self.keys[0], values[0]
        if value is not None and (not first.is_nullable or first.puts_nulls_first):
            # Says nothing new, but an index can be entered here.
            filters.append(Filter(first.field, "lte" if first.is_descending else "gte", value))
        return filters


def keyset_of(relation: Relation, order: Sequence[OrderTerm]) -> Keyset | None:
    """The columns of ``order`` and, to part ties, of the primary key; None where rows cannot be told apart by columns.

    An order by a related table's column gives None too.
    """
    if not relation.primary_key or any(term.relation is not None for term in order):
        return None
    given = {term.field for term in order}
    rest = [OrderTerm(Field(name)) for name in relation.primary_key if Field(name) not in given]
    terms = (*order, *rest)
    keys = []
    for term in terms:
        column = relation.columns.get(term.field.name)
        is_descending = term.direction == "desc"
        nulls_first = is_descending if term.nulls is None else term.nulls == "first"
        is_nullable = column is None or column.is_nullable or bool(term.field.steps)
        keys.append(_Key(term.field, is_descending, nulls_first, is_nullable))
    digest = hashlib.sha256(repr((relation.oid, terms)).encode()).hexdigest()[:16]
    return Keyset(tuple(keys), terms, digest)


def _later(key: _Key, value: str | None) -> Filter | LogicTree | None:
    """What comes behind ``value`` in one column; None where nothing can."""
    if value is None:
        return _is_null(key.field, is_negated=True) if key.puts_nulls_first else None
    beyond = Filter(key.field, "lt" if key.is_descending else "gt", value)
    if key.is_nullable and not key.puts_nulls_first:
        return LogicTree("or", False, (beyond, _is_null(key.field)))
    return beyond


def _is_null(field: Field, *, is_negated: bool = False) -> Filter:
    return Filter(field, "is", "null", is_negated=is_negated)


def _refusal() -> BadRequest:
    return BadRequest(
        "The cursor is none of this table and order",
        code="invalid_cursor",
        hint="Take next_cursor of an answer to the same select, order and table",
    )

"""Execute: which value of a request PostgreSQL could not read, so that an error names column, expected type and value.

PostgreSQL says what it could not read, but not in which column. Only where it refused does this module ask again, with the
same rights and in a transaction that reads nothing but the request. Neighbour: ``rows``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from isobase_platform.errors import BadRequest, DatabaseError
from isobase_platform.runtime import Platform
from isobase_platform.sql import quote_identifier
from isobase_services.database.dynamic.access import Actor
from isobase_services.database.dynamic.column_types import shown_type
from isobase_services.database.dynamic.defaults import MAX_SHOWN_LENGTH_CHARS
from isobase_services.database.dynamic.row_bodies import NewRows
from isobase_services.database.query.ast import Filter, LogicTree
from isobase_services.database.query.schema_cache import Relation

__all__ = ["ValueFinder", "is_value_error"]

_CASTS = frozenset({"eq", "neq", "gt", "gte", "lt", "lte", "in", "isdistinct", "cs", "cd", "ov"})


def is_value_error(error: DatabaseError) -> bool:
    """Whether PostgreSQL could not read a value, or it was out of its type's range."""
    return error.sqlstate.startswith("22")


class ValueFinder:
    """Finds the value at fault; one per request that failed."""

    def __init__(self, platform: Platform, actor: Actor, relation: Relation) -> None:
        self._platform = platform
        self._actor = actor
        self._relation = relation

    async def in_rows(self, new: NewRows) -> BadRequest | None:
        """The first value of a body that does not fit its column; None where all fit."""
        rows = new.payload if not new.is_single else f"[{new.payload}]"
        for name in new.names:
            column = self._relation.columns[name]
            shape = f"r ({quote_identifier(name)} {column.type})"
            number = await self._first_bad(rows, shape)
            if number is not None:
                shown = await self._ask(
                    "select e.value -> $2::text from json_array_elements($1::text::json) with ordinality as e (value, n)"
                    " where e.n = $3::text::int8",
                    rows,
                    name,
                    str(number),
                )
                place = "" if new.is_single else f", in row {number}"
                return _misfit(name, column.type, _cut(str(shown)), place)
        return None

    async def in_filters(self, filters: Sequence[Filter | LogicTree]) -> BadRequest | None:
        """The first operand of a filter on the table itself that cannot be compared with its column; None where all can."""
        types = self._relation.types
        for one in _flat(filters):
            kind = types.get(one.field.name)
            if kind is None or one.field.steps or one.operator not in _CASTS:
                continue
            for value in one.values or (one.value,):
                if not await self._can_read(value, kind):
                    return _misfit(one.field.name, kind, _cut(json.dumps(str(value), ensure_ascii=False)), "")
        return None

    async def is_key(self, values: Mapping[str, str]) -> bool:
        """Whether texts can be values of the columns."""
        for name, value in values.items():
            if not await self._can_read(value, self._relation.columns[name].type):
                return False
        return True

    async def _can_read(self, value: str, kind: str) -> bool:
        try:
            await self._ask(f"select $1::text::{kind}", str(value))
        except DatabaseError as error:
            if is_value_error(error):
                return False
            raise
        return True

    async def _first_bad(self, rows: str, shape: str) -> int | None:
        """The number, from 1, of the first element that has no such shape."""
        sql = (
            "select count(r) from json_array_elements($1::text::json) with ordinality as e (value, n),"  # noqa: S608  quoted names
            f" lateral json_to_record(e.value) as {shape} where e.n between $2::text::int8 and $3::text::int8"
        )
        first, last = 1, len(json.loads(rows))
        if await self._fits(sql, rows, first, last):
            return None
        while first < last:
            middle = (first + last) // 2
            if await self._fits(sql, rows, first, middle):
                first = middle + 1
            else:
                last = middle
        return first

    async def _fits(self, sql: str, rows: str, first: int, last: int) -> bool:
        try:
            await self._ask(sql, rows, str(first), str(last))
        except DatabaseError as error:
            if is_value_error(error):
                return False
            raise
        return True

    async def _ask(self, sql: str, *values: str) -> object:
        async with self._platform.door.transaction(self._actor.caller, read_only=True, rollback=True) as connection:
            return await connection.fetchval(sql, *values)


def _flat(filters: Sequence[Filter | LogicTree]) -> Iterator[Filter]:
    for one in filters:
        if isinstance(one, Filter):
            yield one
        else:
            yield from _flat(one.members)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_LENGTH_CHARS else f"{text[:MAX_SHOWN_LENGTH_CHARS]}..."


def _misfit(column: str, kind: str, shown: str, place: str) -> BadRequest:
    expected = shown_type(kind)
    return BadRequest(
        f"The column {column} takes {expected}",
        code="invalid_value",
        details=f"expected {expected}, got {shown}{place}",
    )

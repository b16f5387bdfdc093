"""Walks tables in the order of their primary keys and changes the beginnings of URLs, a bounded batch per transaction.

Whatever ends the process, whole batches are done and the next run finds what is left: a value that was changed does not
match any more. Rows that users change meanwhile are waited for, row by row and for a bounded time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import asyncpg

from isobase_deploy.url_rewrite.columns import Column, ColumnKind, ColumnName, find_column
from isobase_deploy.url_rewrite.json_text import rewrite_json
from isobase_deploy.url_rewrite.prefixes import Prefix
from isobase_platform.errors import database_error
from isobase_platform.pool import DATABASE_FAILURES, Connection

__all__ = ["MAX_VALUE_BYTES", "RewrittenColumn", "UrlRewriter"]

BATCH_ROWS = 500
JSON_BATCH_ROWS = 50
MAX_VALUE_BYTES = 1024 * 1024
"""A JSON value or array larger than this is left as it is and counted."""
LOCK_TIMEOUT_MS = 10_000
"""How long one batch waits for rows that somebody else holds."""


@dataclass(slots=True, frozen=True)
class RewrittenColumn:
    """What became of one column, in rows. ``left`` are values too large (or arrays of several dimensions) to change."""

    column: str
    matching: int
    changed: int
    left: int

    def as_json(self) -> dict[str, object]:
        """The same for a report."""
        return asdict(self)


class UrlRewriter:
    """Rewrites columns over one connection, which must see every row of the tables."""

    def __init__(self, connection: Connection, prefixes: Sequence[Prefix]) -> None:
        self._connection = connection
        self._prefixes = prefixes

    async def find(self, names: Sequence[ColumnName]) -> list[Column]:
        """Look all columns up before anything is changed. Raises ``ConfigurationError``, ``DatabaseError``."""
        try:
            return [await find_column(self._connection, name) for name in names]
        except DATABASE_FAILURES as error:
            raise database_error(error) from error

    async def count(self, column: Column) -> RewrittenColumn:
        """How many rows a rewrite would change; nothing is changed."""
        matches, parameters = self._matches(column)
        small = _is_small(column)
        statement = f"""
select count(*) filter (where {small}) as small, count(*) filter (where not ({small})) as large
  from {column.table_sql} where {matches}
"""  # noqa: S608  quoted names and placeholders
        try:
            async with self._transaction():
                row = await self._connection.fetchrow(statement, *parameters)
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        assert row is not None
        return RewrittenColumn(str(column.name), row["small"], 0, row["large"])

    async def rewrite(self, column: Column, told: Callable[[int], None] = lambda rows: None) -> RewrittenColumn:
        """Change the column everywhere. ``told`` hears the number of rows after each batch.

        Raises ``DatabaseError`` where a trigger, a constraint or a lock refuses: batches before it stay.
        """
        before = await self.count(column)
        changed = 0
        after: list[str] | None = None
        try:
            while True:
                rows, after = await self._batch(column, after)
                changed += rows
                told(rows)
                if after is None:
                    break
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        return RewrittenColumn(str(column.name), before.matching, changed, before.left)

    async def _batch(self, column: Column, after: Sequence[str] | None) -> tuple[int, list[str] | None]:
        """Change the next rows behind the key ``after``; how many, and the key of the last (None: that was the end)."""
        async with self._transaction():
            rows = await self._next_rows(column, after)
            if not rows:
                return 0, None
            keys = [list(row["key"]) for row in rows]
            values = [self._rewritten(column, row) for row in rows]
            changes = [
                (key, value) for key, value, row in zip(keys, values, rows, strict=True) if value != row["value"]
            ]
            if changes:
                await self._update(column, changes)
        limit = BATCH_ROWS if column.kind is ColumnKind.TEXT else JSON_BATCH_ROWS
        return len(changes), keys[-1] if len(rows) == limit else None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            # Policies that hid rows would make them stay as they are, silently; so it is an error instead.
            await self._connection.execute(f"set local row_security = off; set local lock_timeout = {LOCK_TIMEOUT_MS}")
            yield

    async def _next_rows(self, column: Column, after: Sequence[str] | None) -> list[asyncpg.Record]:
        matches, parameters = self._matches(column)
        key = ", ".join(one.sql for one in column.key)
        conditions = [f"({matches})", f"({_is_small(column)})"]
        if after is not None:
            first = len(parameters) + 1
            places = (f"${first + at}::text::{one.type_sql}" for at, one in enumerate(column.key))
            conditions.append(f"({key}) > ({', '.join(places)})")
            parameters = [*parameters, *after]
        texts = ", ".join(f"{one.sql}::text" for one in column.key)
        value = f"to_json({column.column_sql})" if column.kind is ColumnKind.ARRAY else column.column_sql
        limit = BATCH_ROWS if column.kind is ColumnKind.TEXT else JSON_BATCH_ROWS
        statement = f"""
select array[{texts}] as key, {value}::text as value
  from {column.table_sql} where {" and ".join(conditions)}
 order by {key} limit {limit} for update
"""  # noqa: S608  quoted names and placeholders
        return list(await self._connection.fetch(statement, *parameters))

    def _rewritten(self, column: Column, row: asyncpg.Record) -> str:
        value = str(row["value"])
        if column.kind is not ColumnKind.TEXT:
            return rewrite_json(value, self._prefixes)
        prefix = next(one for one in self._prefixes if one.applies_to(value))
        return prefix.new + value[len(prefix.old) :]

    async def _update(self, column: Column, changes: Sequence[tuple[list[str], str]]) -> None:
        """Write the new values. Each column of the key is an array of texts, cast back to its type."""
        count = len(column.key)
        sources = ", ".join(f"${at + 1}::text[]" for at in range(count + 1))
        names = ", ".join(f"k{at}" for at in range(count))
        same = " and ".join(f"t.{one.sql} = new.k{at}::{one.type_sql}" for at, one in enumerate(column.key))
        if column.kind is ColumnKind.ARRAY:
            element = column.type_sql.removesuffix("[]")
            value = (  # types of the catalogue
                f"array(select e::{element} from json_array_elements_text(new.value::json)"  # noqa: S608
                " with ordinality as a (e, place) order by a.place)"
            )
        else:
            value = f"new.value::{column.type_sql}"
        statement = f"""
update {column.table_sql} as t set {column.column_sql} = {value}
  from unnest({sources}) as new ({names}, value) where {same}
"""  # noqa: S608  quoted names, types of the catalogue and placeholders
        by_column = [[key[at] for key, _ in changes] for at in range(count)]
        await self._connection.execute(statement, *by_column, [value for _, value in changes])

    def _matches(self, column: Column) -> tuple[str, list[str]]:
        """The condition by which a row is to be changed, and its parameters.

        For JSON it only says where a look is worth it: which strings begin with a prefix is seen in the text.
        """
        parameters: list[str] = []
        conditions: list[str] = []
        for prefix in self._prefixes:
            parameters += [prefix.old, prefix.new]
            old, new = f"${len(parameters) - 1}::text", f"${len(parameters)}::text"
            begins = "starts_with({0}, {1}) and not (starts_with({2}, {1}) and starts_with({0}, {2}))"
            if column.kind is ColumnKind.TEXT:
                conditions.append(begins.format(f"{column.column_sql}::text", old, new))
            elif column.kind is ColumnKind.ARRAY:
                inner = begins.format("e.value::text", old, new)
                conditions.append(f"exists (select from unnest({column.column_sql}) as e (value) where {inner})")
            else:
                inner = begins.format("s.value #>> '{}'", old, new)
                strings = f"jsonb_path_query({column.column_sql}::jsonb, 'strict $.** ? (@.type() == \"string\")')"
                conditions.append(f"exists (select from {strings} as s (value) where {inner})")
        return " or ".join(f"({one})" for one in conditions), parameters


def _is_small(column: Column) -> str:
    """The condition that a value is not too large to be read whole."""
    if column.kind is ColumnKind.TEXT:
        return "true"
    small = f"octet_length({column.column_sql}::text) <= {MAX_VALUE_BYTES}"
    if column.kind is ColumnKind.ARRAY:
        # An array of several dimensions, or one that does not begin at 1, would come back in another shape.
        return f"{small} and array_ndims({column.column_sql}) = 1 and array_lower({column.column_sql}, 1) = 1"
    return small

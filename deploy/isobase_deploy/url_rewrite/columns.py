"""Names of columns as a command line gives them, and what the database's catalogue says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from isobase_platform.errors import BadRequest, ConfigurationError
from isobase_platform.pool import Connection
from isobase_platform.sql import qualified, quote_identifier

__all__ = ["Column", "ColumnKind", "ColumnName", "KeyColumn", "find_column", "parse_column_name"]

_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^."\s]+)')

_COLUMN = """
select c.oid, c.relkind::text as relkind, a.attgenerated::text as generated,
       (case when t.typtype = 'd' then t.typbasetype else t.oid end)::regtype::text as type
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type t on t.oid = a.atttypid
 where n.nspname = $1 and c.relname = $2 and a.attname = $3
"""
_PRIMARY_KEY = """
select a.attname::text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type
  from pg_catalog.pg_index i
  cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, place)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = $1 and i.indisprimary
 order by k.place
"""


class ColumnKind(Enum):
    """How a column's values are changed."""

    TEXT = "text"
    ARRAY = "array"
    JSON = "json"


_KINDS = {
    "text": ColumnKind.TEXT,
    "character varying": ColumnKind.TEXT,
    "text[]": ColumnKind.ARRAY,
    "character varying[]": ColumnKind.ARRAY,
    "json": ColumnKind.JSON,
    "jsonb": ColumnKind.JSON,
}


@dataclass(slots=True, frozen=True)
class ColumnName:
    """Schema, table and column, as they are in the catalogue."""

    schema: str
    table: str
    column: str

    def __str__(self) -> str:
        return ".".join(
            part if re.fullmatch(r"[a-z_][a-z0-9_]*", part) else f'"{part.replace(chr(34), chr(34) * 2)}"'
            for part in (self.schema, self.table, self.column)
        )


@dataclass(slots=True, frozen=True)
class KeyColumn:
    """One column of a primary key: its quoted name, and its type as SQL writes it."""

    sql: str
    type_sql: str


@dataclass(slots=True, frozen=True)
class Column:
    """A column that can be rewritten. ``type_sql`` is its type, or that below a domain."""

    name: ColumnName
    kind: ColumnKind
    type_sql: str
    key: tuple[KeyColumn, ...]

    @property
    def table_sql(self) -> str:
        """The table's quoted name."""
        return qualified(self.name.schema, self.name.table)

    @property
    def column_sql(self) -> str:
        """The column's quoted name."""
        return quote_identifier(self.name.column)


def parse_column_name(text: str) -> ColumnName:
    """``schema.table.column``; a part with a dot, a space or a quote stands in double quotes, as in SQL.

    Bare parts are taken as they are, capitals too. Raises ``ConfigurationError`` for anything else.
    """
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        parts.append(match["bare"] if match["quoted"] is None else match["quoted"].replace('""', '"'))
        position = match.end()
        if position == len(text):
            break
        if text[position] != ".":
            break
        position += 1
    if position != len(text) or len(parts) != 3:
        raise ConfigurationError(
            f"{text} is not schema.table.column", hint='quote a part with a dot or a space: public."my.table".url'
        )
    try:
        for part in parts:
            quote_identifier(part)
    except BadRequest as error:
        raise ConfigurationError(f"{text}: {error.message}") from error
    return ColumnName(*parts)


async def find_column(connection: Connection, name: ColumnName) -> Column:
    """Look the column up. Raises ``ConfigurationError`` where it cannot be rewritten, with the reason."""
    row = await connection.fetchrow(_COLUMN, name.schema, name.table, name.column)
    if row is None:
        raise ConfigurationError(f"there is no column {name}")
    kind = _KINDS.get(row["type"])
    if row["relkind"] not in {"r", "p"}:
        raise ConfigurationError(f"{name} is not a column of a table")
    if row["generated"]:
        raise ConfigurationError(f"{name} is generated; rewrite the columns that it is made of")
    if kind is None:
        raise ConfigurationError(f"{name} is of type {row['type']}; text, text[], json and jsonb can be rewritten")
    rows = await connection.fetch(_PRIMARY_KEY, row["oid"])
    key = tuple(KeyColumn(quote_identifier(one["name"]), one["type"]) for one in rows)
    if not key:
        raise ConfigurationError(f"the table of {name} has no primary key", hint="add one, or update it with SQL")
    return Column(name, kind, str(row["type"]), key)

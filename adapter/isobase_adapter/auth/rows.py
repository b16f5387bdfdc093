"""Rows of auth's tables as texts: what both sides have of them, read in one round trip, and written back exactly.

A value travels as the text that its type gives and takes; each row comes with a digest that its database made of it, so
that a row is changed or removed only while it is what was read. Every name is the catalog's own (``Shape``) or one of
``tables``, and is quoted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from isobase_adapter.auth.errors import AuthTablesDiffer
from isobase_adapter.auth.merge import Row
from isobase_adapter.auth.tables import TABLES, TOKENS, USERS, AuthTable
from isobase_adapter.rows.quoting import quote_identifier

if TYPE_CHECKING:
    import asyncpg

__all__ = ["Connection", "Fetches", "Found", "Key", "Shape", "Sum", "TableShape", "common_shape", "read_shape"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Fetches(Protocol):
    """A connection, or a side's database that lends one for a statement."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run one reading statement."""
        ...


Key: TypeAlias = tuple[str, str]
"""(table, its key's values as JSON)."""

MAX_TOKENS_PER_SESSION = 20
REVOKED_TOKENS_KEPT_H = 23
"""The newest tokens of a session are carried, and those that were revoked within a day: GoTrue removes them after one."""
DIGEST_CHARS = 32

_COLUMNS = """
select c.relname as relation, a.attname as name, pg_catalog.format_type(a.atttypid, null) as type, a.attnotnull as is_needed,
       a.atthasdef as has_default
  from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
 where c.relnamespace = 'auth'::regnamespace and c.relname = any($1::text[]) and c.relkind = 'r'
   and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
"""


@dataclass(slots=True, frozen=True)
class Column:
    """A column that is written: its type as a cast names it, and whether a row must bring it."""

    name: str
    type: str
    is_needed: bool


Shape: TypeAlias = Mapping[str, Mapping[str, Column]]
"""A side's tables by name, with their columns by name."""


@dataclass(slots=True, frozen=True)
class Found:
    """A side's rows of some users. Tokens are kept apart, because they are merged in another way."""

    rows: Mapping[Key, Row]
    tokens: Mapping[str, Mapping[str, str | None]]
    token_owners: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class Sum:
    """A user on a side: how many rows there are beside tokens, and the sum of all digests."""

    rows: int
    total: str


async def read_shape(connection: Fetches, tables: Sequence[AuthTable] = (*TABLES, TOKENS)) -> Shape:
    """Which of ``tables`` a side has, and their columns."""
    names = [table.name for table in tables]
    found: dict[str, dict[str, Column]] = {}
    for row in await connection.fetch(_COLUMNS, names):
        column = Column(row["name"], row["type"], row["is_needed"] and not row["has_default"])
        found.setdefault(row["relation"], {})[column.name] = column
    return found


def common_shape(one: Shape, other: Shape, tables: Sequence[AuthTable] = (*TABLES, TOKENS)) -> dict[str, TableShape]:
    """What both sides have, so that GoTrue's releases may differ.

    Raises ``AuthTablesDiffer`` where a side has no users, or must have a column that the other lacks.
    """
    shapes: dict[str, TableShape] = {}
    for table in tables:
        ours, theirs = one.get(table.name), other.get(table.name)
        if ours is None or theirs is None:
            if table in (USERS, TOKENS):
                raise AuthTablesDiffer(f"a side has no table auth.{table.name}, or does not show it to this role")
            continue
        names = sorted((ours.keys() & theirs.keys()) - table.left_out)
        lacking = sorted(
            column.name
            for column in (*ours.values(), *theirs.values())
            if column.is_needed and column.name not in names and column.name not in table.left_out
        )
        if lacking or any(name not in names for name in table.key):
            raise AuthTablesDiffer(f"auth.{table.name} needs {', '.join(lacking or table.key)} on both sides")
        shapes[table.name] = TableShape(table, tuple(names))
    return shapes


@dataclass(slots=True, frozen=True)
class TableShape:
    """A table with the columns that both sides have, in the order of their names."""

    table: AuthTable
    columns: tuple[str, ...]

    @property
    def values(self) -> str:
        """The row as an array of texts."""
        return f"array[{', '.join(f't.{quote_identifier(name)}::text' for name in self.columns)}]"

    @property
    def digest(self) -> str:
        """What is compared in its stead."""
        return f"left(encode(sha256(convert_to({self.values}::text, 'UTF8')), 'hex'), {DIGEST_CHARS})"

    @property
    def key_texts(self) -> str:
        """The key as an array of texts."""
        return f"array[{', '.join(f't.{quote_identifier(name)}::text' for name in self.table.key)}]"

    def select(self, columns: str) -> str:
        """A query over the rows of the users in ``$1``, which gives ``columns``, an expression over ``t``."""
        if self.table is not TOKENS:
            return f"select {columns} from auth.{quote_identifier(self.table.name)} t where {self.table.condition}"  # noqa: S608
        return (
            f"select {columns} from (select t.*, row_number() over (partition by t.session_id order by t.id desc) as nth"  # noqa: S608
            f" from auth.refresh_tokens t where {self.table.condition}) t"
            f" where t.nth <= {MAX_TOKENS_PER_SESSION} and t.token is not null and (t.revoked is not true"
            f" or t.updated_at > now() - interval '{REVOKED_TOKENS_KEPT_H} hours')"
        )

    def as_mapping(self, values: Sequence[str | None]) -> dict[str, str | None]:
        """Values by the names of their columns."""
        return dict(zip(self.columns, values, strict=True))


async def read(connection: Connection, shapes: Mapping[str, TableShape], users: Sequence[str]) -> Found:
    """All rows of ``users`` (ids) on a side, in one round trip."""
    parts = []
    for shape in shapes.values():
        wanted = f"'{shape.table.name}'::text as relation, {shape.key_texts} as key, {shape.values} as values"
        parts.append(shape.select(f"{wanted}, {shape.digest} as digest, ({shape.table.owner})::text as owner"))
    rows: dict[Key, Row] = {}
    tokens: dict[str, Mapping[str, str | None]] = {}
    owners: dict[str, str] = {}
    for found in await connection.fetch(" union all ".join(parts), users) if parts else ():
        if found["relation"] == TOKENS.name:
            token = found["key"][0]
            tokens[token] = shapes[TOKENS.name].as_mapping(found["values"])
            owners[token] = found["owner"]
        else:
            key = (found["relation"], json.dumps(found["key"], separators=(",", ":"), ensure_ascii=False))
            rows[key] = Row(tuple(found["values"]), found["digest"], found["owner"])
    return Found(rows, tokens, owners)


async def insert(connection: Connection, shape: TableShape, types: Mapping[str, Column], rows: Sequence[Row]) -> int:
    """Add rows. Raises asyncpg's ``UniqueViolationError`` where one stands in the way."""
    names = ", ".join(quote_identifier(name) for name in shape.columns)
    casts = ", ".join(f"n.{quote_identifier(name)}::{types[name].type}" for name in shape.columns)
    statement = (
        f"insert into auth.{quote_identifier(shape.table.name)} ({names})"  # noqa: S608
        f" select {casts} from unnest({_arrays(len(shape.columns))}) as n({names})"
    )
    return _count(await connection.execute(statement, *_columns([row.values for row in rows])))


async def update(
    connection: Connection, shape: TableShape, types: Mapping[str, Column], changes: Sequence[tuple[Row, Row]]
) -> int:
    """Make rows from what they are to what they shall be; returns how many still were what they were read as."""
    names = ", ".join(quote_identifier(name) for name in shape.columns)
    sets = ", ".join(
        f"{quote_identifier(name)} = n.{quote_identifier(name)}::{types[name].type}" for name in shape.columns
    )
    statement = (
        f"update auth.{quote_identifier(shape.table.name)} t set {sets}"  # noqa: S608
        f" from unnest({_arrays(len(shape.columns) + 1)}) as n({names}, seen_digest)"
        f" where {_same_key(shape, types)} and {shape.digest} = n.seen_digest"
    )
    rows = [(*new.values, old.digest) for old, new in changes]
    return _count(await connection.execute(statement, *_columns(rows)))


async def remove(connection: Connection, shape: TableShape, types: Mapping[str, Column], rows: Sequence[Row]) -> int:
    """Remove rows that still are what they were read as; returns how many."""
    names = ", ".join(quote_identifier(name) for name in shape.table.key)
    statement = (
        f"delete from auth.{quote_identifier(shape.table.name)} t"  # noqa: S608
        f" using unnest({_arrays(len(shape.table.key) + 1)}) as n({names}, seen_digest)"
        f" where {_same_key(shape, types)} and {shape.digest} = n.seen_digest"
    )
    places = [shape.columns.index(name) for name in shape.table.key]
    keys = [(*(row.values[place] for place in places), row.digest) for row in rows]
    return _count(await connection.execute(statement, *_columns(keys)))


async def put_tokens(
    connection: Connection, shape: TableShape, types: Mapping[str, Column], tokens: Sequence[Mapping[str, str | None]]
) -> int:
    """Add tokens, and revoke those that are there; where both are revoked the row stays. Returns how many changed."""
    names = ", ".join(quote_identifier(name) for name in shape.columns)
    casts = ", ".join(f"n.{quote_identifier(name)}::{types[name].type}" for name in shape.columns)
    # A session may have ended between reading and writing, and its tokens with it.
    statement = (
        f"insert into auth.refresh_tokens as t ({names}) select {casts}"  # noqa: S608
        f" from unnest({_arrays(len(shape.columns))}) with ordinality as n({names}, nth)"
        " where exists (select from auth.sessions s where s.id = n.session_id::uuid) order by n.nth"
        " on conflict (token) do update set revoked = excluded.revoked, updated_at = excluded.updated_at"
        " where excluded.revoked and (t.revoked is not true or t.updated_at > excluded.updated_at)"
    )
    return _count(
        await connection.execute(
            statement, *_columns([tuple(token[name] for name in shape.columns) for token in tokens])
        )
    )


async def digests(connection: Connection, shapes: Mapping[str, TableShape], users: Sequence[str]) -> Mapping[str, Sum]:
    """What each user comes to: what two sides are compared by without their rows travelling."""
    parts = []
    for shape in shapes.values():
        owner = f"({shape.table.owner})::text as owner"
        if shape.table is TOKENS:
            # What is cleaned up at different times does not count.
            token = f"left(encode(sha256(convert_to(t.token, 'UTF8')), 'hex'), {DIGEST_CHARS})"
            parts.append(f"{shape.select(f'{owner}, {token} as digest, 0 as counts')} and t.revoked is not true")
        else:
            parts.append(shape.select(f"{owner}, {shape.digest} as digest, 1 as counts"))
    statement = (
        "select d.owner, sum(d.counts)::bigint as rows,"  # noqa: S608
        " sum(('x' || left(d.digest, 14))::bit(56)::bigint)::text as total"
        f" from ({' union all '.join(parts)}) d group by d.owner"
    )
    found = await connection.fetch(statement, users)
    return {row["owner"]: Sum(row["rows"], row["total"]) for row in found}


def _same_key(shape: TableShape, types: Mapping[str, Column]) -> str:
    return " and ".join(
        f"t.{quote_identifier(name)} = n.{quote_identifier(name)}::{types[name].type}" for name in shape.table.key
    )


def _arrays(count: int) -> str:
    return ", ".join(f"${number}::text[]" for number in range(1, count + 1))


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _count(status: str) -> int:
    return int(status.rsplit(" ", 1)[-1])

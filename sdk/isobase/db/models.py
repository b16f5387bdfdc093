"""What is said of databases, their members, tables and columns. Source: docs/databases.md, whose words these are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

__all__ = [
    "Access",
    "Column",
    "ColumnChange",
    "Database",
    "DatabaseRole",
    "Index",
    "Member",
    "Page",
    "Policy",
    "Reference",
    "Table",
]

Row = TypeVar("Row")

Access: TypeAlias = Literal["private", "members", "public-read", "public", "custom"]
"""Who may do what with a table's rows: each member their own; members all; everybody reads; everybody adds; its
policies."""
DatabaseRole: TypeAlias = Literal["owner", "editor", "reader"]


@dataclass(slots=True, frozen=True)
class Database:
    """A database. ``schema`` is what ``client.schema(...)`` takes; ``role`` is the caller's (None for the service)."""

    database_id: str
    name: str
    schema: str
    created_at: datetime
    role: DatabaseRole | None = None


@dataclass(slots=True, frozen=True)
class Member:
    """A user's part in a database."""

    user_id: str
    role: DatabaseRole
    created_at: datetime


@dataclass(slots=True, frozen=True)
class Reference:
    """What a column refers to: a table of the same database, by its primary key or a unique column."""

    table: str
    column: str | None = None
    on_delete: Literal["no action", "restrict", "cascade", "set null"] = "no action"


@dataclass(slots=True, frozen=True)
class Column:
    """A column, as it is wanted or as it is.

    type: PostgreSQL's, as ``text``, ``numeric(10, 2)``, ``text[]``. default: a JSON value when it is wanted; of a table
    that is, the SQL expression. identity: PostgreSQL numbers the rows. check: an SQL condition over this column.
    """

    name: str
    type: str
    nullable: bool = True
    default: Any = None
    unique: bool = False
    primary_key: bool = False
    identity: bool = False
    references: Reference | None = None
    check: str | None = None


class _Named(TypedDict):
    """What a change always says: which column it is about."""

    name: str


class ColumnChange(_Named, total=False):
    """What shall be different of the column ``name``; None takes a default, reference or check away."""

    type: str
    nullable: bool
    default: Any
    unique: bool
    references: Reference | None
    check: str | None


@dataclass(slots=True, frozen=True)
class Index:
    """An index. ``name`` None: PostgreSQL gives one."""

    columns: tuple[str, ...] | list[str]
    unique: bool = False
    method: str = "btree"
    name: str | None = None


@dataclass(slots=True, frozen=True)
class Policy:
    """A policy of a ``custom`` table: which rows (``using``), and what they may become (``check``), as SQL
    conditions."""

    command: Literal["select", "insert", "update", "delete", "all"]
    using: str | None = None
    check: str | None = None
    to: tuple[Literal["anon", "authenticated"], ...] | list[Literal["anon", "authenticated"]] = ("authenticated",)


@dataclass(slots=True, frozen=True)
class Table:
    """A table. ``realtime``: whether its changes are sent to who subscribes."""

    table_id: str
    database_id: str
    name: str
    access: Access
    created_at: datetime
    columns: list[Column]
    indexes: list[Index] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    comment: str | None = None
    realtime: bool = False


@dataclass(slots=True, frozen=True)
class Page(Generic[Row]):
    """One answer of rows. ``count``: of all that match, where it was asked for. ``next_cursor``: gives the next page;
    None: there is none."""

    rows: list[Row]
    count: int | None = None
    next_cursor: str | None = None

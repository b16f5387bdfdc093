"""The plain values of the simple data face: databases, tables, columns, members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import JsonValue

from isobase_services.database.dynamic.column_types import ColumnType

__all__ = [
    "Access",
    "ColumnSpec",
    "Database",
    "DatabaseRole",
    "Member",
    "OnDelete",
    "ReferenceSpec",
    "RowsTable",
    "ShownColumn",
    "Table",
    "TableSpec",
]


class Access(StrEnum):
    """Who may read and write a table's rows; see ``policies`` for the exact rules."""

    PRIVATE = "private"
    """Each member of the database has rows of their own and sees no others'."""
    MEMBERS = "members"
    """Members of the database read all rows; owners and editors change them."""
    PUBLIC_READ = "public-read"
    """Everybody reads all rows, anon too; owners and editors change them."""
    PUBLIC = "public"
    """Everybody reads all rows and adds some, anon too; who is signed in changes their own, owners and editors all."""
    CUSTOM = "custom"
    """What the table's own policies say."""


class DatabaseRole(StrEnum):
    """What a member is in a database."""

    READER = "reader"
    """Reads."""
    EDITOR = "editor"
    """Writes rows and makes, changes and drops tables as well."""
    OWNER = "owner"
    """Names members, changes who may access tables and drops the database as well. There is always one."""


class OnDelete(StrEnum):
    """What happens to a row when the row it refers to is deleted."""

    NO_ACTION = "no action"
    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set null"


@dataclass(slots=True, frozen=True)
class ReferenceSpec:
    """A foreign key to the ``id`` of a table of the same database."""

    table: str
    on_delete: OnDelete


@dataclass(slots=True, frozen=True)
class ColumnSpec:
    """One column that is wanted. ``default`` is a JSON value; None is no default."""

    name: str
    type: ColumnType
    is_nullable: bool
    default: JsonValue
    is_unique: bool
    references: ReferenceSpec | None


@dataclass(slots=True, frozen=True)
class TableSpec:
    """A table that is wanted."""

    name: str
    columns: tuple[ColumnSpec, ...]
    access: Access


@dataclass(slots=True, frozen=True)
class Database:
    """A database as it is: ``schema`` is what official clients give to ``schema()``; ``role`` is the asking member's."""

    id: UUID
    name: str
    schema: str
    created_at: datetime
    role: DatabaseRole | None = None


@dataclass(slots=True, frozen=True)
class ShownColumn:
    """A column as PostgreSQL has it. ``default`` is an SQL expression."""

    name: str
    type: str
    is_nullable: bool
    default: str | None
    is_unique: bool
    references: ReferenceSpec | None


@dataclass(slots=True, frozen=True)
class Table:
    """A table as it is."""

    id: UUID
    database_id: UUID
    name: str
    access: Access
    created_at: datetime
    columns: tuple[ShownColumn, ...]


@dataclass(slots=True, frozen=True)
class RowsTable:
    """What a request about rows needs of a table.

    ``oid`` and ``columns`` tell it from a table of the same name that was there before or that a migration changed since.
    """

    schema: str
    name: str
    oid: int
    columns: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Member:
    """A user's part in a database."""

    user_id: UUID
    role: DatabaseRole
    created_at: datetime

"""The plain values of the simple data face: databases, tables, columns, members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from uuid import UUID

from pydantic import JsonValue

from isobase_services.database.dynamic.column_types import ColumnType

__all__ = [
    "Access",
    "ColumnChange",
    "ColumnSpec",
    "Database",
    "DatabaseRole",
    "IndexMethod",
    "IndexSpec",
    "Member",
    "Missing",
    "OnDelete",
    "PolicyCommand",
    "PolicyRole",
    "PolicySpec",
    "ReferenceSpec",
    "RowsTable",
    "ShownColumn",
    "ShownIndex",
    "Table",
    "TableChange",
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
    """A foreign key to a table of the same database: to its primary key, or to ``column``."""

    table: str
    on_delete: OnDelete
    column: str | None = None


@dataclass(slots=True, frozen=True)
class ColumnSpec:
    """One column that is wanted. ``default`` is a JSON value; None is no default."""

    name: str
    type: ColumnType
    is_nullable: bool = True
    default: JsonValue = None
    is_unique: bool = False
    is_primary_key: bool = False
    is_identity: bool = False
    """Whether PostgreSQL numbers the rows where no value is given."""
    references: ReferenceSpec | None = None
    check: str | None = None
    """A condition, an expression that ``expressions`` let in."""


class PolicyCommand(StrEnum):
    """What a policy is for."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    ALL = "all"


class PolicyRole(StrEnum):
    """Whom a policy is for."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"


@dataclass(slots=True, frozen=True)
class PolicySpec:
    """A policy that is wanted: which rows may be seen or changed (``using``), and what they may become (``check``)."""

    command: PolicyCommand
    roles: tuple[PolicyRole, ...]
    using: str | None
    check: str | None


class IndexMethod(StrEnum):
    """PostgreSQL's access methods that a table may use."""

    BTREE = "btree"
    HASH = "hash"
    GIN = "gin"
    GIST = "gist"


@dataclass(slots=True, frozen=True)
class IndexSpec:
    """An index that is wanted; PostgreSQL names it where ``name`` is None."""

    columns: tuple[str, ...]
    is_unique: bool = False
    method: IndexMethod = IndexMethod.BTREE
    name: str | None = None


@dataclass(slots=True, frozen=True)
class TableSpec:
    """A table that is wanted."""

    name: str
    columns: tuple[ColumnSpec, ...]
    access: Access
    policies: tuple[PolicySpec, ...] = ()
    indexes: tuple[IndexSpec, ...] = ()
    comment: str | None = None
    is_live: bool = False
    """Whether realtime sends its changes."""


class Missing(Enum):
    """Where None is a value: not given at all."""

    MISSING = auto()


@dataclass(slots=True, frozen=True)
class ColumnChange:
    """What is to become of a column; what is MISSING stays."""

    name: str
    type: ColumnType | Missing = Missing.MISSING
    is_nullable: bool | Missing = Missing.MISSING
    default: JsonValue | Missing = Missing.MISSING
    is_unique: bool | Missing = Missing.MISSING
    references: ReferenceSpec | Missing | None = Missing.MISSING
    check: str | Missing | None = Missing.MISSING


@dataclass(slots=True, frozen=True)
class TableChange:
    """What is to become of a table, in the order in which it is done; a renamed column goes by its new name below."""

    drop_indexes: tuple[str, ...] = ()
    drop_columns: tuple[str, ...] = ()
    rename_columns: tuple[tuple[str, str], ...] = ()
    change_columns: tuple[ColumnChange, ...] = ()
    add_columns: tuple[ColumnSpec, ...] = ()
    add_indexes: tuple[IndexSpec, ...] = ()
    access: Access | None = None
    policies: tuple[PolicySpec, ...] = ()
    is_live: bool | None = None
    comment: str | Missing | None = Missing.MISSING
    name: str | None = None


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
    """A column as PostgreSQL has it. ``default`` and ``check`` are SQL expressions."""

    name: str
    type: str
    is_nullable: bool
    default: str | None
    is_unique: bool
    is_primary_key: bool
    is_identity: bool
    references: ReferenceSpec | None
    check: str | None


@dataclass(slots=True, frozen=True)
class ShownIndex:
    """An index as PostgreSQL has it, of those that are no constraint's; a part that is no column is an SQL expression."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool
    method: str


@dataclass(slots=True, frozen=True)
class Table:
    """A table as it is."""

    id: UUID
    database_id: UUID
    name: str
    access: Access
    created_at: datetime
    columns: tuple[ShownColumn, ...]
    indexes: tuple[ShownIndex, ...]
    policies: tuple[PolicySpec, ...]
    """Of a ``custom`` table; a preset's are not shown."""
    comment: str | None
    is_live: bool


@dataclass(slots=True, frozen=True)
class RowsTable:
    """What a request about rows needs of a table.

    ``oid`` and ``columns`` tell it from a table of the same name that was there before or that a migration changed since.
    """

    schema: str
    name: str
    oid: int
    columns: tuple[tuple[str, str], ...]
    """Names and types as PostgreSQL writes them."""


@dataclass(slots=True, frozen=True)
class Member:
    """A user's part in a database."""

    user_id: UUID
    role: DatabaseRole
    created_at: datetime

"""Plan: a wanted table as checked values, then as the SQL statements that make it.

Pure. Names are checked here and quoted by the one helper; the only other texts that enter SQL are members of closed enums and
defaults that ``column_types`` wrote. Neighbour: ``policies``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

from isobase_platform.errors import BadRequest
from isobase_platform.sql import MAX_IDENTIFIER_BYTES, qualified, quote_identifier
from isobase_services.database.dynamic.column_types import ColumnType, default_sql
from isobase_services.database.dynamic.models import Access, ColumnSpec, OnDelete, TableSpec
from isobase_services.database.dynamic.policies import access_sql

__all__ = [
    "OWNER_CONSTRAINT",
    "SERVER_COLUMNS",
    "check_name",
    "check_table",
    "create_schema_sql",
    "create_table_sql",
    "drop_schema_sql",
    "schema_name_of",
]

SERVER_COLUMNS = ("id", "created_at", "owner")
"""Columns that every table has."""

OWNER_CONSTRAINT = "owner_is_user"
"""The foreign key of every table that a user who is gone runs into."""

_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_UNINDEXABLE = frozenset({ColumnType.JSONB, ColumnType.TEXT_ARRAY, ColumnType.INTEGER_ARRAY, ColumnType.UUID_ARRAY})


def schema_name_of(database_id: UUID) -> str:
    """The PostgreSQL schema of a database: not to be guessed, and free of what the user called it."""
    return f"db_{database_id.hex}"


def check_name(name: str, what: str) -> None:
    """Raise ``BadRequest`` for a name of a table or column that is not ``^[a-z_][a-z0-9_]*$`` within 63 bytes."""
    if not _NAME.fullmatch(name) or len(name) > MAX_IDENTIFIER_BYTES:
        raise BadRequest(
            f"A {what} name is 1 to {MAX_IDENTIFIER_BYTES} lower-case letters, digits and _, and begins with no digit",
            code="invalid_name",
            details=f"got {name[:80]!r}",
        )


def check_table(spec: TableSpec, known_tables: Collection[str], max_columns: int) -> None:
    """Can the table be made beside ``known_tables`` of its database? Raises ``BadRequest`` with the column at fault."""
    check_name(spec.name, "table")
    if len(spec.columns) > max_columns:
        raise BadRequest(f"A table has at most {max_columns} columns", code="too_many_columns")
    seen: set[str] = set()
    for column in spec.columns:
        check_name(column.name, "column")
        if column.name in SERVER_COLUMNS or column.name in _SYSTEM_COLUMNS:
            raise BadRequest(
                f"The column name {column.name} is reserved",
                code="reserved_name",
                hint="Every table has id, created_at and owner without being asked",
            )
        if column.name in seen:
            raise BadRequest(f"The column {column.name} is given twice", code="duplicate_column")
        seen.add(column.name)
        if column.is_unique and column.type in _UNINDEXABLE:
            raise BadRequest(f"The column {column.name} of type {column.type} cannot be unique", code="invalid_column")
        if column.default is not None:
            default_sql(column.name, column.type, column.default)
        _check_reference(spec, column, known_tables)


def _check_reference(spec: TableSpec, column: ColumnSpec, known_tables: Collection[str]) -> None:
    reference = column.references
    if reference is None:
        return
    if column.type is not ColumnType.UUID:
        raise BadRequest(
            f"The column {column.name} must be of type uuid to refer to a table",
            code="invalid_reference",
            details=f"expected uuid, got {column.type}",
        )
    check_name(reference.table, "table")
    if reference.table != spec.name and reference.table not in known_tables:
        raise BadRequest(
            f"The column {column.name} refers to the table {reference.table}, which this database does not have",
            code="invalid_reference",
        )
    if reference.on_delete is OnDelete.SET_NULL and not column.is_nullable:
        raise BadRequest(
            f"The column {column.name} is set to null on delete and so must be nullable", code="invalid_reference"
        )


def create_schema_sql(schema: str) -> tuple[str, ...]:
    """A database's schema. ``postgres`` gets all of it, so that dumps and migrations of the project reach it."""
    name = quote_identifier(schema)
    return (
        f"create schema {name}",
        f"grant usage on schema {name} to anon, authenticated, service_role",
        f"grant all on schema {name} to postgres",
    )


def drop_schema_sql(schema: str) -> str:
    """A database's end, with everything in it; no error where somebody dropped it by SQL before."""
    return f"drop schema if exists {quote_identifier(schema)} cascade"


def create_table_sql(database_id: UUID, schema: str, spec: TableSpec) -> tuple[str, ...]:
    """The statements, in order, that make a table which ``check_table`` let through."""
    target = qualified(schema, spec.name)
    must_own = "" if spec.access is Access.PUBLIC else " not null"  # anon adds rows of nobody's there
    columns = ",\n  ".join(
        (
            "id uuid primary key default gen_random_uuid()",
            "created_at timestamptz not null default now()",
            f"owner uuid{must_own} default auth.uid() constraint {OWNER_CONSTRAINT} references auth.users (id)"
            " on delete cascade",
            *(_column_sql(schema, column) for column in spec.columns),
        )
    )
    # The policies filter by owner, and a deleted user's or parent's rows are found by these.
    indexed = ["owner", *(column.name for column in spec.columns if column.references and not column.is_unique)]
    return (
        f"create table {target} (\n  {columns}\n)",
        f"alter table {target} enable row level security",
        *(f"create index on {target} ({quote_identifier(name)})" for name in indexed),
        f"grant all on {target} to postgres",
        *access_sql(target, database_id, spec.access),
    )


def _column_sql(schema: str, column: ColumnSpec) -> str:
    parts = [quote_identifier(column.name), column.type.value]
    if not column.is_nullable:
        parts.append("not null")
    if column.default is not None:
        parts.append(f"default {default_sql(column.name, column.type, column.default)}")
    if column.is_unique:
        parts.append("unique")
    if column.references is not None:
        on_delete = column.references.on_delete.value
        parts.append(f"references {qualified(schema, column.references.table)} (id) on delete {on_delete}")
    return " ".join(parts)

"""Plan: a wanted table as checked values, then as the SQL statements that make it; a database's schema. Pure.

Neighbours: ``columns`` (one column), ``policies`` (who may), ``table_steps`` (what needs PostgreSQL's eye).
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from isobase_platform.errors import BadRequest
from isobase_platform.sql import qualified, quote_identifier
from isobase_services.database.dynamic.columns import OWN_KEY, check_column, check_index, check_name, column_sql
from isobase_services.database.dynamic.models import Access, TableSpec
from isobase_services.database.dynamic.policies import check_policies

__all__ = [
    "OWNER_CONSTRAINT",
    "check_table",
    "create_schema_sql",
    "create_table_sql",
    "drop_schema_sql",
    "schema_name_of",
]

OWNER_CONSTRAINT = "owner_is_user"
"""The foreign key of every table that a user who is gone runs into."""


def schema_name_of(database_id: UUID) -> str:
    """The PostgreSQL schema of a database: not to be guessed, and free of what the user called it."""
    return f"db_{database_id.hex}"


def check_table(spec: TableSpec, known_tables: Collection[str], max_columns: int, max_indexes: int) -> None:
    """Can the table be made beside ``known_tables`` of its database? Raises ``BadRequest`` with the column at fault."""
    check_name(spec.name, "table")
    if len(spec.columns) > max_columns:
        raise BadRequest(f"A table has at most {max_columns} columns", code="too_many_columns")
    if len(spec.indexes) > max_indexes:
        raise BadRequest(f"A table has at most {max_indexes} indexes", code="too_many_indexes")
    seen: set[str] = set()
    for column in spec.columns:
        check_column(column, spec.name, known_tables)
        if column.name in seen:
            raise BadRequest(f"The column {column.name} is given twice", code="duplicate_column")
        seen.add(column.name)
    for index in spec.indexes:
        check_index(index)
    check_policies(spec.access, spec.policies)


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


def create_table_sql(schema: str, spec: TableSpec) -> tuple[str, ...]:
    """The statements, in order, that make a table which ``check_table`` let through, closed to all API roles.

    Its access, checks and indexes are the steps after these.
    """
    target = qualified(schema, spec.name)
    keys = [quote_identifier(column.name) for column in spec.columns if column.is_primary_key]
    # Anon adds rows of nobody's there.
    must_own = "" if spec.access in {Access.PUBLIC, Access.CUSTOM} else " not null"
    parts = (
        *((f"{OWN_KEY} uuid primary key default gen_random_uuid()",) if not keys else ()),
        "created_at timestamptz not null default now()",
        f"owner uuid{must_own} default auth.uid() constraint {OWNER_CONSTRAINT} references auth.users (id)"
        " on delete cascade",
        *(column_sql(schema, column) for column in spec.columns),
        *((f"primary key ({', '.join(keys)})",) if keys else ()),
    )
    # The policies filter by owner, and a deleted user's or parent's rows are found by these.
    indexed = ["owner", *(column.name for column in spec.columns if column.references and not column.is_unique)]
    columns = ",\n  ".join(parts)
    return (
        f"create table {target} (\n  {columns}\n)",
        f"alter table {target} enable row level security",
        f"revoke all on {target} from public, anon, authenticated, service_role",
        f"grant all on {target} to postgres",
        *(f"create index on {target} ({quote_identifier(name)})" for name in indexed),
    )

"""The rows that say what was applied: ``supabase_migrations.schema_migrations`` and ``.seed_files``.

The same tables, columns and statements list as the Supabase command line's, so that both may look after one database.
Source: supabase/cli ``pkg/migration/history.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from isobase_deploy.migrations.files import MigrationFile
from isobase_deploy.migrations.split import Statement
from isobase_platform.pool import Connection
from isobase_platform.sql import quote_literal

__all__ = [
    "applied_versions",
    "has_been_seeded",
    "make_tables",
    "mark_seeded",
    "record_migration",
    "record_seed",
    "seeded_files",
]

_MAKE_TABLES = """
set lock_timeout = '4s';
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
reset lock_timeout;
"""
_SEEDED = "isobase: seeded"
_MAKE_SEED_TABLE = (
    "create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null)"
)


async def make_tables(connection: Connection) -> None:
    """Make the schema and the migrations table where they are missing; one look when they are there."""
    columns = await connection.fetchval(
        "select count(*) from pg_attribute where attrelid = to_regclass('supabase_migrations.schema_migrations')"
        " and attname in ('version', 'statements', 'name') and not attisdropped"
    )
    if columns != 3:
        await connection.execute(_MAKE_TABLES)


async def applied_versions(connection: Connection) -> list[str]:
    """The versions applied, in order; empty where the table is not there yet."""
    if await connection.fetchval("select to_regclass('supabase_migrations.schema_migrations') is null"):
        return []
    rows = await connection.fetch("select version from supabase_migrations.schema_migrations order by version")
    return [row["version"] for row in rows]


async def record_migration(connection: Connection, file: MigrationFile, statements: Sequence[Statement]) -> None:
    """Write the row of an applied migration."""
    await connection.execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)",
        file.version,
        file.name,
        [statement.text for statement in statements],
    )


async def has_been_seeded(connection: Connection) -> bool:
    """Whether all seed files of the first start ran: a comment on their table says so, and no row of upstream's."""
    return bool(
        await connection.fetchval(
            "select obj_description(to_regclass('supabase_migrations.seed_files'), 'pg_class') is not distinct from $1",
            _SEEDED,
        )
    )


async def seeded_files(connection: Connection) -> dict[str, str]:
    """SHA-256 by path of the seed files that ran."""
    if await connection.fetchval("select to_regclass('supabase_migrations.seed_files') is null"):
        return {}
    rows = await connection.fetch("select path, hash from supabase_migrations.seed_files")
    return {row["path"]: row["hash"] for row in rows}


async def record_seed(connection: Connection, path: str, digest: str) -> None:
    """Write the row of a seed file that ran; ``digest`` is its SHA-256 in hex."""
    await connection.execute(_MAKE_SEED_TABLE)
    await connection.execute(
        "insert into supabase_migrations.seed_files (path, hash) values ($1, $2)"
        " on conflict (path) do update set hash = excluded.hash",
        path,
        digest,
    )


async def mark_seeded(connection: Connection) -> None:
    """Say that no seed file is left to run."""
    await connection.execute(_MAKE_SEED_TABLE)
    await connection.execute(f"comment on table supabase_migrations.seed_files is {quote_literal(_SEEDED)}")

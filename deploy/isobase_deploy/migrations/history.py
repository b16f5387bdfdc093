"""The rows that say what was applied: ``supabase_migrations.schema_migrations`` and ``.seed_files``.

The same tables, columns and statements list as the Supabase command line's, so that both may look after one database.
Source: supabase/cli ``pkg/migration/history.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from isobase_deploy.migrations.files import MigrationFile
from isobase_deploy.migrations.split import Statement
from isobase_platform.pool import Connection

__all__ = ["applied_versions", "has_been_seeded", "make_tables", "record_migration", "record_seed"]

_MAKE_TABLES = """
set lock_timeout = '4s';
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
reset lock_timeout;
"""
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
    """Whether the first start's seeding ended: its table is made in the seed's own transaction."""
    return bool(await connection.fetchval("select to_regclass('supabase_migrations.seed_files') is not null"))


async def record_seed(connection: Connection, hashes: Sequence[tuple[str, str]]) -> None:
    """Make the seed table and write (path, SHA-256 in hex) of each file; an empty list says that there was nothing."""
    await connection.execute(_MAKE_SEED_TABLE)
    await connection.executemany(
        "insert into supabase_migrations.seed_files (path, hash) values ($1, $2)"
        " on conflict (path) do update set hash = excluded.hash",
        hashes,
    )

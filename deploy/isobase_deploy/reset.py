"""Empties a project's database and makes it anew, while a server runs on it or not.

A new database is made with Isobase's schema, takes the old one's name in a moment, and then gets migrations and seed; only at
the end is the old one dropped. When a migration fails the old one comes back: a reset either happens or does not. Connections
of a running server are ended; its pools and its stream of row changes connect again by themselves, and find a schema.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from isobase_deploy.database import hide_new_stand_ins, prepare
from isobase_deploy.migrations import Outcome, Report
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, database_error
from isobase_platform.pool import DATABASE_FAILURES, Pools
from isobase_platform.schema import apply_schema
from isobase_platform.sql import quote_identifier

__all__ = ["recover_reset", "reset_database"]

DATABASE = "postgres"
ASIDE = "isobase_before_reset"
GROWING = "isobase_growing"
MAINTENANCE_DATABASE = "template1"
LOCK_KEY = 0x15_0B_A5_E2
MAX_SLOT_ATTEMPTS = 20
SLOT_WAIT_S = 0.1


async def reset_database(project: Project, settings: Settings, report: Report) -> Outcome:
    """Make the embedded server's database anew; ``settings`` reach the running server.

    Raises ``ConfigurationError`` for a database by URL, and what ``prepare`` raises; the database is then as it was.
    """
    if not settings.is_embedded:
        raise ConfigurationError(
            "db reset works on the embedded PostgreSQL; a database by URL is somebody's own and is not emptied",
            hint="leave out --database-url and DATABASE_URL, or drop and create that database yourself",
        )
    async with _maintenance(settings) as connection:
        report.step("Making a new database")
        await _drop(connection, GROWING)
        await connection.execute(f"create database {quote_identifier(GROWING)} template template0")
        await apply_schema(settings, _dsn_of(settings, GROWING))
        # What a killed reset put aside may be the only one there is.
        await _bring_back(connection)
        await _drop(connection, ASIDE)
        try:
            await _disconnect(connection, DATABASE)
            await _rename(connection, DATABASE, ASIDE)
            await _rename(connection, GROWING, DATABASE)
            outcome = await prepare(project, settings, report)
            if settings.storage.enabled:
                await _make_buckets(settings)
            await hide_new_stand_ins(settings)
        except BaseException:
            report.step("Bringing the old database back")
            if await _exists(connection, ASIDE):
                await _drop(connection, DATABASE)
            await _bring_back(connection)
            raise
        await _drop(connection, ASIDE)
    return outcome


async def recover_reset(settings: Settings) -> None:
    """Let the project's database be reached again after a reset that was killed between two of its steps.

    Without effect on a database that can be reached. Errors as ``reset_database``.
    """
    async with _maintenance(settings) as connection:
        await _bring_back(connection)


async def _bring_back(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Give the old database its name back where no other has it, and let connections in."""
    if not await _exists(connection, DATABASE) and await _exists(connection, ASIDE):
        await _rename(connection, ASIDE, DATABASE)
    await connection.execute(f"alter database {quote_identifier(DATABASE)} allow_connections true")


async def _exists(connection: asyncpg.Connection[asyncpg.Record], database: str) -> bool:
    return bool(await connection.fetchval("select exists (select from pg_database where datname = $1)", database))


def _dsn_of(settings: Settings, database: str) -> str:
    """The owner's URL on another database of the server."""
    return urlunsplit(urlsplit(settings.dsn())._replace(path=f"/{database}"))


async def _rename(connection: asyncpg.Connection[asyncpg.Record], name: str, new_name: str) -> None:
    await connection.execute(f"alter database {quote_identifier(name)} rename to {quote_identifier(new_name)}")


@asynccontextmanager
async def _maintenance(settings: Settings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The owner's connection to another database, with a lock that keeps a second reset waiting."""
    try:
        connection = await asyncpg.connect(settings.dsn(), database=MAINTENANCE_DATABASE, statement_cache_size=0)
        try:
            await connection.execute(f"select pg_advisory_lock({LOCK_KEY})")
            yield connection
        finally:
            await connection.close(timeout=5.0)
    except DATABASE_FAILURES as error:
        raise database_error(error) from error


async def _disconnect(connection: asyncpg.Connection[asyncpg.Record], database: str) -> None:
    """Keep everybody out, end who is in, and drop the replication slots, which bind a database to its name's owner."""
    await connection.execute(f"alter database {quote_identifier(database)} allow_connections false")
    for _ in range(MAX_SLOT_ATTEMPTS):
        await connection.execute(
            "select pg_terminate_backend(pid, 1000) from pg_stat_activity where datname = $1", database
        )
        await connection.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active",
            database,
        )
        left = await connection.fetchval(
            "select (select count(*) from pg_replication_slots where database = $1)"
            " + (select count(*) from pg_stat_activity where datname = $1)",
            database,
        )
        if left == 0:
            return
        await connection.execute("select pg_sleep($1)", SLOT_WAIT_S)


async def _drop(connection: asyncpg.Connection[asyncpg.Record], database: str) -> None:
    if await _exists(connection, database):
        await _disconnect(connection, database)
        await connection.execute(f"drop database {quote_identifier(database)} with (force)")


async def _make_buckets(settings: Settings) -> None:
    """The buckets of the settings, which the storage service makes at its start only."""
    from isobase_services.storage.provision import provision

    pools = Pools(settings)
    try:
        await provision(pools, settings.storage)
    finally:
        await pools.close()

"""Applies schema.sql and the numbered files beside it, once each, under an advisory lock.

``schema.sql`` makes roles, schemas, tables and functions; ``schema/NNNN_name.sql`` are later changes. Each file runs in one
transaction with its row in ``isobase.migrations``; a file that is recorded with the same checksum is left alone, so a start
with nothing to do costs one query. ``schema.sql`` is idempotent and is applied again when it changed.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from isobase_platform.config import LOGIN_ROLES, Settings
from isobase_platform.errors import ConfigurationError, DatabaseError, database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.sql import quote_identifier, quote_literal

__all__ = ["MIN_SERVER_VERSION", "SchemaFile", "apply_schema", "schema_files"]

MIN_SERVER_VERSION = 15
LOCK_KEY = 0x15_0B_A5_E0
"""pg_advisory_xact_lock's key: two processes that start at once apply one after the other."""

_log = logging.getLogger("isobase.schema")


@dataclass(slots=True, frozen=True)
class SchemaFile:
    """One file: its version (``schema`` or the file's stem), its text and the SHA-256 of it in hex."""

    version: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def schema_files() -> list[SchemaFile]:
    """schema.sql first, then the numbered files in order; from the installed package, or from the source tree."""
    package = Path(__file__).parent
    root = package / "_sql"
    if not (root / "schema.sql").exists():
        root = package.parents[1]
    files = [SchemaFile("schema", (root / "schema.sql").read_text())]
    files.extend(SchemaFile(path.stem, path.read_text()) for path in sorted((root / "schema").glob("[0-9]*.sql")))
    return files


async def apply_schema(settings: Settings, dsn: str | None = None) -> list[str]:
    """Bring the database up to this version and set the login roles' passwords; returns the versions applied.

    ``dsn`` is the owner's, default ``settings.dsn()``. Raises ``ConfigurationError`` for a PostgreSQL older than
    ``MIN_SERVER_VERSION``, ``Unavailable`` when it is out of reach, ``DatabaseError`` when a file fails (nothing of that
    file stays) and ``ConfigurationError`` when a numbered file was changed after it had been applied.
    """
    try:
        connection = await asyncpg.connect(dsn or settings.dsn(), statement_cache_size=0)
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
    try:
        server = connection.get_server_version()
        if server.major < MIN_SERVER_VERSION:
            raise ConfigurationError(
                f"PostgreSQL {server.major} is too old: Isobase needs {MIN_SERVER_VERSION} or newer"
            )
        async with connection.transaction():
            await connection.execute(f"select pg_advisory_xact_lock({LOCK_KEY})")
            applied = await _apply_missing(connection)
            # Where services log in as the URL's user the other roles are somebody else's, passwords and all.
            if applied and not settings.database.logs_in_as_url_user:
                await _set_role_passwords(connection, settings)
        return applied
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
    finally:
        await connection.close()


async def _apply_missing(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    recorded: dict[str, str] = {}
    if await connection.fetchval("select to_regclass('isobase.migrations') is not null"):
        rows = await connection.fetch("select version, checksum from isobase.migrations")
        recorded = {row["version"]: row["checksum"] for row in rows}
    applied: list[str] = []
    for file in schema_files():
        known = recorded.get(file.version)
        if known == file.checksum:
            continue
        if known is not None and file.version != "schema":
            raise ConfigurationError(f"schema file {file.version} was changed after it had been applied")
        try:
            await connection.execute(file.sql)
        except asyncpg.PostgresError as error:
            mapped = database_error(error)
            if isinstance(mapped, DatabaseError) and mapped.position:
                line = file.sql.count("\n", 0, mapped.position) + 1
                mapped.details = f"schema file {file.version}, line {line}. {mapped.details or ''}".strip()
            raise mapped from error
        await connection.execute(
            "insert into isobase.migrations (version, checksum) values ($1, $2)"
            " on conflict (version) do update set checksum = excluded.checksum, applied_at = now()",
            file.version,
            file.checksum,
        )
        applied.append(file.version)
        _log.debug("schema applied", extra={"version": file.version})
    return applied


async def _set_role_passwords(connection: asyncpg.Connection[asyncpg.Record], settings: Settings) -> None:
    """Give every login role its password. On an external server the owner's own password is not touched."""
    owner = await connection.fetchval("select current_user")
    for role in LOGIN_ROLES:
        if role == owner or (not settings.is_embedded and role in {"postgres", "supabase_admin"}):
            continue
        password = quote_literal(settings.role_password(role))
        await connection.execute(f"alter role {quote_identifier(role)} with password {password}")

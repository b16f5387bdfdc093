"""The database that a URL names, made ready for auth alone."""

from __future__ import annotations

import logging

import asyncpg

from isobase_deploy.database import unreachable
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, DatabaseError, Unavailable, database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.schema import apply_schema

__all__ = ["prepare_database"]

INSUFFICIENT_PRIVILEGE = "42501"
_NEEDED = (
    "auth.users",
    "auth.identities",
    "auth.sessions",
    "auth.refresh_tokens",
    "isobase.key_values",
    "isobase.one_time_codes",
)

_log = logging.getLogger("isobase.start")


async def prepare_database(settings: Settings) -> None:
    """Bring the schema up to date where the URL's user may, else see that everything needed is there.

    Raises ``Unavailable`` with the place in its message, ``DatabaseError``, and ``ConfigurationError`` where tables are
    missing that the user may not make.
    """
    try:
        applied = await apply_schema(settings)
    except Unavailable as error:
        raise unreachable(settings, error) from error
    except DatabaseError as error:
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
        missing = await _missing(settings)
        if missing:
            raise ConfigurationError(
                f"the database lacks {', '.join(missing)}, and the user of DATABASE_URL may not make the schema",
                hint="run isobase serve auth once with the URL of the database's owner",
            ) from error
        _log.info("the schema is left as it is: the user of DATABASE_URL may not change it")
        return
    if applied:
        _log.info("schema applied", extra={"versions": ", ".join(applied)})


async def _missing(settings: Settings) -> list[str]:
    try:
        connection = await asyncpg.connect(settings.dsn(), statement_cache_size=0)
        try:
            rows = await connection.fetch(
                "select name from unnest($1::text[]) as name where to_regclass(name) is null", list(_NEEDED)
            )
        finally:
            await connection.close()
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
    return [row["name"] for row in rows]

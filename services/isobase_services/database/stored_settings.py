"""The settings that the database itself holds: ``alter role ... set pgrst.db_schemas = ...``, and the pre-config function.

What is set for the role in this database wins over what is set for the role, and that over the function. Source: PostgREST
v14 docs, references/configuration (In-Database Configuration), and ``Config/Database.hs``.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from isobase_platform.config_postgrest import IN_DATABASE
from isobase_platform.errors import database_error
from isobase_platform.pool import CONNECT_TIMEOUT_S, DATABASE_FAILURES
from isobase_platform.sql import qualified, quote_identifier

__all__ = ["read_stored_settings"]

PREFIX = "pgrst."

# The role's own come first, so that those of the role in this database are laid over them.
_ROLE_SQL = """
select substr(setting, 1, strpos(setting, '=') - 1), substr(setting, strpos(setting, '=') + 1)
  from pg_catalog.pg_db_role_setting s
 cross join lateral unnest(s.setconfig) as c (setting)
 where s.setrole = (select oid from pg_catalog.pg_roles where rolname = current_user)
   and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
 order by s.setdatabase
"""


async def read_stored_settings(dsn: str, pre_config: str | None) -> Mapping[str, str]:
    """The settings of the role that ``dsn`` logs in as, by names such as ``db_schemas``.

    ``pre_config`` names the function to call first, as ``schema.name`` or ``name``. Raises ``DatabaseError`` for what it
    raises, and ``Unavailable``.
    """
    try:
        # Not a connection of a pool: the function may leave settings behind, and this is rare.
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
        try:
            given = {} if pre_config is None else await _given(connection, pre_config)
            rows = await connection.fetch(_ROLE_SQL)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    except (TimeoutError, *DATABASE_FAILURES) as error:
        raise database_error(error) from error
    held = {str(name).lower(): str(value) for name, value in rows}
    return given | {name.removeprefix(PREFIX): value for name, value in held.items() if _is_known(name)}


async def _given(connection: asyncpg.Connection[asyncpg.Record], function: str) -> dict[str, str]:
    """What the function sets."""
    schema, dot, name = function.partition(".")
    call = f"{qualified(schema, name) if dot else quote_identifier(function)}()"
    async with connection.transaction(readonly=True):
        await connection.execute(f"select {call}")
        rows = await connection.fetch(
            "select name, pg_catalog.current_setting($1 || name, true) from unnest($2::text[]) as known (name)",
            PREFIX,
            list(IN_DATABASE),
        )
    return {name: value for name, value in rows if value}


def _is_known(name: str) -> bool:
    return name.startswith(PREFIX) and name.removeprefix(PREFIX) in IN_DATABASE

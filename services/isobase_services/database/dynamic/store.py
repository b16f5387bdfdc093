"""Execute: databases in ``isobase.databases``, each with its schema and its first member in one transaction.

DDL runs as the owner of the platform's tables, so nothing here may be reached before ``access`` said yes: each method asks.
Neighbours: ``members`` (who is in a database), ``tables`` (its tables), ``definition`` (the SQL).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import (
    Conflict,
    DatabaseError,
    Forbidden,
    IsobaseError,
    NotFound,
    Unavailable,
    database_error,
)
from isobase_platform.pool import DATABASE_FAILURES, Connection
from isobase_platform.runtime import Platform
from isobase_services.database.dynamic.access import Act, Actor, decide, require, standing_of
from isobase_services.database.dynamic.definition import create_schema_sql, drop_schema_sql, schema_name_of
from isobase_services.database.dynamic.models import Database, DatabaseRole

__all__ = ["DatabaseStore", "allowed_database", "announce", "database_of", "definition_transaction", "find_database"]

LOCK_TIMEOUT_S = 5
"""How long a change of definitions waits for running statements; longer it would hold up those that come after it."""
STATEMENT_TIMEOUT_S = 30

_SELECT = """
select d.id, d.name, d.schema_name, d.created_at,
       (select m.role from isobase.members as m where m.database_id = d.id and m.user_id = $1::uuid) as role
  from isobase.databases as d
"""


@asynccontextmanager
async def definition_transaction(platform: Platform) -> AsyncIterator[Connection]:
    """A transaction of the schema's owner, for DDL with its bookkeeping. Commits when the block ends.

    Raises ``Unavailable`` (503, ``busy``) where tables stay in use longer than ``LOCK_TIMEOUT_S``.
    """
    try:
        async with platform.pools.transaction(None) as connection:
            await connection.execute(
                f"set local lock_timeout = '{LOCK_TIMEOUT_S}s'; set local statement_timeout = '{STATEMENT_TIMEOUT_S}s';"
                # Names and texts mean the same whatever the owner's own settings are.
                " set local search_path = ''; set local standard_conforming_strings = on; set local timezone = 'UTC';"
                " set local isobase.definition = 'on'"
            )
            yield connection
    except DatabaseError as error:
        if error.sqlstate in {"55P03", "57014", "40P01"}:
            raise Unavailable("The table is in use, try again", code="busy") from error
        raise


async def announce(connection: Connection, schema: str, channel: str) -> None:
    """Tell all processes that listen on ``channel`` to read the tables of one database anew, once this commits.

    The event triggers that tell of any change of definitions leave a definition's transaction out, or else every table made
    would have every process read the whole database.
    """
    await connection.execute("select pg_notify($1, $2)", channel, f"reload schema {schema}")


async def find_database(
    connection: Connection, database_id: UUID, user_id: UUID | None, *, locks: bool = False
) -> Database:
    """The database, with what ``user_id`` is in it. ``locks`` keeps other changes of it out until the transaction ends.

    Raises ``NotFound``.
    """
    row = await connection.fetchrow(
        f"{_SELECT} where d.id = $2{' for update' if locks else ''}",
        user_id,
        database_id,
    )
    if row is None:
        raise NotFound("There is no such database", code="database_not_found")
    return database_of(row)


async def allowed_database(
    connection: Connection, actor: Actor, database_id: UUID, act: Act, *, locks: bool = False
) -> Database:
    """The database, if the actor may do ``act`` with it. Raises ``NotFound``, to a stranger too, ``Forbidden``, 401."""
    require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")  # anon learns of no id
    database = await find_database(connection, database_id, actor.user_id, locks=locks)
    require(decide(standing_of(actor, database), act), "database")
    return database


def database_of(row: asyncpg.Record) -> Database:
    """A row of ``isobase.databases`` with the asking user's ``role``."""
    role = row["role"]
    return Database(
        id=row["id"],
        name=str(row["name"]),
        schema=str(row["schema_name"]),
        created_at=row["created_at"],
        role=DatabaseRole(str(role)) if role is not None else None,
    )


class DatabaseStore:
    """Databases: made, listed, dropped."""

    def __init__(self, platform: Platform, limits: DynamicSettings) -> None:
        self._platform = platform
        self._limits = limits

    async def create(self, actor: Actor, name: str) -> Database:
        """Make a database with its schema.

        Raises ``Conflict`` for a name that the owner uses already, ``Forbidden`` (``quota_reached``) beyond the limit, 401
        (``user_not_found``) for a token whose user is gone.
        """
        require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")
        database_id = uuid4()
        schema = schema_name_of(database_id)
        async with definition_transaction(self._platform) as connection:
            await self._check_room(connection, actor.user_id, name)
            try:
                row = await connection.fetchrow(
                    "insert into isobase.databases (id, name, schema_name, owner) values ($1, $2, $3, $4)"
                    " returning id, name, schema_name, created_at,"
                    " case when owner is not null then 'owner' end as role",
                    database_id,
                    name,
                    schema,
                    actor.user_id,
                )
                if actor.user_id is not None:
                    await connection.execute(
                        "insert into isobase.members (database_id, user_id, role) values ($1, $2, 'owner')",
                        database_id,
                        actor.user_id,
                    )
            except DATABASE_FAILURES as error:
                raise _user_gone(database_error(error)) from error
            for statement in create_schema_sql(schema):
                await connection.execute(statement)
            await announce(connection, schema, self._platform.settings.rest.channel)
        assert row is not None  # RETURNING of one inserted row
        return database_of(row)

    async def _check_room(self, connection: Connection, user_id: UUID | None, name: str) -> None:
        # One at a time per owner: two requests at once must not both see room for the last one.
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended('isobase.databases ' || coalesce($1::text, ''), 0))",
            None if user_id is None else str(user_id),
        )
        rows = await connection.fetch(
            "select name from isobase.databases where owner is not distinct from $1::uuid", user_id
        )
        if any(row["name"] == name for row in rows):
            raise Conflict(f"You have a database named {name} already", code="database_exists")
        if user_id is not None and len(rows) >= self._limits.databases_per_owner:
            raise Forbidden(
                f"A user has at most {self._limits.databases_per_owner} databases",
                code="quota_reached",
                hint="Delete one first",
            )

    async def list_databases(self, actor: Actor) -> list[Database]:
        """The databases that the actor is a member of; all for service_role. Oldest first."""
        require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")
        async with self._platform.door.transaction(actor.caller, read_only=True) as connection:
            rows = await connection.fetch(f"{_SELECT} order by d.created_at, d.id", actor.user_id)
        return [database_of(row) for row in rows]

    async def get(self, actor: Actor, database_id: UUID) -> Database:
        """One database. Raises ``NotFound``, to a stranger too."""
        async with self._platform.pools.acquire(None) as connection:
            return await allowed_database(connection, actor, database_id, Act.SEE_DEFINITIONS)

    async def delete(self, actor: Actor, database_id: UUID) -> Database:
        """Drop a database with all its tables and rows; returns what it was."""
        async with definition_transaction(self._platform) as connection:
            database = await allowed_database(connection, actor, database_id, Act.DELETE_DATABASE, locks=True)
            await connection.execute(drop_schema_sql(database.schema))
            await connection.execute("delete from isobase.databases where id = $1", database_id)
            await announce(connection, database.schema, self._platform.settings.rest.channel)
        return database


def _user_gone(error: IsobaseError) -> IsobaseError:
    if isinstance(error, DatabaseError) and error.constraint == "databases_owner_fkey":
        return IsobaseError("The user of the token is gone", code="user_not_found", status=401)
    return error

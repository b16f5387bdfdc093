"""Execute: the tables of a database, each made or dropped in one transaction with its row in ``isobase.tables``.

What a table looks like is read from PostgreSQL's catalog every time, so that a migration of the project that changed one is
seen. Neighbours: ``store`` (databases), ``definition`` (the SQL), ``rows`` (what is in them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import Conflict, Forbidden, NotFound
from isobase_platform.pool import Connection
from isobase_platform.runtime import Platform
from isobase_platform.sql import qualified
from isobase_services.database.dynamic.access import Act, Actor, decide, require, standing_of
from isobase_services.database.dynamic.definition import check_table, create_table_sql
from isobase_services.database.dynamic.models import (
    Access,
    Database,
    OnDelete,
    ReferenceSpec,
    RowsTable,
    ShownColumn,
    Table,
    TableSpec,
)
from isobase_services.database.dynamic.store import announce, database_of, definition_transaction, find_database

__all__ = ["TableStore"]

# A table that somebody dropped by SQL has no pg_class row, and is as if it were not there.
_SELECT = """
select t.id, t.database_id, t.name, t.access, t.created_at,
       (select json_agg(json_build_object(
                 'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
                 'default', pg_catalog.pg_get_expr(v.adbin, v.adrelid),
                 'unique', exists (select from pg_catalog.pg_index as i
                                    where i.indrelid = c.oid and i.indisunique and i.indpred is null
                                      and i.indnkeyatts = 1 and i.indkey[0] = a.attnum),
                 'references', (select json_build_object(
                                  'table', case when r.relnamespace = c.relnamespace then r.relname
                                                else (r.relnamespace::regnamespace)::text || '.' || r.relname end,
                                  'on_delete', k.confdeltype)
                                  from pg_catalog.pg_constraint as k
                                  join pg_catalog.pg_class as r on r.oid = k.confrelid
                                 where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum] limit 1))
               order by a.attnum)
          from pg_catalog.pg_attribute as a
          left join pg_catalog.pg_attrdef as v on v.adrelid = a.attrelid and v.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns
  from isobase.tables as t
  join isobase.databases as d on d.id = t.database_id
  join pg_catalog.pg_namespace as n on n.nspname = d.schema_name
  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.name
"""
# One round trip for a request about rows: the database, what the caller ($1) is in it, and the table.
_SELECT_FOR_ROWS = """
select d.id, d.name, d.schema_name, d.created_at,
       (select m.role from isobase.members as m where m.database_id = d.id and m.user_id = $1::uuid) as role,
       t.name as table_name, t.access, c.oid::int8 as oid,
       (select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute as a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from isobase.tables as t
  join isobase.databases as d on d.id = t.database_id
  join pg_catalog.pg_namespace as n on n.nspname = d.schema_name
  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.name
 where d.id = $2 and t.id = $3
"""
_SHORT_TYPES = {"timestamp with time zone": "timestamptz", "time without time zone": "time"}
_ON_DELETE = {"a": OnDelete.NO_ACTION, "r": OnDelete.RESTRICT, "c": OnDelete.CASCADE, "n": OnDelete.SET_NULL}


class TableStore:
    """Tables: made, listed, dropped, and found for ``rows``."""

    def __init__(self, platform: Platform, limits: DynamicSettings) -> None:
        self._platform = platform
        self._limits = limits

    async def create(self, actor: Actor, database_id: UUID, spec: TableSpec) -> Table:
        """Make a table with its policies and grants; all of it or nothing.

        Raises ``BadRequest`` for a definition that cannot be, ``Conflict`` for a name in use, ``Forbidden`` for who
        may not and (``quota_reached``) beyond the limit, ``NotFound`` for an unknown database.
        """
        async with definition_transaction(self._platform) as connection:
            database = await self._database(connection, actor, database_id, Act.CHANGE_TABLES, locks=True)
            known = await self._known(connection, database)
            check_table(spec, known, self._limits.columns_per_table)
            if spec.name in known or await self._is_taken(connection, database.schema, spec.name):
                raise Conflict(f"The database has a table named {spec.name} already", code="table_exists")
            if len(known) >= self._limits.tables_per_database:
                raise Forbidden(
                    f"A database has at most {self._limits.tables_per_database} tables",
                    code="quota_reached",
                    hint="Delete one first",
                )
            for statement in create_table_sql(database_id, database.schema, spec):
                await connection.execute(statement)
            # Where the server gives service_role no BYPASSRLS, a policy lets it in.
            await connection.execute("select isobase.open_tables_to_service_role()")
            table_id = uuid4()
            await connection.execute(
                "insert into isobase.tables (id, database_id, name, access) values ($1, $2, $3, $4)",
                table_id,
                database_id,
                spec.name,
                spec.access.value,
            )
            await announce(connection)
            await _show_qualified(connection)
            return await self._table(connection, database_id, table_id)

    @staticmethod
    async def _known(connection: Connection, database: Database) -> set[str]:
        """The names of the tables; those that somebody dropped by SQL are forgotten, so that their names are free."""
        await connection.execute(
            "delete from isobase.tables as t where t.database_id = $1"
            " and pg_catalog.to_regclass(pg_catalog.format('%I.%I', $2::text, t.name)) is null",
            database.id,
            database.schema,
        )
        rows = await connection.fetch("select name from isobase.tables where database_id = $1", database.id)
        return {str(row["name"]) for row in rows}

    @staticmethod
    async def _is_taken(connection: Connection, schema: str, name: str) -> bool:
        """Whether the schema has a relation of the name that a migration made; an index or sequence counts as well."""
        found = await connection.fetchval("select to_regclass($1) is not null", qualified(schema, name))
        return bool(found)

    async def list_tables(self, actor: Actor, database_id: UUID) -> list[Table]:
        """All tables of a database, oldest first."""
        async with self._platform.pools.transaction(None) as connection:
            await self._database(connection, actor, database_id, Act.SEE_DEFINITIONS)
            await _show_qualified(connection)
            rows = await connection.fetch(
                f"{_SELECT} where t.database_id = $1 order by t.created_at, t.id",
                database_id,
            )
        return [_table_of(row) for row in rows]

    async def get(self, actor: Actor, database_id: UUID, table_id: UUID) -> Table:
        """One table. Raises ``NotFound``."""
        async with self._platform.pools.transaction(None) as connection:
            await self._database(connection, actor, database_id, Act.SEE_DEFINITIONS)
            await _show_qualified(connection)
            return await self._table(connection, database_id, table_id)

    async def delete(self, actor: Actor, database_id: UUID, table_id: UUID) -> None:
        """Drop a table with its rows. Raises ``Conflict`` while another table refers to it."""
        async with definition_transaction(self._platform) as connection:
            database = await self._database(connection, actor, database_id, Act.CHANGE_TABLES, locks=True)
            table = await self._table(connection, database_id, table_id)
            target = qualified(database.schema, table.name)
            users = await connection.fetch(
                "select distinct r.relname from pg_catalog.pg_constraint as k"
                " join pg_catalog.pg_class as r on r.oid = k.conrelid"
                " where k.contype = 'f' and k.confrelid = $1::text::regclass and k.conrelid <> k.confrelid order by 1",
                target,
            )
            if users:
                raise Conflict(
                    f"The table {table.name} is referred to by {', '.join(row['relname'] for row in users)}",
                    code="table_in_use",
                )
            # Views that a migration put on it go too: they are of no use without it.
            await connection.execute(f"drop table {target} cascade")
            await connection.execute("delete from isobase.tables where id = $1", table_id)
            await announce(connection)

    async def find_for_rows(self, actor: Actor, database_id: UUID, table_id: UUID, *, act: Act) -> RowsTable:
        """The table for a request about its rows, if the actor is let through to its policies.

        ``act`` is what is asked of the rows. Raises ``NotFound`` for what is not there or hidden, 401 for anon where the
        table is not open to them. Anon gets 401 for an unknown id too, and so learns nothing of ids.
        """
        async with self._platform.pools.acquire(None) as connection:
            row = await connection.fetchrow(_SELECT_FOR_ROWS, actor.user_id, database_id, table_id)
        if row is None:
            require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "table")
            raise NotFound("There is no such table", code="table_not_found")
        require(decide(standing_of(actor, database_of(row)), act, Access(row["access"])), "table")
        return RowsTable(row["schema_name"], row["table_name"], row["oid"], tuple(row["columns"]))

    async def _database(
        self, connection: Connection, actor: Actor, database_id: UUID, act: Act, *, locks: bool = False
    ) -> Database:
        require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")  # anon learns of no id
        database = await find_database(connection, database_id, actor.user_id, locks=locks)
        require(decide(standing_of(actor, database), act), "database")
        return database

    @staticmethod
    async def _table(connection: Connection, database_id: UUID, table_id: UUID) -> Table:
        row = await connection.fetchrow(f"{_SELECT} where t.database_id = $1 and t.id = $2", database_id, table_id)
        if row is None:
            raise NotFound("There is no such table", code="table_not_found")
        return _table_of(row)


async def _show_qualified(connection: Connection) -> None:
    """Let PostgreSQL write every name in a default with its schema, whatever the owner's own search_path is."""
    await connection.execute("set local search_path = ''")


def _table_of(row: asyncpg.Record) -> Table:
    return Table(
        id=row["id"],
        database_id=row["database_id"],
        name=row["name"],
        access=Access(row["access"]),
        created_at=row["created_at"],
        columns=tuple(_column(raw) for raw in json.loads(row["columns"] or "[]")),
    )


def _column(raw: Mapping[str, Any]) -> ShownColumn:
    reference = raw["references"]
    return ShownColumn(
        name=raw["name"],
        type=_SHORT_TYPES.get(raw["type"], raw["type"]),
        is_nullable=raw["nullable"],
        default=raw["default"],
        is_unique=raw["unique"],
        references=(
            ReferenceSpec(reference["table"], _ON_DELETE.get(reference["on_delete"], OnDelete.NO_ACTION))
            if reference is not None
            else None
        ),
    )

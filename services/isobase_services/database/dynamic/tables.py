"""Execute: the tables of a database, each made or dropped in one transaction with its row in ``isobase.tables``.

Neighbours: ``store`` (databases), ``table_changes`` (what becomes of them), ``shown`` (how they look), ``definition`` and
``table_steps`` (the SQL), ``rows`` (what is in them).
"""

from __future__ import annotations

from uuid import UUID, uuid4

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import Conflict, Forbidden, NotFound
from isobase_platform.runtime import Platform
from isobase_platform.sql import qualified
from isobase_services.database.dynamic.access import Act, Actor, decide, require, standing_of
from isobase_services.database.dynamic.columns import OWN_KEY
from isobase_services.database.dynamic.definition import check_table, create_table_sql
from isobase_services.database.dynamic.expressions import check_without_rights
from isobase_services.database.dynamic.models import Access, RowsTable, Table, TableSpec
from isobase_services.database.dynamic.policies import policy_expressions
from isobase_services.database.dynamic.shown import find_table, is_name_taken, known_tables, list_tables
from isobase_services.database.dynamic.store import allowed_database, announce, database_of, definition_transaction
from isobase_services.database.dynamic.table_steps import TableSteps

__all__ = ["TableStore"]

# One round trip for a request about rows: the database, what the caller ($1) is in it, and the table.
_SELECT_FOR_ROWS = """
select d.id, d.name, d.schema_name, d.created_at,
       (select m.role from isobase.members as m where m.database_id = d.id and m.user_id = $1::uuid) as role,
       t.name as table_name, t.access, c.oid::int8 as oid,
       (select array_agg(array[a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)] order by a.attnum)
          from pg_catalog.pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from isobase.tables as t
  join isobase.databases as d on d.id = t.database_id
  join pg_catalog.pg_namespace as n on n.nspname = d.schema_name
  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.name
 where d.id = $2 and t.id = $3
"""


class TableStore:
    """Tables: made, listed, dropped, and found for ``rows``."""

    def __init__(self, platform: Platform, limits: DynamicSettings) -> None:
        self._platform = platform
        self._limits = limits
        self._publication = platform.settings.realtime.publication

    async def create(self, actor: Actor, database_id: UUID, spec: TableSpec) -> Table:
        """Make a table with its policies and grants; all of it or nothing.

        Raises ``BadRequest`` for a definition that cannot be, ``Conflict`` for a name in use, ``Forbidden`` for who
        may not and (``quota_reached``) beyond the limit, ``NotFound`` for an unknown database.
        """
        await self._check_expressions(actor, database_id, spec)
        async with definition_transaction(self._platform) as connection:
            database = await allowed_database(connection, actor, database_id, Act.CHANGE_TABLES, locks=True)
            known = await known_tables(connection, database)
            check_table(spec, known, self._limits.columns_per_table, self._limits.indexes_per_table)
            if spec.name in known or await is_name_taken(connection, database.schema, spec.name):
                raise Conflict(f"The database has a table named {spec.name} already", code="table_exists")
            if len(known) >= self._limits.tables_per_database:
                raise Forbidden(
                    f"A database has at most {self._limits.tables_per_database} tables",
                    code="quota_reached",
                    hint="Delete one first",
                )
            await self._make(TableSteps(connection, database_id, database.schema, spec.name), spec)
            table_id = uuid4()
            await connection.execute(
                "insert into isobase.tables (id, database_id, name, access) values ($1, $2, $3, $4)",
                table_id,
                database_id,
                spec.name,
                spec.access.value,
            )
            await announce(connection, database.schema, self._platform.settings.rest.channel)
            return await find_table(connection, database_id, table_id, self._publication)

    async def _check_expressions(self, actor: Actor, database_id: UUID, spec: TableSpec) -> None:
        """Let PostgreSQL read the client's expressions as a role without rights, before anything is made."""
        if not spec.policies and all(column.check is None for column in spec.columns):
            return
        async with self._platform.pools.transaction(None) as connection:
            database = await allowed_database(connection, actor, database_id, Act.CHANGE_TABLES)
            known = await known_tables(connection, database)
        check_table(spec, known, self._limits.columns_per_table, self._limits.indexes_per_table)
        for column in spec.columns:
            if column.check is not None:
                what = [(column.check, f"check of column {column.name}")]
                await check_without_rights(self._platform, spec.name, {column.name: str(column.type)}, what)
        own = {OWN_KEY: "uuid", "created_at": "timestamptz", "owner": "uuid"}
        row = {**own, **{column.name: str(column.type) for column in spec.columns}}
        await check_without_rights(self._platform, spec.name, row, policy_expressions(spec.policies))

    async def _make(self, steps: TableSteps, spec: TableSpec) -> None:
        for column in spec.columns:
            await steps.check_default(column)
        for statement in create_table_sql(steps.schema, spec):
            await steps.run(statement)
        for column in spec.columns:
            if column.check is not None:
                await steps.add_check(column.name, column.check)
        if any(column.is_identity for column in spec.columns):
            await steps.open_sequences()
        await steps.set_access(spec.access, spec.policies)
        for index in spec.indexes:
            await steps.add_index(index)
        if spec.is_live:
            await steps.set_live(self._publication, is_live=True)
        if spec.comment:
            await steps.set_comment(spec.comment)
        # Where the server gives service_role no BYPASSRLS, a policy lets it in.
        await steps.run("select isobase.open_tables_to_service_role()")

    async def list_tables(self, actor: Actor, database_id: UUID) -> list[Table]:
        """All tables of a database, oldest first."""
        async with self._platform.pools.transaction(None) as connection:
            await allowed_database(connection, actor, database_id, Act.SEE_DEFINITIONS)
            return await list_tables(connection, database_id, self._publication)

    async def get(self, actor: Actor, database_id: UUID, table_id: UUID) -> Table:
        """One table. Raises ``NotFound``."""
        async with self._platform.pools.transaction(None) as connection:
            await allowed_database(connection, actor, database_id, Act.SEE_DEFINITIONS)
            return await find_table(connection, database_id, table_id, self._publication)

    async def delete(self, actor: Actor, database_id: UUID, table_id: UUID) -> None:
        """Drop a table with its rows. Raises ``Conflict`` while another table refers to it."""
        async with definition_transaction(self._platform) as connection:
            database = await allowed_database(connection, actor, database_id, Act.CHANGE_TABLES, locks=True)
            table = await find_table(connection, database_id, table_id, self._publication)
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
            await announce(connection, database.schema, self._platform.settings.rest.channel)

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
        columns = tuple((name, kind) for name, kind in row["columns"])
        return RowsTable(row["schema_name"], row["table_name"], row["oid"], columns)

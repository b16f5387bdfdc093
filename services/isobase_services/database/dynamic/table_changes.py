"""Execute: a table changed in one transaction, all of it or nothing.

Neighbours: ``alteration`` (plan), ``table_steps`` and ``retype`` (the steps), ``tables`` (makes and drops).
"""

from __future__ import annotations

from uuid import UUID

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import BadRequest, Conflict
from isobase_platform.runtime import Platform
from isobase_platform.sql import quote_identifier
from isobase_services.database.dynamic.access import Act, Actor, decide, require, standing_of
from isobase_services.database.dynamic.alteration import (
    check_change,
    columns_to_be,
    known_type,
    spec_to_be,
    tells_of_rows,
)
from isobase_services.database.dynamic.columns import column_sql, reference_sql
from isobase_services.database.dynamic.defaults import default_sql
from isobase_services.database.dynamic.expressions import check_without_rights
from isobase_services.database.dynamic.models import (
    Access,
    ColumnChange,
    ColumnSpec,
    IndexSpec,
    Missing,
    ShownColumn,
    Table,
    TableChange,
)
from isobase_services.database.dynamic.policies import policy_expressions
from isobase_services.database.dynamic.retype import retype
from isobase_services.database.dynamic.shown import custom_policies, find_table, is_name_taken, known_tables
from isobase_services.database.dynamic.store import allowed_database, announce, definition_transaction
from isobase_services.database.dynamic.table_steps import TableSteps

__all__ = ["TableChanger"]


_UNSHARED = frozenset({Access.PRIVATE, Access.CUSTOM})
"""Access by which members do not see all rows: who may not open them to himself must not learn of them by refusals either."""


class TableChanger:
    """Changes tables."""

    def __init__(self, platform: Platform, limits: DynamicSettings) -> None:
        self._platform = platform
        self._limits = limits
        self._publication = platform.settings.realtime.publication

    async def change(self, actor: Actor, database_id: UUID, table_id: UUID, change: TableChange) -> Table:
        """Do all that ``change`` says, and return the table as it is then.

        Raises ``BadRequest`` for what cannot be, ``Conflict`` for what the rows or other objects do not allow,
        ``Forbidden``, ``NotFound``; nothing is changed then.
        """
        act = Act.CHANGE_ACCESS if change.access is not None else Act.CHANGE_TABLES
        await self._check_expressions(actor, database_id, table_id, change)
        async with definition_transaction(self._platform) as connection:
            database = await allowed_database(connection, actor, database_id, act, locks=True)
            table = await find_table(connection, database_id, table_id, self._publication)
            if table.access in _UNSHARED and tells_of_rows(change):
                may_know = decide(standing_of(actor, database), Act.CHANGE_ACCESS)
                require(may_know, "table")
            known = await known_tables(connection, database)
            check_change(change, table, known, self._limits)
            steps = TableSteps(connection, database_id, database.schema, table.name)
            await steps.run(f"lock table {steps.target} in access exclusive mode")
            await self._change_columns(steps, table, change)
            for index in change.add_indexes:
                await steps.add_index(index)
            if change.access is not None:
                await self._change_access(steps, change)
                await connection.execute(
                    "update isobase.tables set access = $2 where id = $1", table_id, change.access.value
                )
            if change.is_live is not None:
                await steps.set_live(self._publication, is_live=change.is_live)
            if not isinstance(change.comment, Missing):
                await steps.set_comment(change.comment)
            if change.name is not None and change.name != table.name:
                if change.name in known or await is_name_taken(connection, database.schema, change.name):
                    raise Conflict(f"The database has a table named {change.name} already", code="table_exists")
                await steps.run(f"alter table {steps.target} rename to {quote_identifier(change.name)}")
                await connection.execute("update isobase.tables set name = $2 where id = $1", table_id, change.name)
            await announce(connection, database.schema, self._platform.settings.rest.channel)
            return await find_table(connection, database_id, table_id, self._publication)

    async def _check_expressions(self, actor: Actor, database_id: UUID, table_id: UUID, change: TableChange) -> None:
        """Let PostgreSQL read the client's expressions as a role without rights, before anything is changed."""
        written: list[ColumnChange | ColumnSpec] = [*change.change_columns, *change.add_columns]
        checks = [(one.name, one.check) for one in written if isinstance(one.check, str)]
        if not change.policies and not checks:
            return
        act = Act.CHANGE_ACCESS if change.access is not None else Act.CHANGE_TABLES
        async with self._platform.pools.transaction(None) as connection:
            database = await allowed_database(connection, actor, database_id, act)
            table = await find_table(connection, database_id, table_id, self._publication)
            known = await known_tables(connection, database)
        check_change(change, table, known, self._limits)
        row = {column.name: column.type for column in columns_to_be(change, table).values()}
        row |= {one.name: str(one.type) for one in change.change_columns if not isinstance(one.type, Missing)}
        row |= {one.name: str(one.type) for one in change.add_columns}
        for name, text in checks:
            what = [(text, f"check of column {name}")]
            await check_without_rights(self._platform, table.name, {name: row[name]}, what)
        await check_without_rights(self._platform, table.name, row, policy_expressions(change.policies))

    async def _change_columns(self, steps: TableSteps, table: Table, change: TableChange) -> None:
        for index in change.drop_indexes:
            await steps.drop_index(index)
        alter = f"alter table {steps.target}"
        for name in change.drop_columns:
            await steps.run(f"{alter} drop column {quote_identifier(name)}", name)
        # By way of names that nothing has, as two columns may change their names with each other.
        for number, (old, _) in enumerate(change.rename_columns):
            await steps.run(f"{alter} rename column {quote_identifier(old)} to {_passing(number)}", old)
        for number, (_, new) in enumerate(change.rename_columns):
            await steps.run(f"{alter} rename column {_passing(number)} to {quote_identifier(new)}", new)
        columns = columns_to_be(change, table)
        retyped = [one for one in change.change_columns if not isinstance(one.type, Missing)]
        # PostgreSQL changes no type that a policy looks at: ours go and come back, read anew over the new type.
        policies = await custom_policies(steps.connection, steps.target) if retyped else []
        if change.access is None:
            await steps.drop_policies([name for name, _ in policies])
        else:
            await steps.drop_policies()
        for one in change.change_columns:
            await self._change_column(steps, one, columns[one.name])
        for column in change.add_columns:
            await steps.check_default(column)
            await steps.run(f"{alter} add column {column_sql(steps.schema, column)}", column.name)
            if column.is_identity:
                await steps.open_sequences()
            if column.check is not None:
                await steps.add_check(column.name, column.check)
            if column.references is not None and not column.is_unique:
                await steps.add_index(IndexSpec((column.name,)))
        if change.access is None:
            await steps.add_policies(policies)

    async def _change_column(self, steps: TableSteps, change: ColumnChange, column: ShownColumn) -> None:
        name = quote_identifier(column.name)
        alter = f"alter table {steps.target} alter column {name}"
        if not isinstance(change.type, Missing):
            default = column.default if isinstance(change.default, Missing) and not column.is_identity else None
            if default is None and column.default is not None and not column.is_identity:
                await steps.run(f"{alter} drop default", column.name)
            await retype(steps, column.name, known_type(column), change.type, default)
        if not isinstance(change.default, Missing):
            spec = spec_to_be(change, column)
            await steps.check_default(spec)
            sql = None if spec.default is None else default_sql(spec.name, spec.type, spec.default)
            await steps.run(f"{alter} drop default" if sql is None else f"{alter} set default {sql}", column.name)
        if not isinstance(change.is_nullable, Missing) and change.is_nullable != column.is_nullable:
            await steps.run(f"{alter} {'drop' if change.is_nullable else 'set'} not null", column.name)
        if not isinstance(change.is_unique, Missing) and change.is_unique != column.is_unique:
            if change.is_unique:
                await steps.run(f"alter table {steps.target} add unique ({name})", column.name)
            elif not await steps.drop_constraints(column.name, "u"):
                raise BadRequest(
                    f"The column {column.name} is unique by an index of its own",
                    code="invalid_column",
                    hint="Drop the index by its name",
                )
        if not isinstance(change.references, Missing):
            await steps.drop_constraints(column.name, "f")
            if change.references is not None:
                reference = reference_sql(steps.schema, change.references)
                await steps.run(f"alter table {steps.target} add foreign key ({name}) {reference}", column.name)
                await steps.index_reference(column.name)
        if not isinstance(change.check, Missing):
            await steps.drop_constraints(column.name, "c")
            if change.check is not None:
                await steps.add_check(column.name, change.check)

    async def _change_access(self, steps: TableSteps, change: TableChange) -> None:
        assert change.access is not None  # the caller looked
        await steps.drop_policies()
        await steps.drop_keep_owner()
        if change.access in {Access.PUBLIC, Access.CUSTOM}:
            await steps.run(f"alter table {steps.target} alter column owner drop not null", "owner")
        await steps.set_access(change.access, change.policies)


def _passing(number: int) -> str:
    return quote_identifier(f"isobase passing {number}")

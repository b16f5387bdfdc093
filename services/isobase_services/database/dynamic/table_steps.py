"""Execute: steps that make or change a table and that need PostgreSQL's eye; what it refuses becomes a clear answer.

Each runs inside ``store.definition_transaction``, so a step that raises leaves nothing of the steps before it. Statements
go by the protocol that takes one statement at a time. Neighbours: ``tables`` (makes), ``table_changes`` (changes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from isobase_platform.errors import BadRequest, Conflict, DatabaseError, IsobaseError, database_error
from isobase_platform.pool import DATABASE_FAILURES, Connection
from isobase_platform.sql import qualified, quote_identifier, quote_literal
from isobase_services.database.dynamic.columns import index_sql
from isobase_services.database.dynamic.defaults import default_sql, shown_value
from isobase_services.database.dynamic.expressions import check_tree
from isobase_services.database.dynamic.models import Access, ColumnSpec, IndexSpec, PolicySpec
from isobase_services.database.dynamic.policies import KEEP_OWNER_TRIGGER, access_sql, policy_sql

__all__ = ["TableSteps"]


@dataclass(slots=True, frozen=True)
class TableSteps:
    """Steps on one table, in the transaction of ``connection``."""

    connection: Connection
    database_id: UUID
    schema: str
    table: str

    @property
    def target(self) -> str:
        """The quoted table."""
        return qualified(self.schema, self.table)

    async def run(self, sql: str, column: str | None = None) -> None:
        """Run one statement. ``column`` is the one that it is about, for the error's text.

        Raises ``BadRequest`` for what cannot be, ``Conflict`` for what the rows or other objects do not allow.
        """
        try:
            await self.connection.fetch(sql)
        except DATABASE_FAILURES as error:
            raise _answer(database_error(error), column) from error

    async def check_default(self, column: ColumnSpec) -> None:
        """Let PostgreSQL read the column's default. Raises ``BadRequest`` naming column, expected type and value."""
        if column.default is None:
            return
        try:
            await self.connection.fetch(f"select {default_sql(column.name, column.type, column.default)}")
        except DATABASE_FAILURES as error:
            mapped = database_error(error)
            if not isinstance(mapped, DatabaseError):
                raise mapped from error
            raise BadRequest(
                f"The default of column {column.name} is no value of its type: {mapped.message}",
                code="invalid_default",
                details=f"expected {column.type}, got {shown_value(column.default)}",
            ) from error

    async def add_check(self, column: str, text: str) -> None:
        """Add a check that ``check_text`` let through: looked at before PostgreSQL evaluates it for the first time."""
        what = f"check of column {column}"
        try:
            await self.run(f"alter table {self.target} add check (\n{text}\n) not valid", column)
        except Conflict as error:
            # The rows are not looked at yet: it is the expression that cannot be, as one with a subquery.
            message = f"The {what} is not an expression that can be used"
            raise BadRequest(message, code="invalid_expression", details=error.details) from error
        rows = await self.connection.fetch(
            "select k.conname, k.conbin::text as tree, k.conkey = array[a.attnum] as is_own"
            " from pg_catalog.pg_constraint as k"
            " left join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attname = $2"
            " where k.conrelid = $1::text::regclass and k.contype = 'c' and not k.convalidated",
            self.target,
            column,
        )
        for row in rows:
            if not row["is_own"]:
                raise BadRequest(
                    f"The check of column {column} must name this column and no other", code="invalid_expression"
                )
            await check_tree(self.connection, row["tree"], what)
            await self.run(f"alter table {self.target} validate constraint {quote_identifier(row['conname'])}", column)

    async def open_sequences(self) -> None:
        """Let the API roles number rows: of several rows at once some may name an identity column and others not."""
        await self.run(
            f"grant usage on all sequences in schema {quote_identifier(self.schema)} to anon, authenticated, service_role"
        )

    async def set_access(self, access: Access, policies: Sequence[PolicySpec]) -> None:
        """Give a table without policies those of its access. Custom ones are looked at before they are ever evaluated."""
        for statement in access_sql(self.target, self.database_id, access, policies):
            await self.run(statement)
        if access is Access.CUSTOM:
            await self._check_policies()

    async def add_policies(self, policies: Sequence[tuple[str, PolicySpec]]) -> None:
        """Make policies by their names, beside the grants that there are."""
        for name, policy in policies:
            await self.run(policy_sql(self.target, name, policy))
        if policies:
            await self._check_policies()

    async def _check_policies(self) -> None:
        rows = await self.connection.fetch(
            "select polname, concat_ws(' ', polqual::text, polwithcheck::text) as tree from pg_catalog.pg_policy"
            " where polrelid = $1::text::regclass and polname like 'custom %'",
            self.target,
        )
        for row in rows:
            await check_tree(self.connection, row["tree"], f"expression of policy {row['polname'].split()[1]}")

    async def drop_policies(self, names: Sequence[str] | None = None) -> None:
        """Drop policies by name, or all but the one that lets the service in."""
        if names is None:
            rows = await self.connection.fetch(
                "select polname from pg_catalog.pg_policy"
                " where polrelid = $1::text::regclass and polname <> 'isobase_service_role'",
                self.target,
            )
            names = [row["polname"] for row in rows]
        for name in names:
            await self.run(f"drop policy {quote_identifier(name)} on {self.target}")

    async def drop_keep_owner(self) -> None:
        """Drop the trigger of tables whose rows members change though another made them, where there is one."""
        await self.run(f"drop trigger if exists {KEEP_OWNER_TRIGGER} on {self.target}")

    async def drop_index(self, name: str) -> None:
        """Drop an index of the table."""
        await self.run(f"drop index {qualified(self.schema, name)}")

    async def drop_constraints(self, column: str, kind: str) -> int:
        """Drop the constraints of a kind (pg_constraint's letter) over this column alone; returns how many."""
        rows = await self.connection.fetch(
            "select k.conname from pg_catalog.pg_constraint as k"
            " join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]"
            ' where k.conrelid = $1::text::regclass and a.attname = $2 and k.contype = $3::text::"char"',
            self.target,
            column,
            kind,
        )
        for row in rows:
            await self.run(f"alter table {self.target} drop constraint {quote_identifier(row['conname'])}", column)
        return len(rows)

    async def index_reference(self, column: str) -> None:
        """Make an index on a column that refers to another table, where none begins with it."""
        has_one = await self.connection.fetchval(
            "select exists (select from pg_catalog.pg_index as i"
            " join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
            " where i.indrelid = $1::text::regclass and a.attname = $2)",
            self.target,
            column,
        )
        if not has_one:
            await self.add_index(IndexSpec((column,)))

    async def add_index(self, index: IndexSpec) -> None:
        """Make a checked index."""
        await self.run(index_sql(self.schema, self.table, index), ", ".join(index.columns))

    async def set_live(self, publication: str, *, is_live: bool) -> None:
        """Let realtime send the table's changes, or no more. Asking twice is no error."""
        known = await self.connection.fetchval(
            "select puballtables from pg_catalog.pg_publication where pubname = $1", publication
        )
        if known is None:
            raise Conflict(f"There is no publication {publication} to send changes by", code="no_publication")
        is_member = await self.connection.fetchval(
            "select exists (select from pg_catalog.pg_publication_tables"
            " where pubname = $1 and schemaname = $2 and tablename = $3)",
            publication,
            self.schema,
            self.table,
        )
        if known:
            if not is_live:
                raise Conflict(f"The publication {publication} sends the changes of all tables", code="all_published")
        elif is_live != is_member:
            verb = "add" if is_live else "drop"
            await self.run(f"alter publication {quote_identifier(publication)} {verb} table {self.target}")

    async def set_comment(self, comment: str | None) -> None:
        """Set the table's comment, or take it away."""
        text = "null" if not comment else quote_literal(comment)
        await self.run(f"comment on table {self.target} is {text}")


_CONFLICTS = {
    "23505": ("not_unique", "holds a value twice"),
    "23502": ("holds_null", "holds null"),
    "23514": ("check_violated", "holds a value that the check does not allow"),
    "23503": ("reference_violated", "holds a value that the other table does not have"),
    "2BP01": ("in_use", "is in use by something else"),
    "0A000": ("in_use", "is in use by something else"),
}
_BAD = {
    "42830": "invalid_reference",
    "42804": "invalid_reference",
    "42701": "duplicate_column",
    "42703": "unknown_column",
    "42611": "invalid_column",
    "42P16": "invalid_column",
}


def _answer(error: IsobaseError, column: str | None) -> IsobaseError:
    if not isinstance(error, DatabaseError):
        return error
    about = f"The column {column}" if column else "The table"
    if error.sqlstate in _CONFLICTS:
        code, reason = _CONFLICTS[error.sqlstate]
        return Conflict(f"{about} {reason}", code=code, details=error.details or error.message)
    if error.sqlstate in {"42P07", "42710"}:
        return Conflict(error.message, code="name_in_use")
    if error.sqlstate == "42704":
        return BadRequest(f"{about} cannot have such an index", code="invalid_index", details=error.message)
    if error.sqlstate in _BAD or error.sqlstate.startswith("22"):
        code = _BAD.get(error.sqlstate, "invalid_value")
        return BadRequest(f"{about} cannot be like that: {error.message}", code=code, details=error.details)
    return error

"""Whether a subscription can be served, checked once when it begins, with upstream's words for what is wrong.

Operands are cast by PostgreSQL with the subscriber's own rights. Source: contracts/realtime.md 1.11; upstream
``realtime.subscription_check_filters``.
"""

from __future__ import annotations

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import DoorConnection, RlsDoor
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.predicates import IS_VALUES, local_predicate, sql_condition
from isobase_services.realtime.changes.request import ChangeRequest, Filter, Operator, RequestRefused
from isobase_services.realtime.changes.tables import Column, RoleRights, Table
from isobase_services.realtime.changes.values import BOOL_OID

__all__ = ["Validator"]

MAX_IN_VALUES = 100
_PATTERNS = {Operator.LIKE: "~~", Operator.ILIKE: "~~", Operator.MATCH: "~", Operator.IMATCH: "~*"}
_TYPE_SQL = "select pg_catalog.format_type($1::bigint::oid, null)"
_HAS_OPERATOR_SQL = (
    "select exists (select from pg_catalog.pg_operator where oprname = $1 and oprleft = $2::bigint::oid"
    " and oprresult = 'bool'::pg_catalog.regtype)"
)


class _Invalid(Exception):
    """What upstream raises inside the database, as it words it."""

    def __init__(self, message: str, sqlstate: str = "P0001", condition: str = "raise_exception") -> None:
        super().__init__(f"ERROR {sqlstate} ({condition}) {message}")


class Validator:
    """Checks requests. ``search_path`` is where unqualified operators of user types are found."""

    def __init__(self, catalog: Catalog, door: RlsDoor, search_path: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._door = door
        self._search_path = search_path

    async def validate(self, request: ChangeRequest, caller: Caller) -> None:
        """Raises ``RequestRefused`` with the message for the client; ``Unavailable`` when the database is away."""
        tables = await self._catalog.published_tables(request.schema, request.table)
        if not tables:
            raise RequestRefused(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given "
                f"connect parameters: [{request.description}]"
            )
        if not request.filters and request.columns is None:
            return
        try:
            for oid in tables:
                table = await self._catalog.table(oid)
                if table is not None:
                    await self._validate_for(table, request, caller)
        except _Invalid as error:
            raise RequestRefused(
                "Unable to subscribe to changes with given parameters. An exception happened so please check your "
                f"connect parameters: [{request.description}]. Exception: {error}"
            ) from error

    async def _validate_for(self, table: Table, request: ChangeRequest, caller: Caller) -> None:
        rights = await self._catalog.rights(table.oid, caller.role)
        for item in request.filters:
            await self._validate_filter(item, _column(table, rights, item.column, "filter"), caller)
        for name in request.columns or ():
            _column(table, rights, name, "select")

    async def _validate_filter(self, item: Filter, column: Column, caller: Caller) -> None:
        if item.operator is Operator.IS:
            if item.value not in IS_VALUES:
                raise _Invalid("invalid value for is filter: must be null, true, false, or unknown")
            if item.value == "null" or column.type_oid == BOOL_OID:
                return
        elif item.operator is not Operator.IN and local_predicate(item, column) is not None:
            return
        try:
            async with self._door.transaction(
                caller, read_only=True, rollback=True, search_path=self._search_path
            ) as connection:
                await _validate_operand(connection, item, column)
        except DatabaseError as error:
            message = f"{error.message}\n\n{error.details}" if error.details else error.message
            raise _Invalid(message, error.sqlstate, _condition_name(error.sqlstate)) from error


async def _validate_operand(connection: DoorConnection, item: Filter, column: Column) -> None:
    if item.operator is Operator.IS:
        found = await connection.fetchval(_TYPE_SQL, column.type_oid)
        raise _Invalid(f"is {item.value} filter requires a boolean column, got {found}")
    if item.operator in _PATTERNS:
        if not await connection.fetchval(_HAS_OPERATOR_SQL, _PATTERNS[item.operator], column.type_oid):
            found = await connection.fetchval(_TYPE_SQL, column.type_oid)
            raise _Invalid(f"operator {item.operator} requires a text-compatible column type, got {found}")
        if item.operator in (Operator.MATCH, Operator.IMATCH):
            try:
                await connection.fetchval("select '' ~ $1::text", item.value)
            except DatabaseError as error:
                raise _Invalid(f"invalid regular expression for {item.operator} filter: {error.message}") from error
        return
    if item.operator is Operator.IN:
        count = await connection.fetchval(f"select cardinality($1::text::{column.type_sql}[])", item.value)
        if count > MAX_IN_VALUES:
            raise _Invalid("too many values for `in` filter. Maximum 100")
        return
    # The whole condition on a NULL: the cast must work, and the type must have the operator.
    await connection.fetchval(f"select {sql_condition(item, column, 'null::text', '$1::text')}", item.value)


def _column(table: Table, rights: RoleRights, name: str, what: str) -> Column:
    column = table.columns.get(name)
    if column is None or name not in rights.columns:
        raise _Invalid(f"invalid column for {what} {name}")
    return column


def _condition_name(sqlstate: str) -> str:
    """PostgreSQL's name of the conditions that a cast raises; the class's name for the rest."""
    names = {
        "22P02": "invalid_text_representation",
        "22007": "invalid_datetime_format",
        "22008": "datetime_field_overflow",
        "22003": "numeric_value_out_of_range",
        "23514": "check_violation",
        "42501": "insufficient_privilege",
        "57014": "query_canceled",
    }
    return names.get(sqlstate, "data_exception")

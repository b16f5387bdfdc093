"""Execute: rows of a table made at run time, each request one transaction of the caller at the RLS door.

The policies of the table decide; here only what no policy can say is refused. PostgreSQL builds the JSON.
Neighbours: ``rows_query`` and ``row_bodies`` (parse), ``page`` and ``query`` (plan and SQL), ``tables`` (finds the table),
``row_errors`` (which value was wrong).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from starlette.responses import Response

from isobase_platform.errors import (
    BadRequest,
    DatabaseError,
    Forbidden,
    IsobaseError,
    NotFound,
    TokenError,
    TokenRefusal,
)
from isobase_platform.rls import DoorConnection
from isobase_platform.runtime import Platform
from isobase_platform.sql import qualified, quote_identifier
from isobase_platform.wire_messages import Row, Step
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic.access import Actor
from isobase_services.database.dynamic.column_types import shown_type
from isobase_services.database.dynamic.definition import OWNER_CONSTRAINT
from isobase_services.database.dynamic.models import RowsTable
from isobase_services.database.dynamic.page import Page, plan_page
from isobase_services.database.dynamic.row_bodies import InsertOptions, NewRows, parse_row_id
from isobase_services.database.dynamic.row_errors import ValueFinder, is_value_error
from isobase_services.database.dynamic.rows_query import RowsQuery, check_columns, unknown_column
from isobase_services.database.idempotency import KeyedWrite
from isobase_services.database.query.ast import Field, Filter
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.schema_cache import Relation, SchemaCache
from isobase_services.database.query.sql_filter import Scope, logic_sql
from isobase_services.database.query.sql_write import Payload, Upsert, delete_sql, insert_sql, update_sql

__all__ = ["Keeping", "RowStore"]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
TWICE_IN_ONE_UPSERT = "21000"
"""SQLSTATE of a statement that would change a row twice."""
_SET_BY_SERVER = ("created_at", "owner")


@dataclass(slots=True, frozen=True)
class Keeping:
    """A write that came with a key, and the answer that its rows (a JSON array in text) and their number make."""

    write: KeyedWrite
    respond: Callable[[str, int], Response]


class _NothingWritten(Exception):
    """The statement found no row that it may write."""


class RowStore:
    """Rows of a table that ``TableStore.find_for_rows`` let through."""

    def __init__(self, platform: Platform, keeper: CacheKeeper) -> None:
        self._platform = platform
        self._keeper = keeper
        self._rest = platform.settings.rest

    async def read(self, actor: Actor, table: RowsTable, query: RowsQuery) -> Page:
        """The rows that the caller may see. Raises ``BadRequest`` naming the column of a filter's value that does not fit."""
        cache, relation = await self._relation(table)
        check_columns(query, relation)
        statement = plan_page(cache, relation, query, self._rest.max_rows)
        try:
            with _sign_in_for_more(actor):
                [rows] = await self._platform.door.once(
                    actor.caller,
                    [(statement.sql, statement.values)],
                    read_only=True,
                    search_path=self._search_path(table.schema),
                )
        except DatabaseError as error:
            finder = ValueFinder(self._platform, actor, relation)
            found = await finder.in_filters(query.filters.get((), ())) if is_value_error(error) else None
            raise found or error from error
        return statement.page(rows[0])  # an aggregate always gives a row

    async def get(self, actor: Actor, table: RowsTable, row_id: str, query: RowsQuery) -> str:
        """One row as a JSON object in text. Raises ``NotFound`` for one that is not there or not visible."""
        _, relation = await self._relation(table)
        key = _key(relation, row_id)
        if not await self._can_be_key(actor, relation, key):
            raise _no_row()
        only = replace(
            query,
            filters={**query.filters, (): (*query.filters.get((), ()), *_by(key))},
            ranges={**query.ranges, (): (1, None)},
            counts=False,
            cursor=None,
        )
        page = await self.read(actor, table, only)
        if page.rows == "[]":
            raise _no_row()
        return page.rows.strip()[1:-1]

    async def insert(
        self, actor: Actor, table: RowsTable, new: NewRows, options: InsertOptions, keeping: Keeping | None = None
    ) -> tuple[str, int]:
        """Insert, and return the rows as a JSON array in text, in the order given, and their number. All of them or none.

        Raises 401 (``user_not_found``) for a token whose user is gone; ``BadRequest`` (``invalid_value``) naming column,
        type and value; ``DatabaseError`` for what constraints and policies refuse.
        """
        _, relation = await self._relation(table)
        self._check_names(actor, relation, new.names, is_insert=True)
        for name in options.conflict:
            if name not in relation.columns:
                raise unknown_column(name, relation)
        parameters = Parameters()
        payload = Payload(new.payload, new.is_single, new.names, fills_defaults=True)
        upsert = Upsert(options.conflict or relation.primary_key, options.upsert == "merge") if options.upsert else None
        returning = () if options.is_minimal else tuple(relation.columns)
        written = insert_sql(relation, payload, parameters, upsert=upsert, returning=returning)
        try:
            return await self._write(actor, table, written, parameters, keeping=keeping)
        except DatabaseError as error:
            if error.constraint == OWNER_CONSTRAINT and not actor.caller.is_service:
                raise IsobaseError("The user of the token is gone", code="user_not_found", status=401) from error
            if error.sqlstate == TWICE_IN_ONE_UPSERT:
                names = ", ".join(options.conflict or relation.primary_key)
                message = f"Two rows of the list have the same {names}: an upsert changes a row once"
                raise BadRequest(message, code="row_given_twice") from error
            if error.sqlstate == "42P10":
                names = ", ".join(options.conflict)
                raise BadRequest(f"There is no unique key of {names} to tell rows by", code="invalid_query") from error
            raise await self._explained(actor, relation, new, error) from error

    async def update(
        self, actor: Actor, table: RowsTable, row_id: str, change: NewRows, keeping: Keeping | None = None
    ) -> str:
        """Change one row, and return it as a JSON array in text.

        Raises ``NotFound`` for a row that is not there or not visible, ``Forbidden`` for one that the caller may only
        read; else as ``insert``.
        """
        _, relation = await self._relation(table)
        key = _key(relation, row_id)
        self._check_names(actor, relation, change.names, is_insert=False)
        parameters = Parameters()
        payload = Payload(change.payload, True, change.names)
        written = update_sql(relation, payload, _by(key), parameters, tuple(relation.columns))
        try:
            body, _ = await self._write(actor, table, written, parameters, (relation, key), keeping)
        except DatabaseError as error:
            if is_value_error(error) and not await self._can_be_key(actor, relation, key):
                raise _no_row() from error
            raise await self._explained(actor, relation, change, error) from error
        return body

    async def delete(self, actor: Actor, table: RowsTable, row_id: str, keeping: Keeping | None = None) -> None:
        """Delete one row. Raises as ``update``."""
        _, relation = await self._relation(table)
        key = _key(relation, row_id)
        parameters = Parameters()
        written = delete_sql(relation, _by(key), parameters, relation.primary_key)
        try:
            await self._write(actor, table, written, parameters, (relation, key), keeping)
        except DatabaseError as error:
            if is_value_error(error) and not await self._can_be_key(actor, relation, key):
                raise _no_row() from error
            raise

    async def _can_be_key(self, actor: Actor, relation: Relation, key: Mapping[str, str]) -> bool:
        """Whether the columns of the key can hold these values; asked of PostgreSQL where Python cannot tell."""
        types = {relation.columns[name].type for name in key}
        if types <= {"text"}:
            return True
        if types == {"uuid"}:
            return all(_UUID.fullmatch(value) for value in key.values())
        return await ValueFinder(self._platform, actor, relation).is_key(key)

    async def _explained(self, actor: Actor, relation: Relation, new: NewRows, error: DatabaseError) -> IsobaseError:
        """The error of a write with column, expected type and value, where it is about a value."""
        if is_value_error(error):
            return await ValueFinder(self._platform, actor, relation).in_rows(new) or error
        column = relation.columns.get(error.column or "") if error.sqlstate == "23502" else None
        if column is None:
            return error
        return BadRequest(
            f"The column {column.name} must not be null",
            code=error.sqlstate,
            details=f"expected {shown_type(column.type)}, got null",
        )

    async def _write(
        self,
        actor: Actor,
        table: RowsTable,
        written: str,
        parameters: Parameters,
        target: tuple[Relation, Mapping[str, str]] | None = None,
        keeping: Keeping | None = None,
    ) -> tuple[str, int]:
        shown = "select coalesce(json_agg(w)::text, '[]') as body, count(*) as rows from written as w"
        sql = f"with written as ({written}) {shown}"
        path = self._search_path(table.schema)
        with _sign_in_for_more(actor):
            if keeping is not None:
                return await self._write_once(actor, (sql, parameters.values), path, target, keeping)
            async with self._platform.door.transaction(actor.caller, search_path=path) as connection:
                [[body, count]] = await connection.run(sql, parameters.values)  # an aggregate always gives a row
                number = int.from_bytes(count or b"")
                if target is not None and number == 0:
                    raise await _why_not_written(connection, *target)
        return (body or b"").decode(), number

    async def _write_once(
        self,
        actor: Actor,
        statement: Step,
        path: tuple[str, ...],
        target: tuple[Relation, Mapping[str, str]] | None,
        keeping: Keeping,
    ) -> tuple[str, int]:
        """The same, with its answer kept in the transaction."""
        written: list[tuple[str, int]] = []

        def settle(rows: list[list[Row]]) -> list[Step]:
            [[[body, count]]] = rows
            number = int.from_bytes(count or b"")
            if target is not None and number == 0:
                raise _NothingWritten
            written.append(((body or b"").decode(), number))
            return [keeping.write.keep(keeping.respond(*written[-1]))]

        door = self._platform.door
        try:
            await door.settled(actor.caller, [keeping.write.claim], [statement], settle, search_path=path)
        except _NothingWritten:
            if target is None:
                raise
            async with door.transaction(actor.caller, read_only=True, search_path=path) as connection:
                raise await _why_not_written(connection, *target) from None
        return written[-1]

    async def _relation(self, table: RowsTable) -> tuple[SchemaCache, Relation]:
        """The table in the schema cache. Another process may have made it a moment ago: then the cache is read anew."""
        found = self._cached(table)
        if found is None:
            await self._keeper.reload_database(table.schema)
            found = self._cached(table)
        if found is None:
            raise DatabaseError("The table was changed or dropped meanwhile", "42P01")  # the caller looks for it again
        return self._keeper.cache, found

    def _cached(self, table: RowsTable) -> Relation | None:
        relation = self._keeper.cache.relations.get((table.schema, table.name))
        if relation is None or relation.oid != table.oid:
            return None
        return relation if tuple((one.name, one.type) for one in relation.columns.values()) == table.columns else None

    @staticmethod
    def _check_names(actor: Actor, relation: Relation, names: Sequence[str], *, is_insert: bool) -> None:
        for name in names:
            if name not in relation.columns:
                raise unknown_column(name, relation)
            if actor.caller.is_service:
                continue
            if name in _SET_BY_SERVER:
                raise BadRequest(f"The column {name} is set by the server", code="read_only_column")
            if name in relation.primary_key and not is_insert:
                message = f"The column {name} is part of the primary key, by which the row is known"
                raise BadRequest(
                    message, code="read_only_column", hint="Insert a row with the new key, and delete this one"
                )

    def _search_path(self, schema: str) -> tuple[str, ...]:
        return (schema, *self._rest.extra_search_path)


@contextmanager
def _sign_in_for_more(actor: Actor) -> Iterator[None]:
    """What policies refuse to anon asks for a sign-in."""
    try:
        yield
    except DatabaseError as error:
        if actor.is_anon and error.is_insufficient_privilege:
            raise TokenError("Sign in first: this needs a user's bearer token", TokenRefusal.CLAIMS) from error
        raise


def _key(relation: Relation, row_id: str) -> dict[str, str]:
    """The values of the primary key by the names of its columns. Raises ``NotFound`` for a text that can be none."""
    values = parse_row_id(row_id, len(relation.primary_key)) if relation.primary_key else None
    if values is None:
        raise _no_row()
    return dict(zip(relation.primary_key, values, strict=True))


def _by(key: Mapping[str, str]) -> list[Filter]:
    return [Filter(Field(name), "eq", value) for name, value in key.items()]


async def _why_not_written(
    connection: DoorConnection, relation: Relation, key: Mapping[str, str]
) -> NotFound | Forbidden:
    """A row that the caller sees and yet did not change is one that they may only read."""
    parameters = Parameters()
    name = quote_identifier(relation.name)
    scope = Scope(name, relation.types)
    where = " and ".join(logic_sql(one, scope, parameters) for one in _by(key))
    sql = f"select 1 from {qualified(*relation.key)} as {name} where {where}"  # noqa: S608  quoted names
    is_visible = bool(await connection.run(sql, parameters.values))
    return Forbidden("You may read this row and not change it") if is_visible else _no_row()


def _no_row() -> NotFound:
    return NotFound("There is no such row", code="row_not_found")

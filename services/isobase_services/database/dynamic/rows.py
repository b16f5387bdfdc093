"""Execute: rows of a table made at run time, each request one transaction of the caller at the RLS door.

The policies of the table decide; here only what no policy can say is refused. PostgreSQL builds the JSON.
Neighbours: ``rows_query`` (parse), ``query`` (plan and SQL), ``tables`` (finds the table).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

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
from isobase_platform.sql import qualified
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic.access import Actor
from isobase_services.database.dynamic.definition import OWNER_CONSTRAINT
from isobase_services.database.dynamic.models import RowsTable
from isobase_services.database.dynamic.rows_query import RowsQuery, check_columns, unknown_column
from isobase_services.database.query.ast import Field, Filter
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import plan_read
from isobase_services.database.query.schema_cache import Relation, SchemaCache
from isobase_services.database.query.sql_read import count_sql, read_sql
from isobase_services.database.query.sql_write import Payload, delete_sql, insert_sql, update_sql

__all__ = ["NewRows", "RowStore", "parse_new_rows", "parse_row_change"]

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON writes it, and not a backslash followed by u0000. PostgreSQL's text cannot hold it."""
_SET_BY_SERVER = ("created_at", "owner")


@dataclass(slots=True, frozen=True)
class NewRows:
    """Rows to insert as JSON text, the names in any of them, and whether the body was one object."""

    payload: str
    names: tuple[str, ...]
    is_single: bool


def parse_new_rows(raw: bytes, max_rows: int) -> NewRows:
    """A body of one object or a list of objects, which need not have the same names. Raises ``BadRequest``."""
    text, value = _json(raw)
    rows: list[object] = value if isinstance(value, list) else [value]
    objects = [row for row in rows if isinstance(row, dict)]
    if not objects or len(objects) != len(rows):
        raise BadRequest("The body must be an object or a list of objects, at least one", code="invalid_body")
    if len(rows) > max_rows:
        raise BadRequest(f"At most {max_rows} rows can be inserted at once", code="too_many_rows")
    names = tuple(dict.fromkeys(name for row in objects for name in row))
    return NewRows(text, names, not isinstance(value, list))


def parse_row_change(raw: bytes) -> NewRows:
    """A body of one object with the columns to change, at least one. Raises ``BadRequest``."""
    text, value = _json(raw)
    if not isinstance(value, dict) or not value:
        raise BadRequest("The body must be an object with the columns to change", code="invalid_body")
    return NewRows(text, tuple(value), True)


def _json(raw: bytes) -> tuple[str, object]:
    try:
        text = raw.decode()
        value: object = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadRequest("The request body is not valid JSON", code="invalid_json") from error
    if _NUL.search(text):
        raise BadRequest("A text must not hold NUL", code="invalid_text")
    return text, value


class RowStore:
    """Rows of a table that ``TableStore.find_for_rows`` let through."""

    def __init__(self, platform: Platform, keeper: CacheKeeper) -> None:
        self._platform = platform
        self._keeper = keeper
        self._rest = platform.settings.rest

    async def read(self, actor: Actor, table: RowsTable, query: RowsQuery) -> tuple[str, int | None]:
        """The rows as a JSON array in text, and the number of all that match where it was asked for."""
        cache, relation = await self._relation(table)
        check_columns(query, relation)
        node = plan_read(
            cache,
            relation.key,
            tuple(relation.columns),
            relation.types,
            select=query.select,
            filters=query.filters,
            orders=query.orders,
            ranges=query.ranges,
            max_rows=self._rest.max_rows,
        )
        parameters = Parameters()
        source = read_sql(node, parameters)
        total = f"(select count(*) from ({count_sql(node, parameters)}) as c)" if query.counts else "null::bigint"  # noqa: S608  composed by the engine
        sql = f"select coalesce(json_agg(s)::text, '[]') as body, {total} as total from ({source}) as s"  # noqa: S608  composed by the engine
        with _sign_in_for_more(actor):
            [rows] = await self._platform.door.once(
                actor.caller, [(sql, parameters.values)], read_only=True, search_path=self._search_path(table.schema)
            )
        text, number = rows[0]  # an aggregate always gives a row
        return (text or b"").decode(), None if number is None else int.from_bytes(number)

    async def get(self, actor: Actor, table: RowsTable, row_id: UUID, query: RowsQuery) -> str:
        """One row as a JSON object in text. Raises ``NotFound`` for one that is not there or not visible."""
        only = replace(
            query,
            filters={**query.filters, (): (*query.filters.get((), ()), _by_id(row_id))},
            ranges={path: cut for path, cut in query.ranges.items() if path},
            counts=False,
        )
        body, _ = await self.read(actor, table, only)
        if body == "[]":
            raise _no_row()
        return body.strip()[1:-1]

    async def insert(self, actor: Actor, table: RowsTable, new: NewRows) -> str:
        """Insert, and return the rows as a JSON array in text, in the order given. All of them or none.

        Raises 401 (``user_not_found``) for a token whose user is gone.
        """
        _, relation = await self._relation(table)
        self._check_names(actor, relation, new.names, is_insert=True)
        parameters = Parameters()
        payload = Payload(new.payload, new.is_single, new.names, fills_defaults=True)
        written = insert_sql(relation, payload, parameters, upsert=None, returning=tuple(relation.columns))
        try:
            return await self._write(actor, table, written, parameters)
        except DatabaseError as error:
            if error.constraint == OWNER_CONSTRAINT and not actor.caller.is_service:
                raise IsobaseError("The user of the token is gone", code="user_not_found", status=401) from error
            raise

    async def update(self, actor: Actor, table: RowsTable, row_id: UUID, change: NewRows) -> str:
        """Change one row, and return it as a JSON object in text.

        Raises ``NotFound`` for a row that is not there or not visible, ``Forbidden`` for one that the caller may only read.
        """
        _, relation = await self._relation(table)
        self._check_names(actor, relation, change.names, is_insert=False)
        parameters = Parameters()
        payload = Payload(change.payload, True, change.names)
        written = update_sql(relation, payload, [_by_id(row_id)], parameters, tuple(relation.columns))
        body = await self._write(actor, table, written, parameters, (relation, row_id))
        return body.strip()[1:-1]

    async def delete(self, actor: Actor, table: RowsTable, row_id: UUID) -> None:
        """Delete one row. Raises as ``update``."""
        _, relation = await self._relation(table)
        parameters = Parameters()
        written = delete_sql(relation, [_by_id(row_id)], parameters, ("id",))
        await self._write(actor, table, written, parameters, (relation, row_id))

    async def _write(
        self,
        actor: Actor,
        table: RowsTable,
        written: str,
        parameters: Parameters,
        target: tuple[Relation, UUID] | None = None,
    ) -> str:
        shown = "select coalesce(json_agg(w)::text, '[]') as body, count(*) as rows from written as w"
        sql = f"with written as ({written}) {shown}"
        path = self._search_path(table.schema)
        with _sign_in_for_more(actor):
            async with self._platform.door.transaction(actor.caller, search_path=path) as connection:
                [[body, count]] = await connection.run(sql, parameters.values)  # an aggregate always gives a row
                if target is not None and int.from_bytes(count or b"") == 0:
                    raise await _why_not_written(connection, *target)
        return (body or b"").decode()

    async def _relation(self, table: RowsTable) -> tuple[SchemaCache, Relation]:
        """The table in the schema cache. Another process may have made it a moment ago: then the cache is read anew."""
        found = self._cached(table)
        if found is None:
            await self._keeper.reload()
            found = self._cached(table)
        if found is None:
            raise NotFound("There is no such table", code="table_not_found")  # dropped meanwhile
        return self._keeper.cache, found

    def _cached(self, table: RowsTable) -> Relation | None:
        relation = self._keeper.cache.relations.get((table.schema, table.name))
        is_same = relation is not None and relation.oid == table.oid and tuple(relation.columns) == table.columns
        return relation if is_same else None

    @staticmethod
    def _check_names(actor: Actor, relation: Relation, names: Sequence[str], *, is_insert: bool) -> None:
        for name in names:
            if name not in relation.columns:
                raise unknown_column(name, relation)
            is_fixed = name in _SET_BY_SERVER or (name == "id" and not is_insert)
            if is_fixed and not actor.caller.is_service:
                raise BadRequest(f"The column {name} is set by the server", code="read_only_column")

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


def _by_id(row_id: UUID) -> Filter:
    return Filter(Field("id"), "eq", str(row_id))


async def _why_not_written(connection: DoorConnection, relation: Relation, row_id: UUID) -> NotFound | Forbidden:
    """A row that the caller sees and yet did not change is one that he may only read."""
    target = qualified(*relation.key)
    sql = f"select exists (select from {target} where id = $1)"  # noqa: S608  a quoted name
    is_visible = await connection.fetchval(sql, row_id)
    return Forbidden("You may read this row and not change it") if is_visible else _no_row()


def _no_row() -> NotFound:
    return NotFound("There is no such row", code="row_not_found")

"""``/db`` as an ASGI app: the routes, one handler each, one line per stage."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.errors import DatabaseError, IsobaseError, NotFound
from isobase_platform.http.body import read_body
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic.access import Act, Actor, actor_of, decide, require, standing_of
from isobase_services.database.dynamic.bodies import (
    DatabaseBody,
    MemberBody,
    NewMemberBody,
    TableBody,
    read_body_model,
)
from isobase_services.database.dynamic.change_bodies import TableChangeBody
from isobase_services.database.dynamic.definition import schema_name_of
from isobase_services.database.dynamic.members import MemberStore
from isobase_services.database.dynamic.models import RowsTable
from isobase_services.database.dynamic.render import (
    database_body,
    json_answer,
    member_body,
    page_answer,
    render_error,
    row_answer,
    rows_answer,
    table_body,
)
from isobase_services.database.dynamic.row_bodies import parse_insert_options, parse_new_rows, parse_row_change
from isobase_services.database.dynamic.rows import Keeping, RowStore
from isobase_services.database.dynamic.rows_query import parse_rows_query
from isobase_services.database.dynamic.store import DatabaseStore
from isobase_services.database.dynamic.table_changes import TableChanger
from isobase_services.database.dynamic.tables import TableStore
from isobase_services.database.idempotency import IdempotentWrites, KeyedWrite

__all__ = ["create_dynamic_app"]

_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_RowsWork: TypeAlias = Callable[[Actor, RowsTable], Awaitable[Response]]
_WriteWork: TypeAlias = Callable[[Actor, RowsTable, KeyedWrite | None], Awaitable[Response]]
MAX_TRIES = 4
"""How often a request about rows is tried where its table changes meanwhile."""
_RAW_BODY = "isobase.row_body"
_STALE = frozenset({"42703", "42P01", "42804", "0A000"})
"""SQLSTATEs of a statement that was planned on a table as it is no more."""

_log = logging.getLogger("isobase.database")


def create_dynamic_app(platform: Platform, keeper: CacheKeeper, once: IdempotentWrites) -> ASGIApp:
    """The app of the mount ``/db``. ``once`` keeps the answers of writes of rows that come with an Idempotency-Key."""
    face = _DynamicFace(platform, keeper, once)
    tables, rows = "/{database_id}/tables", "/{database_id}/tables/{table_id}/rows"
    routes = [
        _route("/", GET=face.list_databases, POST=face.create_database),
        _route("/{database_id}", GET=face.get_database, DELETE=face.delete_database),
        _route("/{database_id}/members", GET=face.list_members, POST=face.add_member),
        _route(
            "/{database_id}/members/{user_id}",
            PUT=face.put_member,
            PATCH=face.change_member,
            DELETE=face.remove_member,
        ),
        _route(tables, GET=face.list_tables, POST=face.create_table),
        _route(tables + "/{table_id}", GET=face.get_table, PATCH=face.change_table, DELETE=face.delete_table),
        _route(rows, GET=face.read_rows, POST=face.insert_rows),
        _route(rows + "/{row_id:path}", GET=face.get_row, PATCH=face.update_row, DELETE=face.delete_row),
    ]
    return ErrorBoundary(_in_app(Router(routes=routes, redirect_slashes=False)), render_error)


def _route(path: str, **handlers: _Handler) -> Route:
    """One route for all methods of a path, so that a 405 names every method that there is."""

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(handlers))


def _in_app(router: Router) -> ASGIApp:
    """Starlette's router speaks of unknown routes by exceptions, for ``ErrorBoundary``, only inside an application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == scope.get("root_path", ""):
            scope = {**scope, "path": scope["path"] + "/"}  # /db is the collection itself
        await router({**scope, "app": router}, receive, send)

    return app


class _DynamicFace:
    def __init__(self, platform: Platform, keeper: CacheKeeper, once: IdempotentWrites) -> None:
        self._platform = platform
        self._keeper = keeper
        self._once = once
        self._limits = limits = platform.settings.dynamic
        self._databases = DatabaseStore(platform, limits)
        self._members = MemberStore(platform, limits)
        self._tables = TableStore(platform, limits)
        self._changer = TableChanger(platform, limits)
        self._rows = RowStore(platform, keeper)

    # -- databases ------------------------------------------------------------------------------------------------------

    async def create_database(self, request: Request) -> Response:
        actor = self._signed_in(request)
        body = read_body_model(DatabaseBody, await self._definition(request))
        database = await self._databases.create(actor, body.name)
        await self._show_to_clients(database.schema)
        return json_answer(database_body(database), 201)

    async def list_databases(self, request: Request) -> Response:
        found = await self._databases.list_databases(self._signed_in(request))
        return json_answer({"databases": [database_body(database) for database in found]})

    async def get_database(self, request: Request) -> Response:
        actor = self._signed_in(request)
        return json_answer(database_body(await self._databases.get(actor, _id(request, "database"))))

    async def delete_database(self, request: Request) -> Response:
        actor, database_id = self._signed_in(request), _id(request, "database")
        database = await self._databases.delete(actor, database_id)
        await self._show_to_clients(database.schema)
        return json_answer({"database_id": str(database_id), "deleted": True})

    # -- members --------------------------------------------------------------------------------------------------------

    async def list_members(self, request: Request) -> Response:
        found = await self._members.list_members(self._signed_in(request), _id(request, "database"))
        return json_answer({"members": [member_body(member) for member in found]})

    async def add_member(self, request: Request) -> Response:
        actor, database_id = self._signed_in(request), _id(request, "database")
        body = read_body_model(NewMemberBody, await self._definition(request))
        return json_answer(member_body(await self._members.add(actor, database_id, body.user_id, body.role)), 201)

    async def put_member(self, request: Request) -> Response:
        actor, database_id, user_id = self._signed_in(request), _id(request, "database"), _id(request, "user")
        body = read_body_model(MemberBody, await self._definition(request))
        return json_answer(member_body(await self._members.put(actor, database_id, user_id, body.role)))

    async def change_member(self, request: Request) -> Response:
        actor, database_id, user_id = self._signed_in(request), _id(request, "database"), _id(request, "user")
        body = read_body_model(MemberBody, await self._definition(request))
        return json_answer(member_body(await self._members.change(actor, database_id, user_id, body.role)))

    async def remove_member(self, request: Request) -> Response:
        actor, database_id, user_id = self._signed_in(request), _id(request, "database"), _id(request, "user")
        await self._members.remove(actor, database_id, user_id)
        return json_answer({"user_id": str(user_id), "removed": True})

    # -- tables ---------------------------------------------------------------------------------------------------------

    async def create_table(self, request: Request) -> Response:
        actor, database_id = self._signed_in(request), _id(request, "database")
        body = read_body_model(TableBody, await self._definition(request))
        table = await self._tables.create(actor, database_id, body.spec())
        await self._show_to_clients(schema_name_of(database_id))
        return json_answer(table_body(table), 201)

    async def list_tables(self, request: Request) -> Response:
        found = await self._tables.list_tables(self._signed_in(request), _id(request, "database"))
        return json_answer({"tables": [table_body(table) for table in found]})

    async def get_table(self, request: Request) -> Response:
        actor = self._signed_in(request)
        return json_answer(table_body(await self._tables.get(actor, _id(request, "database"), _id(request, "table"))))

    async def change_table(self, request: Request) -> Response:
        actor, database_id, table_id = self._signed_in(request), _id(request, "database"), _id(request, "table")
        body = read_body_model(TableChangeBody, await self._definition(request))
        table = await self._changer.change(actor, database_id, table_id, body.change())
        await self._show_to_clients(schema_name_of(database_id))
        return json_answer(table_body(table))

    async def delete_table(self, request: Request) -> Response:
        actor, database_id, table_id = self._signed_in(request), _id(request, "database"), _id(request, "table")
        await self._tables.delete(actor, database_id, table_id)
        await self._show_to_clients(schema_name_of(database_id))
        return json_answer({"table_id": str(table_id), "deleted": True})

    # -- rows -----------------------------------------------------------------------------------------------------------

    async def insert_rows(self, request: Request) -> Response:
        async def work(actor: Actor, table: RowsTable, write: KeyedWrite | None) -> Response:
            options = parse_insert_options(request.scope["query_string"])
            new = parse_new_rows(await self._row_body(request), self._limits.rows_per_request)

            def respond(rows: str, number: int) -> Response:
                status = 201 if options.upsert is None else 200
                if options.is_minimal:
                    return json_answer({"written": number}, status)
                is_one = new.is_single and options.upsert != "ignore"
                return row_answer(rows.strip()[1:-1], status) if is_one else rows_answer(rows, status)

            return respond(*await self._rows.insert(actor, table, new, options, _keeping(write, respond)))

        return await self._on_written_rows(request, Act.INSERT_ROWS, work)

    async def read_rows(self, request: Request) -> Response:
        async def work(actor: Actor, table: RowsTable) -> Response:
            query = parse_rows_query(request.scope["query_string"])
            return page_answer(await self._rows.read(actor, table, query))

        return await self._on_rows(request, Act.READ_ROWS, work)

    async def get_row(self, request: Request) -> Response:
        async def work(actor: Actor, table: RowsTable) -> Response:
            query = parse_rows_query(request.scope["query_string"])
            return row_answer(await self._rows.get(actor, table, request.path_params["row_id"], query))

        return await self._on_rows(request, Act.READ_ROWS, work)

    async def update_row(self, request: Request) -> Response:
        async def work(actor: Actor, table: RowsTable, write: KeyedWrite | None) -> Response:
            change = parse_row_change(await self._row_body(request))

            def respond(rows: str, number: int = 1) -> Response:
                return row_answer(rows.strip()[1:-1])

            row_id = request.path_params["row_id"]
            return respond(await self._rows.update(actor, table, row_id, change, _keeping(write, respond)))

        return await self._on_written_rows(request, Act.CHANGE_ROWS, work)

    async def delete_row(self, request: Request) -> Response:
        async def work(actor: Actor, table: RowsTable, write: KeyedWrite | None) -> Response:
            row_id = request.path_params["row_id"]

            def respond(rows: str = "", number: int = 1) -> Response:
                return json_answer({"row_id": row_id, "deleted": True})

            await self._rows.delete(actor, table, row_id, _keeping(write, respond))
            return respond()

        return await self._on_written_rows(request, Act.CHANGE_ROWS, work)

    # -- what several need ----------------------------------------------------------------------------------------------

    def _actor(self, request: Request) -> Actor:
        return actor_of(self._platform, request.scope)

    def _signed_in(self, request: Request) -> Actor:
        """Before anything of the request is read: what is wrong with it is nobody's business but a user's."""
        actor = self._actor(request)
        require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")
        return actor

    async def _on_rows(self, request: Request, act: Act, work: _RowsWork) -> Response:
        """Find the table, and work on its rows. A table that was changed between the two is found anew."""
        actor = self._actor(request)
        ids = _id(request, "database"), _id(request, "table")
        for _ in range(MAX_TRIES - 1):
            try:
                return await work(actor, await self._tables.find_for_rows(actor, *ids, act=act))
            except DatabaseError as error:
                # Nothing was kept of what failed.
                if error.sqlstate not in _STALE:
                    raise
        return await work(actor, await self._tables.find_for_rows(actor, *ids, act=act))

    async def _on_written_rows(self, request: Request, act: Act, work: _WriteWork) -> Response:
        """The same for a write, which happens once where it has an Idempotency-Key."""
        write = None
        if "idempotency-key" in request.headers:
            caller = self._actor(request).caller
            body = None if request.method == "DELETE" else await self._row_body(request)
            write = self._once.write_of(request.scope, caller, body)

        async def attempt() -> Response:
            return await self._on_rows(request, act, lambda actor, table: work(actor, table, write))

        return await attempt() if write is None else await self._once.answer(write, attempt)

    async def _definition(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._limits.definition_body_bytes)

    async def _row_body(self, request: Request) -> bytes:
        """The body, read once."""
        raw: bytes | None = request.scope.get(_RAW_BODY)
        if raw is None:
            limit = self._platform.settings.rest.max_body_bytes
            raw = request.scope[_RAW_BODY] = await read_body(request.scope, request.receive, limit)
        return raw

    async def _show_to_clients(self, schema: str) -> None:
        """Read the database anew before the answer goes out, so that the client's next request finds what it made."""
        try:
            await self._keeper.reload_database(schema)
        except IsobaseError as error:
            # What was asked for is done and committed; only who sees it at once is open.
            _log.warning("schema cache reload failed, trying again", extra={"reason": error.message})
            self._keeper.want_reload()


def _id(request: Request, what: str) -> UUID:
    try:
        return UUID(request.path_params[f"{what}_id"])
    except ValueError as error:
        raise NotFound(f"There is no such {what}", code=f"{what}_not_found") from error


def _keeping(write: KeyedWrite | None, respond: Callable[[str, int], Response]) -> Keeping | None:
    return None if write is None else Keeping(write, respond)

"""Execute and render: one request in one transaction at the RLS door, and the answer's status, headers and bytes.

Source: PostgREST v14 ``Response.hs``, ``Query/Statements.hs``; contracts/rest.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import asyncpg
from starlette.responses import Response

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import RlsDoor
from isobase_services.database.query.ast import Filter
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import ReadNode, find_relation, plan_read
from isobase_services.database.query.schema_cache import Function, Relation, SchemaCache
from isobase_services.database.query.sql_filter import Parameters
from isobase_services.database.query.sql_read import count_sql, read_sql
from isobase_services.database.query.sql_write import (
    Upsert,
    call_sql,
    delete_sql,
    insert_sql,
    returning_columns,
    update_sql,
)
from isobase_services.database.rest.call import choose_function
from isobase_services.database.rest.request import ApiRequest, parse_payload

__all__ = ["Engine"]

JSON = "application/json"
OBJECT = "application/vnd.pgrst.object+json"
CSV = "text/csv"
_PRODUCED = (JSON, OBJECT, CSV)

_BODIES = {
    JSON: "coalesce(json_agg(s)::text, '[]')",
    OBJECT: "coalesce((json_agg(s)->0)::text, 'null')",
    CSV: (
        "(select coalesce(string_agg(k, ','), '') from json_object_keys((select row_to_json(f) from source as f limit 1)) as k)"
        " || e'\\n' || coalesce(string_agg(substring(s::text, 2, length(s::text) - 2), e'\\n'), '')"
    ),
}


@dataclass(slots=True, frozen=True)
class Engine:
    """What every request needs: the door and the limits."""

    door: RlsDoor
    extra_search_path: tuple[str, ...]
    max_rows: int | None

    # -- reads ----------------------------------------------------------------------------------------------------------

    async def read(self, request: ApiRequest, cache: SchemaCache, caller: Caller) -> Response:
        """GET or HEAD of a relation."""
        media = _media(request)
        relation = find_relation(cache, request.schema, request.target.name)
        node = self._plan(cache, relation, request)
        if node.limit == 0 and (node.offset or 0) > 0:
            raise _unsatisfiable(f"An offset of {node.offset} was requested, but there are only 0 rows.")
        parameters = Parameters()
        source = read_sql(node, parameters)
        total = "null::bigint"
        extra = ""
        if request.preferences.count == "exact":
            extra = f", total as (select count(*) as n from ({count_sql(node, parameters)}) as c)"
            total = "(select n from total)"
        sql = _statement(f"source as ({source}){extra}", media, total)
        async with self._transaction(request, caller, read_only=True) as connection:
            row = await connection.fetchrow(sql, *parameters.values)
            assert row is not None  # an aggregate always gives a row
            count = row["total"]
            if request.preferences.count in {"planned", "estimated"}:
                count = await self._estimate(connection, node)
        return self._rows_answer(request, row, node, count, media, {"count": request.preferences.count})

    async def _estimate(self, connection, node: ReadNode) -> int:  # type: ignore[no-untyped-def]
        parameters = Parameters()
        counted = count_sql(node, parameters)
        plan = await connection.fetchval(f"explain (format json) {counted}", *parameters.values)
        return int(json.loads(plan)[0]["Plan"]["Plan Rows"])

    def _plan(
        self,
        cache: SchemaCache,
        relation: Relation,
        request: ApiRequest,
        *,
        source: str | None = None,
        keeps_root_filters: bool = True,
    ) -> ReadNode:
        filters = request.filters if keeps_root_filters else {path: v for path, v in request.filters.items() if path}
        return plan_read(
            cache,
            relation.key,
            relation.columns,
            select=request.select,
            filters=filters,
            orders=request.orders,
            ranges=request.ranges if keeps_root_filters else {path: v for path, v in request.ranges.items() if path},
            max_rows=self.max_rows if keeps_root_filters else None,
            source=source,
        )

    def _rows_answer(
        self,
        request: ApiRequest,
        row: asyncpg.Record,
        node: ReadNode,
        total: int | None,
        media: str,
        honoured: Mapping[str, object],
    ) -> Response:
        rows: int = row["rows"]
        offset = node.offset or 0
        if media == OBJECT and rows != 1:
            raise _not_singular(rows)
        if total is not None and offset > 0 and offset >= total and (total > 0 or offset > 0):
            raise _unsatisfiable(
                f"An offset of {offset} was requested, but there are only {total} rows.",
                {"content-range": f"*/{total}"},
            )
        status = 206 if total is not None and rows < total else 200
        headers = {"content-range": _content_range(offset, rows, total)}
        if request.target.kind == "relation":
            query = urlencode(sorted(request.query), quote_via=quote)
            headers["content-location"] = f"/{quote(request.target.name)}" + (f"?{query}" if query else "")
        _add_profile(headers, request)
        _add_applied(
            headers, request.preferences.applied(**honoured, handling=request.preferences.handling == "strict")
        )
        return _answer(row, status, headers, media, is_head=request.method == "HEAD")

    # -- writes ---------------------------------------------------------------------------------------------------------

    async def insert(
        self, request: ApiRequest, cache: SchemaCache, caller: Caller, body: bytes, content_type: str | None
    ) -> Response:
        """POST or PUT of a relation."""
        media = _media(request)
        relation = find_relation(cache, request.schema, request.target.name)
        payload, keys, size = parse_payload(body, content_type, needs_equal_keys=request.columns is None)
        preferences = request.preferences
        names = list(request.columns) if request.columns is not None else keys
        if request.method == "PUT":
            upsert: Upsert | None = self._check_put(request, relation, payload, names)
        elif preferences.resolution is not None:
            upsert = Upsert(request.on_conflict or relation.primary_key, preferences.resolution == "merge-duplicates")
        else:
            upsert = None
        node = self._plan(cache, relation, request, source="written", keeps_root_filters=False)
        wants_rows = preferences.returns == "representation"
        parameters = Parameters()
        returned = returning_columns(node, relation) if wants_rows else []
        if preferences.returns == "headers-only" and relation.primary_key:
            returned = list(relation.primary_key)
        if upsert is not None and upsert.merges and wants_rows:
            returned = returned or list(relation.primary_key)
        written = insert_sql(
            relation,
            names,
            payload,
            parameters,
            is_object=size == -1,
            upsert=upsert,
            fills_defaults=preferences.missing == "default",
            returning=returned,
        )
        row = await self._write(request, caller, written, node, parameters, media, wants_rows)
        headers: dict[str, str] = {}
        count = row["rows"] if preferences.count == "exact" else None
        if request.method != "PUT":
            headers["content-range"] = f"*/{count if count is not None else '*'}"
        if preferences.returns == "headers-only" and row["rows"] == 1 and relation.primary_key:
            key = json.loads(row["keys"])
            query = "&".join(f"{quote(name)}=eq.{quote(str(key[name]))}" for name in relation.primary_key)
            headers["location"] = f"/{quote(relation.name)}?{query}"
        is_upsert = upsert is not None and bool(upsert.target)
        _add_applied(
            headers,
            preferences.applied(
                resolution=is_upsert and request.method != "PUT",
                missing=request.columns is not None or preferences.missing,
                returns=True,
                count=preferences.count,
                tx=False,
                handling=preferences.handling == "strict",
            ),
        )
        status = 201
        if request.method == "PUT":
            status = 201 if wants_rows and row["inserted"] else 200 if wants_rows else 204
        if not wants_rows:
            return Response(status_code=status, headers=headers | _no_content(status))
        if media == OBJECT and row["rows"] != 1:
            raise _not_singular(row["rows"])
        _add_profile(headers, request)
        return _answer(row, status, headers, media)

    def _check_put(self, request: ApiRequest, relation: Relation, payload: str, names: Sequence[str]) -> Upsert:
        filters = request.filters.get((), ())
        keys = {
            one.field.name: one.value
            for one in filters
            if isinstance(one, Filter) and one.operator == "eq" and not one.is_negated and not one.field.steps
        }
        if () in request.ranges:
            raise RequestError("limit/offset querystring parameters are not allowed for PUT", code="PGRST114")
        if len(keys) != len(filters) or set(keys) != set(relation.primary_key):
            raise RequestError(
                "Filters must include all and only primary key columns with 'eq' operators", code="PGRST105", status=405
            )
        value = json.loads(payload)
        rows = value if isinstance(value, list) else [value]
        if len(rows) != 1 or any(str(rows[0].get(name)) != text for name, text in keys.items()):
            raise RequestError("Payload values do not match URL in primary key column(s)", code="PGRST115")
        return Upsert(relation.primary_key, merges=True)

    async def update(
        self, request: ApiRequest, cache: SchemaCache, caller: Caller, body: bytes, content_type: str | None
    ) -> Response:
        """PATCH of a relation."""
        relation = find_relation(cache, request.schema, request.target.name)
        payload, keys, size = parse_payload(body, content_type, needs_equal_keys=request.columns is None)
        if size > 1:
            raise RequestError("All object keys must match", code="PGRST102")
        if size >= 0:
            payload = json.dumps(json.loads(payload)[0]) if size else "{}"
        names = list(request.columns) if request.columns is not None else keys
        parameters = Parameters()

        def written(returned: Sequence[str]) -> str:
            return update_sql(relation, names, payload, request.filters.get((), ()), parameters, returned)

        return await self._change(request, cache, caller, relation, parameters, written)

    async def delete(self, request: ApiRequest, cache: SchemaCache, caller: Caller) -> Response:
        """DELETE of a relation."""
        relation = find_relation(cache, request.schema, request.target.name)
        parameters = Parameters()

        def written(returned: Sequence[str]) -> str:
            return delete_sql(relation, request.filters.get((), ()), parameters, returned)

        return await self._change(request, cache, caller, relation, parameters, written)

    async def _change(self, request, cache, caller, relation, parameters, written) -> Response:  # type: ignore[no-untyped-def]
        media = _media(request)
        preferences = request.preferences
        wants_rows = preferences.returns == "representation"
        node = self._plan(cache, relation, request, source="written", keeps_root_filters=False)
        sql = written(returning_columns(node, relation) if wants_rows else [])
        row = await self._write(request, caller, sql, node, parameters, media, wants_rows)
        rows = row["rows"]
        count = rows if preferences.count == "exact" else None
        headers: dict[str, str] = {}
        if request.method == "PATCH":
            headers["content-range"] = _content_range(0, rows, count)
        else:
            headers["content-range"] = f"*/{count if count is not None else '*'}"
        _add_applied(
            headers,
            preferences.applied(
                returns=True,
                count=preferences.count,
                handling=preferences.handling == "strict",
                max_affected=preferences.handling == "strict",
            ),
        )
        if not wants_rows:
            return Response(status_code=204, headers=headers)
        if media == OBJECT and rows != 1:
            raise _not_singular(rows)
        _add_profile(headers, request)
        return _answer(row, 200, headers, media)

    async def _write(  # type: ignore[no-untyped-def]
        self, request, caller, written, node, parameters, media, wants_rows
    ) -> asyncpg.Record:
        preferences = request.preferences
        keys = "null::text as keys"
        if preferences.returns == "headers-only":
            keys = "(select row_to_json(w)::text from written as w limit 1) as keys"
        shown = read_sql(node, parameters) if wants_rows else "select 1 from written"
        body = _BODIES[media] if wants_rows else "''"
        sql = (
            f"with written as ({written}), source as ({shown})"
            f" select {body} as body, (select count(*) from written) as rows, null::bigint as total, {keys},"
            " true as inserted, nullif(current_setting('response.status', true), '') as status,"
            " nullif(current_setting('response.headers', true), '') as headers from source as s"
        )
        async with self._transaction(request, caller) as connection:
            row = await connection.fetchrow(sql, *parameters.values)
            assert row is not None  # an aggregate always gives a row
            limit = preferences.max_affected
            if limit is not None and preferences.handling == "strict" and row["rows"] > limit:
                raise RequestError(
                    "Query result exceeds max-affected preference constraint",
                    code="PGRST124",
                    details=f"The query affects {row['rows']} rows",
                )
            if media == OBJECT and wants_rows and row["rows"] != 1:
                raise _not_singular(row["rows"])
        return row

    # -- functions ------------------------------------------------------------------------------------------------------

    async def call(
        self, request: ApiRequest, cache: SchemaCache, caller: Caller, body: bytes, content_type: str | None
    ) -> Response:
        """GET, HEAD or POST of a function."""
        is_get = request.method in {"GET", "HEAD"}
        chosen = choose_function(cache, request, body, content_type)
        function = chosen.function
        media = _media(request)
        parameters = Parameters()
        called = call_sql(function, chosen.names, chosen.payload, parameters, is_whole_body=chosen.is_whole_body)
        if function.is_scalar or function.is_void:
            return await self._scalar(request, caller, function, called, parameters, is_get)
        relation = cache.relations.get(function.return_relation) if function.return_relation else None
        node = plan_read(
            cache,
            function.return_relation or (function.schema, function.name),
            relation.columns if relation is not None else {},
            select=request.select,
            filters=chosen.filters,
            orders=request.orders,
            ranges=request.ranges,
            max_rows=self.max_rows,
            source="written",
        )
        shown = read_sql(node, parameters)
        total = "null::bigint"
        if request.preferences.count == "exact":
            total = f"(select count(*) from ({count_sql(node, parameters)}) as c)"
        one = not function.returns_set and media == JSON
        body_sql = "coalesce((json_agg(s)->0)::text, 'null')" if one else _BODIES[media]
        sql = _statement(f"written as ({called}), source as ({shown})", media, total, body_sql)
        async with self._transaction(request, caller, read_only=is_get, settings=function.settings) as connection:
            row = await connection.fetchrow(sql, *parameters.values)
            assert row is not None  # an aggregate always gives a row
            if media == OBJECT and row["rows"] != 1:
                raise _not_singular(row["rows"])
        return self._rows_answer(request, row, node, row["total"], media, {"count": request.preferences.count})

    async def _scalar(  # type: ignore[no-untyped-def]
        self, request: ApiRequest, caller: Caller, function: Function, called: str, parameters: Parameters, is_get: bool
    ) -> Response:
        media = _media(request, also=("text/plain", "application/octet-stream"))
        if function.returns_set:
            body = "coalesce(json_agg(s.pgrst_scalar)::text, '[]')"
        elif media in {"text/plain", "application/octet-stream"}:
            body = "coalesce(string_agg(s.pgrst_scalar::text, ''), '')"
        elif function.is_void:
            body = "''"
        else:
            body = "coalesce((json_agg(s.pgrst_scalar)->0)::text, 'null')"
        sql = _statement(f"source as ({called})", media, "null::bigint", body)
        async with self._transaction(request, caller, read_only=is_get, settings=function.settings) as connection:
            row = await connection.fetchrow(sql, *parameters.values)
            assert row is not None  # an aggregate always gives a row
        headers = {"content-range": f"0-{max(row['rows'] - 1, 0)}/*" if row["rows"] else "*/*"}
        _add_profile(headers, request)
        if function.is_void:
            return _answer(row, 204, headers, media, is_head=True)
        shown = JSON if media in {OBJECT, CSV} else media
        return _answer(row, 200, headers, shown, is_head=request.method == "HEAD")

    def _transaction(self, request: ApiRequest, caller: Caller, *, read_only=False, settings=None):  # type: ignore[no-untyped-def]
        wanted = dict(settings or {})
        if request.preferences.timezone is not None and request.preferences.handling != "strict":
            wanted["timezone"] = request.preferences.timezone
        return self.door.transaction(
            caller,
            read_only=read_only,
            search_path=(request.schema, *self.extra_search_path),
            settings=wanted,
        )


def _statement(ctes: str, media: str, total: str, body: str | None = None) -> str:
    return (
        f"with {ctes} select {body or _BODIES[media]} as body, count(*) as rows, {total} as total,"
        " nullif(current_setting('response.status', true), '') as status,"
        " nullif(current_setting('response.headers', true), '') as headers from source as s"
    )


def _media(request: ApiRequest, also: Sequence[str] = ()) -> str:
    """The first acceptable media type that we produce. PGRST107 (406) where there is none."""
    for wanted in request.accept:
        kind = wanted.partition(";")[0]
        if kind in {"*/*", "application/*", "application/vnd.pgrst.array+json"}:
            return JSON
        if kind in _PRODUCED or kind in also:
            return kind
    raise RequestError(
        f"None of these media types are available: {', '.join(request.accept)}", code="PGRST107", status=406
    )


def _answer(
    row: asyncpg.Record, status: int, headers: dict[str, str], media: str, *, is_head: bool = False
) -> Response:
    status, headers = _set_by_function(row, status, headers)
    headers["content-type"] = f"{media}; charset=utf-8"
    body = b"" if is_head else str(row["body"]).encode()
    response = Response(body, status_code=status, headers=headers)
    if is_head:
        del response.headers["content-length"]
    return response


def _set_by_function(row: asyncpg.Record, status: int, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """``response.status`` and ``response.headers``, which a function may set for its own answer."""
    if row["status"] is not None:
        if not str(row["status"]).isdigit() or not 100 <= int(row["status"]) <= 599:
            raise RequestError("response.status guc must be a valid status code", code="PGRST112", status=500)
        status = int(row["status"])
    if row["headers"] is not None:
        try:
            for entry in json.loads(row["headers"]):
                ((name, value),) = entry.items()
                headers[str(name).lower()] = str(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                "response.headers guc must be a JSON array composed of objects with a single key and a string value",
                code="PGRST111",
                status=500,
            ) from error
    return status, headers


def _content_range(offset: int, rows: int, total: int | None) -> str:
    span = f"{offset}-{offset + rows - 1}" if rows else "*"
    return f"{span}/{total if total is not None else '*'}"


def _add_profile(headers: dict[str, str], request: ApiRequest) -> None:
    if request.profile_given:
        headers["content-profile"] = request.schema


def _add_applied(headers: dict[str, str], applied: str | None) -> None:
    if applied:
        headers["preference-applied"] = applied


def _no_content(status: int) -> dict[str, str]:
    return {"content-length": "0"} if status != 204 else {}


def _not_singular(rows: int) -> RequestError:
    return RequestError(
        "Cannot coerce the result to a single JSON object",
        code="PGRST116",
        status=406,
        details=f"The result contains {rows} rows",
    )


def _unsatisfiable(details: str, headers: Mapping[str, str] | None = None) -> RequestError:
    error = RequestError("Requested range not satisfiable", code="PGRST103", status=416, details=details)
    error.headers = tuple((headers or {}).items())
    return error


def refuse_unknown_time_zone(error: DatabaseError) -> None:
    """SQLSTATE 22023 of a time zone preference is ignored, as upstream's lenient handling does."""
    if error.sqlstate != "22023":
        raise error

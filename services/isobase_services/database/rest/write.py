"""POST, PATCH, PUT and DELETE of a relation.

Source: PostgREST v14 ``Plan.hs`` mutateReadPlan, ``MainTx.hs``, ``Response.hs``.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from isobase_platform.caller import Caller
from isobase_services.database.query.ast import Filter
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import ReadNode, find_relation
from isobase_services.database.query.schema_cache import Relation, SchemaCache
from isobase_services.database.query.sql_filter import Parameters
from isobase_services.database.query.sql_read import read_sql
from isobase_services.database.query.sql_write import (
    Payload,
    Upsert,
    delete_sql,
    insert_sql,
    returning_columns,
    update_sql,
)
from isobase_services.database.rest.answer import check_singular, render, written_range
from isobase_services.database.rest.execute import Engine, choose_media, plan_tree, run
from isobase_services.database.rest.media import Media
from isobase_services.database.rest.payload import Body
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import Outcome, answer_sql

__all__ = ["delete", "insert", "put", "update"]


async def insert(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller, body: Body) -> Response:
    """POST: 201, or 200 where an upsert merged every row. Raises ``RequestError`` and ``DatabaseError``."""
    preferences = request.preferences
    relation, node = _planned(cache, request)
    upsert = None
    if preferences.resolution is not None:
        target = request.on_conflict if request.on_conflict is not None else relation.primary_key
        upsert = Upsert(target, preferences.resolution == "merge-duplicates")
    parameters = Parameters()
    written = insert_sql(
        relation,
        _payload(body, request),
        parameters,
        upsert=upsert,
        returning=_returning(request, node, relation),
    )
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    key = relation.primary_key if preferences.returns == "headers-only" else ()
    merges = upsert is not None and upsert.merges
    outcome = await _write(engine, request, caller, written, node, parameters, media, key=key, counts_inserted=merges)
    headers = [("content-range", written_range(0, outcome.rows if preferences.wants_count else None))]
    if outcome.location:
        headers.append(("location", _location(relation, outcome)))
    applied = preferences.without("max_affected")
    if not relation.primary_key and request.on_conflict is None:
        applied = applied.without("resolution")
    status = 200 if merges and (outcome.inserted or 0) <= 0 else 201
    return render(request, outcome, status, headers, applied, media if preferences.wants_rows else None)


async def put(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller, body: Body) -> Response:
    """PUT of one row by its primary key: 204, or with its representation 201 (new) or 200 (was there)."""
    preferences = request.preferences
    relation, node = _planned(cache, request)
    filters = request.root_filters
    by_key = [
        one
        for one in filters
        if isinstance(one, Filter)
        and (one.operator, one.is_negated, one.quantifier, one.field.steps) == ("eq", False, None, ())
    ]
    is_by_key = len(by_key) == len(filters) and {one.field.name for one in by_key} == set(relation.primary_key)
    if not relation.primary_key or not is_by_key:
        raise RequestError(
            "Filters must include all and only primary key columns with 'eq' operators", code="PGRST105", status=405
        )
    parameters = Parameters()
    written = insert_sql(
        relation,
        Payload(body.json, body.is_object, body.keys),
        parameters,
        upsert=Upsert(relation.primary_key, merges=True),
        returning=_returning(request, node, relation),
        conditions=by_key,
    )
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    outcome = await _write(engine, request, caller, written, node, parameters, media, is_put=True)
    status = 204 if not preferences.wants_rows else 201 if (outcome.inserted or 0) > 0 else 200
    applied = preferences.without("resolution", "missing", "max_affected")
    return render(request, outcome, status, [], applied, media if preferences.wants_rows else None)


async def update(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller, body: Body) -> Response:
    """PATCH of the rows that the filters let through: 200 with their representation, else 204."""
    preferences = request.preferences
    relation, node = _planned(cache, request)
    parameters = Parameters()
    returning = _returning(request, node, relation)
    written = update_sql(relation, _payload(body, request), request.root_filters, parameters, returning)
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    outcome = await _write(engine, request, caller, written, node, parameters, media)
    headers = [("content-range", written_range(outcome.rows, outcome.rows if preferences.wants_count else None))]
    applied = preferences.without("resolution")
    status = 200 if preferences.wants_rows else 204
    return render(request, outcome, status, headers, applied, media if preferences.wants_rows else None)


async def delete(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller) -> Response:
    """DELETE of the rows that the filters let through: 200 with their representation, else 204."""
    preferences = request.preferences
    relation, node = _planned(cache, request)
    parameters = Parameters()
    written = delete_sql(relation, request.root_filters, parameters, _returning(request, node, relation))
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    outcome = await _write(engine, request, caller, written, node, parameters, media)
    headers = [("content-range", written_range(0, outcome.rows if preferences.wants_count else None))]
    applied = preferences.without("resolution", "missing")
    status = 200 if preferences.wants_rows else 204
    return render(request, outcome, status, headers, applied, media if preferences.wants_rows else None)


def _planned(cache: SchemaCache, request: ApiRequest) -> tuple[Relation, ReadNode]:
    """The relation, and the tree that reads what was written to it."""
    relation = find_relation(cache, request.schema, request.target.name)
    node = plan_tree(
        cache, relation.key, tuple(relation.columns), relation.types, request, max_rows=None, source="written"
    )
    return relation, node


def _payload(body: Body, request: ApiRequest) -> Payload:
    return Payload(body.json, body.is_object, body.keys, request.preferences.missing == "default")


def _returning(request: ApiRequest, node: ReadNode, relation: Relation) -> list[str]:
    if request.preferences.wants_rows:
        return returning_columns(node)
    return list(relation.primary_key) if request.preferences.returns == "headers-only" else []


async def _write(
    engine: Engine,
    request: ApiRequest,
    caller: Caller,
    written: str,
    node: ReadNode,
    parameters: Parameters,
    media: Media,
    *,
    key: tuple[str, ...] = (),
    counts_inserted: bool = False,
    is_put: bool = False,
) -> Outcome:
    """Run a write and read what it returned; what the request forbids of the outcome rolls it back."""
    wants_rows = request.preferences.wants_rows
    shown = read_sql(node, parameters) if wants_rows else "select * from written"
    sql = answer_sql(
        f"written as ({written}), source as ({shown})",
        media if wants_rows else None,
        key=key,
        counts_inserted=counts_inserted or is_put,
        parameters=parameters,
    )
    async with engine.transaction(request, caller) as connection:
        outcome = await run(connection, sql, parameters, media)
        if is_put and outcome.rows != 1:
            raise RequestError("Payload values do not match URL in primary key column(s)", code="PGRST115")
        if not is_put:
            check_singular(media, outcome.rows)
        if request.method in {"PATCH", "DELETE"}:
            request.preferences.check_affected(outcome.rows)
    return outcome


def _location(relation: Relation, outcome: Outcome) -> str:
    pairs = "&".join(
        f"{quote(name, safe='')}={quote('is.null' if value is None else f'eq.{value}', safe='')}"
        for name, value in outcome.location
    )
    return f"/{quote(relation.name, safe='')}?{pairs}"

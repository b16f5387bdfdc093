"""POST, PATCH, PUT and DELETE of a relation.

Source: PostgREST v14 ``Plan.hs`` mutateReadPlan, ``MainTx.hs``, ``Response.hs``.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette.responses import Response

from isobase_services.database.query.ast import Filter
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import ReadNode, find_relation
from isobase_services.database.query.schema_cache import Relation, SchemaCache
from isobase_services.database.query.sql_read import read_sql
from isobase_services.database.query.sql_write import (
    Payload,
    Upsert,
    delete_sql,
    insert_sql,
    returning_columns,
    update_sql,
)
from isobase_services.database.rest.answer import check_singular, manner, render, written_range
from isobase_services.database.rest.execute import Engine, choose_media, plan_tree
from isobase_services.database.rest.media import Media
from isobase_services.database.rest.payload import Body
from isobase_services.database.rest.prepared import Given, Prepared
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import Outcome, answer_sql

__all__ = ["prepare_delete", "prepare_insert", "prepare_put", "prepare_update"]


def prepare_insert(engine: Engine, request: ApiRequest, cache: SchemaCache, body: Body) -> Prepared:
    """POST: 201, or 200 where an upsert merged every row. Raises ``RequestError``."""
    preferences = request.preferences
    relation, node = _planned(engine, request, cache)
    upsert = None
    if preferences.resolution is not None:
        target = request.on_conflict if request.on_conflict is not None else relation.primary_key
        upsert = Upsert(target, preferences.resolution == "merge-duplicates")
    parameters = Parameters(body.json)
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
    applied = preferences.without("max_affected")
    if not relation.primary_key and request.on_conflict is None:
        applied = applied.without("resolution")

    shown = manner(request, applied, media if preferences.wants_rows else None)

    def finish(outcome: Outcome, _given: Given) -> Response:
        headers = [("content-range", written_range(0, outcome.rows if preferences.wants_count else None))]
        if outcome.location:
            headers.append(("location", _location(relation, outcome)))
        status = 200 if merges and (outcome.inserted or 0) <= 0 else 201
        return render(request, outcome, status, headers, shown)

    sql = _write_sql(request, written, node, parameters, media, key=key, counts_inserted=merges)
    return _prepared(engine, request, sql, parameters, media, finish)


def prepare_put(engine: Engine, request: ApiRequest, cache: SchemaCache, body: Body) -> Prepared:
    """PUT of one row by its primary key: 204, or with its representation 201 (new) or 200 (was there)."""
    preferences = request.preferences
    relation, node = _planned(engine, request, cache)
    filters = request.root_filters
    by_key = [
        one
        for one in filters
        if isinstance(one, Filter)
        and (one.operator, one.is_negated, one.quantifier, one.field.steps) == ("eq", False, None, ())
    ]
    is_by_key = len(by_key) == len(filters) and request.filter_keys == set(relation.primary_key)
    if not relation.primary_key or not is_by_key:
        raise RequestError(
            "Filters must include all and only primary key columns with 'eq' operators", code="PGRST105", status=405
        )
    parameters = Parameters(body.json)
    written = insert_sql(
        relation,
        Payload(body.json, body.is_object, tuple(sorted(body.keys))),
        parameters,
        upsert=Upsert(relation.primary_key, merges=True),
        returning=_returning(request, node, relation),
        conditions=by_key,
    )
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    applied = preferences.without("resolution", "missing", "max_affected")

    def check(outcome: Outcome) -> None:
        if outcome.rows != 1:
            raise RequestError("Payload values do not match URL in primary key column(s)", code="PGRST115")

    shown = manner(request, applied, media if preferences.wants_rows else None)

    def finish(outcome: Outcome, _given: Given) -> Response:
        status = 204 if not preferences.wants_rows else 201 if (outcome.inserted or 0) > 0 else 200
        return render(request, outcome, status, [], shown)

    sql = _write_sql(request, written, node, parameters, media, counts_inserted=True)
    return engine.prepared(request, sql, parameters, media, finish, check=check, has_veto=True)


def prepare_update(engine: Engine, request: ApiRequest, cache: SchemaCache, body: Body) -> Prepared:
    """PATCH of the rows that the filters let through: 200 with their representation, else 204."""
    preferences = request.preferences
    relation, node = _planned(engine, request, cache)
    parameters = Parameters(body.json)
    returning = _returning(request, node, relation)
    written = update_sql(relation, _payload(body, request), request.root_filters, parameters, returning)
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    applied = preferences.without("resolution")

    shown = manner(request, applied, media if preferences.wants_rows else None)

    def finish(outcome: Outcome, _given: Given) -> Response:
        headers = [("content-range", written_range(outcome.rows, outcome.rows if preferences.wants_count else None))]
        status = 200 if preferences.wants_rows else 204
        return render(request, outcome, status, headers, shown)

    sql = _write_sql(request, written, node, parameters, media)
    return _prepared(engine, request, sql, parameters, media, finish)


def prepare_delete(engine: Engine, request: ApiRequest, cache: SchemaCache) -> Prepared:
    """DELETE of the rows that the filters let through: 200 with their representation, else 204."""
    preferences = request.preferences
    relation, node = _planned(engine, request, cache)
    parameters = Parameters()
    written = delete_sql(relation, request.root_filters, parameters, _returning(request, node, relation))
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    applied = preferences.without("resolution", "missing")

    shown = manner(request, applied, media if preferences.wants_rows else None)

    def finish(outcome: Outcome, _given: Given) -> Response:
        headers = [("content-range", written_range(0, outcome.rows if preferences.wants_count else None))]
        status = 200 if preferences.wants_rows else 204
        return render(request, outcome, status, headers, shown)

    sql = _write_sql(request, written, node, parameters, media)
    return _prepared(engine, request, sql, parameters, media, finish)


def _planned(engine: Engine, request: ApiRequest, cache: SchemaCache) -> tuple[Relation, ReadNode]:
    """The relation, and the tree that reads what was written to it."""
    relation = find_relation(cache, request.schema, request.target.name)
    node = plan_tree(
        cache, relation.key, tuple(relation.columns), relation.types, request, engine.settings, source="written"
    )
    return relation, node


def _payload(body: Body, request: ApiRequest) -> Payload:
    # In order of their names, as upstream: it decides which of two bad values is told of.
    return Payload(body.json, body.is_object, tuple(sorted(body.keys)), request.preferences.missing == "default")


def _returning(request: ApiRequest, node: ReadNode, relation: Relation) -> list[str]:
    """As upstream: what the select needs and the primary key, where rows or their place are told, else nothing."""
    if request.preferences.returns not in {"representation", "headers-only"}:
        return []
    selected = returning_columns(node) if request.select or node.has_formats else []
    return selected if selected == ["*"] else list(dict.fromkeys([*selected, *relation.primary_key]))


def _write_sql(
    request: ApiRequest,
    written: str,
    node: ReadNode,
    parameters: Parameters,
    media: Media,
    *,
    key: tuple[str, ...] = (),
    counts_inserted: bool = False,
) -> str:
    """The statement of a write that also reads what it returned, where that is wanted."""
    wants_rows = request.preferences.wants_rows
    shown = read_sql(node, parameters, embeds_as=media.embeds_as) if wants_rows else "select * from written"
    return answer_sql(
        f"written as ({written}), source as ({shown})",
        media if wants_rows else None,
        key=key,
        counts_inserted=counts_inserted,
        parameters=parameters,
    )


def _prepared(
    engine: Engine,
    request: ApiRequest,
    sql: str,
    parameters: Parameters,
    media: Media,
    finish: Callable[[Outcome, Given], Response],
) -> Prepared:
    """The plan of a write whose outcome the request may forbid: nothing is kept then."""
    preferences = request.preferences
    limits_affected = (
        preferences.is_strict and preferences.max_affected is not None and request.method in {"PATCH", "DELETE"}
    )

    def check(outcome: Outcome) -> None:
        check_singular(media, outcome.rows)
        if limits_affected:
            preferences.check_affected(outcome.rows)

    has_veto = media.is_singular or limits_affected
    return engine.prepared(
        request, sql, parameters, media, finish, check=check if has_veto else None, has_veto=has_veto
    )


def _location(relation: Relation, outcome: Outcome) -> str:
    pairs = "&".join(
        f"{quote(name, safe='')}={quote('is.null' if value is None else f'eq.{value}', safe='')}"
        for name, value in outcome.location
    )
    return f"/{quote(relation.name, safe='')}?{pairs}"

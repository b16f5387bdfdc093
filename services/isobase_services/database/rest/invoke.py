"""GET, HEAD and POST of a function. Source: PostgREST v14 ``Plan.hs`` callReadPlan, ``MainTx.hs``, ``Response.hs``."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import ReadNode
from isobase_services.database.query.schema_cache import Function, SchemaCache
from isobase_services.database.query.sql_read import count_sql, read_sql
from isobase_services.database.query.sql_write import returning_columns
from isobase_services.database.rest.answer import check_singular, manner, render, rows_head
from isobase_services.database.rest.call import choose_function, chosen_call_sql
from isobase_services.database.rest.execute import Engine, choose_media, plan_tree
from isobase_services.database.rest.payload import Body, given_body
from isobase_services.database.rest.prepared import Given, Prepared
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import Outcome, answer_sql

__all__ = ["prepare_call"]


def prepare_call(engine: Engine, request: ApiRequest, cache: SchemaCache, body: Body | None) -> Prepared:
    """Plan a call; ``body`` None is one by GET or HEAD. Raises ``RequestError``."""
    preferences = request.preferences
    function = choose_function(cache, request, body)
    node = _planned(engine, request, cache, function)
    media = choose_media(engine, request, cache, _shown_as(function), node)
    preferences.check()
    limits_affected = preferences.is_strict and preferences.max_affected is not None
    if limits_affected and not function.returns_set:
        raise RequestError(
            "Function must return SETOF or TABLE when max-affected preference is used with handling=strict",
            code="PGRST128",
        )
    parameters = Parameters(given_body(body))
    called = chosen_call_sql(function, request, body, parameters, returning_columns(node))
    source = read_sql(node, parameters, embeds_as=media.embeds_as)
    total = count_sql(node, parameters) if preferences.wants_count else None
    shows_body = not request.is_head and not function.is_void
    sql = answer_sql(
        f"written as ({called}), source as ({source})", media if shows_body else None, function=function, total=total
    )
    read_only = body is None or not function.is_volatile
    applied = preferences.without("resolution", "returns", "missing")

    shown = manner(request, applied, None if function.is_void else media)

    def check(outcome: Outcome) -> None:
        check_singular(media, outcome.rows)
        preferences.check_affected(outcome.rows)

    def finish(outcome: Outcome, given: Given) -> Response:
        offset = given.offset or request.offset
        status, headers = rows_head(request, offset, outcome.rows, outcome.total, applied, [])
        if function.is_void:
            return render(request, outcome, 204, headers, shown)
        return render(request, outcome, status, headers, shown)

    is_checked = media.is_singular or limits_affected
    return engine.prepared(
        request,
        sql,
        parameters,
        media,
        finish,
        read_only=read_only,
        settings=function.settings,
        check=check if is_checked else None,
        has_veto=is_checked and not read_only,
    )


def _planned(engine: Engine, request: ApiRequest, cache: SchemaCache, function: Function) -> ReadNode:
    """The tree that reads what the call returned."""
    key = function.return_relation or (function.schema, function.name)
    relation = cache.relations.get(key) if function.return_relation else None
    if relation is not None:
        columns, types = tuple(relation.columns), relation.types
    else:
        columns, types = tuple(function.types), function.types
    if function.is_scalar:
        types = {"pgrst_scalar": function.return_type}
    return plan_tree(cache, key, columns, types, request, engine.settings, source="written")


def _shown_as(function: Function) -> tuple[str, str]:
    """Whose handlers make the representation: those of the relation that the rows are of, else the function's own."""
    relation = function.return_relation
    return function.schema, relation[1] if relation is not None else function.name

"""GET and HEAD of a relation. Source: PostgREST v14 ``Plan.hs`` wrappedReadPlan, ``MainTx.hs``, ``Response.hs``."""

from __future__ import annotations

import json

from starlette.responses import Response

from isobase_platform.caller import Caller
from isobase_platform.rls import DoorConnection
from isobase_services.database.query.plan import ReadNode, find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.query.sql_filter import Parameters
from isobase_services.database.query.sql_read import count_sql, read_sql
from isobase_services.database.rest.answer import check_singular, content_location, render, rows_head
from isobase_services.database.rest.execute import Engine, choose_media, plan_tree, run
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import JSON_PLAN, answer_sql, explain_sql, limited

__all__ = ["read"]


async def read(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller) -> Response:
    """Serve the request. Raises ``RequestError`` and ``DatabaseError``."""
    max_rows = engine.settings.max_rows
    preferences = request.preferences
    relation = find_relation(cache, request.schema, request.target.name)
    node = plan_tree(cache, relation.key, tuple(relation.columns), relation.types, request, max_rows=max_rows)
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    parameters = Parameters()
    source = read_sql(node, parameters)
    total = count_sql(node, parameters) if preferences.wants_count else None
    if total is not None and preferences.count == "estimated":
        # One row more than may be answered tells that the exact number is out of reach.
        total = limited(total, None if max_rows is None else max_rows + 1)
    sql = answer_sql(f"source as ({source})", None if request.is_head else media, total=total)
    async with engine.transaction(request, caller, read_only=True) as connection:
        outcome = await run(connection, sql, parameters, media)
        check_singular(media, outcome.rows)
        count = outcome.total
        if preferences.count == "planned":
            count = await _planned_rows(connection, node)
        elif preferences.count == "estimated" and count is not None and (max_rows is None or count > max_rows):
            count = max(count, await _planned_rows(connection, node))
    applied = preferences.without("resolution", "returns", "missing", "max_affected")
    location = [("content-location", content_location(relation.name, request.query))]
    status, headers = rows_head(request, outcome.rows, count, applied, location)
    return render(request, outcome, status, headers, applied, media)


async def _planned_rows(connection: DoorConnection, node: ReadNode) -> int:
    """How many rows the planner expects."""
    parameters = Parameters()
    counted = count_sql(node, parameters)
    plan = await connection.fetchval(explain_sql(counted, JSON_PLAN), *parameters.values)
    return int(json.loads(plan)[0]["Plan"]["Plan Rows"])

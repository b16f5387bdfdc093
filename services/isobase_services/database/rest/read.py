"""GET and HEAD of a relation. Source: PostgREST v14 ``Plan.hs`` wrappedReadPlan, ``MainTx.hs``, ``Response.hs``."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.query.sql_read import count_sql, read_sql
from isobase_services.database.rest.answer import check_singular, content_location, manner, render, rows_head
from isobase_services.database.rest.execute import Engine, choose_media, plan_tree
from isobase_services.database.rest.prepared import Given, Prepared
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import JSON_PLAN, Outcome, answer_sql, explain_sql, limited

__all__ = ["prepare_read"]


def prepare_read(engine: Engine, request: ApiRequest, cache: SchemaCache) -> Prepared:
    """Plan the request. Raises ``RequestError``."""
    max_rows = engine.settings.max_rows
    preferences = request.preferences
    relation = find_relation(cache, request.schema, request.target.name)
    node = plan_tree(cache, relation.key, tuple(relation.columns), relation.types, request, engine.settings)
    preferences.check()
    media = choose_media(engine, request, cache, relation.key, node)
    parameters = Parameters()
    source = read_sql(node, parameters, embeds_as=media.embeds_as)
    total = count_sql(node, parameters) if preferences.wants_count else None
    if total is not None and preferences.count == "estimated":
        # One row more than may be answered tells that the exact number is out of reach.
        total = limited(total, None if max_rows is None else max_rows + 1)
    sql = answer_sql(f"source as ({source})", None if request.is_head else media, total=total)
    also = None
    if preferences.count in {"planned", "estimated"}:
        of_count = Parameters()
        also = explain_sql(count_sql(node, of_count), JSON_PLAN), of_count
    applied = preferences.without("resolution", "returns", "missing", "max_affected")

    shown = manner(request, applied, media)

    def count_of(outcome: Outcome) -> int | None:
        if preferences.count == "planned":
            return outcome.planned
        if outcome.planned is None or outcome.total is None or (max_rows is not None and outcome.total <= max_rows):
            return outcome.total
        return max(outcome.total, outcome.planned)

    def finish(outcome: Outcome, given: Given) -> Response:
        location = [("content-location", content_location(relation.name, given.pairs))]
        offset = given.offset or request.offset
        status, headers = rows_head(request, offset, outcome.rows, count_of(outcome), applied, location)
        return render(request, outcome, status, headers, shown)

    return engine.prepared(
        request,
        sql,
        parameters,
        media,
        finish,
        read_only=True,
        check=(lambda outcome: check_singular(media, outcome.rows)) if media.is_singular else None,
        also=also,
    )

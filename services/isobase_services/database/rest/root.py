"""GET and HEAD of ``/``: the description of what the caller may reach in the request's schema.

A table or function that the caller's role has no privilege on is not named, unless ``openapi_mode`` says to ignore
privileges. Source: PostgREST v14 ``Plan.hs`` inspectPlan, ``Query/SqlFragment.hs`` accessibleTables and accessibleFuncs.
"""

from __future__ import annotations

import json

from starlette.responses import Response

from isobase_platform.caller import Caller
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.execute import Engine
from isobase_services.database.rest.media import not_acceptable
from isobase_services.database.rest.openapi import OPENAPI, describe
from isobase_services.database.rest.request import ApiRequest

__all__ = ["root"]

_PRODUCED = frozenset({OPENAPI, "application/json", "*/*"})

# Asked by oid: what was dropped since the cache was read is then simply not there.
_REACHABLE_SQL = """
select array(select c.oid::int8 from pg_catalog.pg_class c
              where c.oid = any ($1::int8[]::oid[])
                and (pg_catalog.pg_has_role(c.relowner, 'usage')
                     or pg_catalog.has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
                     or pg_catalog.has_any_column_privilege(c.oid, 'select, insert, update, references'))) as relations,
       array(select p.oid::int8 from pg_catalog.pg_proc p
              where p.oid = any ($2::int8[]::oid[]) and pg_catalog.has_function_privilege(p.oid, 'execute')) as functions,
       (select pg_catalog.obj_description(n.oid, 'pg_namespace')
          from pg_catalog.pg_namespace n where n.nspname = $3) as comment
"""


async def root(engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller, url: str) -> Response:
    """Serve the request; ``url`` is where the API is reached, unless a proxy's address is set.

    Raises PGRST107 (406) for a client that takes no OpenAPI, and ``DatabaseError``.
    """
    if not _PRODUCED.intersection(one.mime for one in request.accept):
        raise not_acceptable(request.accept)
    relations = [one for key, one in sorted(cache.relations.items()) if key[0] == request.schema]
    functions = [one for key, found in sorted(cache.functions.items()) if key[0] == request.schema for one in found]
    async with engine.transaction(request, caller, read_only=True) as connection:
        row = await connection.fetchrow(
            _REACHABLE_SQL, [one.oid for one in relations], [one.oid for one in functions], request.schema
        )
    assert row is not None  # a query without FROM gives one row
    reachable_relations, reachable_functions = frozenset(row["relations"]), frozenset(row["functions"])
    headers = {"content-type": f"{OPENAPI}; charset=utf-8"}
    if request.is_negotiated:
        headers["content-profile"] = request.schema
    if request.is_head:
        response = Response(headers=headers)
        del response.headers["content-length"]
        return response
    settings = engine.settings
    shows_all = settings.openapi_mode == "ignore-privileges"
    document = describe(
        [one for one in relations if shows_all or one.oid in reachable_relations],
        [one for one in functions if shows_all or one.oid in reachable_functions],
        cache.relationships,
        comment=row["comment"],
        url=settings.openapi_server_proxy_uri or url,
        path=(request.schema, *settings.extra_search_path),
        has_security=settings.openapi_security_active,
    )
    return Response(json.dumps(document, ensure_ascii=False, separators=(",", ":")), headers=headers)

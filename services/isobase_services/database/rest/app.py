"""``/rest/v1`` as an ASGI app: one request, one line per stage."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import ANON_ROLE, NO_CLAIMS, Caller
from isobase_platform.http.body import read_body
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.http.request import bearer_token, header, request_facts
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.errors import render_error
from isobase_services.database.rest.execute import Engine
from isobase_services.database.rest.openapi import openapi_response
from isobase_services.database.rest.request import ApiRequest, parse_request

__all__ = ["JWT_LEEWAY_S", "caller_of", "create_rest_app"]

JWT_LEEWAY_S = 30
"""PostgREST forgives this much clock difference."""


def caller_of(platform: Platform, scope: Scope) -> Caller:
    """The caller of a request: anon without a bearer token. Raises ``TokenError`` for one that does not verify."""
    token = bearer_token(scope)
    claims = platform.verifier.verify(token, leeway_s=JWT_LEEWAY_S) if token is not None else NO_CLAIMS
    role = claims.role or ANON_ROLE
    scope["isobase.role"] = role
    return Caller(role=role, claims=claims, request=request_facts(scope))


def create_rest_app(platform: Platform, keeper: CacheKeeper) -> ASGIApp:
    """The app of the mount."""
    rest = platform.settings.rest
    engine = Engine(platform.door, rest.extra_search_path, rest.max_rows)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(platform, scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        request = parse_request(scope, path, keeper.schemas)
        response = await _respond(request, caller, keeper.cache, scope, receive)
        await response(scope, receive, send)

    async def _respond(
        request: ApiRequest, caller: Caller, cache: SchemaCache, scope: Scope, receive: Receive
    ) -> Response:
        method, kind = request.method, request.target.kind
        if method == "OPTIONS":
            return _options(request, cache)
        if kind == "root":
            if method not in {"GET", "HEAD"}:
                raise RequestError(f"Unsupported HTTP method: {method}", code="PGRST117", status=405)
            return openapi_response(request, cache, platform.settings.base_url)
        content_type = header(scope, "content-type")
        if kind == "function":
            if method not in {"GET", "HEAD", "POST"}:
                raise RequestError(f"Cannot use the {method} method on RPC", code="PGRST101", status=405)
            body = await read_body(scope, receive, rest.max_body_bytes) if method == "POST" else b""
            return await engine.call(request, cache, caller, body, content_type)
        if method in {"GET", "HEAD"}:
            return await engine.read(request, cache, caller)
        if method == "DELETE":
            return await engine.delete(request, cache, caller)
        body = await read_body(scope, receive, rest.max_body_bytes)
        if method == "PATCH":
            return await engine.update(request, cache, caller, body, content_type)
        return await engine.insert(request, cache, caller, body, content_type)

    return ErrorBoundary(app, render_error)


def _options(request: ApiRequest, cache: SchemaCache) -> Response:
    if request.target.kind == "relation":
        relation = find_relation(cache, request.schema, request.target.name)
        methods = ["OPTIONS", "GET", "HEAD"]
        methods += ["POST"] if relation.is_insertable else []
        methods += ["PUT"] if relation.is_insertable and relation.is_updatable and relation.primary_key else []
        methods += ["PATCH"] if relation.is_updatable else []
        methods += ["DELETE"] if relation.is_deletable else []
    else:
        methods = (
            ["OPTIONS", "GET", "HEAD", "POST"] if request.target.kind == "function" else ["OPTIONS", "GET", "HEAD"]
        )
    return Response(status_code=200, headers={"allow": ",".join(methods)})

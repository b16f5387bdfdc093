"""``/rest/v1`` as an ASGI app: one request, one line per stage."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import Caller
from isobase_platform.config import RestSettings
from isobase_platform.http.body import read_body
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.http.request import header
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.call import choose_function
from isobase_services.database.rest.errors import render_error
from isobase_services.database.rest.execute import Engine
from isobase_services.database.rest.invoke import invoke
from isobase_services.database.rest.payload import parse_call_body, parse_write_body
from isobase_services.database.rest.read import read
from isobase_services.database.rest.request import ApiRequest, parse_request
from isobase_services.database.rest.root import root
from isobase_services.database.rest.timing import Stopwatch
from isobase_services.database.rest.write import delete, insert, put, update

__all__ = ["create_rest_app"]


def create_rest_app(platform: Platform, keeper: CacheKeeper, url: str) -> ASGIApp:
    """The app of the mount; ``url`` is where clients reach it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        stopwatch = Stopwatch() if keeper.settings.server_timing_enabled else None
        caller = keeper.authenticator.caller(scope)
        if stopwatch is not None:
            stopwatch.mark("jwt")
        path = _resource(_encoded_path(scope), keeper.settings)
        time_zones = await keeper.time_zones() if _names_time_zone(scope) else frozenset[str]()
        # A reload during the request does not change what it works with.
        cache, engine = keeper.cache, Engine(platform.door, keeper.settings)
        request = parse_request(
            scope,
            path,
            keeper.schemas,
            listed=engine.settings.schemas,
            allows_tx=engine.settings.tx_end.endswith("-allow-override"),
            knows_time_zone=time_zones.__contains__,
            stopwatch=stopwatch,
        )
        if stopwatch is not None:
            stopwatch.mark("parse")
        response = await _respond(engine, request, cache, caller, scope, receive)
        if stopwatch is not None:
            stopwatch.mark("response")
            response.raw_headers.append((b"server-timing", stopwatch.header.encode()))
        await response(scope, receive, send)

    async def _respond(
        engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller, scope: Scope, receive: Receive
    ) -> Response:
        kind = request.target.kind
        if request.method == "OPTIONS":
            return _options(request, cache)
        if kind == "root":
            return await root(engine, request, cache, caller, url)
        if request.is_read:
            if kind == "function":
                return await invoke(engine, request, cache, caller, None)
            return await read(engine, request, cache, caller)
        if request.method == "DELETE":
            return await delete(engine, request, cache, caller)
        raw = await read_body(scope, receive, engine.settings.max_body_bytes)
        if request.stopwatch is not None:
            request.stopwatch.skip()
        content_type = header(scope, "content-type")
        if kind == "function":
            body = await parse_call_body(raw, content_type, request.columns)
            return await invoke(engine, request, cache, caller, body)
        columns = request.columns if request.method != "PUT" else None
        body = await parse_write_body(raw, content_type, columns)
        writer = {"PATCH": update, "PUT": put}.get(request.method, insert)
        return await writer(engine, request, cache, caller, body)

    return ErrorBoundary(app, render_error)


def _encoded_path(scope: Scope) -> str:
    """The path behind the mount, percent-encoded as it was sent: a name may hold a slash or a percent sign."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return path.removeprefix(scope.get("root_path", ""))


def _resource(path: str, settings: RestSettings) -> str:
    """``path``, or that of the function that answers in place of the root. Raises PGRST126 (404) where nothing does."""
    if path not in {"", "/"}:
        return path
    if settings.openapi_mode == "disabled":
        raise RequestError("Root endpoint metadata is disabled", code="PGRST126", status=404)
    if settings.root_spec is not None:
        return f"/rpc/{quote(settings.root_spec.rpartition('.')[2], safe='')}"
    return path


def _names_time_zone(scope: Scope) -> bool:
    return any(name == b"prefer" and b"timezone=" in value for name, value in scope["headers"])


def _options(request: ApiRequest, cache: SchemaCache) -> Response:
    """Which methods the target takes, whatever the caller may do."""
    methods = ["OPTIONS", "GET", "HEAD"]
    if request.target.kind == "relation":
        relation = find_relation(cache, request.schema, request.target.name)
        methods += ["POST"] if relation.is_insertable else []
        methods += ["PUT"] if relation.is_insertable and relation.is_updatable and relation.primary_key else []
        methods += ["PATCH"] if relation.is_updatable else []
        methods += ["DELETE"] if relation.is_deletable else []
    elif request.target.kind == "function":
        is_volatile = choose_function(cache, request, None).is_volatile
        methods = ["OPTIONS", "POST"] if is_volatile else [*methods, "POST"]
    return Response(status_code=200, headers={"allow": ",".join(methods), "access-control-allow-origin": "*"})

"""``/rest/v1`` as an ASGI app: one request, one line per stage."""

from __future__ import annotations

import json
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import Caller, Claims
from isobase_platform.errors import TokenError, TokenRefusal
from isobase_platform.http.body import read_body
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.http.request import header, request_facts
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.call import choose_function
from isobase_services.database.rest.errors import CALLER_IS_KNOWN, given_token, render_error
from isobase_services.database.rest.execute import Engine
from isobase_services.database.rest.invoke import invoke
from isobase_services.database.rest.payload import parse_call_body, parse_write_body
from isobase_services.database.rest.read import read
from isobase_services.database.rest.request import ApiRequest, parse_request
from isobase_services.database.rest.root import root
from isobase_services.database.rest.write import delete, insert, put, update

__all__ = ["JWT_LEEWAY_S", "caller_of", "create_rest_app"]

JWT_LEEWAY_S = 30
"""PostgREST forgives this much clock difference."""


def caller_of(platform: Platform, scope: Scope) -> Caller:
    """The caller of a request: the anonymous role without a bearer token.

    Raises ``TokenError`` for a token that does not verify, and PGRST302 (401) where there is neither a role in a token nor
    an anonymous one. As upstream, the claims that SQL sees always name the role.
    """
    anon = platform.settings.rest.anon_role
    token = given_token(scope)
    if token == "":
        raise TokenError("The token is empty", TokenRefusal.MALFORMED)
    claims = platform.verifier.verify(token, leeway_s=JWT_LEEWAY_S) if token is not None else Claims({}, "{}")
    _check_audience(claims.raw.get("aud"))
    role = _role(claims) if "role" in claims.raw else anon
    if not role:
        error = RequestError("Anonymous access is disabled", code="PGRST302", status=401)
        error.headers = (("www-authenticate", "Bearer"),)
        raise error
    if claims.role != role:
        claims = Claims.from_payload({**claims.raw, "role": role})
    scope[CALLER_IS_KNOWN] = role != anon
    return Caller(role=role, claims=claims, request=request_facts(scope))


def _check_audience(audience: object) -> None:
    """Any audience is welcome, but it must be one: a string or several of them."""
    members = audience if isinstance(audience, list) else [audience]
    if audience is not None and not all(isinstance(member, str) for member in members):
        raise TokenError("The JWT 'aud' claim must be a string or an array of strings", TokenRefusal.CLAIMS)


def _role(claims: Claims) -> str:
    """The role claim; one that is no string names a role by its JSON text, which hardly exists."""
    return claims.role if claims.role is not None else json.dumps(claims.raw["role"])


def create_rest_app(platform: Platform, keeper: CacheKeeper) -> ASGIApp:
    """The app of the mount."""
    engine = Engine(platform.door, platform.settings.rest)
    allows_tx = platform.settings.rest.tx_end.endswith("-allow-override")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(platform, scope)
        path = _encoded_path(scope)
        time_zones = await keeper.time_zones() if _names_time_zone(scope) else frozenset[str]()
        cache = keeper.cache  # a reload during the request does not change what it works with
        request = parse_request(
            scope,
            path,
            keeper.schemas,
            listed=platform.settings.rest.schemas,
            allows_tx=allows_tx,
            knows_time_zone=time_zones.__contains__,
        )
        response = await _respond(request, cache, caller, scope, receive)
        await response(scope, receive, send)

    async def _respond(
        request: ApiRequest, cache: SchemaCache, caller: Caller, scope: Scope, receive: Receive
    ) -> Response:
        kind = request.target.kind
        if request.method == "OPTIONS":
            return _options(request, cache)
        if kind == "root":
            return await root(engine, request, cache, caller, platform.settings.base_url)
        if request.is_read:
            if kind == "function":
                return await invoke(engine, request, cache, caller, None)
            return await read(engine, request, cache, caller)
        if request.method == "DELETE":
            return await delete(engine, request, cache, caller)
        raw = await read_body(scope, receive, platform.settings.rest.max_body_bytes)
        content_type = header(scope, "content-type")
        if kind == "function":
            body = parse_call_body(raw, content_type, request.columns)
            return await invoke(engine, request, cache, caller, body)
        columns = request.columns if request.method != "PUT" else None
        body = parse_write_body(raw, content_type, columns)
        writer = {"PATCH": update, "PUT": put}.get(request.method, insert)
        return await writer(engine, request, cache, caller, body)

    return ErrorBoundary(app, render_error)


def _encoded_path(scope: Scope) -> str:
    """The path behind the mount, percent-encoded as it was sent: a name may hold a slash or a percent sign."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return path.removeprefix(scope.get("root_path", ""))


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

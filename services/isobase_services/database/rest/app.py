"""``/rest/v1`` as an ASGI app: one request, one line per stage."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import Caller
from isobase_platform.config import RestSettings
from isobase_platform.errors import BadRequest, DatabaseError
from isobase_platform.http.body import read_body
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.http.request import header
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.idempotency import IdempotentWrites, is_keyed
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import find_relation
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.call import choose_function
from isobase_services.database.rest.errors import render_error
from isobase_services.database.rest.execute import Engine
from isobase_services.database.rest.invoke import prepare_call
from isobase_services.database.rest.payload import Body, given_body, parse_call_body, parse_write_body
from isobase_services.database.rest.prepared import Given, Plans, Prepared
from isobase_services.database.rest.read import prepare_read
from isobase_services.database.rest.request import ApiRequest, parse_request
from isobase_services.database.rest.root import root
from isobase_services.database.rest.shape import MAX_SHAPE_CHARS, Query, read_query
from isobase_services.database.rest.timing import Stopwatch
from isobase_services.database.rest.write import prepare_delete, prepare_insert, prepare_put, prepare_update

__all__ = ["RestApp", "create_rest_app"]

_OTHER_BODY = b"[]"
"""Stands for any other body of the same keys."""
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_READS = frozenset({"GET", "HEAD"})
# The headers that a plan depends on.
_SHAPING = frozenset({b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range"})
_STALE = frozenset({"42P01", "42703", "42883", "42804", "42704", "42P10", "42809", "0A000", "3F000", "22P02"})
"""What PostgreSQL says of names and types that are not, or not any more, as the schema cache has them."""


def create_rest_app(platform: Platform, keeper: CacheKeeper, url: str, once: IdempotentWrites | None = None) -> ASGIApp:
    """The app of the mount; ``url`` is where clients reach it. ``once`` None: Idempotency-Key means nothing."""
    return ErrorBoundary(RestApp(platform, keeper, url, once), render_error)


class RestApp:
    """The app inside its error boundary. Plans are kept as long as schema cache and settings stay the same."""

    def __init__(self, platform: Platform, keeper: CacheKeeper, url: str, once: IdempotentWrites | None = None) -> None:
        self._platform = platform
        self._keeper = keeper
        self._url = url
        self._once = once
        self._plans: Plans | None = None

    @property
    def kept_plans(self) -> int:
        """How many plans are kept now."""
        return 0 if self._plans is None else len(self._plans.prepared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what ``ErrorBoundary`` renders."""
        stopwatch = Stopwatch() if self._keeper.settings.server_timing_enabled else None
        caller = self._keeper.authenticator.caller(scope)
        if stopwatch is not None:
            stopwatch.mark("jwt")
        response = await self._respond(scope, receive, caller, stopwatch)
        if stopwatch is not None:
            stopwatch.mark("response")
            response.raw_headers.append((b"server-timing", stopwatch.header.encode()))
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, caller: Caller, stopwatch: Stopwatch | None) -> Response:
        job = _Job(self._keeper, scope, receive, stopwatch)
        while True:
            # A reload during the request does not change what it works with.
            plans = self._current_plans()
            engine = Engine(self._platform.door, self._keeper.settings)
            try:
                found = await job.prepare(engine, plans)
            except RequestError as refusal:
                kept = await self._kept_despite(job, caller, refusal)
                if kept is None:
                    raise
                return kept
            if isinstance(found, ApiRequest):
                return await self._respond_unplanned(engine, found, plans.cache, caller)
            prepared, given = found
            try:
                if prepared.keeps_nothing or not is_keyed(caller):
                    return await engine.answer(prepared, given, caller)
                return await self._answer_once(engine, job, prepared, given, caller)
            except DatabaseError as error:
                # Nothing was kept. Where the schema has changed meanwhile, the request is planned anew, once.
                if job.is_last_try or not _is_stale(error) or not await self._keeper.catch_up(plans.cache):
                    raise
                job.is_last_try = True

    async def _answer_once(
        self, engine: Engine, job: _Job, prepared: Prepared, given: Given, caller: Caller
    ) -> Response:
        """The answer of a write that came with an Idempotency-Key."""
        write = None if self._once is None else self._once.write_of(job.scope, caller, job.raw)
        if self._once is None or write is None:
            return await engine.answer(prepared, given, caller)
        return await self._once.answer(write, lambda: engine.answer_keyed(prepared, given, caller, write))

    async def _kept_despite(self, job: _Job, caller: Caller, refusal: RequestError) -> Response | None:
        """The kept answer of a keyed write that was valid when it was done and is refused now, None without one."""
        if self._once is None or job.scope["method"] in _READS or not is_keyed(caller):
            return None
        try:
            write = self._once.write_of(job.scope, caller, job.raw)
        except BadRequest:
            return None  # the refusal that came first is told
        return None if write is None else await self._once.kept_despite(write, refusal)

    def _current_plans(self) -> Plans:
        cache, settings = self._keeper.cache, self._keeper.settings
        plans = self._plans
        if plans is None or plans.cache is not cache or plans.settings is not settings:
            plans = self._plans = Plans(cache, settings)
        return plans

    async def _respond_unplanned(
        self, engine: Engine, request: ApiRequest, cache: SchemaCache, caller: Caller
    ) -> Response:
        if request.method == "OPTIONS":
            return _options(request, cache)
        return await root(engine, request, cache, caller, self._url)


class _Job:
    """One request on its way to a plan. Head and body are read once, also where it is planned twice."""

    def __init__(self, keeper: CacheKeeper, scope: Scope, receive: Receive, stopwatch: Stopwatch | None) -> None:
        self._keeper = keeper
        self.scope = scope
        self._receive = receive
        self._stopwatch = stopwatch
        self.raw: bytes | None = None
        self._time_zones: frozenset[str] = frozenset()
        self.is_last_try = False
        self._method: str = scope["method"]
        self._path = _resource(_encoded_path(scope), keeper.settings)
        facts = tuple([one for one in scope["headers"] if one[0] in _SHAPING])
        query_string: bytes = scope.get("query_string", b"")
        self._query = read_query(
            query_string,
            is_call=self._method in _READS and self._path.startswith("/rpc/"),
            slots_offset=all(name != b"range" for name, _ in facts),
        )
        self._key: Hashable | None = None
        if len(query_string) + len(self._path) + sum([len(value) for _, value in facts]) <= MAX_SHAPE_CHARS:
            self._key = (self._method, self._path, facts, self._query.heads)

    async def prepare(self, engine: Engine, plans: Plans) -> tuple[Prepared, Given] | ApiRequest:
        """The plan with what is given to it; the parsed request itself where there is nothing to plan.

        Raises ``RequestError`` as the stages do.
        """
        if self._method in _BODILESS:
            prepared = plans.prepared.get(self._key)
            if prepared is not None:
                return prepared, self._given(None)
        kept = plans.requests.get(self._key)
        request = kept or await self._parsed(engine, plans)
        if self._stopwatch is not None:
            self._stopwatch.mark("parse")
        if self._method == "OPTIONS" or request.target.kind == "root":
            return request
        body = await self._body(engine, request)
        given = self._given(body)
        key = self._key if body is None else self._key_with(body)
        prepared = plans.prepared.get(key) if key is not None else None
        if prepared is None:
            if kept is not None:
                # What it knows beside its shape are another request's operands, which no unproven plan may be made of.
                request = await self._parsed(engine, plans)
            prepared = _prepared(engine, request, plans.cache, body)
            if key is not None and self._depends_on_shape_alone(engine, plans.cache, prepared, given, body):
                plans.keep(key, prepared)
        return prepared, given

    async def _parsed(self, engine: Engine, plans: Plans) -> ApiRequest:
        if any(name == b"prefer" and b"timezone=" in value for name, value in self.scope["headers"]):
            self._time_zones = await self._keeper.time_zones()
        request = self._parse(engine, self._query)
        if self._key is not None and self._method not in _BODILESS:
            plans.keep_request(self._key, request)
        return request

    def _parse(self, engine: Engine, query: Query) -> ApiRequest:
        return parse_request(
            self.scope,
            self._path,
            query,
            self._keeper.schemas,
            listed=engine.settings.schemas,
            allows_tx=engine.settings.tx_end.endswith("-allow-override"),
            knows_time_zone=self._time_zones.__contains__,
        )

    async def _body(self, engine: Engine, request: ApiRequest) -> Body | None:
        if self._method in _BODILESS:
            return None
        if self.raw is None:
            self.raw = await read_body(self.scope, self._receive, engine.settings.max_body_bytes)
            if self._stopwatch is not None:
                self._stopwatch.skip()
        content_type = header(self.scope, "content-type")
        if request.target.kind == "function":
            return await parse_call_body(self.raw, content_type, request.columns)
        return await parse_write_body(self.raw, content_type, request.columns if request.method != "PUT" else None)

    def _given(self, body: Body | None) -> Given:
        query = self._query
        return Given(query.operands, query.pairs, query.offset, given_body(body), self._stopwatch)

    def _key_with(self, body: Body) -> Hashable | None:
        """The key of a plan that takes a body of these keys; a form's values are parameters of their own."""
        if self._key is None or body.form or body.raw is not None or sum(map(len, body.keys)) > MAX_SHAPE_CHARS:
            return None
        return self._key, body.kind, tuple(sorted(body.keys)), body.is_object

    def _depends_on_shape_alone(
        self, engine: Engine, cache: SchemaCache, prepared: Prepared, given: Given, body: Body | None
    ) -> bool:
        """Plan once more, with another operand at every place: the SQL must be the same, and its values in their places."""
        other_query = self._query.with_other_operands()
        other_body = None if body is None else replace(body, json=_OTHER_BODY)
        other_given = replace(given, operands=other_query.operands, body=given_body(other_body))
        try:
            other = _prepared(engine, self._parse(engine, other_query), cache, other_body)
        except RequestError:
            return False
        return prepared.is_like(other, given, other_given)


def _is_stale(error: DatabaseError) -> bool:
    """Whether PostgreSQL speaks of what is not there, or was dropped while it planned the statement."""
    return error.sqlstate in _STALE or (error.sqlstate == "XX000" and error.message.startswith("cache lookup failed"))


def _prepared(engine: Engine, request: ApiRequest, cache: SchemaCache, body: Body | None) -> Prepared:
    """Plan by method and kind of target."""
    if request.target.kind == "function":
        return prepare_call(engine, request, cache, body)
    match request.method, body:
        case "DELETE", _:
            return prepare_delete(engine, request, cache)
        case "PATCH", Body():
            return prepare_update(engine, request, cache, body)
        case "PUT", Body():
            return prepare_put(engine, request, cache, body)
        case _, Body():
            return prepare_insert(engine, request, cache, body)
        case _:
            return prepare_read(engine, request, cache)


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

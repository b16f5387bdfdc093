"""Paths to endpoints for both faces, and what happens for what is not there.

Upstream guards whole sub-trees: under ``/admin`` and ``/user`` the bearer token is asked for before the router says that
there is no such route or method. Source: supabase/auth internal/api/api.go (chi). A plain table is enough, and unlike
Starlette's routes it is looked up by dictionary and adds no HEAD of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isobase_platform.errors import MethodNotAllowed, NotFound
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import overloaded
from isobase_services.auth.request import Request, client_facts
from isobase_services.auth.store.audit import client_address, keeps_rows

__all__ = ["Endpoint", "Guard", "Route", "Router"]

MAX_REQUEST_DURATION_S = 10.0
POLICY_VIOLATION = 1008

Endpoint: TypeAlias = Callable[[AuthCore, Request], Awaitable[Response]]
Guard: TypeAlias = Callable[[AuthCore, Request], Awaitable[object]]


@dataclass(slots=True, frozen=True)
class Route:
    """A method and a path such as ``/admin/users/{user_id}`` with its endpoint."""

    method: str
    path: str
    endpoint: Endpoint
    takes_slash: bool = False
    """Whether the path with a slash at its end is the same route: so where upstream mounts a sub-router."""


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    parameter: tuple[str, _Node] | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    takes_slash: bool = False


class Router:
    """Serves the routes for one ``AuthCore``.

    ``guards``: path prefix -> what must pass before an unknown route or method under it is answered; a prefix may have
    parameters, which the guard finds in the request. ``checks``:
    (method, path as in the route) -> what must pass before the endpoint, in this order.
    """

    def __init__(
        self,
        core: AuthCore,
        routes: Sequence[Route],
        guards: Mapping[str, Guard],
        checks: Mapping[tuple[str, str], Sequence[Guard]] = MappingProxyType({}),
    ) -> None:
        self._core = core
        self._guards = [(tuple(prefix.strip("/").split("/")), guard) for prefix, guard in guards.items()]
        self._checks = checks
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.strip("/").split("/"):
            if segment.startswith("{"):
                if node.parameter is None:
                    node.parameter = (segment[1:-1], _Node())
                node = node.parameter[1]
            else:
                node = node.children.setdefault(segment, _Node())
        node.endpoints[route.method] = _checked(route.endpoint, self._checks.get((route.method, route.path), ()))
        node.takes_slash = node.takes_slash or route.takes_slash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; errors leave as exceptions for the ``ErrorBoundary``. A WebSocket is turned away."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        node, params = self._find(path)
        keeps_rows.set(self._core.settings.audit.database_enabled)
        client_address.set(lambda: client_facts(scope).ip or "")
        request = Request(scope, receive, params, self._core.settings.jwt_audience)
        try:
            async with asyncio.timeout(MAX_REQUEST_DURATION_S):
                response = await self._answer(node, path, request)
        except TimeoutError:
            raise overloaded() from None
        await response(scope, receive, send)

    async def _answer(self, node: _Node | None, path: str, request: Request) -> Response:
        endpoint = node.endpoints.get(request.scope["method"]) if node is not None else None
        if endpoint is not None:
            return await endpoint(self._core, request)
        segments = path.removeprefix("/").split("/")
        for prefix, guard in self._guards:
            params = _params_of(prefix, segments)
            if params is not None:
                await guard(self._core, replace(request, path_params=params))
        if node is not None and node.endpoints:
            raise MethodNotAllowed("The method is not allowed here", details=", ".join(node.endpoints))
        raise NotFound("There is no such route")

    def _find(self, path: str) -> tuple[_Node | None, dict[str, str]]:
        node = self._root
        params: dict[str, str] = {}
        segments = path.removeprefix("/").split("/")
        has_slash = len(segments) > 1 and segments[-1] == ""
        for segment in segments[:-1] if has_slash else segments:
            child = node.children.get(segment)
            if child is None:
                if node.parameter is None or not segment:
                    return None, {}
                name, child = node.parameter
                params[name] = segment
            node = child
        if has_slash and not node.takes_slash:
            return None, {}
        return node, params


def _params_of(prefix: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    """What a prefix's parameters stand for in a path; None for a path that does not begin with it."""
    if len(segments) < len(prefix):
        return None
    params: dict[str, str] = {}
    for wanted, segment in zip(prefix, segments, strict=False):
        if wanted.startswith("{") and segment:
            params[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return params


def _checked(endpoint: Endpoint, checks: Sequence[Guard]) -> Endpoint:
    if not checks:
        return endpoint

    async def check_and_answer(core: AuthCore, request: Request) -> Response:
        for check in checks:
            await check(core, request)
        return await endpoint(core, request)

    return check_and_answer

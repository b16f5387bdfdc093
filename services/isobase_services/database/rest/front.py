"""What PostgREST does around every request where no gateway stands before it: CORS, the trace header, one line of log.

Source: PostgREST v14 ``Cors.hs``, ``App.hs`` (traceHeaderMiddleware) and ``Logger.hs``.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.http.request import header
from isobase_services.database.cache_keeper import CacheKeeper

__all__ = ["Front", "traced"]

CORS_MAX_AGE_S = 24 * 3600
CORS_METHODS = "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"
_ASKED_METHODS = frozenset(CORS_METHODS.split(", "))
_SAFE_HEADERS = ("Accept", "Accept-Language", "Content-Language")
_EXPOSED_HEADERS = (
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, "
    "Range-Unit"
)

_access = logging.getLogger("isobase.access")


def traced(app: ASGIApp, keeper: CacheKeeper) -> ASGIApp:
    """``app``, whose answers repeat the request header that ``trace_header`` names; an empty one where it was not sent."""

    async def tracing(scope: Scope, receive: Receive, send: Send) -> None:
        name = keeper.settings.trace_header
        if name is None:
            await app(scope, receive, send)
            return
        value = header(scope, name.lower()) or ""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[name] = value
            await send(message)

        await app(scope, receive, send_on)

    return tracing


class Front:
    """Stands before the data API's app; the settings are those in force when a request comes."""

    def __init__(self, app: ASGIApp, keeper: CacheKeeper) -> None:
        self._keeper = keeper
        self._app = traced(self._shared(app), keeper)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and log it: as an error from status 500 on, as a warning from 400 on."""
        if not _access.isEnabledFor(logging.ERROR):
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status, facts = 0, {"method": scope["method"], "path": scope["path"]}

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                facts.update(_error_code(message) if status >= 400 else {})
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
            if _access.isEnabledFor(level):
                duration_ms = round((time.perf_counter() - started_s) * 1000, 2)
                _access.log(level, "request", extra={**facts, "status": status, "duration_ms": duration_ms})

    def _shared(self, app: ASGIApp) -> ASGIApp:
        """``app`` for browsers of the allowed origins; other origins get answers that browsers do not show to pages."""

        async def sharing(scope: Scope, receive: Receive, send: Send) -> None:
            allowed = self._allowed(header(scope, "origin"))
            if not allowed:
                await app(scope, receive, send)
                return
            if scope["method"] == "OPTIONS" and header(scope, "access-control-request-method") in _ASKED_METHODS:
                await _preflight(scope, allowed)(scope, receive, send)
                return

            async def send_on(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    headers.update({**allowed, "Access-Control-Expose-Headers": _EXPOSED_HEADERS})
                await send(message)

            await app(scope, receive, send_on)

        return sharing

    def _allowed(self, origin: str | None) -> dict[str, str]:
        """The headers that let a page of ``origin`` read the answer; none where it may not, or no browser asks."""
        origins = self._keeper.settings.cors_allowed_origins
        if origin is None:
            return {}
        if origins is None:
            return {"Access-Control-Allow-Origin": "*"}
        if origin not in origins:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def _error_code(message: Message) -> dict[str, str]:
    """The code of an error, as the Proxy-Status header tells it."""
    status = Headers(raw=message["headers"]).get("proxy-status", "")
    _, _, code = status.partition("error=")
    return {"error": code} if code else {}


def _preflight(scope: Scope, allowed: dict[str, str]) -> Response:
    asked = header(scope, "access-control-request-headers")
    names = [name.strip() for name in asked.split(",")] if asked else []
    headers = {
        **allowed,
        "Access-Control-Allow-Methods": CORS_METHODS,
        "Access-Control-Allow-Headers": ", ".join(["Authorization", *names, *_SAFE_HEADERS]),
        "Access-Control-Max-Age": str(CORS_MAX_AGE_S),
    }
    return Response(status_code=200, headers=headers)

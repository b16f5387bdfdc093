"""What PostgREST does around every request where no gateway stands before it: CORS, the trace header, one line of log.

Source: PostgREST v14 ``Cors.hs``, ``App.hs`` (traceHeaderMiddleware) and ``Logger.hs``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

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
        added = _trace(scope, keeper.settings.trace_header)
        await app(scope, receive, _adding(send, added) if added else send)

    return tracing


class Front:
    """Stands before the data API's app; the settings are those in force when a request comes."""

    def __init__(self, app: ASGIApp, keeper: CacheKeeper) -> None:
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and log it: as an error from status 500 on, as a warning from 400 on."""
        if _access.isEnabledFor(logging.ERROR):
            await self._logged(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _logged(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        status = 0
        error: dict[str, str] = {}

        async def send_on(message: Message) -> None:
            nonlocal status, error
            if message["type"] == "http.response.start":
                status = message["status"]
                error = _error_code(message) if status >= 400 else error
            await send(message)

        try:
            await self._serve(scope, receive, send_on)
        finally:
            level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
            if _access.isEnabledFor(level):
                duration_ms = round((time.perf_counter() - started_s) * 1000, 2)
                facts = {"method": scope["method"], "path": scope["path"], "status": status, "duration_ms": duration_ms}
                _access.log(level, "request", extra={**facts, **error})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Browsers of the allowed origins may read the answer; to pages of others they do not show it."""
        settings = self._keeper.settings
        added = _trace(scope, settings.trace_header)
        allowed = _allowed(header(scope, "origin"), settings.cors_allowed_origins)
        if (
            allowed
            and scope["method"] == "OPTIONS"
            and header(scope, "access-control-request-method") in _ASKED_METHODS
        ):
            await _preflight(scope, {**allowed, **added})(scope, receive, send)
            return
        if allowed:
            added = {**added, **allowed, "Access-Control-Expose-Headers": _EXPOSED_HEADERS}
        await self._app(scope, receive, _adding(send, added) if added else send)


def _trace(scope: Scope, name: str | None) -> dict[str, str]:
    return {} if name is None else {name: header(scope, name.lower()) or ""}


def _allowed(origin: str | None, origins: Sequence[str] | None) -> dict[str, str]:
    """The headers that let a page of ``origin`` read the answer; none where it may not, or no browser asks."""
    if origin is None:
        return {}
    if origins is None:
        return {"Access-Control-Allow-Origin": "*"}
    if origin not in origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def _adding(send: Send, headers: Mapping[str, str]) -> Send:
    """``send``, with ``headers`` on the answer in the place of those of the same names."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_on


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

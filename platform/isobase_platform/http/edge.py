"""The gateway: the one ASGI app in front of all mounts.

For each request, in this order: request id, metrics and access log around everything; CORS; the longest matching mount; the
API-key gate; the mount's app with its prefix in ``root_path``. Answers stream through untouched but for added headers.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.errors import IsobaseError, NotFound
from isobase_platform.http.client_address import NO_PROXIES, TrustedProxies
from isobase_platform.http.errors import render_simple, simple_error_body
from isobase_platform.http.gate import MissingApiKey, authorization_for, with_authorization
from isobase_platform.http.request import PROXIES_KEY, REQUEST_ID_KEY, bearer_token, header
from isobase_platform.service import Mount
from isobase_platform.third_party import MixedVerifier

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

    from isobase_platform.key_keeper import KeyKeeper
    from isobase_platform.observe import Metrics
    from isobase_platform.tokens import ApiKeys, TokenVerifier

__all__ = ["Edge", "split_path"]

MAX_REQUEST_ID_LENGTH_CHARS = 128
MAX_COUNTERS = 1000
"""Counters found by their labels that are remembered."""
CORS_MAX_AGE_S = 3600
CORS_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS"

_access = logging.getLogger("isobase.access")
_log = logging.getLogger("isobase.http")


class Edge:
    """Serves the mounts of one or several services.

    Parameters: ``mounts``; ``keys`` for the gate; ``metrics``; ``require_api_key`` as in the settings; ``pages``, apps at
    exact paths that need no key (``/health``, ``/metrics``, ``/docs``); ``bare``, a mount's app to serve at ``/`` too;
    ``key_keeper``, asked before a request whose token names a signing key that is not known here;
    ``verifier``, told of each bearer token before its service verifies it, so that it may fetch an issuer's keys.
    ``proxies``, those whose forwarded header says who the client is.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        *,
        keys: ApiKeys,
        metrics: Metrics,
        require_api_key: bool = False,
        pages: Mapping[str, ASGIApp] | None = None,
        bare: Mount | None = None,
        key_keeper: KeyKeeper | None = None,
        verifier: TokenVerifier | None = None,
        proxies: TrustedProxies = NO_PROXIES,
    ) -> None:
        # Longest prefix first, so that /auth/v1 is asked before /auth.
        self._mounts = sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)
        self._keys = keys
        self._metrics = metrics
        self._require_api_key = require_api_key
        self._pages = dict(pages or {})
        self._bare = bare
        self._key_keeper = key_keeper
        self._verifier = verifier if isinstance(verifier, MixedVerifier) else None
        self._proxies = proxies
        self._counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await self._route(self._identified(scope), receive, send)
            return
        await self._observed(self._identified(scope), receive, send)

    def _identified(self, scope: Scope) -> Scope:
        given = header(scope, "x-request-id")
        is_usable = given is not None and 0 < len(given) <= MAX_REQUEST_ID_LENGTH_CHARS and given.isascii()
        request_id = given if is_usable and given.isprintable() else os.urandom(16).hex()  # type: ignore[union-attr]
        return {**scope, REQUEST_ID_KEY: request_id, PROXIES_KEY: self._proxies}

    async def _observed(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        status = 0
        mount, _ = self._find(scope["path"])
        mount_name = _mount_name(mount, scope["path"], self._pages)
        cors = _cors_headers(scope, mount)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-request-id", scope[REQUEST_ID_KEY])
                for name, value in cors.items():
                    headers[name] = value
                if cors and mount is not None and mount.cors_expose_prefix is not None:
                    _expose_own(headers, mount.cors_expose_prefix)
            await send(message)

        self.in_flight += 1
        self._metrics.in_flight.inc()
        try:
            await self._route(scope, receive, send_on)
        except Exception:
            # Mounts have boundaries of their own; this is for what goes wrong before or beside them.
            if status:
                raise
            _log.exception("unexpected error", extra={"request_id": scope[REQUEST_ID_KEY], "path": scope["path"]})
            await render_simple(IsobaseError("An unexpected error happened"), scope)(scope, receive, send_on)
        finally:
            self.in_flight -= 1
            self._metrics.in_flight.dec()
            duration_s = time.perf_counter() - started_s
            self._count(mount_name, scope["method"], status, duration_s)
            if _access.isEnabledFor(logging.DEBUG) or status >= 500:
                _access.log(
                    logging.WARNING if status >= 500 else logging.DEBUG,
                    "request",
                    extra={
                        "request_id": scope[REQUEST_ID_KEY],
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "duration_ms": round(duration_s * 1000, 2),
                    },
                )

    def _count(self, mount_name: str, method: str, status: int, duration_s: float) -> None:
        """Add one request to the metrics; finding a label's counter by its texts costs more than counting."""
        key = (mount_name, method, status)
        found = self._counters.get(key)
        if found is None:
            found = (
                self._metrics.requests.labels(mount_name, method, str(status)),
                self._metrics.duration_s.labels(mount_name),
            )
            if len(self._counters) < MAX_COUNTERS:
                self._counters[key] = found
        found[0].inc()
        found[1].observe(duration_s)

    def _find(self, path: str) -> tuple[Mount | None, str]:
        for mount in self._mounts:
            rest = split_path(path, mount.prefix)
            if rest is not None:
                return mount, mount.prefix
        return self._bare, ""

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        mount, prefix = self._find(path)
        page = self._pages.get(path)
        if scope["type"] == "websocket" and (page is not None or mount is None or not mount.takes_websockets):
            # Before the socket is accepted a close is an HTTP 403 to the client.
            await send({"type": "websocket.close", "code": 1008})
            return
        if page is not None:
            await page(scope, receive, send)
            return
        if scope["type"] == "http" and _is_preflight(scope):
            await _preflight(scope)(scope, receive, send)
            return
        if mount is None:
            await _refuse(scope, receive, send, render_simple(NotFound("There is no such route"), scope))
            return
        try:
            authorization = authorization_for(scope, mount.api_key, self._keys, is_required=self._require_api_key)
        except MissingApiKey as error:
            await _refuse(scope, receive, send, _render_missing_key(error, scope))
            return
        if authorization is not None:
            scope = with_authorization(scope, authorization)
        if self._key_keeper is not None:
            for name, value in scope["headers"]:
                if name == b"authorization":
                    looking = self._key_keeper.unknown_key(value)
                    if looking is not None:
                        await looking
                    break
        if self._verifier is not None:
            await self._verifier.prepare(bearer_token(scope) or header(scope, "apikey") or "")
        # ASGI: path stays whole and root_path names the prefix; Starlette's routers take it off.
        await mount.app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)


def split_path(path: str, prefix: str) -> str | None:
    """The part of ``path`` after ``prefix`` when the prefix ends at a segment's border, else None."""
    if not path.startswith(prefix):
        return None
    rest = path[len(prefix) :]
    return rest if not rest or rest[0] == "/" else None


def _mount_name(mount: Mount | None, path: str, pages: Mapping[str, ASGIApp]) -> str:
    """The label of the metrics: never a raw path, which would grow without bound."""
    if path in pages:
        return path
    return mount.prefix if mount is not None else "none"


def _render_missing_key(error: MissingApiKey, scope: Scope) -> Response:
    """The upstream gateway's shape, with the simple face's beside it: clients of either read what they know."""
    body = {"message": error.message, "hint": error.hint, **simple_error_body(error, scope[REQUEST_ID_KEY])}
    return JSONResponse(body, status_code=error.status)


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await response(scope, receive, send)


def _is_preflight(scope: Scope) -> bool:
    return (
        scope["method"] == "OPTIONS"
        and header(scope, "origin") is not None
        and header(scope, "access-control-request-method") is not None
    )


def _preflight(scope: Scope) -> Response:
    """Answer a browser's question. Tokens travel in headers, never in cookies, so any origin may ask, as upstream."""
    headers = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": CORS_METHODS,
        "access-control-max-age": str(CORS_MAX_AGE_S),
        "vary": "Access-Control-Request-Headers",
    }
    wanted = header(scope, "access-control-request-headers")
    if wanted:
        headers["access-control-allow-headers"] = wanted
    return Response(status_code=200, headers=headers)


def _cors_headers(scope: Scope, mount: Mount | None) -> dict[str, str]:
    if header(scope, "origin") is None or _is_preflight(scope):
        return {}
    exposed = ["x-request-id", *(mount.cors_expose if mount is not None else ())]
    return {"access-control-allow-origin": "*", "access-control-expose-headers": ", ".join(exposed)}


def _expose_own(headers: MutableHeaders, prefix: str) -> None:
    """Name the answer's headers that begin with ``prefix``: browsers know no pattern for them."""
    own = [name for name in headers if name.startswith(prefix)]
    headers["access-control-expose-headers"] = ", ".join([headers["access-control-expose-headers"], *own])


async def _lifespan(receive: Receive, send: Send) -> None:
    """Services are started and drained by the process that owns them; the protocol only wants its answers."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return

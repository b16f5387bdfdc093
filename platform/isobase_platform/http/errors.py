"""The boundary around a mount: errors in, answers in the face's shape out, and the simple face's own shape.

Each face hands ``ErrorBoundary`` one renderer; no endpoint builds an error body. An exception that is not of the house's
tree is logged whole and answered as a 500 that carries the request id and no inner text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.errors import DatabaseError, IsobaseError, MethodNotAllowed, NotFound
from isobase_platform.http.request import request_id

__all__ = ["ErrorBoundary", "Renderer", "render_simple", "simple_error_body"]

Renderer: TypeAlias = Callable[[IsobaseError, Scope], Response]
"""Turns an error into the face's answer; the scope gives the request id and the headers that choose a shape."""

_log = logging.getLogger("isobase.http")

_SIMPLE_STATUS_BY_SQLSTATE = {
    "42501": 403,
    "23505": 409,
    "23503": 409,
    "42P01": 404,
    "57014": 504,
    "40001": 409,
    "40P01": 409,
}
_SIMPLE_STATUS_BY_CLASS = {"22": 400, "23": 400, "25": 405, "42": 400, "P0": 400}


class ErrorBoundary:
    """ASGI wrapper: what ``app`` raises before its answer began is rendered by ``render``.

    An error after the answer began cannot be told to the client: it is logged, and raised again so that the server cuts
    the connection instead of ending a half answer cleanly.
    """

    def __init__(self, app: ASGIApp, render: Renderer) -> None:
        self._app = app
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def send_on(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_on)
            return
        except IsobaseError as error:
            failure = error
            if error.status >= 500:
                _log.error(
                    "request failed",
                    extra={"request_id": request_id(scope), "code": error.code, "details": error.details},
                    exc_info=error.status == 500,
                )
        except HTTPException as error:
            # Starlette's router speaks of unknown routes and wrong methods with these.
            failure = _from_starlette(error)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:
            _log.exception("unexpected error", extra={"request_id": request_id(scope), "path": scope["path"]})
            if has_started:
                raise
            failure = IsobaseError("An unexpected error happened")
            failure.__cause__ = error
        if has_started:
            raise failure
        await self._rendered(failure, scope)(scope, receive, send)

    def _rendered(self, failure: IsobaseError, scope: Scope) -> Response:
        """The answer for ``failure``; one that cannot be written down (its text has no encoding) is a plain 500."""
        try:
            return self._render(failure, scope)
        except (ValueError, TypeError, RecursionError):
            _log.exception("an error could not be rendered", extra={"request_id": request_id(scope)})
            return self._render(IsobaseError("An unexpected error happened"), scope)


def _from_starlette(error: HTTPException) -> IsobaseError:
    if error.status_code == 404:
        return NotFound("There is no such route")
    if error.status_code == 405:
        return MethodNotAllowed("The method is not allowed here", details=(error.headers or {}).get("Allow"))
    return IsobaseError(error.detail, code="http_error", status=error.status_code)


def simple_error_body(error: IsobaseError, identifier: str) -> dict[str, Any]:
    """The simple face's error: ``{"error": {"code", "message", "details", "hint", "request_id"}}``."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "details": error.details,
            "hint": error.hint,
            "request_id": identifier or None,
        }
    }


def render_simple(error: IsobaseError, scope: Scope) -> Response:
    """Render for the simple face, with true HTTP statuses; PostgreSQL's refusals by SQLSTATE, then by its class."""
    status = error.status
    if isinstance(error, DatabaseError):
        state = error.sqlstate
        status = _SIMPLE_STATUS_BY_SQLSTATE.get(state) or _SIMPLE_STATUS_BY_CLASS.get(state[:2], 500)
        if status == 500:
            _log.error("database error", extra={"request_id": request_id(scope), "sqlstate": state}, exc_info=error)
            error = IsobaseError("An unexpected error happened")
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, MethodNotAllowed) and error.details:
        headers["allow"] = error.details
    # Escaped, because a message may quote what a client sent, and half a surrogate pair has no UTF-8.
    content = json.dumps(simple_error_body(error, request_id(scope)), separators=(",", ":"))
    return Response(content, status_code=status, headers=headers, media_type="application/json")

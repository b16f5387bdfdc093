"""Errors of the HTTP face in upstream's shapes, written in one place.

A refused handshake is ``{"error": ...}``, an invalid batch ``{"errors": ...}``, everything else ``{"message": ...}``; unknown
routes and wrong methods are the bare text of upstream's framework. Source: contracts/realtime.md 1.1 and 1.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from isobase_platform.errors import BadRequest, BodyTooLarge, IsobaseError, MethodNotAllowed, NotFound
from isobase_services.realtime.session.policies import Failure

__all__ = ["HandshakeRefused", "InvalidBroadcast", "RateExceeded", "Unauthorized", "render_error"]


class HandshakeRefused(IsobaseError):
    """A socket that is not opened; ``message`` is upstream's text, empty for an unknown protocol version."""

    default_code = "handshake_refused"
    default_status = 401


class Unauthorized(IsobaseError):
    """No token, or one that does not verify; upstream does not say which."""

    default_code = "unauthorized"
    default_status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class InvalidBroadcast(IsobaseError):
    """A broadcast that lacks something. ``errors`` is upstream's description of it."""

    default_code = "invalid_broadcast"
    default_status = 422

    def __init__(self, errors: Mapping[str, object]) -> None:
        super().__init__("The broadcast is not valid")
        self.errors = errors


class RateExceeded(IsobaseError):
    """The project's rate of messages is used up."""

    default_code = "rate_exceeded"
    default_status = 429


class UnsupportedType(IsobaseError):
    """A body that is neither JSON nor raw bytes by its ``Content-Type``."""

    default_code = "unsupported_media_type"
    default_status = 415

    def __init__(self) -> None:
        super().__init__("Unsupported Media Type. Use application/json or application/octet-stream")


class NotAsked(IsobaseError):
    """The policies of a private channel could not be asked; ``failure`` says why."""

    default_code = "policies_not_asked"
    default_status = 422

    def __init__(self, failure: Failure) -> None:
        super().__init__(_FAILURES[failure])


_FAILURES = {
    Failure.DATABASE_AWAY: "Tenant database unavailable",
    Failure.CANCELLED: "Query canceled",
    Failure.PARTITION_MISSING: "Missing messages partition",
    Failure.POLICY_RAISED: "RLS policy error",
}


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """The answer to an error; anything unexpected is upstream's plain 500 without a reason."""
    match error:
        case HandshakeRefused(message=""):
            return Response(status_code=error.status)
        case HandshakeRefused():
            return _json({"error": error.message}, status_code=error.status)
        case InvalidBroadcast():
            return _json({"errors": error.errors}, status_code=error.status)
        case UnsupportedType():
            return _json({"error": error.message}, status_code=error.status)
        case NotFound() | MethodNotAllowed():
            return _framework_error(404)
        case BodyTooLarge():
            return _framework_error(413)
        case BadRequest():
            return _framework_error(error.status)
        case _ if error.status >= 500:
            return _framework_error(error.status)
        case _:
            return _json({"message": error.message}, status_code=error.status)


def _json(body: Mapping[str, object], *, status_code: int) -> Response:
    return JSONResponse(body, status_code=status_code, media_type="application/json; charset=utf-8")


def _framework_error(status: int) -> Response:
    phrase = "Request Entity Too Large" if status == 413 else HTTPStatus(status).phrase
    return PlainTextResponse(phrase, status_code=status)

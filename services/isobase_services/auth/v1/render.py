"""Everything that the Supabase face writes: users (``user_json``), sessions, errors in both API versions.

Source: contracts auth 2.1 to 2.3 and section 0; supabase/auth internal/api/errors.go. The only place where this face builds
an error body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import orjson
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from isobase_platform.errors import (
    BodyTooLarge,
    DatabaseError,
    IsobaseError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from isobase_platform.http.request import header, request_id
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, WeakPassword, log_database_error
from isobase_services.auth.models import Grant
from isobase_services.auth.request import MAX_BODY_BYTES
from isobase_services.auth.user_json import factor_body, rfc3339, user_body

__all__ = [
    "API_VERSION",
    "factor_body",
    "grant_headers",
    "json_response",
    "render_error",
    "rfc3339",
    "session_body",
    "user_body",
]

API_VERSION = "2024-01-01"
_API_VERSION_HEADER = "x-supabase-api-version"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNEXPECTED = "Unexpected failure, please check server logs for more information"

_PUBLIC_SQLSTATES = frozenset({"P0001", "23000", "23001", "23502", "23503", "23505", "23514", "23P01"})
_CUSTOM_STATUS = re.compile(r"PT(\d{3})")


def json_response(
    content: Mapping[str, Any] | list[Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer, without blanks."""
    try:
        body = orjson.dumps(content)
    except TypeError:
        # Metadata may hold integers of any length; the standard library writes those too.
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def session_body(grant: Grant) -> dict[str, Any]:
    """The session object."""
    return {
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_in": grant.expires_in_s,
        "expires_at": grant.expires_at_s,
        "refresh_token": grant.refresh_token,
        "user": user_body(grant.user),
    }


def grant_headers(grant: Grant) -> dict[str, str]:
    """What upstream tells about a grant in headers; the prefix lets support find a refresh token without knowing it."""
    return {
        "sb-auth-user-id": str(grant.user.id),
        "sb-auth-session-id": str(grant.session_id),
        "sb-auth-refresh-token-prefix": grant.refresh_token[:5],
    }


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """The answer for an error, in the shape that the caller's API version asks for."""
    if isinstance(error, MethodNotAllowed):
        # The upstream router's own answers: no JSON, and no body for a wrong method.
        return Response(status_code=405, headers={"allow": error.details} if error.details else None)
    if isinstance(error, NotFound):
        return PlainTextResponse("404 page not found\n", status_code=404, headers={"x-content-type-options": "nosniff"})
    if isinstance(error, OAuthRefusal):
        # OAuth's own shape, whatever version of ours the caller speaks.
        headers = {_API_VERSION_HEADER: API_VERSION} if _wants_current_version(scope) else None
        return json_response({"error": error.error, "error_description": error.message}, 400, headers)
    failure = _as_auth_error(error)
    is_current = _wants_current_version(scope)
    headers = {"x-sb-error-code": failure.code}
    if is_current:
        headers[_API_VERSION_HEADER] = API_VERSION
        body: dict[str, Any] = {"code": failure.code, "message": failure.message}
    else:
        public = _public_database_error(failure)
        if public is not None:
            status, body = public
            return json_response(body, status, headers)
        body = {"code": failure.status, "error_code": failure.code, "msg": failure.message}
        if failure.status >= 500 and request_id(scope):
            body["error_id"] = request_id(scope)
    if isinstance(failure, WeakPassword):
        body["weak_password"] = {"reasons": list(failure.reasons)}
    return json_response(body, failure.status, headers)


def _as_auth_error(error: IsobaseError) -> AuthError:
    if isinstance(error, AuthError):
        return error
    if isinstance(error, BodyTooLarge):
        return AuthError(
            413, ErrorCode.REQUEST_ENTITY_TOO_LARGE, f"Request body too large (max {MAX_BODY_BYTES} bytes)"
        )
    if isinstance(error, Unavailable):
        # Worth a retry, which the clients do on a 503 by themselves.
        return AuthError(503, ErrorCode.UNEXPECTED_FAILURE, _UNEXPECTED)
    if isinstance(error, DatabaseError):
        log_database_error(error)
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, _UNEXPECTED)


def _wants_current_version(scope: Scope) -> bool:
    given = header(scope, _API_VERSION_HEADER)
    if given is None or not _DATE.fullmatch(given):
        return False
    try:
        return date.fromisoformat(given) >= date.fromisoformat(API_VERSION)
    except ValueError:
        return False


def _public_database_error(error: AuthError) -> tuple[int, dict[str, Any]] | None:
    """The older shape shows what a project's own trigger or constraint said: (status, body), or None for anything else."""
    cause = error.database
    if cause is None:
        return None
    status = 500 if cause.sqlstate in _PUBLIC_SQLSTATES else None
    if match := _CUSTOM_STATUS.fullmatch(cause.sqlstate):
        status = int(match[1]) if 200 <= int(match[1]) <= 599 else 500
    if status is None:
        return None
    body: dict[str, Any] = {"code": cause.sqlstate, "message": cause.message}
    if cause.hint:
        body["hint"] = cause.hint
    if cause.details and not _names_a_secret_row(cause):
        body["detail"] = cause.details
    return status, body


def _names_a_secret_row(cause: DatabaseError) -> bool:
    """PostgreSQL's "Failing row contains (...)" of a table in auth would show password hashes and tokens."""
    return cause.schema == "auth" and "Failing row" in (cause.details or "")

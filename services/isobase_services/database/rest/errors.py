"""PostgREST's error bodies and statuses, in one place.

Source: PostgREST v14 ``Error.hs``: SQLSTATE to HTTP by exact code, then by class; RAISE with PTnnn or PGRST.
"""

from __future__ import annotations

import json

from starlette.responses import Response
from starlette.types import Scope

from isobase_platform.errors import (
    BodyTooLarge,
    DatabaseError,
    IsobaseError,
    MethodNotAllowed,
    NotFound,
    TokenError,
    TokenRefusal,
    Unavailable,
)
from isobase_platform.http.request import bearer_token
from isobase_services.database.query.errors import RequestError

__all__ = ["render_error"]

_BY_STATE = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "21000": 500,
    "22023": 400,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "57014": 500,
    "P0001": 400,
}
_BY_CLASS = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """Any error as ``{"code", "details", "hint", "message"}`` with upstream's status and headers."""
    headers: dict[str, str] = {}
    status, code, message, details, hint = error.status, error.code, error.message, error.details, error.hint
    shown: object = details
    if isinstance(error, RequestError):
        shown = error.payload if error.payload is not None else details
        headers |= dict(error.headers)
    elif isinstance(error, DatabaseError):
        return _render_database(error, scope)
    elif isinstance(error, TokenError):
        status, code = 401, "PGRST303" if error.reason in _CLAIM_REFUSALS else "PGRST301"
        message = _TOKEN_MESSAGES.get(error.reason, "JWT cryptographic operation failed")
        headers["www-authenticate"] = f'Bearer error="invalid_token", error_description="{message}"'
    elif isinstance(error, Unavailable):
        is_pool = error.code == "pool_timeout"
        status, code = (504, "PGRST003") if is_pool else (503, "PGRST001")
        message = (
            "Timed out acquiring connection from connection pool."
            if is_pool
            else "Database connection error. Retrying the connection."
        )
        shown = hint = None
    elif isinstance(error, NotFound):
        code, message, status = "PGRST125", "Invalid path specified in request URL", 404
    elif isinstance(error, MethodNotAllowed):
        code, message, status = "PGRST117", f"Unsupported HTTP method: {scope['method']}", 405
    elif isinstance(error, BodyTooLarge):
        code, status = "PGRST102", 413
    elif error.status >= 500:
        code, message, shown, hint = "PGRSTX00", "An unexpected error happened", None, None
    body = {"code": code, "details": shown, "hint": hint, "message": message}
    return _response(body, status, headers)


_CLAIM_REFUSALS = frozenset(
    {TokenRefusal.EXPIRED, TokenRefusal.NOT_YET_VALID, TokenRefusal.ISSUED_IN_FUTURE, TokenRefusal.CLAIMS}
)
_TOKEN_MESSAGES = {
    TokenRefusal.EXPIRED: "JWT expired",
    TokenRefusal.NOT_YET_VALID: "JWT not yet valid",
    TokenRefusal.ISSUED_IN_FUTURE: "JWT issued at future",
    TokenRefusal.CLAIMS: "The JWT claims could not be parsed",
    TokenRefusal.MALFORMED: "Expected 3 parts in JWT",
    TokenRefusal.SIGNATURE: "No suitable key or wrong key type",
    TokenRefusal.UNKNOWN_KEY: "No suitable key or wrong key type",
    TokenRefusal.ALGORITHM: "Wrong or unsupported encoding algorithm",
}


def _render_database(error: DatabaseError, scope: Scope) -> Response:
    state = error.sqlstate
    headers: dict[str, str] = {"proxy-status": f"PostgREST; error={state}"}
    if state == "PGRST":
        return _raised(error, headers)
    if state.startswith("PT") and state[2:].isdigit():
        status = int(state[2:])
    elif state == "42501":
        # A refusal of anon asks for a sign-in; one of a known caller is final.
        is_anon = bearer_token(scope) is None or scope.get("isobase.role") == "anon"
        status = 401 if is_anon else 403
        if is_anon:
            headers["www-authenticate"] = "Bearer"
    else:
        status = _BY_STATE.get(state) or _BY_CLASS.get(state[:2], 400)
    body = {"code": state, "details": error.details, "hint": error.hint, "message": error.message}
    return _response(body, status, headers)


def _raised(error: DatabaseError, headers: dict[str, str]) -> Response:
    """``RAISE sqlstate 'PGRST'`` with JSON in message and detail: a function writes its own answer."""
    try:
        body = json.loads(error.message)
        extra = json.loads(error.details or "")
        status = int(extra["status"])
        headers |= {str(name): str(value) for name, value in extra.get("headers", {}).items()}
        shown = {name: body.get(name) for name in ("code", "message", "details", "hint")}
        if shown["code"] is None or shown["message"] is None:
            raise KeyError("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return _response(
            {
                "code": "PGRST121",
                "details": "Invalid JSON value for MESSAGE or DETAIL",
                "hint": "MESSAGE and DETAIL must be JSON objects with the keys that the documentation of RAISE names",
                "message": "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
            },
            500,
            {},
        )
    return _response(shown, status, headers)


def _response(body: dict[str, object], status: int, headers: dict[str, str]) -> Response:
    headers.setdefault("proxy-status", f"PostgREST; error={body['code']}")
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(content, status_code=status, headers=headers, media_type="application/json; charset=utf-8")

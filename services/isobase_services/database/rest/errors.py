"""PostgREST's error bodies and statuses, in one place.

Source: PostgREST v14 ``Error.hs``: SQLSTATE to HTTP by exact code, then by class; RAISE with PTnnn or PGRST.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

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
from isobase_platform.http.request import header
from isobase_services.database.query.errors import RequestError
from isobase_services.database.rest.given_head import BODILESS_STATUSES, framed, is_header, is_status

__all__ = ["CALLER_IS_KNOWN", "given_token", "render_error"]

CALLER_IS_KNOWN = "isobase.has_user_role"
"""Scope key: whether the caller came as another role than the anonymous one."""
_BEARER = re.compile(r"bearer(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


def given_token(scope: Scope) -> str | None:
    """What follows ``Bearer`` in Authorization, empty where nothing does; None for another scheme or no header."""
    found = _BEARER.fullmatch(header(scope, "authorization") or "")
    return (found.group(1) or "").strip() if found else None


_BY_STATE = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "21000": 500,
    "53400": 500,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "57014": 500,
    "57P01": 503,
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
    status, code, message, hint = error.status, error.code, error.message, error.hint
    details: object = error.details
    match error:
        case RequestError():
            details = error.payload if error.payload is not None else details
            headers |= dict(error.headers)
        case DatabaseError():
            return _render_database(error, scope)
        case TokenError():
            status, code, message, details = _token_refusal(error, scope)
            headers["www-authenticate"] = f'Bearer error="invalid_token", error_description="{message}"'
        case Unavailable() if error.code == "pool_timeout":
            status, code = 504, "PGRST003"
            message, details = "Timed out acquiring connection from connection pool.", None
        case Unavailable() if error.code == "schema_cache":
            status, code = 503, "PGRST002"
            message, details = "Could not query the database for the schema cache. Retrying.", None
        case Unavailable():
            # Where the database is and why it does not answer is for the log only.
            status, code = 503, "PGRST001"
            message, details = "Database client error. Retrying the connection.", None
        case NotFound():
            status, code, message = 404, "PGRST125", "Invalid path specified in request URL"
        case MethodNotAllowed():
            status, code, message = 405, "PGRST117", f"Unsupported HTTP method: {scope['method']}"
        case BodyTooLarge():
            status, code = 413, "PGRST102"
        case _ if status >= 500:
            code, message, details, hint = "PGRSTX00", "An unexpected error happened", None, None
        case _:
            code = _HOUSE_CODES.get(code, code)
    return _response({"code": code, "details": details, "hint": hint, "message": message}, status, headers)


_HOUSE_CODES = {"invalid_identifier": "42601", "invalid_text": "22021", "bad_request": "PGRST100"}
"""The platform's codes for names and texts that PostgreSQL itself would refuse, as the SQLSTATE that it would give."""

_CLAIM_MESSAGES = {
    TokenRefusal.EXPIRED: "JWT expired",
    TokenRefusal.NOT_YET_VALID: "JWT not yet valid",
    TokenRefusal.ISSUED_IN_FUTURE: "JWT issued at future",
}
_NO_KEY = "None of the keys was able to decode the JWT"
_UNSECURED = "JWT is unsecured but expected 'alg' was not 'none'"


def _token_refusal(error: TokenError, scope: Scope) -> tuple[int, str, str, str | None]:
    """Status, code, message and details of a token that does not verify. The token itself is never repeated."""
    if error.reason in _CLAIM_MESSAGES:
        return 401, "PGRST303", _CLAIM_MESSAGES[error.reason], None
    if error.reason is TokenRefusal.CLAIMS:
        found = re.fullmatch(r"The claim (exp|nbf|iat) is not a number", error.message)
        claim = f"The JWT '{found.group(1)}' claim must be a number" if found else error.message
        return 401, "PGRST303", claim, None
    if error.reason is TokenRefusal.ALGORITHM:
        return 401, "PGRST301", "Wrong or unsupported encoding algorithm", _UNSECURED
    if error.reason in {TokenRefusal.SIGNATURE, TokenRefusal.UNKNOWN_KEY}:
        return 401, "PGRST301", "No suitable key or wrong key type", _NO_KEY
    parts = (given_token(scope) or "").count(".") + 1
    if not given_token(scope):
        return 401, "PGRST301", "Empty JWT is sent in Authorization header", None
    if parts != TOKEN_PARTS:
        return 401, "PGRST301", f"Expected 3 parts in JWT; got {parts}", None
    if error.message.startswith("The token's payload"):
        return 401, "PGRST303", "Parsing claims failed", None
    return 401, "PGRST301", "JWT cryptographic operation failed", None


TOKEN_PARTS = 3


def _render_database(error: DatabaseError, scope: Scope) -> Response:
    state = error.sqlstate
    if state == "PGRST":
        return _raised(error)
    headers: dict[str, str] = {}
    status = _database_status(error, scope)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    body = {"code": state, "details": error.details, "hint": error.hint, "message": error.message}
    return _response(body, status, headers)


def _database_status(error: DatabaseError, scope: Scope) -> int:
    state, message = error.sqlstate, error.message
    if state.startswith("PT"):
        text = state[2:]
        return int(text) if text.isascii() and text.isdigit() and is_status(int(text)) else 500
    if state == "42501":
        # A refusal of anon asks for a sign-in; one of a known caller is final.
        return 403 if scope.get(CALLER_IS_KNOWN) else 401
    if state == "22023" and message.startswith("role") and message.endswith("does not exist"):
        return 401
    if state == "21000" and message.endswith("requires a WHERE clause"):
        return 400
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], 400)


def _raised(error: DatabaseError) -> Response:
    """``RAISE sqlstate 'PGRST'`` with JSON in message and detail: a function writes its own answer."""
    try:
        body = _object(error.message, ("code", "message"))
    except ValueError:
        return _unreadable(f"Invalid JSON value for MESSAGE: '{error.message}'", _MESSAGE_HINT)
    if error.details is None:
        return _unreadable("DETAIL is missing in the RAISE statement", _DETAIL_HINT)
    try:
        extra = _object(error.details, ("status", "headers"))
        status, given = int(extra["status"]), dict(extra["headers"])
        headers = {str(name).lower(): str(value) for name, value in given.items()}
        if not is_status(status) or not all(is_header(*pair) for pair in headers.items()):
            raise ValueError(status)
    except (ValueError, TypeError, OverflowError):
        return _unreadable(f"Invalid JSON value for DETAIL: '{error.details}'", _DETAIL_HINT)
    return _response({name: body.get(name) for name in ("code", "details", "hint", "message")}, status, headers)


_MESSAGE_HINT = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'."
)
_DETAIL_HINT = "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'."


def _object(text: str, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object with ``keys``, or ``ValueError``."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(text) from error
    if not isinstance(value, dict) or any(value.get(key) is None for key in keys):
        raise ValueError(text)
    return value


def _unreadable(details: str, hint: str) -> Response:
    message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    return _response({"code": "PGRST121", "details": details, "hint": hint, "message": message}, 500, {})


def _response(body: Mapping[str, object], status: int, headers: Mapping[str, str]) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    # A name in a header: what is no plain ASCII there could begin another header.
    code = re.sub(r"[^\x20-\x7e]", "", str(body["code"]))
    shown = {"content-type": "application/json; charset=utf-8", "proxy-status": f"PostgREST; error={code}", **headers}
    has_no_body = status in BODILESS_STATUSES
    response = Response(b"" if has_no_body else content, status_code=status)
    pairs = framed(shown.items(), None if has_no_body else len(content))
    response.raw_headers = [(name.encode(), value.encode()) for name, value in pairs]
    return response

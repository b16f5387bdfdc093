"""What a hook may answer, and the errors that come of it. Source: supabase/auth internal/hooks/hookserrors."""

from __future__ import annotations

import json

from isobase_platform.strict_json import load_finite
from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.models import JsonObject

__all__ = ["failed", "read_answer"]

MIN_ERROR_STATUS = 400
MAX_ERROR_STATUS = 599


def read_answer(raw: str | bytes) -> JsonObject:
    """The answer as an object; empty and null are an empty one.

    Raises what the hook asks for with ``{"error": {"http_code", "message"}}`` (500 where it names no status), and 500 for
    text that is no JSON object.
    """
    try:
        value = load_finite(raw) if raw.strip() else None
        # What cannot be written again as UTF-8 (half a surrogate pair) or is nested without end must not get into a token.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise failed("Error unmarshaling JSON output.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise failed("Error unmarshaling JSON output.")
    error = value.get("error")
    if isinstance(error, dict):
        _raise_named(error)
    return value


def _raise_named(error: JsonObject) -> None:
    message, status = error.get("message"), error.get("http_code")
    if not isinstance(message, str) or not message:
        return
    if not isinstance(status, int) or isinstance(status, bool) or not MIN_ERROR_STATUS <= status <= MAX_ERROR_STATUS:
        status = 500
    code = ErrorCode.UNEXPECTED_FAILURE if status == 500 else ErrorCode.UNKNOWN
    raise AuthError(status, code, message)


def failed(message: str) -> AuthError:
    """The 500 that a hook's failure is answered with."""
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, message)

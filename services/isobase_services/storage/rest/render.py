"""Answers of the Supabase face: JSON, and the one place that knows its error envelope.

``{"statusCode": "404", "error": "not_found", "message": ..., "code": ...}`` with HTTP 400 for almost every refusal: the true
status is the text in ``statusCode``. Source: contracts/storage.md 1.0.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from isobase_platform.errors import BodyTooLarge, DatabaseError, IsobaseError, MethodNotAllowed, NotFound, Unavailable
from isobase_services.storage.errors import StorageError, from_database, from_unavailable, refuse

__all__ = ["json_response", "json_text_response", "message_response", "render_error", "storage_error"]

_JSON = "application/json; charset=utf-8"
_FRAMEWORK_JSON = "application/json"
"""What upstream says of a route that is none in one of its groups, and of a broken path, names no charset."""
_GROUPS_WITH_OWN_NOT_FOUND = ("/object", "/bucket", "/render/image", "/cdn", "/vector")


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return json_text_response(text.encode("utf-8", "surrogatepass"), status)


def json_text_response(text: str | bytes, status: int = 200) -> Response:
    """An answer whose JSON text was built already, by PostgreSQL."""
    return Response(text, status_code=status, headers={"content-type": _JSON})


def message_response(message: str) -> Response:
    """``{"message": ...}``."""
    return json_response({"message": message})


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """The envelope for any error of the house. A HEAD request gets the status and the headers of the body left out."""
    if isinstance(error, NotFound | MethodNotAllowed):
        response = _route_not_found(scope)
    else:
        known = storage_error(error)
        is_framework = known.code == "FST_ERR_BAD_URL"
        body = {
            "statusCode": known.status if is_framework else str(known.status),
            "error": known.label,
            "message": known.message,
            "code": known.code,
        }
        response = json_response(body, known.wire_status or (500 if known.status == 500 else 400))
        if known.label == "Not found":
            response.headers["cache-control"] = "no-store"
        if is_framework:
            response.headers["content-type"] = _FRAMEWORK_JSON
    if scope["method"] == "HEAD":
        return Response(status_code=response.status_code, headers=dict(response.headers))
    return response


def storage_error(error: IsobaseError) -> StorageError:
    """Any error of the house as one of storage; what is not the request's fault says nothing of its inside."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, BodyTooLarge):
        message = "Request body is too large"
        return StorageError("EntityTooLarge", 413, message, label="FastifyError", wire_status=413)
    if isinstance(error, DatabaseError):
        return from_database(error)
    if isinstance(error, Unavailable):
        return from_unavailable(error)
    if error.status < 500:
        return refuse.invalid_request(error.message, status=error.status)
    return StorageError("InternalError", 500, "Internal Server Error", label="Internal")


def _route_not_found(scope: Scope) -> Response:
    """Upstream has no 405: a wrong method is a route that does not exist. Outside its groups it numbers the status."""
    raw: str = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1") or scope["path"]
    path = raw.removeprefix(scope.get("root_path", "")) or "/"
    query = scope.get("query_string", b"").decode("latin-1")
    url = f"{path}?{query}" if query else path
    message = f"Route {scope['method']}:{url} not found"
    if any(path == group or path.startswith(f"{group}/") for group in _GROUPS_WITH_OWN_NOT_FOUND):
        body = {"statusCode": "404", "error": "Not Found", "message": message, "code": "InvalidRequest"}
        response = json_response(body, 404)
        response.headers["content-type"] = _FRAMEWORK_JSON
        return response
    return json_response({"message": message, "error": "Not Found", "statusCode": 404}, 404)

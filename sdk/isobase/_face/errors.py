"""The simple face's error. Source: the shape ``{"error": {"code", "message", "details", "hint", "request_id"}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

__all__ = ["IsobaseAPIError", "error_of", "error_of_body"]


class IsobaseAPIError(Exception):
    """Isobase refused a call of ``client.db``, ``client.rooms`` or ``client.uploads``.

    code: a stable word such as ``room_not_found``, or PostgreSQL's SQLSTATE. message: a sentence. details, hint: more
    of it, or None.
    request_id: finds the request in the server's log. status: the HTTP status; None for a refusal over a socket.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Any = None,
        hint: str | None = None,
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.details = details
        self.hint = hint
        self.request_id = request_id
        self.status = status

    def __reduce__(self) -> tuple[type[IsobaseAPIError], tuple[object, ...]]:
        """Survive ``pickle`` and ``copy``: the constructor's arguments are not those of ``Exception``."""
        return type(self), (self.code, self.message, self.details, self.hint, self.request_id, self.status)


def error_of_body(body: Mapping[str, Any], status: int | None = None) -> IsobaseAPIError:
    """Read the ``error`` of a body or frame."""
    error = body.get("error")
    if not isinstance(error, Mapping):
        error = {}
    return IsobaseAPIError(
        str(error.get("code") or "unknown"),
        str(error.get("message") or "The server refused without saying why"),
        error.get("details"),
        error.get("hint"),
        error.get("request_id"),
        status,
    )


def error_of(response: httpx.Response) -> IsobaseAPIError:
    """Read an answer that is no success; one that is not the face's own (a gateway's page) keeps its beginning as
    details."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        return error_of_body(body, response.status_code)
    message = f"The server answered {response.status_code} {response.reason_phrase}".rstrip()
    return IsobaseAPIError("unexpected_answer", message, response.text[:500] or None, status=response.status_code)

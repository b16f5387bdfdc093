"""A request's body as a stream, and the length it claims."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from isobase_platform.http.request import header

__all__ = ["body_chunks", "content_length"]


def content_length(scope: Scope) -> int | None:
    """The Content-Length header in bytes, or None where there is none or it is no number."""
    value = header(scope, "content-length")
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


async def body_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body's chunks as they arrive.

    Raises ``ClientDisconnect`` when the client went away, and what ``receive`` raises: InvalidRequest when it sends nothing
    for too long (``stall``).
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return

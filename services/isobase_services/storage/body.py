"""A request's body as a stream, with an end for clients that stall, and the length it claims."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from isobase_platform.http.request import header
from isobase_services.storage.errors import refuse

__all__ = ["UPLOAD_STALL_TIMEOUT_S", "body_chunks", "content_length"]

UPLOAD_STALL_TIMEOUT_S = 60.0
"""How long a client may send nothing in the middle of an upload."""


def content_length(scope: Scope) -> int | None:
    """The Content-Length header in bytes, or None where there is none or it is no number."""
    value = header(scope, "content-length")
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


async def body_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body's chunks as they arrive.

    Raises ``ClientDisconnect`` when the client went away and InvalidRequest when it sends nothing for
    ``UPLOAD_STALL_TIMEOUT_S`` seconds.
    """
    while True:
        try:
            async with asyncio.timeout(UPLOAD_STALL_TIMEOUT_S):
                message = await receive()
        except TimeoutError as error:
            raise refuse.invalid_request("The upload stalled") from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return

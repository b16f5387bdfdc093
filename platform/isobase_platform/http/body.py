"""Reading a request body whole, within a named limit. What must stream (uploads) does not come here."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from isobase_platform.errors import BodyTooLarge, IsobaseError
from isobase_platform.http.request import header

__all__ = ["MAX_PAUSE_S", "read_body"]

MAX_PAUSE_S = 60.0
"""How long a client may pause within a body."""


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body as bytes; ``b""`` where there is none.

    Raises ``BodyTooLarge`` before reading when Content-Length says so, else as soon as more than ``limit_bytes`` arrived;
    ``IsobaseError`` (408) for a pause beyond ``MAX_PAUSE_S``; starlette's ``ClientDisconnect`` when the client went away.
    """
    declared = header(scope, "content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await _next(receive) if chunks else await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _next(receive: Receive) -> Message:
    """The next message; who stops in the middle of a body is not waited for."""
    try:
        async with asyncio.timeout(MAX_PAUSE_S):
            return await receive()
    except TimeoutError as error:
        raise IsobaseError("The request body did not arrive in time", code="request_timeout", status=408) from error


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit_bytes} bytes")

"""The stream of a request's body, with an end for clients that stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from isobase_services.storage.errors import refuse

__all__ = ["UPLOAD_STALL_TIMEOUT_S", "body_chunks"]

UPLOAD_STALL_TIMEOUT_S = 60.0
"""How long a client may send nothing in the middle of an upload."""


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

"""An end for clients that stall: the one place that bounds the silence between two pieces of a request or an answer.

It lies around every face, so no face has to think of it.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_services.storage.errors import refuse

__all__ = ["with_stall_timeouts"]


def with_stall_timeouts(app: ASGIApp, *, upload_s: float, download_s: float) -> ASGIApp:
    """The app, where a client may send nothing for ``upload_s`` and take nothing for ``download_s`` seconds.

    Reading on raises InvalidRequest then; sending on raises ``ClientDisconnect``, which ends the answer.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        is_whole = False

        async def receive_in_time() -> Message:
            nonlocal is_whole
            if is_whole:  # what comes now is the client's departure, and that may take as long as it likes
                return await receive()
            try:
                async with asyncio.timeout(upload_s):
                    message = await receive()
            except TimeoutError as error:
                raise refuse.invalid_request("The upload stalled") from error
            is_whole = not message.get("more_body", False)
            return message

        async def send_in_time(message: Message) -> None:
            if not message.get("more_body", False):
                await send(message)
                return
            try:
                async with asyncio.timeout(download_s):
                    await send(message)
            except TimeoutError as error:
                raise ClientDisconnect from error

        await app(scope, receive_in_time, send_in_time)

    return guarded

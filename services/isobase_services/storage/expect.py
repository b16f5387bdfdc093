"""Clients that wait for leave to send their body (``Expect: 100-continue``, as boto3 and curl do).

The HTTP server gives leave when the body is asked for. A request that is refused before leaves the two sides apart: the
client sends no body and its next request instead, the server takes that for the body. So such a connection ends with its
answer.
Source: RFC 9110, section 10.1.1.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.http.request import header

__all__ = ["with_expectations"]


def with_expectations(app: ASGIApp) -> ASGIApp:
    """The app, whose answers close the connection where a body was announced and not asked for."""

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        if (header(scope, "expect") or "").lower() != "100-continue":
            await app(scope, receive, send)
            return
        is_asked_for = False

        async def receive_on() -> Message:
            nonlocal is_asked_for
            is_asked_for = True
            return await receive()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_asked_for:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await app(scope, receive_on, send_on)

    return around

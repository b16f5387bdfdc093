"""The WebSocket at ``/realtime``: who may open one, and by which token.

A token comes in the first action (``connect``), in the header ``Authorization`` or ``apikey``, or as ``?token=`` or
``?apikey=``: browsers can set no headers, and what stands in a URL ends in logs, so the guide recommends the action.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from isobase_platform.errors import BadRequest, IsobaseError, TokenError, TokenRefusal, TooManyRequests, Unavailable
from isobase_platform.http.errors import render_simple
from isobase_platform.http.request import bearer_token, header, request_id
from isobase_services.realtime.edge.handshake import socket_facts
from isobase_services.realtime.edge.socket import deny, serve_connection
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.simple.connection import SimpleConnection
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.frames import ok_frame

__all__ = ["SimpleSocketEndpoint"]

_log = logging.getLogger("isobase.realtime")


class SimpleSocketEndpoint:
    """ASGI app for the sockets of the simple face."""

    def __init__(self, hub: Hub, desk: RoomDesk) -> None:
        self._hub = hub
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        if scope["type"] != "websocket":
            raise BadRequest("This is a WebSocket endpoint", code="websocket_required", status=426)
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        try:
            connection, greeting = self._admit(scope)
        except IsobaseError as error:
            _log.info("handshake refused", extra={"code": error.code, "request_id": request_id(scope)})
            await asyncio.sleep(self._hub.settings.error_backoff_s)
            await deny(render_simple(error, scope), scope, receive, send)
            return
        await send({"type": "websocket.accept"})
        if greeting is not None:
            connection.say(greeting)
        await serve_connection(connection, scope, receive, send)

    def _admit(self, scope: Scope) -> tuple[SimpleConnection, str | None]:
        """The socket, and the first frame for one that brought its token. Raises ``IsobaseError``."""
        if self._hub.is_draining:
            raise Unavailable("The server is about to stop")
        if len(self._hub.connections) >= self._hub.settings.max_sockets:
            raise TooManyRequests("Too many sockets are open", code="too_many_sockets")
        token = _given_token(scope)
        connection = SimpleConnection(self._hub, self._desk, socket_facts(scope), request_id(scope))
        if token is None:
            return connection, None
        try:
            return connection, ok_frame("connect", None, connection.sign_in(token))
        except IsobaseError:
            connection.ended()
            raise


def _given_token(scope: Scope) -> str | None:
    """The token of the handshake: header before URL, a user's token before a key."""
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    given = (bearer_token(scope), query.get("token"), header(scope, "apikey"), query.get("apikey"))
    token = next((value for value in given if value is not None), None)
    if token == "":
        raise TokenError("The token is empty", TokenRefusal.MALFORMED)
    return token

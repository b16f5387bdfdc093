"""The WebSocket endpoint: a handshake, then the bare socket where the server gives it, else ASGI's two directions as tasks.

On a bare socket (``http.raw_socket``) the server calls the connection and the outbox writes to the transport: an idle socket
has no task. With ASGI a reader hands messages to the connection and never waits for anything else; a writer empties the
outbox and alone waits for the client. Source: contracts/realtime.md 1.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from isobase_platform.http.raw_socket import Adopt, RawSocket, adopter
from isobase_platform.http.request import request_id
from isobase_services.realtime.edge.errors import HandshakeRefused, render_error
from isobase_services.realtime.edge.handshake import admit
from isobase_services.realtime.session.connection import Connection
from isobase_services.realtime.session.hub import Hub

__all__ = ["SocketEndpoint", "deny", "serve_connection"]

CLOSE_TIMEOUT_S = 5.0
"""How long a client that does not read may hold up the closing of its socket."""

_log = logging.getLogger("isobase.realtime")


class SocketEndpoint:
    """ASGI app for ``/websocket``: sockets, and plain requests that should have been one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        if scope["type"] != "websocket":
            await self._answer_plain(scope, receive, send)
            return
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        try:
            admission = admit(scope, self._hub)
        except HandshakeRefused as error:
            _log.info("handshake refused", extra={"reason": error.message, "request_id": request_id(scope)})
            await asyncio.sleep(self._hub.settings.error_backoff_s)
            await deny(render_error(error, scope), scope, receive, send)
            return
        await send({"type": "websocket.accept"})
        connection = Connection(self._hub, admission.codec, admission.token, admission.request)
        await serve_connection(connection, scope, receive, send)

    async def _answer_plain(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request without an upgrade: refused for its key first, as upstream does, then for what it is."""
        admit(scope, self._hub)
        response = JSONResponse({"error": "This is a WebSocket endpoint"}, status_code=400)
        await response(scope, receive, send)


class _BareSocket:
    """A connection on a socket of its own; see ``isobase_platform.http.raw_socket.SocketHandler``."""

    __slots__ = ("_connection", "_socket")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._socket: RawSocket | None = None

    def serve(self, adopt: Adopt) -> None:
        """Take the socket over; from here on the server calls."""
        self._socket = socket = adopt(self)
        self._connection.on_closing = self._close
        self._connection.outbox.attach(socket.write)
        if self._connection.close_code is not None:
            self._close()

    def message_received(self, message: str | bytes) -> None:
        """Handle a message; where fan-out is behind, read no more from those that feed it."""
        self._connection.receive(message)
        fan_out = self._connection.hub.fan_out
        if fan_out.is_full and self._socket is not None:
            self._socket.hold_reading()
            fan_out.wait_for_room(self._socket.resume_reading)

    def writing_paused(self) -> None:
        """Queue from now on."""
        self._connection.outbox.hold()

    def writing_resumed(self) -> None:
        """Write what was queued."""
        self._connection.outbox.release()

    def socket_ended(self) -> None:
        """Leave everything."""
        _ended(self._connection)

    def _close(self) -> None:
        assert self._socket is not None
        self._socket.close(self._connection.close_code or 1000)


async def deny(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a handshake with an HTTP answer where the server can carry one, else with its plain 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    await response(scope, receive, send)


async def serve_connection(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve an accepted socket until either side closes it; where the server hands out bare sockets, return at once."""
    connection.hub.add(connection)
    adopt = adopter(scope)
    if adopt is not None:
        try:
            _BareSocket(connection).serve(adopt)
        except Exception:
            _ended(connection)
            raise
        return
    try:
        await _serve(connection, receive, send)
    finally:
        _ended(connection)


def _ended(connection: Connection) -> None:
    connection.ended()
    connection.hub.remove(connection)


async def _serve(connection: Connection, receive: Receive, send: Send) -> None:
    reader = asyncio.create_task(_read(connection, receive), name="realtime socket reader")
    writer = asyncio.create_task(_write(connection, send), name="realtime socket writer")
    is_closing = asyncio.Event()
    connection.on_closing = is_closing.set
    closing = asyncio.create_task(is_closing.wait(), name="realtime socket close")
    tasks = (reader, writer, closing)
    try:
        await asyncio.wait({reader, writer, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not reader.done():
            # The server closes: the writer says so, if the client lets it.
            await asyncio.wait({reader, writer}, timeout=CLOSE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            _log.error("a realtime socket failed", exc_info=result)


async def _read(connection: Connection, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        connection.receive(text if text is not None else message.get("bytes") or b"")


async def _write(connection: Connection, send: Send) -> None:
    # A client that is gone makes send raise; the reader learns it too and ends the socket.
    with contextlib.suppress(OSError):
        while (frame := await connection.outbox.get()) is not None:
            if frame.is_text:
                await send({"type": "websocket.send", "text": frame.payload.decode()})
            else:
                await send({"type": "websocket.send", "bytes": frame.payload})
        await send({"type": "websocket.close", "code": connection.close_code or 1000})

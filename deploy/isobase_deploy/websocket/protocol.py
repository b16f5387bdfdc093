"""uvicorn's WebSocket protocol, which gives the bare socket to an app that asks for it.

The handshake is uvicorn's and the websockets library's, and so is everything for apps that stay with ASGI. An app that
adopts its socket gets an ``AdoptedSocket`` in its place, and this object goes, with all that it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from isobase_deploy.websocket.socket import AdoptedSocket
from isobase_platform.http.raw_socket import EXTENSION, RawSocket, SocketHandler

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent
    from websockets.http11 import Request

__all__ = ["WebSocketProtocol", "give_up_on_silence"]

WRITE_BUFFER_BYTES = 64 * 1024
"""What a transport may hold before its app is told to wait; beyond it the app queues, and can still decide what to drop."""
UNACKNOWLEDGED_TIMEOUT_MS = 60_000
"""How long a client may leave what it was sent unacknowledged."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection until it is adopted, or for its whole life."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_undecided = False
        self._early: list[bytes] = []

    def handle_connect(self, event: Request) -> None:
        """As uvicorn, and offer the bare socket."""
        super().handle_connect(event)
        if not self.close_sent:
            self._is_undecided = True
            cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = {"adopt": self._adopt}

    def data_received(self, data: bytes) -> None:
        """As uvicorn; frames that come before the app has decided how to read them wait, and no more is read."""
        if self._is_undecided:
            self._early.append(data)
            self.transport.pause_reading()
            return
        super().data_received(data)

    async def receive(self) -> ASGIReceiveEvent:
        """As uvicorn; asking for a message after the handshake decides for ASGI."""
        if self._is_undecided and self.handshake_complete:
            self._is_undecided = False
            if self._early:
                early, self._early = self._early, []
                self.transport.resume_reading()
                for data in early:
                    super().data_received(data)
        return await super().receive()

    def _adopt(self, handler: SocketHandler) -> RawSocket:
        """Give the accepted socket to ``handler``. Raises ``RuntimeError`` unless it was just accepted."""
        if not (self._is_undecided and self.handshake_complete):
            raise RuntimeError("only a socket that was just accepted can be adopted")
        self._is_undecided = False
        self.stop_keepalive()
        transport, self.transport = self.transport, _Given()
        self.connections.discard(self)
        # This object shall go at once, with all it holds: what refers to it in a circle would wait for the garbage collector.
        del cast("dict[str, Any]", self.scope)["extensions"][EXTENSION]
        self.conn.parser.close()
        adopted = AdoptedSocket(transport, handler, self.connections, self.loop, self.config.ws_max_size)
        if self.disconnected:  # lost since it was accepted: nobody will tell the new protocol
            self.loop.call_soon(adopted.connection_lost, None)
            return adopted
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        give_up_on_silence(transport)
        transport.set_protocol(adopted)
        early, self._early = self._early, []
        if early:
            adopted.begin_with(b"".join(early))
        return adopted


def give_up_on_silence(transport: asyncio.BaseTransport) -> None:
    """Let the kernel end a connection whose client has gone without a word, once it acknowledges no more what it is sent.

    By itself it would try for a quarter of an hour, and the client would count as present for as long. Linux only.
    """
    connected = transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):  # no TCP: a Unix socket
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_TIMEOUT_MS)


class _Given(asyncio.Transport):
    """What is left here of a transport that was given away: uvicorn closes it when the app returns."""

    def close(self) -> None:
        """Nothing to close."""

    def is_closing(self) -> bool:
        """Always."""
        return True

"""Bare hubs that pass each frame on to every other socket and do nothing else: what a server's figures are to be read beside.

``bare`` writes one prepared frame to each transport of uvloop; ``websockets`` is ``broadcast()`` of the library of that name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http
import sys
from typing import cast

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Bare(asyncio.Protocol):
    """One socket of the bare hub; understands frames as the load generator writes them: small and masked with the key 0."""

    everybody: set[asyncio.Transport] = set()  # noqa: RUF012  the hub's only state

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own, which says no more of itself than this

    def data_received(self, data: bytes) -> None:
        """Its handshake, or frames."""
        assert self._transport is not None
        self._data += data
        if self._transport not in self.everybody:
            self._greet(self._transport)
            return
        while len(self._data) >= 6:
            size, start = self._data[1] & 0x7F, 6
            if size == 126:
                size, start = int.from_bytes(self._data[2:4]), 8
            if len(self._data) < start + size:
                return
            head = bytes((self._data[0], size)) if size < 126 else bytes((self._data[0], 126)) + size.to_bytes(2)
            frame = head + self._data[start : start + size]
            self._data = self._data[start + size :]
            for one in self.everybody:
                if one is not self._transport:
                    one.write(frame)

    def _greet(self, transport: asyncio.Transport) -> None:
        head, found, _ = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        self._data = b""
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        key = fields.get(b"Sec-WebSocket-Key")
        if key is None:
            transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.everybody.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        if self._transport is not None:
            self.everybody.discard(self._transport)


async def serve_bare(port: int) -> None:
    """Serve the bare hub for ever."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port)
    await server.serve_forever()


async def serve_websockets(port: int) -> None:
    """Serve the hub of ``websockets`` for ever."""
    everybody: set[ServerConnection] = set()

    async def one(connection: ServerConnection) -> None:
        everybody.add(connection)
        try:
            async for message in connection:
                broadcast(everybody - {connection}, message)
        finally:
            everybody.discard(connection)

    def plain(connection: ServerConnection, request: Request) -> Response | None:
        return None if "Upgrade" in request.headers else connection.respond(http.HTTPStatus.OK, "a hub\n")

    async with serve(one, "127.0.0.1", port, compression=None, ping_interval=None, process_request=plain) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run((serve_bare if sys.argv[1] == "bare" else serve_websockets)(int(sys.argv[2])))

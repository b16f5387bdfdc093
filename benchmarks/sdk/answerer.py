"""The least server there can be: prepared answers from one asyncio protocol, so that what a call costs is the client's.

``python -m benchmarks.sdk.answerer JWKS`` prints its port. It reads requests as far as their length and looks at the path
alone; what it answers is what Isobase answers to the calls of ``driver``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
ROW = {"id": 500, "title": "note 500", "body": "x" * 100}
NEW_ROW = {"id": 1001, "title": "new", "body": "y" * 100}


def answer(status: bytes, kind: bytes, body: bytes) -> bytes:
    """Write an answer with the headers that a data API sends."""
    return (
        b"HTTP/1.1 %b\r\ndate: Sat, 21 Nov 2026 20:00:00 GMT\r\nserver: answerer\r\ncontent-type: %b\r\n"
        b"content-profile: public\r\ncontent-range: 0-0/*\r\nx-request-id: 0f2d6b3c-6a6b-4c0e-9d0a-3f6f6f6f6f6f\r\n"
        b"content-length: %d\r\n\r\n%b" % (status, kind, len(body), body)
    )


class Answerer(asyncio.Protocol):
    """A connection; requests come one after the other."""

    def __init__(self, answers: list[tuple[bytes, bytes]]) -> None:
        self._answers = answers
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        found = _LENGTH.search(self._buffer, 0, end)
        if len(self._buffer) < end + 4 + (int(found[1]) if found else 0):
            return
        line, self._buffer = self._buffer[: self._buffer.index(b"\r\n")], b""
        self._transport.write(
            next((text for start, text in self._answers if start in line), answer(b"404 Not Found", b"text/plain", b""))
        )


async def serve(jwks: bytes) -> None:
    """Answer until the process is ended."""
    js = b"application/json; charset=utf-8"
    answers = [
        (b"GET /rest/v1/notes", answer(b"200 OK", js, json.dumps([ROW]).encode())),
        (b"POST /rest/v1/notes", answer(b"201 Created", js, json.dumps([NEW_ROW]).encode())),
        (b"POST /rest/v1/rpc/add", answer(b"200 OK", js, b"3")),
        (b"/object/bench/small.bin", answer(b"200 OK", b"application/octet-stream", bytes(range(256)) * 40)),
        (b"/.well-known/jwks.json", answer(b"200 OK", js, jwks)),
    ]
    server = await asyncio.get_running_loop().create_server(lambda: Answerer(answers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1].encode()))

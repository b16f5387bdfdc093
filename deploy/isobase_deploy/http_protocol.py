"""uvicorn's HTTP protocol with limits on a request's head, and with one write for a small answer.

Limits: how large a head may be, and how long it may take. uvicorn has neither with httptools: whoever sends headers without
end fills the memory of a process that serves everybody, and needs no key to do it. A body has its limits where it is read.

Writes: uvicorn writes the head of an answer and then its body, a system call each, which for a small answer is a good part of
all its costs. ``JoinedWrites`` hands both to the socket at once.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "JoinedWrites", "LimitedHttpProtocol"]

MAX_HEAD_BYTES = 128 * 1024
"""Request line and headers together. Long lists in filters make long URLs; tokens have 16 KiB at most."""
HEAD_TIMEOUT_S = 60.0
"""How long a connection may take for its next request's head, from its first byte (or from the connection) on."""

MAX_JOINED_BYTES = 64 * 1024
"""What is gathered beyond this is written at once: joining gains nothing then, and flow control must see it."""

_TOO_LARGE = b"Request header or URL too large"
MAX_REQUEST_LINE_REST_BYTES = len("OPTIONS  HTTP/1.1\r\n")
"""What stands beside the URL in a request's first line, at the most."""
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_TOO_LARGE), _TOO_LARGE)
)


class JoinedWrites:
    """A transport that gathers what is written within one turn of the event loop, up to ``MAX_JOINED_BYTES``."""

    __slots__ = ("_gathered", "_gathered_bytes", "_loop", "transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    def write(self, data: bytes) -> None:
        """Write ``data`` soon."""
        if not data:
            return
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes > MAX_JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered now."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._gathered_bytes = 0
            self.transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def close(self) -> None:
        """Close when everything is written."""
        self.flush()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class _HeadTooLarge(Exception):
    """Raised inside the parser, which then gives up on the connection."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Beyond the limits it is answered 431 where no answer has begun, and closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        # What arrived since the parser last handed over a head or a piece of body: it may all lie in the parser's memory.
        self._held_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_deadline_s = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn, with a time limit for the first request."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_deadline_s = math.inf
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn, unless a head is too large."""
        self._held_bytes += len(data)
        super().data_received(data)
        if self._held_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn, but for a head that was given up as too large."""
        if self._header_bytes > MAX_HEAD_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def handle_websocket_upgrade(self) -> None:
        """As uvicorn; a socket's frames are gathered by its own protocol, which has no answer to a head beyond its limits."""
        lines = (
            len(self.url) + MAX_REQUEST_LINE_REST_BYTES,
            *(len(name) + len(value) + 4 for name, value in self.headers),
        )
        if max(lines) > MAX_LINE_LENGTH or len(self.headers) > MAX_NUM_HEADERS:
            self._refuse()
            return
        joined: object = self.transport
        if isinstance(joined, JoinedWrites):
            joined.flush()
            self.transport = joined.transport
        super().handle_websocket_upgrade()
        # Nothing is read here any more. The timer and the parser would keep this object for as long as they live.
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        del self.parser

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = 0
        self._watch_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind a body in chunks, is complete."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._unwatch_head()
        self._held_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of body is handed over."""
        self._held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._held_bytes = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever its type says
        if cycle is not None and not cycle.response_complete:
            self.transport.abort()  # in the middle of an answer nothing else can be said
            return
        self.transport.write(_ANSWER)
        self.transport.close()

    def _watch_head(self) -> None:
        self._head_deadline_s = self.loop.time() + HEAD_TIMEOUT_S
        if self._head_timer is None:
            self._head_timer = self.loop.call_at(self._head_deadline_s, self._check_head)

    def _unwatch_head(self) -> None:
        # The timer stays and looks again when it is due: one for each request would cost more than the limit is worth.
        self._head_deadline_s = math.inf

    def _check_head(self) -> None:
        self._head_timer = None
        if self._head_deadline_s == math.inf:
            return
        if self.loop.time() >= self._head_deadline_s:
            self.transport.close()
        else:
            self._head_timer = self.loop.call_at(self._head_deadline_s, self._check_head)

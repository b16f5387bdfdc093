"""The pool: HTTP/1.1 connections to any number of servers, and one exchange of a request and its answer on one of them.

It is also an httpx transport. What bytes mean is in ``isobase._http.wire``, the connections themselves in
``isobase._http.streams``. A connection goes back to the pool only when an answer was read to its end; in every other
case (error, cancellation, an answer given up) it is closed. The last connection used is the first to be used again, so
that a pool shrinks to what is needed.
"""

from __future__ import annotations

# [async]
import asyncio

# [/async]
import contextlib
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import httpx

from isobase._http._async.patched import is_transport_patched
from isobase._http.errors import CallCancelled
from isobase._http.limits import Limits
from isobase._http.options import Cancellation, current_options
from isobase._http.prepare import Origin, place_of
from isobase._http.retry import is_read
from isobase._http.streams import AsyncSlots, AsyncStream
from isobase._http.wire import (
    END_OF_HEAD,
    LAST_CHUNK,
    BodyReader,
    Head,
    chunk,
    head_end,
    parse_head,
    request_head,
)

__all__ = ["AsyncPool"]

MAX_CONNECTIONS = 100
KEEPALIVE_EXPIRY_S = 15.0
"""Idle connections are dropped before the usual proxies drop them (load balancers 60 s, nginx 75 s); a server that is
quicker (uvicorn: 5 s) is found out by looking at the connection before it is used."""
LARGEST_JOINED_BODY_BYTES = 64 * 1024
"""A body up to this size leaves in one write with its head."""
SEND_BYTES = 256 * 1024
"""A larger body leaves in pieces of this size, each with the time of one step."""


class AsyncLease:
    """A connection while one call uses it, and its place among those there may be."""

    __slots__ = ("_cancel", "_forget", "_origin", "_pool", "is_ended", "stream", "was_used")

    def __init__(
        self, pool: AsyncPool, origin: Origin, stream: AsyncStream, cancel: Cancellation | None, *, was_used: bool
    ) -> None:
        self._pool = pool
        self._origin = origin
        self.stream = stream
        self.was_used = was_used
        self.is_ended = False
        self._cancel = cancel
        self._forget = cancel.on_cancel(stream.abort) if cancel is not None else None

    def end(self, *, is_clean: bool) -> None:
        """Give the connection back, to be used again when ``is_clean``; the first time counts."""
        if not self.is_ended:
            self.is_ended = True
            if self._forget is not None:
                self._forget()
            self._pool.take_back(self._origin, self.stream, is_clean=is_clean)

    async def read(self, limits: Limits) -> bytes:
        """Give bytes of the answer, ``b""`` at the connection's end; errors are httpx's, and ``CallCancelled``."""
        try:
            data = await self.stream.read(limits.of_step(limits.read_s))
        except TimeoutError as error:
            raise limits.exceeded(httpx.ReadTimeout, "the answer did not arrive in time") from error
        except OSError as error:
            self.look_for_cancel()
            raise httpx.ReadError(str(error)) from error
        if not data:
            self.look_for_cancel()
        return data

    async def write(self, data: bytes | memoryview, limits: Limits) -> None:
        """Send bytes; errors are httpx's, and ``CallCancelled``."""
        try:
            await self.stream.write(data, limits.of_step(limits.write_s))
        except TimeoutError as error:
            raise limits.exceeded(httpx.WriteTimeout, "the request could not be sent in time") from error
        except OSError as error:
            self.look_for_cancel()
            raise httpx.WriteError(str(error)) from error

    def look_for_cancel(self) -> None:
        """Raise ``CallCancelled`` where the call was cancelled, which closes the connection under it."""
        if self._cancel is not None and self._cancel.cancelled:
            raise CallCancelled


class AsyncBody(httpx.AsyncByteStream):
    """The body of an answer, read while it arrives; the connection is kept when the body was read to its end."""

    def __init__(self, lease: AsyncLease, head: Head, first: bytes, limits: Limits) -> None:
        self._lease = lease
        self._head = head
        self._first = first
        self._limits = limits
        self._reader = BodyReader(head)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the parts of the body as they arrive."""
        reader = self._reader
        try:
            if self._first:
                data, self._first = self._first, b""
                if part := reader.feed(data):
                    yield part
            while not reader.is_done:
                if part := reader.feed(await self._lease.read(self._limits)):
                    yield part
        except BaseException:
            self._lease.end(is_clean=False)
            raise
        self._lease.end(is_clean=self._head.keeps_alive)

    async def aclose(self) -> None:
        """Give the rest up, if there is one."""
        self._lease.end(is_clean=self._reader.is_done and self._head.keeps_alive)


class AsyncPool(httpx.AsyncBaseTransport):
    """Connections to HTTP servers, kept for use again.

    context: gives the TLS settings when they are first needed. max_connections: how many there may be to one server.
    keepalive_expiry: seconds after which an idle one is closed.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keepalive_expiry: float = KEEPALIVE_EXPIRY_S,
    ) -> None:
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._context_lock = threading.Lock()
        self._max_connections = max_connections
        self._keepalive_expiry = keepalive_expiry
        self._idle: dict[Origin, deque[tuple[float, AsyncStream]]] = {}
        self._slots: dict[Origin, AsyncSlots] = {}
        self._closed = threading.Event()
        self._ordinary: httpx.AsyncHTTPTransport | None = None
        self._ordinary_place: object = None

    # Connections.

    async def _acquire(
        self, origin: Origin, limits: Limits, cancel: Cancellation | None, *, is_fresh: bool = False
    ) -> AsyncLease:
        """Give a connection, a new one where ``is_fresh`` asks for it."""
        slots = self._slots.get(origin)
        if slots is None:
            slots = self._slots.setdefault(origin, AsyncSlots(self._max_connections))
        try:
            await slots.acquire(limits.of_step(limits.pool_s))
        except TimeoutError as error:
            raise limits.exceeded(httpx.PoolTimeout, "no connection became free in time") from error
        try:
            stream = None if is_fresh else self._take_idle(origin)
            if stream is not None:
                return AsyncLease(self, origin, stream, cancel, was_used=True)
            context = self._tls_context() if origin.is_tls else None
            limit = limits.of_step(limits.connect_s)
            stream = await AsyncStream.connect(origin.host, origin.port, context, limit, cancel)
            return AsyncLease(self, origin, stream, cancel, was_used=False)
        except BaseException as error:
            slots.release()
            if isinstance(error, TimeoutError):
                message = f"no connection to {origin.host}:{origin.port} in time"
                raise limits.exceeded(httpx.ConnectTimeout, message) from error
            if isinstance(error, OSError):
                raise httpx.ConnectError(str(error)) from error
            raise

    def _tls_context(self) -> ssl.SSLContext:
        with self._context_lock:
            if self._context is None:
                self._context = self._make_context()
            return self._context

    def _httpx_transport(self) -> httpx.AsyncHTTPTransport:
        """Give httpx's own transport, for requests that somebody's functions in httpx are to see."""
        context = self._tls_context()
        # Its connections serve neither another process nor another event loop.
        # [async]
        place: object = (os.getpid(), asyncio.get_running_loop())
        # [/async]
        # [sync] place: object = os.getpid()
        with self._context_lock:
            if self._ordinary is None or self._ordinary_place != place:
                self._ordinary = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
                self._ordinary_place = place
            return self._ordinary

    def _take_idle(self, origin: Origin) -> AsyncStream | None:
        idle = self._idle.get(origin)
        while idle:
            try:
                since, stream = idle.pop()
            except IndexError:  # another thread was quicker
                return None
            rest_s = time.monotonic() - since
            if rest_s < self._keepalive_expiry and stream.is_usable(rest_s):
                return stream
            stream.close()
        return None

    def take_back(self, origin: Origin, stream: AsyncStream, *, is_clean: bool) -> None:
        """Take a connection back: to be used again when ``is_clean``, else to be closed."""
        if is_clean and not self._closed.is_set():
            idle = self._idle.setdefault(origin, deque())
            now = time.monotonic()
            idle.append((now, stream))
            try:
                if now - idle[0][0] > self._keepalive_expiry:
                    idle.popleft()[1].close()
                while self._closed.is_set():  # meanwhile, by another thread, which may have looked here before
                    idle.pop()[1].close()
            except IndexError:  # another thread was quicker
                pass
        else:
            stream.close()
        self._slots[origin].release()

    async def aclose(self) -> None:
        """Close every idle connection; one in use is closed when its call ends."""
        self._closed.set()
        for idle in list(self._idle.values()):
            with contextlib.suppress(IndexError):  # a call that ends in another thread closes its own
                while idle:
                    idle.pop()[1].close()
        ordinary, self._ordinary = self._ordinary, None
        # [async]
        if ordinary is not None and self._ordinary_place == (os.getpid(), asyncio.get_running_loop()):
            await ordinary.aclose()
        # [/async]
        # [sync] if ordinary is not None and self._ordinary_place == os.getpid():
        # [sync]     ordinary.close()

    # Exchanges.

    async def exchange(
        self, request: httpx.Request, *, is_streamed: bool, cancel: Cancellation | None = None
    ) -> tuple[Head, bytes | AsyncBody]:
        """Send a request; gives its answer's head and its body: whole, or where ``is_streamed`` to be read
        while it arrives.

        Raises httpx's errors of connecting, sending and receiving, and ``CallCancelled``. When a connection
        kept from before ends without an answer, a read is sent again on a new one at once: the server closed it
        in the same moment.
        """
        if self._closed.is_set():
            raise RuntimeError("Cannot send a request, as the client has been closed.")
        origin, target = place_of(request)
        limits = Limits.of(request.extensions)
        data = request_head(request.method, target, request.headers.raw)
        lease = await self._acquire(origin, limits, cancel)
        try:
            try:
                head, rest = await self._talk(lease, request, data, limits)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if not (lease.was_used and is_read(request) and isinstance(request.stream, httpx.ByteStream)):
                    raise
                lease.end(is_clean=False)
                lease = await self._acquire(origin, limits, cancel, is_fresh=True)
                head, rest = await self._talk(lease, request, data, limits)
            if not is_streamed and head.length == len(rest):
                lease.end(is_clean=head.keeps_alive)
                return head, rest
            body = AsyncBody(lease, head, rest, limits)
            if is_streamed:
                return head, body
            return head, b"".join([part async for part in body])
        except BaseException:
            lease.end(is_clean=False)
            raise

    async def _talk(self, lease: AsyncLease, request: httpx.Request, data: bytes, limits: Limits) -> tuple[Head, bytes]:
        """Send a request whose head is ``data``; gives the head of its answer and what came with it of the body."""
        try:
            await self._send(lease, request, data, limits)
        except httpx.WriteError:
            # A server may answer (413) and close before it has taken the whole body.
            try:
                head, rest = await self._read_head(lease, request, limits)
            except httpx.TransportError:
                head = None
            if head is None:
                raise
            head.keeps_alive = False
            return head, rest
        return await self._read_head(lease, request, limits)

    async def _send(self, lease: AsyncLease, request: httpx.Request, data: bytes, limits: Limits) -> None:
        stream = request.stream
        if isinstance(stream, httpx.ByteStream):
            body = request.read()
            if len(body) <= LARGEST_JOINED_BODY_BYTES:
                await lease.write(data + body if body else data, limits)
                return
            await lease.write(data, limits)
            view = memoryview(body)
            for start in range(0, len(body), SEND_BYTES):
                await lease.write(view[start : start + SEND_BYTES], limits)
            return
        await lease.write(data, limits)
        is_chunked = "transfer-encoding" in request.headers
        async for part in stream:  # type: ignore[union-attr]
            if part:
                await lease.write(chunk(part) if is_chunked else part, limits)
        if is_chunked:
            await lease.write(LAST_CHUNK, limits)

    async def _read_head(self, lease: AsyncLease, request: httpx.Request, limits: Limits) -> tuple[Head, bytes]:
        buffer = await lease.read(limits)
        while True:
            while (end := head_end(buffer)) < 0:
                more = await lease.read(limits)
                if not more:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                buffer += more
            head = parse_head(buffer[:end], request.method)
            buffer = buffer[end + len(END_OF_HEAD) :]
            if head.status >= 200:
                return head, buffer
            if head.status == 101:
                raise httpx.RemoteProtocolError("the server changed the protocol unasked")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request for httpx's own client (redirects, authentication, hooks, mocks)."""
        if is_transport_patched():
            if self._closed.is_set():
                raise RuntimeError("Cannot send a request, as the client has been closed.")
            return await self._httpx_transport().handle_async_request(request)
        head, body = await self.exchange(request, is_streamed=True, cancel=current_options().cancel)
        extensions = {"http_version": head.version, "reason_phrase": head.reason}
        return httpx.Response(head.status, headers=head.headers, stream=body, extensions=extensions)  # type: ignore[arg-type]

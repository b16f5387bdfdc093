"""Connections as streams of bytes, and the count of how many there may be: the async and the sync form, both written by
hand.

Each pair has the same methods, so that ``_async/pool.py`` is one source for both. Times are seconds; None: no limit. A
stream raises ``TimeoutError`` when its time is over and ``OSError`` for all else; end of file is ``b""``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections import deque

from isobase._http.connecting import connected_socket, is_address
from isobase._http.errors import CallCancelled
from isobase._http.options import Cancellation

__all__ = ["AsyncSlots", "AsyncStream", "SyncSlots", "SyncStream"]

READ_BYTES = 64 * 1024
PAUSE_READING_BYTES = 1024 * 1024
"""More than this is not taken from the network while nobody reads it."""
POLL_S = 0.05
"""How often a connect looks whether it was cancelled."""


def is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to tell: its end, or bytes that nobody asked for. Either way it is of
    no more use.
    """
    if sock.fileno() < 0:
        return True
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def is_writable(sock: socket.socket, wait_s: float) -> bool:
    """Wait ``wait_s`` seconds at most for a socket to take bytes, or to tell that it is connected."""
    if hasattr(select, "poll"):  # `select` takes no descriptor above 1,023
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        return bool(poller.poll(1000 * wait_s))
    return bool(select.select([], [sock], [], wait_s)[1])


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class AsyncStream(asyncio.Protocol):
    """A connection of the running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pid = os.getpid()
        self._transport: asyncio.Transport | None = None
        self._parts: deque[bytes] = deque()
        self._held_bytes = 0
        self._is_paused = False
        self._has_ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._may_write = True
        self._writer: asyncio.Future[None] | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        timeout: float | None,
        cancel: Cancellation | None = None,
    ) -> AsyncStream:
        """Connect to a host, with TLS where a context is given. ``cancel`` ends the wait."""
        loop = asyncio.get_running_loop()
        stream: AsyncStream
        connecting = cls._connected(loop, host, port, context)
        async with asyncio.timeout(timeout):
            if cancel is None:
                return await connecting
            work = loop.create_task(connecting)
            forget = cancel.on_cancel(lambda: (loop.call_soon_threadsafe(work.cancel), None)[1])
            try:
                stream = await work
            except asyncio.CancelledError:
                this = asyncio.current_task()
                if cancel.cancelled and not (this is not None and this.cancelling()):
                    raise CallCancelled from None
                raise
            finally:
                forget()
            return stream

    @classmethod
    async def _connected(
        cls, loop: asyncio.AbstractEventLoop, host: str, port: int, context: ssl.SSLContext | None
    ) -> AsyncStream:
        name = host if context is not None else None
        stream: AsyncStream
        if is_address(host) or not isinstance(loop, asyncio.BaseEventLoop):  # uvloop tries one after the other
            _, stream = await loop.create_connection(lambda: cls(loop), host, port, ssl=context, server_hostname=name)
            return stream
        sock = await connected_socket(host, port)
        try:
            _, stream = await loop.create_connection(lambda: cls(loop), sock=sock, ssl=context, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return stream

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # it is one that reads and writes

    def data_received(self, data: bytes) -> None:
        """Keep what arrived for the reader."""
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > PAUSE_READING_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        """Remember the end; the connection closes."""
        self._has_ended = True
        self._wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember the end and its reason."""
        self._has_ended = True
        self._error = exc
        self._transport = None
        self._wake(self._reader)
        self._wake(self._writer)

    def pause_writing(self) -> None:
        """Let the writer wait: the network is slower than it."""
        self._may_write = False

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self._may_write = True
        self._wake(self._writer)

    @staticmethod
    def _wake(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    @staticmethod
    def _expire(waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            waiting.set_exception(TimeoutError())

    async def _wait(self, waiting: asyncio.Future[None], timeout: float | None) -> None:
        timer = None if timeout is None else self._loop.call_later(timeout, self._expire, waiting)
        try:
            await waiting
        finally:
            if timer is not None:
                timer.cancel()

    # What the pool calls.

    async def read(self, timeout: float | None) -> bytes:
        """Give bytes that arrived, as many as there are; ``b""`` at the end."""
        if not self._parts and not self._has_ended:
            self._reader = self._loop.create_future()
            try:
                await self._wait(self._reader, timeout)
            finally:
                self._reader = None
        if self._parts:
            data = self._parts.popleft() if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._held_bytes = 0
            if self._is_paused and self._transport is not None:
                self._is_paused = False
                if not self._has_ended:
                    self._transport.resume_reading()
            return data
        if isinstance(self._error, OSError):
            raise self._error
        return b""

    async def write(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Send bytes, and wait until the network has taken most of them."""
        if self._transport is None or (self._has_ended and self._transport.is_closing()):
            raise self._error if isinstance(self._error, OSError) else ConnectionResetError("the connection is closed")
        self._transport.write(data)
        if not self._may_write:
            self._writer = self._loop.create_future()
            try:
                await self._wait(self._writer, timeout)
            finally:
                self._writer = None
            if self._has_ended:
                raise (
                    self._error
                    if isinstance(self._error, OSError)
                    else ConnectionResetError("the connection is closed")
                )

    def is_usable(self, idle_s: float) -> bool:
        """Whether a request may be sent after ``idle_s`` seconds of rest: open, silent, of this event loop and
        process.
        """
        if self._has_ended or self._parts or self._transport is None or self._transport.is_closing():
            return False
        if self._loop is not asyncio.get_running_loop() or self._pid != os.getpid():
            return False
        # A process that stood still (a laptop's or a function's sleep) has not yet been told by its loop what
        # happened meanwhile.
        return idle_s < 1.0 or not is_readable(self._transport.get_extra_info("socket"))

    def close(self) -> None:
        """Close at once; what was not yet sent is lost. A connection of another process or of a loop that ended is let
        go; one of a loop that runs in another thread is closed there.
        """
        if self._loop.is_running() and self._loop is not _loop_here() and self._pid == os.getpid():
            with contextlib.suppress(RuntimeError):  # it ended meanwhile
                self._loop.call_soon_threadsafe(self.close)
            return
        if self._transport is not None and not self._loop.is_closed() and self._pid == os.getpid():
            # The loop closes the socket at its next turn, which may be long in coming; the server is to know now.
            with contextlib.suppress(OSError, TypeError):  # it was not connected any more; uvloop's sockets cannot
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(RuntimeError):  # its loop was closed meanwhile, in its own thread
                self._transport.abort()
        self._transport = None

    def abort(self) -> None:
        """End it from any thread: who reads gets the end."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.close)


class SyncStream:
    """A connection used by one thread at a time; ``abort`` may come from any."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._pid = os.getpid()

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        timeout: float | None,
        cancel: Cancellation | None = None,
    ) -> SyncStream:
        """Connect to a host, with TLS where a context is given. ``cancel`` ends the wait."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            stream = cls(socket.socket(family, kind, protocol))
            try:
                stream._open(address, host, context, ends_at, cancel)
                return stream
            except OSError as caught:
                stream.close()
                if cancel is not None and cancel.cancelled:
                    raise CallCancelled from caught
                error = caught
            except BaseException:
                stream.close()
                raise
        raise error or OSError(f"no address of {host}")

    def _open(
        self,
        address: object,
        host: str,
        context: ssl.SSLContext | None,
        ends_at: float | None,
        cancel: Cancellation | None,
    ) -> None:
        _connect(self._socket, address, ends_at, cancel)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return
        self._socket.settimeout(_left(ends_at))
        forget = cancel.on_cancel(self.abort) if cancel is not None else None
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        finally:
            if forget is not None:
                forget()

    def read(self, timeout: float | None) -> bytes:
        """Give bytes that arrived; ``b""`` at the end."""
        self._socket.settimeout(timeout)
        return self._socket.recv(READ_BYTES)

    def write(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Send bytes; the time is that of the whole."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def is_usable(self, idle_s: float) -> bool:
        """Whether a request may be sent: open, silent, of this process."""
        return self._pid == os.getpid() and not is_readable(self._socket)

    def close(self) -> None:
        """Close at once. A connection that a forked child has from its parent is left alone."""
        if self._pid == os.getpid():
            self.abort()
        self._socket.close()

    def abort(self) -> None:
        """End it from any thread: who reads gets the end. The socket itself is closed by its user, so that no other
        gets its number.
        """
        with contextlib.suppress(OSError):  # it was not connected any more
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not the TLS socket's own, which takes its TLS away


def _left(ends_at: float | None) -> float | None:
    if ends_at is None:
        return None
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(sock: socket.socket, address: object, ends_at: float | None, cancel: Cancellation | None) -> None:
    if cancel is None:
        sock.settimeout(_left(ends_at))
        sock.connect(address)  # type: ignore[arg-type]  # what getaddrinfo gave for this family
        return
    sock.setblocking(False)
    try:
        sock.connect(address)  # type: ignore[arg-type]
    except BlockingIOError:
        while not is_writable(sock, min(POLL_S, _left(ends_at) or POLL_S)):
            if cancel.cancelled:
                raise CallCancelled from None
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number)) from None


class AsyncSlots:
    """How many may go on at once; who comes first is served first."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, timeout: float | None) -> None:
        """Take a place; raises ``TimeoutError`` when none becomes free in time."""
        if self._free > 0:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(timeout):
                await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.release()  # it was given in the moment of giving up
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def release(self) -> None:
        """Give a place back, to the next who waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done() and not place.get_loop().is_closed():
                place.set_result(None)
                return
        self._free += 1


class SyncSlots:
    """How many may go on at once."""

    def __init__(self, number: int) -> None:
        self._semaphore = threading.Semaphore(number)

    def acquire(self, timeout: float | None) -> None:
        """Take a place; raises ``TimeoutError`` when none becomes free in time."""
        if not self._semaphore.acquire(timeout=timeout):
            raise TimeoutError

    def release(self) -> None:
        """Give a place back."""
        self._semaphore.release()

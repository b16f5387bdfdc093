"""uvicorn in this process, with our own signals: SIGTERM or Ctrl-C drains, a second Ctrl-C forces.

Order of an end: no new connections, services close their sockets (1012) and end their work, requests in flight get their
answers, connections close. All of it within ``drain_timeout_s``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from isobase_deploy.http_protocol import LimitedHttpProtocol
from isobase_deploy.open_files import allow_open_files
from isobase_deploy.websocket import WebSocketProtocol
from isobase_platform.config import Settings

__all__ = ["HttpServer", "Served", "ending_on_signals"]

SOCKET_CLOSE_GRACE_S = 1.0
"""How long services may take to close their sockets by themselves before the server closes every connection."""
COLLECT_AFTER_OBJECTS = 20_000
"""Objects made, less those freed, until the youngest are looked through (Python's default: 700)."""
MAX_SOCKET_MESSAGE_BYTES = 5_000_000
"""The largest message of a WebSocket's client, as upstream; beyond it the socket is closed with 1009."""
KEEP_ALIVE_S = 65
"""Longer than the load balancers' usual 60 s: who closes first must not be us."""


class Served(Protocol):
    """What is served: the gateway, or a service alone."""

    @property
    def app(self) -> ASGIApp | None:
        """The app; None only before there is one to serve."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Let work end within ``timeout_s`` seconds."""
        ...


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, and tell who waits."""
        await super().startup(sockets)
        self.is_ready.set()

    def stop_listening(self) -> None:
        for server in getattr(self, "servers", []):
            server.close()


class HttpServer:
    """Serves an app on a listening socket until it is told to end."""

    def __init__(self, gateway: Served, listener: socket.socket, settings: Settings) -> None:
        assert gateway.app is not None
        self._gateway = gateway
        self._listener = listener
        self._drain_timeout_s = settings.drain_timeout_s
        self._ending = asyncio.Event()
        self._forced = False
        config = uvicorn.Config(
            gateway.app,
            loop="none",
            http=LimitedHttpProtocol,
            ws=WebSocketProtocol,
            ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            ws_ping_interval=None,
            ws_per_message_deflate=False,  # 64 KiB of state per socket, and frames shared by many could not be
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        )
        self._server = _Server(config)

    def end(self) -> None:
        """Begin to end; called again, end without waiting."""
        if self._ending.is_set():
            self._forced = True
            self._server.force_exit = True
        self._ending.set()

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Serve until ``end``; ``on_ready`` is called once connections are taken."""
        allow_open_files()
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http server")
        ready = asyncio.create_task(self._server.is_ready.wait(), name="start of the http server")
        waiting = asyncio.create_task(self._ending.wait(), name="end of the http server")
        try:
            await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                _settle_memory()
                on_ready()
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            await self._end_in_order(serving)
        finally:
            ready.cancel()
            waiting.cancel()
            self._server.should_exit = True
            await serving

    async def _end_in_order(self, serving: asyncio.Task[None]) -> None:
        deadline_s = time.monotonic() + self._drain_timeout_s
        self._server.stop_listening()
        draining = asyncio.create_task(self._gateway.drain(self._drain_timeout_s), name="drain")
        await asyncio.wait({draining}, timeout=min(SOCKET_CLOSE_GRACE_S, self._drain_timeout_s))
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(deadline_s - time.monotonic()))
        self._server.should_exit = True
        while not (serving.done() and draining.done()) and not self._forced:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                break
            await asyncio.wait(
                {serving, draining} - {task for task in (serving, draining) if task.done()},
                timeout=min(remaining_s, 0.1),
            )
        if not draining.done():
            draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await draining


def _settle_memory() -> None:
    """Take what is there at start out of the garbage collector's rounds, and make them rarer.

    A request leaves next to no cycles; walking all modules and the schema cache every few hundred objects costs some percent.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)


@contextlib.contextmanager
def ending_on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` for SIGTERM, SIGINT and SIGHUP while the block runs; must be entered inside the event loop."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

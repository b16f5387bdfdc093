"""The connection of a client: opened, read, kept alive, and opened again after every loss.

``connect`` opens the socket; a task reads it (``_listen``), one sends signs of life (``heartbeat.Heart``), and after a
loss one opens it again (``_reconnect``), for ever, until ``close``. No task outlives ``close``. What the messages mean
is the client's, which builds on this.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import InvalidStatus

from isobase.realtime import delays
from isobase.realtime._async.heartbeat import Heart, HeartbeatCallback
from isobase.realtime.logs import ClientLog
from isobase.realtime.transformers import with_parameters, without_secrets
from isobase.realtime.types import ChannelEvents, RealtimeConnectionState, WebSocketFactory, WebSocketLike
from isobase.realtime.wire import Frame, WireError, decode, encode

__all__ = ["RealtimeSocket"]

logger = logging.getLogger("isobase.realtime")

Connection = RealtimeConnectionState

CLOSE_TIMEOUT_S = 2.0
"""How long the closing of a socket may take before it is cut."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
DISCONNECTED_TEXT = "the connection was lost"
NORMAL_CLOSE, CUT_CLOSE = 1000, 4000
REFUSALS = frozenset({401, 403, 404})
"""Answers of a server that will say the same the next time: the key or the URL is wrong."""


class RealtimeSocket:
    """A connection that comes back. The arguments are described at ``AsyncRealtimeClient``."""

    def __init__(
        self,
        url: str,
        *,
        params: dict[str, Any],
        auto_reconnect: bool,
        hb_interval: float,
        max_retries: int,
        initial_backoff: float,
        timeout: float,
        connect_timeout: float | None,
        heartbeat_callback: HeartbeatCallback | None,
        reconnect_after: Callable[[int], float] | None,
        vsn: str,
        websocket_factory: WebSocketFactory | None,
        log: ClientLog,
        log_level: str | None,
        headers: dict[str, str],
    ) -> None:
        self.url = url
        self.params = params
        self.auto_reconnect = auto_reconnect
        self.hb_interval = hb_interval
        self.max_retries = max_retries
        self.initial_backoff = initial_backoff
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.reconnect_after = reconnect_after
        self.vsn = vsn
        self.headers = headers
        self.ref: int = 0
        self._log = log
        self._log_level = log_level
        self._websocket_factory = websocket_factory
        self._heart = Heart(self, heartbeat_callback)
        self._ws_connection: WebSocketLike | None = None
        self._state = Connection.CLOSED
        self._connect_lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generation = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self._listen_task: asyncio.Task[None] | None = None
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._reconnect_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # what the client makes of it

    def _receive(self, frame: Frame) -> None:
        raise NotImplementedError

    def _connection_ended(self, error: Exception | None) -> None:
        """Take in that the connection is gone; ``error`` is None where the client closed it."""
        raise NotImplementedError

    async def _opened(self) -> None:
        """Do what is due on a new connection."""
        raise NotImplementedError

    async def _refresh_token(self) -> None:
        """See to it that the token is fresh."""
        raise NotImplementedError

    # connecting

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open, as far as is known."""
        return self._ws_connection is not None

    def connection_state(self) -> RealtimeConnectionState:
        """Where the socket stands.

        Connecting (also while it is opened again), open, closing or closed. Ours, after realtime-js.
        """
        return Connection.OPEN if self.is_connected else self._state

    def endpoint_url(self) -> str:
        """Give the socket's URL with all its parameters, the API key among them."""
        level = {} if self._log_level is None else {"log_level": self._log_level}
        return with_parameters(self.url, {**level, **self.params}, vsn=self.vsn)

    async def connect(self) -> None:
        """Open the socket; nothing happens where it is open.

        Failed attempts are repeated with growing delays, ``max_retries`` in all or for ``connect_timeout`` seconds;
        without ``auto_reconnect`` there is one, and a server that refuses the key or the URL (401, 403, 404) is not
        asked again. Raises the last one's error. Once it was open, a lost connection comes back by itself.
        """
        if self.is_connected:
            return
        self._use_loop()
        generation, failures = self._generation, 0
        deadline = None if self.connect_timeout is None else time.monotonic() + self.connect_timeout
        while generation == self._generation:
            try:
                await self._open(generation, deadline)
                return
            except Exception as error:
                failures += 1
                self._log("error", f"attempt {failures} to connect failed: {error}")
                delay = delays.connect_delay(failures, self.initial_backoff)
                is_last = failures >= self.max_retries if deadline is None else time.monotonic() + delay >= deadline
                if is_last or not self.auto_reconnect or _is_refusal(error):
                    if self._reconnect_task is None:
                        self._state = Connection.CLOSED
                    raise
                await asyncio.sleep(delay)

    def _use_loop(self) -> None:
        """Make what belongs to a loop anew where the client is used in another one than before."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._connect_lock = asyncio.Lock()

    async def _open(self, generation: int, deadline: float | None = None) -> None:
        async with self._connect_lock:
            if self.is_connected or generation != self._generation:
                return
            self._state = Connection.CONNECTING
            await self._refresh_token()
            url = self.endpoint_url()
            self._log("debug", f"connecting to {without_secrets(url)}")
            timeout = self.timeout if deadline is None else max(0.001, min(self.timeout, deadline - time.monotonic()))
            async with asyncio.timeout(timeout):
                ws = await self._open_socket(url)
            if generation != self._generation:  # closed meanwhile
                await self._end_socket(ws)
                return
            self._ws_connection, self._state = ws, Connection.OPEN
            self._start(ws)
        await self._opened()

    async def _open_socket(self, url: str) -> WebSocketLike:
        if self._websocket_factory is not None:
            return await self._websocket_factory(url)
        # Heartbeats of our own find dead connections; a second kind would only close busy ones.
        return await websocket_connect(
            url,
            additional_headers=self.headers,
            open_timeout=None,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,
            max_size=MAX_MESSAGE_BYTES,
        )

    def _start(self, ws: WebSocketLike) -> None:
        self._log("info", "connected")
        self._cancel(self._heartbeat_task)
        loop = asyncio.get_running_loop()
        self._listen_task = loop.create_task(self._listen(ws), name="isobase-realtime-listen")
        self._heartbeat_task = loop.create_task(self._heart.beat(ws), name="isobase-realtime-heartbeat")

    async def _listen(self, ws: WebSocketLike) -> None:
        error: Exception = ConnectionError(DISCONNECTED_TEXT)
        try:
            async for message in ws:
                self._decode(message)
            code = getattr(ws, "close_code", None)
            error = ConnectionError(f"the server closed the connection (code {code})")
        except Exception as problem:  # noqa: BLE001 - whatever ends the connection is answered by a new one
            error = problem
        self._lost(ws, error)

    def _decode(self, message: str | bytes) -> None:
        try:
            frame = decode(message)
        except WireError as error:
            self._log("error", f"a message that cannot be read: {error}")
            return
        if self._log.is_detailed:
            self._log("debug", f"receive: {frame.topic} {frame.event} {frame.ref or ''}", frame.payload)
        if frame.event != ChannelEvents.reply or not self._heart.answered(frame):
            self._receive(frame)

    # losing the connection, and coming back

    def _give_up(self, ws: WebSocketLike, error: Exception) -> None:
        """Take a connection for lost that may not know it yet, and cut it."""
        if self._ws_connection is not ws:
            return
        listening = self._listen_task
        self._lost(ws, error)
        self._cancel(listening)
        self._run_in_background(self._end_socket(ws, code=CUT_CLOSE))

    def _lost(self, ws: WebSocketLike, error: Exception) -> None:
        if self._ws_connection is not ws:
            return
        self._log("info", f"{DISCONNECTED_TEXT}: {error}")
        self._ws_connection, self._state = None, Connection.CLOSED
        self._cancel(self._heartbeat_task)
        self._heart.lost()
        if self.auto_reconnect:
            self._state = Connection.CONNECTING
            self._reconnect_task = asyncio.get_running_loop().create_task(
                self._reconnect(self._generation), name="isobase-realtime-reconnect"
            )
        self._connection_ended(error)

    async def _reconnect(self, generation: int) -> None:
        """Open the socket again: soon, then after growing delays, until it is open or the client is closed."""
        failures = 0
        await asyncio.sleep(delays.first_delay(self.initial_backoff))
        while generation == self._generation and self._is_coming_back():
            try:
                await self._open(generation)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt follows
                failures += 1
                delay = self._delay_after(failures)
                self._log("warning", f"attempt {failures} to come back failed, the next in {delay:.1f} s: {error}")
                await asyncio.sleep(delay)
        if self._reconnect_task is asyncio.current_task():
            self._reconnect_task = None

    def _is_coming_back(self) -> bool:
        """Whether the task that asks is still the one that opens the socket.

        A loss while it joined channels began another.
        """
        return not self.is_connected and self._reconnect_task is asyncio.current_task()

    def _delay_after(self, failures: int) -> float:
        if self.reconnect_after is None:
            return delays.reconnect_delay(failures, self.initial_backoff)
        try:
            return max(0.0, self.reconnect_after(failures))
        except Exception:  # it is the app's, and must not end the coming back
            logger.exception("reconnect_after failed")
            return delays.reconnect_delay(failures, self.initial_backoff)

    # closing

    async def close(self) -> None:
        """Close the socket and end every task.

        Channels stay known, and ``connect`` joins them again. Safe to call twice.
        """
        self._generation += 1
        ws, self._ws_connection = self._ws_connection, None
        if ws is not None or self._reconnect_task is not None:
            self._log("info", "closing")
        self._state = Connection.CLOSING
        self._connection_ended(None)
        named = (self._listen_task, self._heartbeat_task, self._reconnect_task)
        self._listen_task = self._heartbeat_task = self._reconnect_task = None
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        tasks = [
            task
            for task in (*named, *self._tasks)
            if task is not None and task is not current and task.get_loop() is loop
        ]
        for task in tasks:
            task.cancel()
        if ws is not None:
            await self._end_socket(ws)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the channels' timers end
        if self._ws_connection is None:
            self._state = Connection.CLOSED

    async def _end_socket(self, ws: WebSocketLike, code: int = NORMAL_CLOSE) -> None:
        """Close a socket, and cut it where that takes too long."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S if code == NORMAL_CLOSE else CLOSE_TIMEOUT_S / 4):
                await (ws.close() if code == NORMAL_CLOSE else ws.close(code))
        except Exception as error:  # noqa: BLE001 - it is closed in any case
            logger.debug("closing the socket failed: %r", error)
        finally:
            abort = getattr(getattr(ws, "transport", None), "abort", None)
            if callable(abort) and inspect.isroutine(abort):
                abort()

    def _cancel(self, task: asyncio.Task[None] | None) -> None:
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()

    def _run_in_background(self, awaitable: Awaitable[object]) -> None:
        task = asyncio.get_running_loop().create_task(_awaited(awaitable))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # sending

    def _make_ref(self) -> str:
        self.ref += 1
        return str(self.ref)

    async def _transmit(self, frame: Frame) -> bool:
        """Send a frame; False where there is no connection, or where it turns out to be lost."""
        data = encode(frame, self.vsn)
        ws = self._ws_connection
        if ws is None:
            return False
        if self._log.is_detailed:
            kept = {key: "***" if key == "access_token" else value for key, value in frame.payload.items()}
            self._log("debug", f"send: {frame.topic} {frame.event} {frame.ref or ''}", kept)
        try:
            async with asyncio.timeout(self.timeout):
                await ws.send(data)
        except Exception as error:  # noqa: BLE001 - other sockets than websockets' have errors of their own
            self._give_up(ws, error)
            return False
        return True


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, InvalidStatus) and error.response.status_code in REFUSALS


async def _awaited(awaitable: Awaitable[object]) -> object:
    try:
        return await awaitable
    except Exception:  # what runs beside must not end in silence
        logger.exception("a task of the realtime client failed")
        return None

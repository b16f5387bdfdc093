"""The async realtime client: one socket, its channels, and coming back after every loss.

``connect`` opens the socket; a task reads it (``_listen``), one sends signs of life (``_beat``), and after a loss one
opens it again (``_reconnect``), for ever, until ``close``. No task outlives ``close``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect as websocket_connect

from isobase._http import AsyncSession
from isobase.realtime import delays
from isobase.realtime._async.channel import AsyncRealtimeChannel
from isobase.realtime._async.push import AsyncPush
from isobase.realtime.exceptions import RealtimeBufferFullError
from isobase.realtime.message import Message
from isobase.realtime.transformers import http_endpoint_url, socket_url, with_parameters, without_secrets
from isobase.realtime.types import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_TIMEOUT,
    PHOENIX_CHANNEL,
    ChannelEvents,
    RealtimeAcknowledgementStatus,
    RealtimeChannelOptions,
    RealtimeConnectionState,
    RealtimeHeartbeatStatus,
    WebSocketFactory,
    WebSocketLike,
)
from isobase.realtime.utils import is_ws_url
from isobase.realtime.wire import VSN_1, VSN_2, Frame, WireError, decode, encode

__all__ = ["AsyncRealtimeClient"]

logger = logging.getLogger("isobase.realtime")

AccessToken = Callable[[], Awaitable[str | None] | str | None]
HeartbeatCallback = Callable[[RealtimeHeartbeatStatus, float | None], Awaitable[None] | None]
LogFunction = Callable[[str, str, object], None]
Heartbeat = RealtimeHeartbeatStatus
Connection = RealtimeConnectionState

CLOSE_TIMEOUT_S = 2.0
"""How long the closing of a socket may take before it is cut."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_WAITING_MESSAGES = 1_000
"""Messages of ``send`` that wait for a connection."""
DISCONNECTED_TEXT = "the connection was lost"
OPAQUE_KEYS = ("sb_publishable_", "sb_secret_")
KINDS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class AsyncRealtimeClient:
    """A client of the realtime service at ``url`` (``…/realtime/v1``).

    token: the API key; also the access token until ``set_auth`` says else.
    auto_reconnect: whether a lost connection is opened again (for ever), and a failed ``connect`` is tried again.
    params: more query parameters of the socket's URL.
    hb_interval: seconds between heartbeats. A connection whose heartbeat is not answered within ``timeout`` is given
        up and opened again.
    max_retries: attempts of one ``connect``.
    initial_backoff: seconds before the second attempt; doubles with each.
    timeout: seconds for opening a socket, and for the replies to joins and messages.

    Ours, after realtime-js:
    connect_timeout: seconds for one ``connect`` with all its attempts, in place of ``max_retries``.
    access_token: gives the token (may be a coroutine function); asked before every connection, join after a failure,
        and heartbeat. What changed is sent to the joined channels.
    heartbeat_callback: see ``on_heartbeat``.
    reconnect_after: gives the seconds before an attempt to come back, from the number of failures so far (from 1).
    vsn: version of the protocol, ``1.0.0`` or ``2.0.0`` (broadcasts as binary frames, bytes too).
    websocket_factory: opens the socket in place of ``websockets``: ``await websocket_factory(url)``.
    logger: called with kind, message and data of everything worth a log line, besides the logger ``isobase.realtime``.
    log_level: the least kind that is given to ``logger`` (``debug``, ``info``, ``warning``, ``error``), also told to
        the server.
    disconnect_on_empty_channels_after: seconds until the socket is closed once the last channel was removed; 0 is at
        once.
    headers: more headers of the socket's handshake.
    http_client: what ``http_send`` posts through; without one the client has its own.
    replay: ask the server for positions of row changes, and after a reconnection for what was missed (Isobase; others
        ignore it).

    Raises ``ValueError`` for a URL of another scheme or an unknown version.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        auto_reconnect: bool = True,
        params: dict[str, Any] | None = None,
        hb_interval: float = DEFAULT_HEARTBEAT_INTERVAL,
        max_retries: int = 5,
        initial_backoff: float = 1.0,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        connect_timeout: float | None = None,
        access_token: AccessToken | None = None,
        heartbeat_callback: HeartbeatCallback | None = None,
        reconnect_after: Callable[[int], float] | None = None,
        vsn: str = VSN_1,
        websocket_factory: WebSocketFactory | None = None,
        logger: LogFunction | None = None,
        log_level: str | None = None,
        disconnect_on_empty_channels_after: float = 0.0,
        headers: dict[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
        replay: bool = True,
    ) -> None:
        if not is_ws_url(url):
            raise ValueError("url must be a valid WebSocket URL or HTTP URL string")
        if vsn not in (VSN_1, VSN_2):
            raise ValueError(f"vsn must be {VSN_1} or {VSN_2}")
        if log_level is not None and log_level not in KINDS:
            raise ValueError(f"log_level must be one of {', '.join(KINDS)}")
        address = socket_url(url)
        self.url = with_parameters(address, {}, apikey=token) if token else address
        self.http_endpoint = http_endpoint_url(url)
        self.params = params or {}
        self.apikey = token
        self.access_token = token
        self.auto_reconnect = auto_reconnect
        self.hb_interval = hb_interval
        self.max_retries = max_retries
        self.initial_backoff = initial_backoff
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.vsn = vsn
        self.headers = headers or {}
        self.replay = replay
        self.disconnect_on_empty_channels_after = disconnect_on_empty_channels_after
        self.reconnect_after = reconnect_after
        self.heartbeat_callback = heartbeat_callback
        self.channels: dict[str, AsyncRealtimeChannel] = {}
        self.send_buffer: list[Frame] = []
        self.ref = 0
        self._access_token_callback = access_token
        self._log_function = logger
        self._log_level = log_level
        self._websocket_factory = websocket_factory
        self._http_client = http_client
        self._own_http_client: httpx.AsyncClient | None = None
        self._ws_connection: WebSocketLike | None = None
        self._state = Connection.CLOSED
        self._connect_lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generation = 0
        self._pushes: dict[str, AsyncPush] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._listen_task: asyncio.Task[None] | None = None
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._reconnect_task: asyncio.Task[None] | None = None
        self._deferred_close: asyncio.TimerHandle | None = None
        self._heartbeat_ref: str | None = None
        self._heartbeat_sent_at = 0.0
        self._heartbeat_answered: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {without_secrets(self.url)} {self._state.value}, {len(self.channels)} channels>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
        without ``auto_reconnect`` there is one. Raises the last one's error. Once it was open, a lost connection
        comes back by itself.
        """
        if self.is_connected:
            return
        self._cancel_deferred_close()
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
                if is_last or not self.auto_reconnect:
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
        await self._flush_send_buffer()
        await self._rejoin_errored_channels()

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
        self._heartbeat_task = loop.create_task(self._beat(ws), name="isobase-realtime-heartbeat")

    async def listen(self) -> None:
        """Do nothing; kept for its name, as upstream. The client listens by itself."""
        logger.warning("AsyncRealtimeClient.listen is deprecated: the client listens by itself")

    async def _listen(self, ws: WebSocketLike) -> None:
        error: Exception = ConnectionError(DISCONNECTED_TEXT)
        try:
            async for message in ws:
                self._receive(message)
            code = getattr(ws, "close_code", None)
            error = ConnectionError(f"the server closed the connection (code {code})")
        except Exception as problem:  # noqa: BLE001 - whatever ends the connection is answered by a new one
            error = problem
        self._lost(ws, error)

    def _receive(self, message: str | bytes) -> None:
        try:
            frame = decode(message)
        except WireError as error:
            self._log("error", f"a message that cannot be read: {error}")
            return
        if logger.isEnabledFor(logging.DEBUG) or self._log_function is not None:
            self._log("debug", f"receive: {frame.topic} {frame.event} {frame.ref or ''}", frame.payload)
        if frame.event == ChannelEvents.reply and frame.ref is not None:
            self._take_reply(frame)
        elif (channel := self.channels.get(frame.topic)) is not None:
            try:
                channel._receive(frame)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._log("error", f"a message of {frame.topic} that cannot be read: {error!r}")

    def _take_reply(self, frame: Frame) -> None:
        if frame.ref == self._heartbeat_ref:
            self._heartbeat_ref = None
            if self._heartbeat_answered is not None:
                self._heartbeat_answered.set()
            status = Heartbeat.OK if frame.payload.get("status") == "ok" else Heartbeat.ERROR
            self._tell_heartbeat(status, time.monotonic() - self._heartbeat_sent_at)
        elif frame.ref is not None and (push := self._pushes.pop(frame.ref, None)) is not None:
            push.replied(frame.payload)

    # signs of life

    def on_heartbeat(self, callback: HeartbeatCallback) -> None:
        """Call ``callback(status, latency)`` for heartbeats.

        Sent, ok or error (``latency`` in seconds), timeout, disconnected. Ours, after realtime-js.
        """
        self.heartbeat_callback = callback

    async def send_heartbeat(self) -> None:
        """Send a heartbeat now. Ours, after realtime-js."""
        if self._ws_connection is None:
            self._tell_heartbeat(Heartbeat.DISCONNECTED)
            return
        self._heartbeat_ref = self._make_ref()
        self._heartbeat_sent_at = time.monotonic()
        self._tell_heartbeat(Heartbeat.SENT)
        await self._transmit(Frame(PHOENIX_CHANNEL, ChannelEvents.heartbeat, {}, self._heartbeat_ref))

    async def _beat(self, ws: WebSocketLike) -> None:
        """Send a heartbeat every interval; give the connection up when one is not answered in time."""
        while self._ws_connection is ws:
            began = time.monotonic()
            self._heartbeat_answered = asyncio.Event()
            try:
                async with asyncio.timeout(self.timeout):
                    await self.send_heartbeat()
                    if self._ws_connection is not ws:
                        return
                    await self._heartbeat_answered.wait()
            except TimeoutError:
                if self._ws_connection is ws:
                    self._tell_heartbeat(Heartbeat.TIMEOUT)
                    self._log("error", "the heartbeat was not answered: connecting again")
                    self._give_up(ws, ConnectionError("the heartbeat was not answered"))
                return
            await self._refresh_token()
            await asyncio.sleep(max(0.0, self.hb_interval - (time.monotonic() - began)))

    def _tell_heartbeat(self, status: RealtimeHeartbeatStatus, latency: float | None = None) -> None:
        if self.heartbeat_callback is None:
            return
        try:
            result = self.heartbeat_callback(status, latency)
            if inspect.isawaitable(result):
                self._run_in_background(result)
        except Exception:  # it is the app's, and must not end the connection
            logger.exception("the heartbeat callback failed")

    # losing the connection, and coming back

    def _give_up(self, ws: WebSocketLike, error: Exception) -> None:
        """Take a connection for lost that may not know it yet, and cut it."""
        if self._ws_connection is not ws:
            return
        listening = self._listen_task
        self._lost(ws, error)
        self._cancel(listening)
        self._run_in_background(self._end_socket(ws, code=4000))

    def _lost(self, ws: WebSocketLike, error: Exception) -> None:
        if self._ws_connection is not ws:
            return
        self._log("info", f"{DISCONNECTED_TEXT}: {error}")
        self._ws_connection, self._state = None, Connection.CLOSED
        self._heartbeat_ref = None
        self._cancel(self._heartbeat_task)
        self._tell_heartbeat(Heartbeat.DISCONNECTED)
        if self.auto_reconnect:
            self._state = Connection.CONNECTING
            self._reconnect_task = asyncio.get_running_loop().create_task(
                self._reconnect(self._generation), name="isobase-realtime-reconnect"
            )
        for channel in list(self.channels.values()):
            channel._connection_lost(error)
        for push in list(self._pushes.values()):
            push.trigger(RealtimeAcknowledgementStatus.Error, {"reason": DISCONNECTED_TEXT})

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
        return max(0.0, self.reconnect_after(failures))

    async def _rejoin_errored_channels(self) -> None:
        for channel in list(self.channels.values()):
            if channel.is_errored and channel._joined_once:
                channel.rejoin_timer.reset()
                await channel._rejoin()

    # closing

    async def close(self) -> None:
        """Close the socket and end every task.

        Channels stay known, and ``connect`` joins them again. Safe to call twice.
        """
        self._generation += 1
        self._cancel_deferred_close()
        ws, self._ws_connection = self._ws_connection, None
        if ws is not None or self._reconnect_task is not None:
            self._log("info", "closing")
        self._state = Connection.CLOSING
        for channel in list(self.channels.values()):
            channel._connection_lost(None)
        for push in list(self._pushes.values()):
            push.trigger(RealtimeAcknowledgementStatus.Error, {"reason": "the client was closed"})
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
        own, self._own_http_client = self._own_http_client, None
        if own is not None:
            await own.aclose()
        if self._ws_connection is None:
            self._state = Connection.CLOSED

    async def _end_socket(self, ws: WebSocketLike, code: int = 1000) -> None:
        """Close a socket, and cut it where that takes too long."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S if code == 1000 else CLOSE_TIMEOUT_S / 4):
                await (ws.close() if code == 1000 else ws.close(code))
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
        coroutine: Coroutine[Any, Any, object] = _awaited(awaitable)
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # channels

    def channel(self, topic: str, params: RealtimeChannelOptions | None = None) -> AsyncRealtimeChannel:
        """Give the channel of ``topic``: the one there is, or a new one with ``params``."""
        name = f"realtime:{topic}"
        existing = self.channels.get(name)
        if existing is not None and not existing.is_leaving:
            return existing
        self._cancel_deferred_close()
        channel = self.channels[name] = AsyncRealtimeChannel(self, name, params)
        return channel

    def get_channels(self) -> list[AsyncRealtimeChannel]:
        """Give all channels."""
        return list(self.channels.values())

    def _remove_channel(self, channel: AsyncRealtimeChannel) -> None:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]

    async def remove_channel(self, channel: AsyncRealtimeChannel) -> None:
        """Leave a channel and forget it.

        With the last one the socket is closed (see ``disconnect_on_empty_channels_after``).
        """
        if self.channels.get(channel.topic) is channel:
            await channel.unsubscribe()
            self._remove_channel(channel)
        if self.channels:
            return
        if self.disconnect_on_empty_channels_after <= 0:
            await self.close()
        elif self.is_connected and self._deferred_close is None:
            self._deferred_close = asyncio.get_running_loop().call_later(
                self.disconnect_on_empty_channels_after, self._close_if_empty
            )

    def _close_if_empty(self) -> None:
        self._deferred_close = None
        if not self.channels:
            self._run_in_background(self.close())

    def _cancel_deferred_close(self) -> None:
        if self._deferred_close is not None:
            self._deferred_close.cancel()
            self._deferred_close = None

    async def remove_all_channels(self) -> None:
        """Leave and forget every channel, and close the socket.

        Raises what the first leave that failed raised, after all are gone.
        """
        failure: Exception | None = None
        for channel in list(self.channels.values()):
            try:
                await channel.unsubscribe()
            except Exception as error:  # noqa: BLE001 - raised below, once all are gone
                failure = failure or error
            self._remove_channel(channel)
        await self.close()
        if failure is not None:
            raise failure

    # tokens

    async def set_auth(self, token: str | None) -> None:
        """Take a new access token, for joins from now on and for the channels that are joined.

        None: asks the ``access_token`` callback, and without one joins go with the API key alone. A channel that
        waits because its token had ended joins again at once.
        """
        if token is None and self._access_token_callback is not None:
            await self._refresh_token()
            return
        await self._take_token(token)

    async def _refresh_token(self) -> None:
        """Ask the callback for the token, if there is one; the last one holds where it fails."""
        if self._access_token_callback is None:
            return
        try:
            async with asyncio.timeout(self.timeout):
                given = self._access_token_callback()
                token = await given if inspect.isawaitable(given) else given
        except Exception as error:  # noqa: BLE001 - the app's; a token that fails must not end the connection
            self._log("error", f"the access token callback failed: {error!r}")
            return
        if token != self.access_token:
            await self._take_token(token)

    async def _take_token(self, token: str | None) -> None:
        changed, self.access_token = token != self.access_token, token
        if not self.is_connected:
            return
        for channel in list(self.channels.values()):
            if channel.is_joined and token and not token.startswith(OPAQUE_KEYS):
                payload = {"access_token": token}
                await self._transmit(
                    Frame(channel.topic, ChannelEvents.access_token, payload, self._make_ref(), channel.join_push.ref)
                )
            elif changed and (channel.is_joined or (channel.is_errored and channel._token_ended)):
                # Servers ignore a key in the place of a token: without a new join the former user's rights would stay.
                channel.rejoin_timer.reset()
                await channel._rejoin()

    # sending

    def _make_ref(self) -> str:
        self.ref += 1
        return str(self.ref)

    async def send(self, message: Message | dict[str, Any]) -> None:
        """Send a message as it is; while the client is not connected it waits.

        Raises ``RealtimeBufferFullError`` when 1,000 wait. Channels have better ways: ``send_broadcast``, ``track``,
        ``push``.
        """
        if not isinstance(message, Message):
            logger.warning("calling send with a dictionary is deprecated: give a realtime.message.Message")
            message = Message(**message)
        frame = Frame(message.topic, message.event, dict(message.payload), message.ref, message.join_ref)
        if not await self._transmit(frame):
            if len(self.send_buffer) >= MAX_WAITING_MESSAGES:
                raise RealtimeBufferFullError(f"{MAX_WAITING_MESSAGES} messages wait for a connection")
            self.send_buffer.append(frame)

    async def _transmit(self, frame: Frame) -> bool:
        """Send a frame; False where there is no connection, or where it turns out to be lost."""
        data = encode(frame, self.vsn)
        ws = self._ws_connection
        if ws is None:
            return False
        if logger.isEnabledFor(logging.DEBUG) or self._log_function is not None:
            kept = {key: "***" if key == "access_token" else value for key, value in frame.payload.items()}
            self._log("debug", f"send: {frame.topic} {frame.event} {frame.ref or ''}", kept)
        try:
            async with asyncio.timeout(self.timeout):
                await ws.send(data)
        except Exception as error:  # noqa: BLE001 - other sockets than websockets' have errors of their own
            self._give_up(ws, error)
            return False
        return True

    async def _flush_send_buffer(self) -> None:
        while self.send_buffer and self.is_connected:
            frame = self.send_buffer.pop(0)
            if not await self._transmit(frame):
                self.send_buffer.insert(0, frame)
                return

    def _http(self) -> httpx.AsyncClient:
        """Give the client for HTTP, made at its first use where none was given."""
        if self._http_client is not None:
            return self._http_client
        if self._own_http_client is None:
            self._own_http_client = AsyncSession()
        return self._own_http_client

    # logging

    def log(self, kind: str, message: str, data: object = None) -> None:
        """Write a line to the client's logs; ``kind`` is debug, info, warning or error. Ours, after realtime-js."""
        self._log(kind, message, data)

    def _log(self, kind: str, message: str, data: object = None) -> None:
        level = KINDS.get(kind, logging.INFO)
        logger.log(level, "%s" if data is None else "%s %r", message, *(() if data is None else (data,)))
        if self._log_function is not None and level >= KINDS[self._log_level or "debug"]:
            try:
                self._log_function(kind, message, data)
            except Exception:  # it is the app's, and must not end the connection
                logger.exception("the logger that was given failed")


async def _awaited(awaitable: Awaitable[object]) -> object:
    try:
        return await awaitable
    except Exception:  # what runs beside must not end in silence
        logger.exception("a task of the realtime client failed")
        return None

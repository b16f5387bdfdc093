"""The async realtime client: its channels, tokens and what it sends; the connection below is ``socket``'s."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from isobase._http import AsyncSession
from isobase._keys import is_opaque_key
from isobase.realtime._async.channel import AsyncRealtimeChannel
from isobase.realtime._async.heartbeat import HeartbeatCallback
from isobase.realtime._async.push import AsyncPush
from isobase.realtime._async.socket import DISCONNECTED_TEXT, RealtimeSocket
from isobase.realtime.exceptions import RealtimeBufferFullError
from isobase.realtime.logs import ClientLog, LogFunction
from isobase.realtime.message import Message
from isobase.realtime.transformers import http_endpoint_url, socket_url, with_parameters, without_secrets
from isobase.realtime.types import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_TIMEOUT,
    ChannelEvents,
    RealtimeAcknowledgementStatus,
    RealtimeChannelOptions,
    WebSocketFactory,
)
from isobase.realtime.utils import is_ws_url
from isobase.realtime.wire import VSN_1, VSN_2, Frame, WireError

__all__ = ["AsyncRealtimeClient"]

logger = logging.getLogger("isobase.realtime")

AccessToken = Callable[[], Awaitable[str | None] | str | None]
MAX_WAITING_MESSAGES = 1_000
"""Messages of ``send`` that wait for a connection."""


class AsyncRealtimeClient(RealtimeSocket):
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

    Raises ``ValueError`` for a URL of another scheme, an unknown version or level, or an interval of 0.
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
        if hb_interval <= 0:
            raise ValueError("hb_interval must be more than 0 seconds")
        address = socket_url(url)
        super().__init__(
            with_parameters(address, {}, apikey=token) if token else address,
            params=params or {},
            auto_reconnect=auto_reconnect,
            hb_interval=hb_interval,
            max_retries=max_retries,
            initial_backoff=initial_backoff,
            timeout=timeout,
            connect_timeout=connect_timeout,
            heartbeat_callback=heartbeat_callback,
            reconnect_after=reconnect_after,
            vsn=vsn,
            websocket_factory=websocket_factory,
            log=ClientLog(logger, log_level),
            log_level=log_level,
            headers=headers or {},
        )
        self.http_endpoint: str = http_endpoint_url(url)
        self.apikey = token
        self.access_token = token
        self._told_token = token  # what channels were told; `access_token` may be set before
        self.replay = replay
        self.disconnect_on_empty_channels_after = disconnect_on_empty_channels_after
        self.channels: dict[str, AsyncRealtimeChannel] = {}
        self.send_buffer: list[Frame] = []
        self._access_token_callback = access_token
        self._http_client = http_client
        self._own_http_client: httpx.AsyncClient | None = None
        self._pushes: dict[str, AsyncPush] = {}
        self._deferred_close: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {without_secrets(self.url)} {self._state.value}, {len(self.channels)} channels>"

    # the connection

    async def connect(self) -> None:
        """Open the socket; nothing happens where it is open.

        Failed attempts are repeated with growing delays, ``max_retries`` in all or for ``connect_timeout`` seconds;
        without ``auto_reconnect`` there is one. Raises the last one's error. Once it was open, a lost connection
        comes back by itself.
        """
        self._cancel_deferred_close()
        await super().connect()

    async def close(self) -> None:
        """Close the socket and end every task.

        Channels stay known, and ``connect`` joins them again. Safe to call twice.
        """
        self._cancel_deferred_close()
        await super().close()
        own, self._own_http_client = self._own_http_client, None
        if own is not None:
            await own.aclose()

    async def listen(self) -> None:
        """Do nothing; kept for its name, as upstream. The client listens by itself."""
        logger.warning("AsyncRealtimeClient.listen is deprecated: the client listens by itself")

    async def _opened(self) -> None:
        while self.send_buffer and self.is_connected:
            frame = self.send_buffer.pop(0)
            if not await self._transmit(frame):
                self.send_buffer.insert(0, frame)
        for channel in list(self.channels.values()):
            if channel.is_errored and channel._joined_once:
                channel.rejoin_timer.reset()
                try:
                    await channel._rejoin()
                except WireError as error:  # one channel's options must not keep the others away
                    self._log("error", f"{channel.topic} cannot be joined: {error}")

    def _connection_ended(self, error: Exception | None) -> None:
        for channel in list(self.channels.values()):
            channel._connection_lost(error)
        reason = "the client was closed" if error is None else DISCONNECTED_TEXT
        for push in list(self._pushes.values()):
            push.trigger(RealtimeAcknowledgementStatus.Error, {"reason": reason})

    def _receive(self, frame: Frame) -> None:
        if frame.event == ChannelEvents.reply and frame.ref is not None:
            push = self._pushes.pop(frame.ref, None)
            if push is not None:
                push.replied(frame.payload)
        elif (channel := self.channels.get(frame.topic)) is not None:
            try:
                channel._receive(frame)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._log("error", f"a message of {frame.topic} that cannot be read: {error!r}")

    @property
    def heartbeat_callback(self) -> HeartbeatCallback | None:
        """What hears of heartbeats."""
        return self._heart.callback

    def on_heartbeat(self, callback: HeartbeatCallback) -> None:
        """Call ``callback(status, latency)`` for heartbeats.

        Sent, ok or error (``latency`` in seconds), timeout, disconnected. Ours, after realtime-js.
        """
        self._heart.callback = callback

    async def send_heartbeat(self) -> None:
        """Send a heartbeat now. Ours, after realtime-js."""
        await self._heart.send()

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
        was refused, or whose token has ended, joins again at once.
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
        changed = token != self._told_token
        self.access_token = self._told_token = token
        if not self.is_connected:
            return
        for channel in list(self.channels.values()):
            await self._tell_token(channel, changed=changed)

    async def _tell_token(self, channel: AsyncRealtimeChannel, *, changed: bool) -> None:
        """Let a channel go on with the client's token; one that is being joined is told when it has been."""
        token = self.access_token
        if channel.is_joined and token and not is_opaque_key(token):
            payload = {"access_token": token}
            await self._transmit(
                Frame(channel.topic, ChannelEvents.access_token, payload, self._make_ref(), channel.join_push.ref)
            )
        elif changed and (channel.is_joined or (channel.is_errored and channel._waits_for_token)):
            # Servers ignore a key in the place of a token: without a new join the former user's rights would stay.
            channel.rejoin_timer.reset()
            await channel._rejoin()

    # sending

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

    def _http(self) -> httpx.AsyncClient:
        """Give the client for HTTP, made at its first use where none was given."""
        if self._http_client is not None:
            return self._http_client
        if self._own_http_client is None:
            self._own_http_client = AsyncSession()
        return self._own_http_client

    def log(self, kind: str, message: str, data: object = None) -> None:
        """Write a line to the client's logs; ``kind`` is debug, info, warning or error. Ours, after realtime-js."""
        self._log(kind, message, data)

"""The sync realtime client: the async one on an event loop of its own, in a thread that it owns and ends.

Written by hand, since no form of the async client without a loop could listen; the protocol, the channels and the
socket are the async client's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self, cast

import httpx

from isobase._http import SyncSession
from isobase.realtime._async.channel import AsyncRealtimeChannel
from isobase.realtime._async.client import AsyncRealtimeClient
from isobase.realtime._sync.channel import SyncRealtimeChannel
from isobase.realtime._sync.threads import Threads, in_thread
from isobase.realtime.logs import LogFunction
from isobase.realtime.message import Message
from isobase.realtime.types import (
    DEFAULT_TIMEOUT,
    RealtimeChannelOptions,
    RealtimeConnectionState,
    RealtimeHeartbeatStatus,
    WebSocketFactory,
)
from isobase.realtime.wire import VSN_1

__all__ = ["SyncRealtimeClient"]

HeartbeatCallback = Callable[[RealtimeHeartbeatStatus, float | None], None]
AccessToken = Callable[[], str | None]


class SyncRealtimeClient:
    """A client of the realtime service at ``url`` (``…/realtime/v1``) for code without an event loop.

    Arguments and methods are those of ``AsyncRealtimeClient``. Callbacks run one after another in a thread of the
    client's own; ``access_token`` runs in a thread of its own and may block; ``reconnect_after``, ``logger`` and the
    coroutine function ``websocket_factory`` run on the client's loop and must not call the client.

    The threads begin with the first ``connect`` or ``subscribe`` and end with ``close``, or with the ``with`` block.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        auto_reconnect: bool = True,
        params: dict[str, Any] | None = None,
        hb_interval: float = 30,
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
        http_client: httpx.Client | None = None,
        replay: bool = True,
    ) -> None:
        self._core = AsyncRealtimeClient(
            url,
            token,
            auto_reconnect,
            params,
            hb_interval,
            max_retries,
            initial_backoff,
            timeout,
            connect_timeout=connect_timeout,
            access_token=None if access_token is None else _asked_in_thread(access_token),
            reconnect_after=reconnect_after,
            vsn=vsn,
            websocket_factory=websocket_factory,
            logger=logger,
            log_level=log_level,
            disconnect_on_empty_channels_after=disconnect_on_empty_channels_after,
            headers=headers,
            replay=replay,
        )
        self._threads = Threads(self._core.close)
        self._http_client = http_client
        self._own_http_client: httpx.Client | None = None
        if heartbeat_callback is not None:
            self.on_heartbeat(heartbeat_callback)

    def __repr__(self) -> str:
        return repr(self._core).replace("AsyncRealtimeClient", type(self).__name__, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The socket's URL, without the parameters of ``params``."""
        return self._core.url

    @property
    def http_endpoint(self) -> str:
        """The base of the HTTP endpoints."""
        return self._core.http_endpoint

    @property
    def apikey(self) -> str | None:
        """The API key."""
        return self._core.apikey

    @property
    def access_token(self) -> str | None:
        """The token that joins go with."""
        return self._core.access_token

    @access_token.setter
    def access_token(self, token: str | None) -> None:
        self._core.access_token = token

    @property
    def params(self) -> dict[str, Any]:
        """More query parameters of the socket's URL."""
        return self._core.params

    @property
    def auto_reconnect(self) -> bool:
        """Whether a lost connection is opened again."""
        return self._core.auto_reconnect

    @property
    def hb_interval(self) -> float:
        """Seconds between heartbeats."""
        return self._core.hb_interval

    @property
    def max_retries(self) -> int:
        """Attempts of one ``connect``."""
        return self._core.max_retries

    @property
    def initial_backoff(self) -> float:
        """Seconds before the second attempt."""
        return self._core.initial_backoff

    @property
    def timeout(self) -> float:
        """Seconds for opening a socket, and for replies."""
        return self._core.timeout

    @property
    def channels(self) -> dict[str, SyncRealtimeChannel]:
        """The channels by topic, ``realtime:`` before it; a copy."""
        return {channel.topic: channel for channel in self.get_channels()}

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open, as far as is known."""
        return self._core.is_connected and not self._threads.is_left_behind

    def connection_state(self) -> RealtimeConnectionState:
        """Where the socket stands: connecting, open, closing or closed."""
        return self._core.connection_state()

    def endpoint_url(self) -> str:
        """Give the socket's URL with all its parameters, the API key among them."""
        return self._core.endpoint_url()

    @property
    def is_left_behind(self) -> bool:
        """Whether it was opened in the process from which this one was forked, so that a new one is needed here."""
        return self._threads.is_left_behind

    def connect(self) -> None:
        """Open the socket; see ``AsyncRealtimeClient.connect``."""
        self._threads.run(self._core.connect)

    def close(self) -> None:
        """Close the socket and end the threads.

        Channels stay known, and ``connect`` joins them again. Safe to call twice.
        """
        self._threads.stop()
        for channel in self.get_channels():
            for stream in channel._streams:
                stream.close()
        own, self._own_http_client = self._own_http_client, None
        if own is not None:
            own.close()

    def channel(self, topic: str, params: RealtimeChannelOptions | None = None) -> SyncRealtimeChannel:
        """Give the channel of ``topic``: the one there is, or a new one with ``params``."""
        return self._threads.call(lambda: self._channel(topic, params))

    def _channel(self, topic: str, params: RealtimeChannelOptions | None) -> SyncRealtimeChannel:
        name = f"realtime:{topic}"
        existing = self._core.channels.get(name)
        if existing is not None and not existing.is_leaving:
            return _face_of(existing)
        self._core._cancel_deferred_close()
        face = SyncRealtimeChannel(self, name, params)
        self._core.channels[name] = face._core
        face._core._face = face
        return face

    def get_channels(self) -> list[SyncRealtimeChannel]:
        """Give all channels."""
        return self._threads.call(lambda: [_face_of(core) for core in self._core.get_channels()])

    def remove_channel(self, channel: SyncRealtimeChannel) -> None:
        """Leave a channel and forget it; with the last one the socket is closed and the threads end."""
        if not self._threads.is_running:
            self._core._remove_channel(channel._core)
            channel.unsubscribe()
            return
        self._threads.run(lambda: self._core.remove_channel(channel._core))
        for stream in channel._streams:
            stream.close()
        self._stop_if_empty()

    def remove_all_channels(self) -> None:
        """Leave and forget every channel, close the socket and end the threads."""
        if self._threads.is_running:
            self._threads.run(self._core.remove_all_channels)
        self._core.channels.clear()
        self.close()

    def _stop_if_empty(self) -> None:
        if not self._core.channels and not self._core.is_connected:
            self.close()

    def set_auth(self, token: str | None) -> None:
        """Take a new access token, for joins from now on and for the channels that are joined."""
        if self._threads.is_running:
            self._threads.run(lambda: self._core.set_auth(token))
        elif token is not None or self._core._access_token_callback is None:
            self._core.access_token = token  # a client that was not used yet needs no threads for this

    def on_heartbeat(self, callback: HeartbeatCallback) -> None:
        """Call ``callback(status, latency)`` for heartbeats; see ``AsyncRealtimeClient.on_heartbeat``."""

        def later(status: RealtimeHeartbeatStatus, latency: float | None) -> None:
            self._threads.dispatch(callback, status, latency)

        self._core.on_heartbeat(later)

    def send_heartbeat(self) -> None:
        """Send a heartbeat now."""
        self._threads.run(self._core.send_heartbeat)

    def send(self, message: Message | dict[str, Any]) -> None:
        """Send a message as it is; while the client is not connected it waits."""
        self._threads.run(lambda: self._core.send(message))

    def log(self, kind: str, message: str, data: object = None) -> None:
        """Write a line to the client's logs."""
        self._core.log(kind, message, data)

    def _http(self) -> httpx.Client:
        if self._http_client is not None:
            return self._http_client
        if self._own_http_client is None:
            self._own_http_client = SyncSession()
        return self._own_http_client


def _face_of(core: AsyncRealtimeChannel) -> SyncRealtimeChannel:
    return cast("SyncRealtimeChannel", core._face)


def _asked_in_thread(access_token: AccessToken) -> Callable[[], Any]:
    if inspect.iscoroutinefunction(access_token):
        return access_token

    async def ask() -> str | None:
        return await in_thread(access_token)

    return ask

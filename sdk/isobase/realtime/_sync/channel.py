"""A channel of the sync client.

The async channel on the client's own loop, its callbacks in the client's callback thread.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from isobase.realtime._async.channel import AsyncRealtimeChannel
from isobase.realtime._async.sending import MAX_WAITING_EVENTS
from isobase.realtime._sync.presence import SyncRealtimePresence
from isobase.realtime._sync.push import SyncPush
from isobase.realtime._sync.streams import SyncEvents
from isobase.realtime.exceptions import RealtimeHTTPError
from isobase.realtime.http_broadcast import broadcast_request, check_answer
from isobase.realtime.listeners import ChangeEvent, ChangeFilter
from isobase.realtime.message import ErrorSystemPayload, SuccessSystemPayload
from isobase.realtime.types import (
    BroadcastPayload,
    ChannelStates,
    PostgresChangesPayload,
    Presence,
    RealtimeChannelOptions,
    RealtimeGap,
    RealtimePresenceState,
    RealtimeSubscribeStates,
)

if TYPE_CHECKING:
    from isobase.realtime._sync.client import SyncRealtimeClient

__all__ = ["SyncRealtimeChannel"]


class SyncRealtimeChannel:
    """A topic to listen to and to send on; made by ``SyncRealtimeClient.channel(topic)`` alone.

    Methods and their meaning are those of ``AsyncRealtimeChannel``. Callbacks are plain functions; they run one after
    another in a thread of the client's own, and may call the client, even leave the channel.
    """

    def __init__(self, socket: SyncRealtimeClient, topic: str, params: RealtimeChannelOptions | None = None) -> None:
        self.socket = socket
        self._core = AsyncRealtimeChannel(socket._core, topic, params)
        self._threads = socket._threads
        self.presence: SyncRealtimePresence = SyncRealtimePresence(self)
        self.presence._use(self._core._call)
        self._core.presence = self.presence
        self._streams: list[SyncEvents[Any]] = []

    # state

    @property
    def topic(self) -> str:
        """The topic with ``realtime:`` before it."""
        return self._core.topic

    @property
    def params(self) -> RealtimeChannelOptions:
        """The options it was made with."""
        return self._core.params

    @property
    def timeout(self) -> float:
        """Seconds for replies."""
        return self._core.timeout

    @property
    def state(self) -> ChannelStates:
        """Where it stands."""
        return self._core.state

    @property
    def is_closed(self) -> bool:
        """Whether it is neither joined nor about to be."""
        return self._core.is_closed

    @property
    def is_joining(self) -> bool:
        """Whether its join waits for the server's reply."""
        return self._core.is_joining

    @property
    def is_leaving(self) -> bool:
        """Whether it is being left."""
        return self._core.is_leaving

    @property
    def is_errored(self) -> bool:
        """Whether it waits to be joined again."""
        return self._core.is_errored

    @property
    def is_joined(self) -> bool:
        """Whether messages come in and go out."""
        return self._core.is_joined

    # joining and leaving

    def subscribe(
        self, callback: Callable[[RealtimeSubscribeStates, Exception | None], None] | None = None
    ) -> SyncRealtimeChannel:
        """Join the channel, and connect the client where it is not.

        Returns when the server has replied or the time is over.

        The callback has then been called with the state, unless an earlier callback keeps it waiting. See
        ``AsyncRealtimeChannel.subscribe``.
        """
        told = None if callback is None else self._later(callback)

        def notified(status: RealtimeSubscribeStates, error: Exception | None) -> None:
            if told is not None:
                told(status, error)
            if status == RealtimeSubscribeStates.CLOSED:
                for stream in self._streams:
                    stream.close()

        self._threads.run(lambda: self._core.subscribe(notified))
        self._threads.settle(self.timeout)
        return self

    def join(self) -> SyncRealtimeChannel:
        """Subscribe; deprecated as the async one."""
        warnings.warn("join() is deprecated: use subscribe()", DeprecationWarning, stacklevel=2)
        return self if self._core._joined_once else self.subscribe()

    def unsubscribe(self) -> None:
        """Leave the channel; the callback of ``subscribe`` is told ``CLOSED`` when the server has replied."""
        if self._threads.is_running:
            self._threads.run(self._core.unsubscribe)
        else:
            self._core.on_close()
        for stream in self._streams:
            stream.close()

    def _later(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Give a function that has ``callback`` run in the callback thread.

        Raises ``TypeError`` for a coroutine function.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("callbacks of the sync client are plain functions")

        def later(*arguments: object) -> None:
            self._threads.dispatch(callback, *arguments)

        return later

    # listening

    def on_broadcast(self, event: str, callback: Callable[[BroadcastPayload], None]) -> SyncRealtimeChannel:
        """Call ``callback(payload)`` for broadcasts of ``event``, or of all events (``*``). Gives the channel."""
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_broadcast(event, listener))
        return self

    def on_postgres_changes(
        self,
        event: ChangeEvent,
        callback: Callable[[PostgresChangesPayload], None],
        table: str | None = None,
        schema: str | None = None,
        filter: ChangeFilter = None,
        select: list[str] | None = None,
    ) -> SyncRealtimeChannel:
        """Call ``callback(payload)`` for row changes.

        Arguments as ``AsyncRealtimeChannel.on_postgres_changes``. Gives the channel.
        """
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_postgres_changes(event, listener, table, schema, filter, select))
        return self

    def on_system(self, callback: Callable[[SuccessSystemPayload], None]) -> SyncRealtimeChannel:
        """Call ``callback(payload)`` for the server's good news about the channel. Gives the channel."""
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_system(listener))
        return self

    def on_system_error(self, callback: Callable[[ErrorSystemPayload], None]) -> SyncRealtimeChannel:
        """Call ``callback(payload)`` for the server's bad news about the channel. Gives the channel."""
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_system_error(listener))
        return self

    def on_gap(self, callback: Callable[[RealtimeGap], None]) -> SyncRealtimeChannel:
        """Call ``callback(gap)`` when row changes may have been missed. Gives the channel."""
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_gap(listener))
        return self

    def on_presence_sync(self, callback: Callable[[], None]) -> SyncRealtimeChannel:
        """Call ``callback()`` after every change of the presence state. Gives the channel."""
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_presence_sync(listener))
        return self

    def on_presence_join(self, callback: Callable[[str, list[Any], list[Presence]], None]) -> SyncRealtimeChannel:
        """Call ``callback(key, presences there before, presences that came)`` when somebody comes.

        Gives the channel.
        """
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_presence_join(listener))
        return self

    def on_presence_leave(self, callback: Callable[[str, list[Any], list[Presence]], None]) -> SyncRealtimeChannel:
        """Call ``callback(key, presences still there, presences that left)`` when somebody leaves.

        Gives the channel.
        """
        listener = self._later(callback)
        self._threads.call(lambda: self._core.on_presence_leave(listener))
        return self

    def changes(
        self,
        event: ChangeEvent = "*",
        *,
        table: str | None = None,
        schema: str | None = None,
        filter: ChangeFilter = None,
        select: list[str] | None = None,
        max_waiting: int = MAX_WAITING_EVENTS,
    ) -> SyncEvents[PostgresChangesPayload]:
        """Give row changes for ``for``; arguments as ``on_postgres_changes``. To be called before ``subscribe``.

        The first step subscribes where nobody has. It ends when the channel or the client is closed.
        """
        stream: SyncEvents[PostgresChangesPayload] = SyncEvents(self, max_waiting)
        self._streams.append(stream)
        self._threads.call(lambda: self._core.on_postgres_changes(event, stream.put, table, schema, filter, select))
        return stream

    def broadcasts(self, event: str = "*", *, max_waiting: int = MAX_WAITING_EVENTS) -> SyncEvents[BroadcastPayload]:
        """Give broadcasts for ``for``. The first step subscribes where nobody has."""
        stream: SyncEvents[BroadcastPayload] = SyncEvents(self, max_waiting)
        self._streams.append(stream)
        self._threads.call(lambda: self._core.on_broadcast(event, stream.put))
        return stream

    # sending

    def push(self, event: str, payload: dict[str, Any], timeout: float | None = None) -> SyncPush:
        """Send a message of any event; see ``AsyncRealtimeChannel.push``."""
        return SyncPush(self._threads.run(lambda: self._core.push(event, payload, timeout)), self._threads)

    def send_broadcast(self, event: str, data: Any, *, ack: bool = False, timeout: float | None = None) -> None:
        """Broadcast ``data`` to everybody else on the channel; see ``AsyncRealtimeChannel.send_broadcast``."""
        self._threads.run(lambda: self._core.send_broadcast(event, data, ack=ack, timeout=timeout))

    def http_send(self, event: str, payload: Any, *, timeout: float | None = None) -> None:
        """Broadcast over HTTP, whether or not the channel is subscribed; see ``AsyncRealtimeChannel.http_send``."""
        request = broadcast_request(
            self._core.broadcast_endpoint_url,
            self.topic,
            event,
            payload,
            is_private=bool(self.params.get("config", {}).get("private")),
            apikey=self.socket.apikey,
            token=self.socket.access_token,
        )
        try:
            response = self.socket._http().request(
                "POST",
                request.url,
                headers=request.headers,
                params=request.params,
                content=request.content,
                timeout=timeout or self.timeout,
            )
        except httpx.TimeoutException as error:
            raise RealtimeHTTPError(f"Request timeout: {error}") from error
        check_answer(response.status_code, response.reason_phrase, response.content)

    def track(self, user_status: dict[str, Any]) -> None:
        """Show oneself as present with ``user_status``; a second call replaces it."""
        self._threads.run(lambda: self._core.track(user_status))

    def untrack(self) -> None:
        """Be present no longer."""
        self._threads.run(self._core.untrack)

    def send_presence(self, event: str, data: Any) -> None:
        """Send a presence message: ``track`` or ``untrack``."""
        self._threads.run(lambda: self._core.send_presence(event, data))

    def presence_state(self) -> RealtimePresenceState:
        """Who is present: keys to lists of what was tracked, each with its ``presence_ref``; a copy of this moment."""
        return self._threads.call(lambda: {key: list(value) for key, value in self.presence.state.items()})

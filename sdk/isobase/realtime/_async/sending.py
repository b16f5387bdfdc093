"""What is sent on a channel of the async client, and its events for ``async for``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpx

from isobase.realtime._async.push import AsyncPush
from isobase.realtime._async.streams import AsyncEvents
from isobase.realtime.exceptions import RealtimeAckError, RealtimeBufferFullError, RealtimeHTTPError
from isobase.realtime.http_broadcast import broadcast_request, check_answer
from isobase.realtime.listeners import ChangeEvent, ChangeFilter, ChannelListeners
from isobase.realtime.transformers import http_endpoint_url
from isobase.realtime.types import (
    BroadcastPayload,
    ChannelEvents,
    ChannelStates,
    PostgresChangesPayload,
    RealtimeAcknowledgementStatus,
    RealtimeChannelOptions,
)
from isobase.realtime.wire import Frame, encode

if TYPE_CHECKING:
    from isobase.realtime._async.channel import AsyncRealtimeChannel
    from isobase.realtime._async.client import AsyncRealtimeClient
    from isobase.realtime._async.presence import AsyncRealtimePresence

__all__ = ["MAX_WAITING_EVENTS", "SendingChannel"]

Status = RealtimeAcknowledgementStatus
MAX_WAITING_PUSHES = 100
"""Messages of one channel that wait until it is joined."""
MAX_WAITING_EVENTS = 10_000
"""Events that wait for who iterates over them."""


class SendingChannel(ChannelListeners):
    """The part of ``AsyncRealtimeChannel`` that sends."""

    join_push: AsyncPush

    def __init__(
        self, socket: AsyncRealtimeClient, topic: str, params: RealtimeChannelOptions, presence: AsyncRealtimePresence
    ) -> None:
        super().__init__(topic, params, presence)
        self.socket = socket
        self.state: ChannelStates = ChannelStates.CLOSED
        self.timeout: float = socket.timeout
        self.broadcast_endpoint_url: str = f"{http_endpoint_url(socket.http_endpoint)}/api/broadcast"
        self._joined_once = False
        self._is_over = False
        self._tracked: dict[str, Any] | None = None
        self._push_buffer: list[AsyncPush] = []
        self._streams: list[AsyncEvents[Any]] = []

    def on_close(self) -> None:
        """Take in that the channel is closed for good."""
        raise NotImplementedError

    @property
    def _channel(self) -> AsyncRealtimeChannel:
        return cast("AsyncRealtimeChannel", self)

    async def push(self, event: str, payload: dict[str, Any], timeout: float | None = None) -> AsyncPush:
        """Send a message of any event; gives it, to hear of the reply (``receive``, ``result``).

        timeout: seconds for the reply, default the client's. While the channel is not joined the message waits, as
            long as that.

        Raises ``Exception`` before ``subscribe``, ``RealtimeBufferFullError`` when 100 wait. Source: realtime-py.
        """
        if not self._joined_once:
            raise Exception(
                f"tried to push '{event}' to '{self.topic}' before joining."
                " Use channel.subscribe() before pushing events"
            )
        push = AsyncPush(self._channel, event, payload, timeout or self.timeout)
        if self._can_push():
            await push.send()
        else:
            self._wait_to_push(push)
        return push

    def _can_push(self) -> bool:
        return self.socket.is_connected and self.state == ChannelStates.JOINED

    def _wait_to_push(self, push: AsyncPush) -> None:
        self._push_buffer = [waiting for waiting in self._push_buffer if waiting.received_resp is None]
        if len(self._push_buffer) >= MAX_WAITING_PUSHES:
            raise RealtimeBufferFullError(f"{MAX_WAITING_PUSHES} messages wait until {self.topic} is joined")
        encode(Frame(self.topic, push.event, dict(push.payload)), self.socket.vsn)  # what cannot be sent is told now
        push.start_timeout()
        self._push_buffer.append(push)

    def _not_sent(self, push: AsyncPush) -> None:
        """Keep what could not be sent because the connection was lost.

        Joins and leaves are made anew or needless then.
        """
        if push is self.join_push or self._is_over:
            return
        if push.event == ChannelEvents.leave:
            self.on_close()
            return
        self._wait_to_push(push)

    async def send_broadcast(self, event: str, data: Any, *, ack: bool = False, timeout: float | None = None) -> None:
        """Broadcast ``data`` to everybody else on the channel (and back, with ``self``).

        data: a dictionary; with ``vsn="2.0.0"`` also bytes.
        ack: wait until the server confirms it; the channel must have been made with ``broadcast: {"ack": True}``.
        timeout: seconds for the confirmation, default the client's.

        Without ``ack`` it returns once the message is on its way; while the channel is not joined it waits to be
        sent, at most ``timeout``. Raises ``RealtimeAckError`` where the server refuses or does not confirm,
        ``ValueError`` for ``ack`` on a channel without it, and what ``push`` raises. Source: realtime-py; ``ack``
        after realtime-js.
        """
        payload = {"type": "broadcast", "event": event, "payload": data}
        if ack:
            await self._send_confirmed(payload, timeout)
        elif self._can_push():
            frame = Frame(self.topic, "broadcast", payload, self.socket._make_ref(), self.join_push.ref)
            if not await self.socket._transmit(frame):
                self._wait_to_push(AsyncPush(self._channel, ChannelEvents.broadcast, payload, timeout or self.timeout))
        else:
            await self.push(ChannelEvents.broadcast, payload, timeout)

    async def _send_confirmed(self, payload: dict[str, Any], timeout: float | None) -> None:
        if not (self.params.get("config", {}).get("broadcast") or {}).get("ack"):
            raise ValueError('ack=True needs a channel with {"config": {"broadcast": {"ack": True}}}')
        status, reply = await (await self.push(ChannelEvents.broadcast, payload, timeout)).result()
        if status == Status.Timeout:
            raise RealtimeAckError("the server did not confirm the broadcast in time", is_timeout=True)
        if status == Status.Error:
            response = reply if isinstance(reply, dict) else {}
            raise RealtimeAckError(f"the server refused the broadcast: {response}", response=response)

    async def http_send(self, event: str, payload: Any, *, timeout: float | None = None) -> None:
        """Broadcast over HTTP, whether or not the channel is subscribed or the client connected.

        payload: JSON, or bytes.
        timeout: seconds, default the client's.

        Raises ``ValueError`` where the payload is None, ``RealtimeHTTPError`` when it is refused or not answered in time,
        httpx's errors when the server is not reached.
        Source: realtime-py; realtime-js ``httpSend``.
        """
        request = broadcast_request(
            self.broadcast_endpoint_url,
            self.topic,
            event,
            payload,
            is_private=bool(self.params.get("config", {}).get("private")),
            apikey=self.socket.apikey,
            token=self.socket.access_token,
        )
        try:
            response = await self.socket._http().request(
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

    async def track(self, user_status: dict[str, Any]) -> None:
        """Show oneself as present with ``user_status``.

        A second call replaces it. It is told again after a reconnection.
        """
        await self.send_presence("track", user_status)
        self._tracked = user_status

    async def untrack(self) -> None:
        """Be present no longer."""
        self._tracked = None
        await self.send_presence("untrack", {})

    async def send_presence(self, event: str, data: Any) -> None:
        """Send a presence message: ``track`` or ``untrack``."""
        await self.push(ChannelEvents.presence, {"type": "presence", "event": event, "payload": data})

    def changes(
        self,
        event: ChangeEvent = "*",
        *,
        table: str | None = None,
        schema: str | None = None,
        filter: ChangeFilter = None,
        select: list[str] | None = None,
        max_waiting: int = MAX_WAITING_EVENTS,
    ) -> AsyncEvents[PostgresChangesPayload]:
        """Give row changes for ``async for``.

        Arguments as ``on_postgres_changes``. To be called before ``subscribe``. Ours.

        The first step subscribes where nobody has. It ends when the channel is closed.
        """
        stream: AsyncEvents[PostgresChangesPayload] = AsyncEvents(self._channel, max_waiting)
        self.on_postgres_changes(event, stream.put, table, schema, filter, select)
        return stream

    def broadcasts(self, event: str = "*", *, max_waiting: int = MAX_WAITING_EVENTS) -> AsyncEvents[BroadcastPayload]:
        """Give broadcasts for ``async for``. The first step subscribes where nobody has. Ours."""
        stream: AsyncEvents[BroadcastPayload] = AsyncEvents(self._channel, max_waiting)
        self.on_broadcast(event, stream.put)
        return stream

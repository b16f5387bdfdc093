"""One message of a channel, and the reply that it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import ValidationError

from isobase.realtime.message import ReplyPostgresChanges
from isobase.realtime.types import DEFAULT_TIMEOUT, RealtimeAcknowledgementStatus
from isobase.realtime.wire import Frame, WireError

if TYPE_CHECKING:
    from isobase.realtime._async.channel import AsyncRealtimeChannel

__all__ = ["AsyncPush"]

Status = RealtimeAcknowledgementStatus
Reply = ReplyPostgresChanges | dict[str, Any] | None


class AsyncPush:
    """A message with its reference; callbacks added by ``receive`` run when it is answered or its time is over.

    ``timeout``: seconds from when it was first sent, or began to wait to be.
    """

    __slots__ = (
        "_callbacks",
        "_timer",
        "channel",
        "event",
        "payload",
        "received_resp",
        "ref",
        "sent",
        "timeout",
    )

    def __init__(
        self,
        channel: AsyncRealtimeChannel,
        event: str,
        payload: Mapping[str, Any] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.channel: AsyncRealtimeChannel = channel
        self.event: str = event
        self.payload: Mapping[str, Any] = payload or {}
        self.timeout: float = timeout
        self.ref: str | None = None
        self.received_resp: tuple[Status, dict[str, Any] | ReplyPostgresChanges] | None = None
        self.sent: bool = False
        self._timer: asyncio.TimerHandle | None = None
        self._callbacks: list[tuple[Status, Callable[..., object]]] = []

    async def resend(self) -> None:
        """Send it again, with a new reference."""
        self.destroy()
        self.received_resp = None
        self.sent = False
        await self.send()

    async def send(self) -> None:
        """Send it, unless its time is over.

        Where the connection is lost meanwhile it waits for the next one, joins excepted.
        """
        if self.received_resp and self.received_resp[0] == Status.Timeout:
            return
        socket = self.channel.socket
        self.ref = socket._make_ref()
        socket._pushes[self.ref] = self
        self.start_timeout()
        self.sent = True
        frame = Frame(self.channel.topic, self.event, dict(self.payload), self.ref, self.channel.join_push.ref)
        try:
            is_sent = await socket._transmit(frame)
        except WireError:
            self.destroy()
            raise
        if not is_sent:
            socket._pushes.pop(self.ref, None)
            self.sent = False
            self.channel._not_sent(self)

    def update_payload(self, payload: dict[str, Any]) -> None:
        """Put keys of the payload anew."""
        self.payload = {**self.payload, **payload}

    @overload
    def receive(
        self, status: Literal[RealtimeAcknowledgementStatus.Ok], callback: Callable[[ReplyPostgresChanges], object]
    ) -> AsyncPush: ...
    @overload
    def receive(
        self, status: Literal[RealtimeAcknowledgementStatus.Error], callback: Callable[[dict[str, Any]], object]
    ) -> AsyncPush: ...
    @overload
    def receive(
        self, status: Literal[RealtimeAcknowledgementStatus.Timeout], callback: Callable[[], object]
    ) -> AsyncPush: ...
    def receive(self, status: RealtimeAcknowledgementStatus, callback: Callable[..., object]) -> AsyncPush:
        """Call ``callback`` when it ends so; at once when it has. Gives itself, so that calls can be chained."""
        if self.received_resp is not None and self.received_resp[0] == status:
            self._run(status, callback)
        else:
            self._callbacks.append((status, callback))
        return self

    def start_timeout(self) -> None:
        """Begin to count its time, unless it counts already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.timeout, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer = None
        self.trigger(Status.Timeout, {})

    def replied(self, payload: Mapping[str, Any]) -> None:
        """Take in the server's reply."""
        response = payload.get("response")
        body = response if isinstance(response, dict) else {} if response is None else {"response": response}
        if payload.get("status") != "ok":
            self.trigger(Status.Error, body)
            return
        try:
            self.trigger(Status.Ok, ReplyPostgresChanges.model_validate(body))
        except ValidationError as error:
            self.trigger(Status.Error, {"reason": f"a reply that cannot be read: {error}"})

    def trigger(self, status: RealtimeAcknowledgementStatus, response: dict[str, Any] | ReplyPostgresChanges) -> None:
        """End it so, and run the callbacks that wait for that."""
        self.destroy()
        self.received_resp = (status, response)
        for wanted, callback in list(self._callbacks):
            if wanted == status:
                self._run(status, callback)

    def _run(self, status: Status, callback: Callable[..., object]) -> None:
        if status == Status.Timeout:
            self.channel._call(callback)
        elif self.received_resp is not None:
            self.channel._call(callback, self.received_resp[1])

    async def result(self) -> tuple[RealtimeAcknowledgementStatus, Reply]:
        """Wait for its end; gives how it ended and the reply (None at a timeout). Ours."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(*_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        self.receive(Status.Ok, end).receive(Status.Error, end).receive(Status.Timeout, end)
        await ended
        assert self.received_resp is not None
        status, response = self.received_resp
        return status, None if status == Status.Timeout else response

    def destroy(self) -> None:
        """Wait for no reply any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.ref is not None:
            self.channel.socket._pushes.pop(self.ref, None)

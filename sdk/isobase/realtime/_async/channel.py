"""A channel of the async client: joined, left, joined again after every loss, and what is sent on it.

The decisions are pure and beside (``joining``, ``positions``, ``delays``), the listeners in ``listeners``; here they
are put in order.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from isobase.realtime import delays, joining
from isobase.realtime._async.presence import AsyncRealtimePresence
from isobase.realtime._async.push import AsyncPush
from isobase.realtime._async.sending import SendingChannel
from isobase.realtime._async.timer import AsyncTimer
from isobase.realtime.exceptions import NotConnectedError
from isobase.realtime.message import ReplyPostgresChanges
from isobase.realtime.types import (
    ChannelEvents,
    ChannelStates,
    PresenceOnJoinCallback,
    PresenceOnLeaveCallback,
    RealtimeAcknowledgementStatus,
    RealtimeChannelOptions,
    RealtimePresenceState,
    RealtimeSubscribeStates,
)
from isobase.realtime.wire import Frame, WireError

if TYPE_CHECKING:
    from isobase.realtime._async.client import AsyncRealtimeClient

__all__ = ["AsyncRealtimeChannel"]

logger = logging.getLogger("isobase.realtime")

Status = RealtimeAcknowledgementStatus
States = RealtimeSubscribeStates
SubscribeCallback = Callable[[RealtimeSubscribeStates, Exception | None], Awaitable[None] | None]
SUBSCRIBE_GRACE_S = 1.0
"""A subscribe waits so much longer than its join, so that the join's own end is what it reports."""
MISMATCH = "mismatch between server and client bindings for postgres changes"


class AsyncRealtimeChannel(SendingChannel):
    """A topic to listen to and to send on; made by ``AsyncRealtimeClient.channel(topic)`` alone.

    Once subscribed it stays so until it is left: it joins again after a lost connection, an error of the server or a
    refused join, with the client's token of that moment. ``state`` says where it stands.
    """

    state: ChannelStates

    def __init__(self, socket: AsyncRealtimeClient, topic: str, params: RealtimeChannelOptions | None = None) -> None:
        super().__init__(socket, topic, params or joining.default_options(), AsyncRealtimePresence())
        self.subscribe_callback: SubscribeCallback | None = None
        self._joins = 0
        self._token_ended = False
        self._waits_for_token = False
        self._presence_enabled = False
        self._subscribe_waiter: asyncio.Future[None] | None = None
        self._face: object | None = None  # the sync channel that shows this one
        self.join_push: AsyncPush = self._create_join_push()
        self.rejoin_timer: AsyncTimer = AsyncTimer(self._rejoin_if_connected, delays.rejoin_delay)

    # state

    @property
    def is_closed(self) -> bool:
        """Whether it is neither joined nor about to be."""
        return self.state == ChannelStates.CLOSED

    @property
    def is_joining(self) -> bool:
        """Whether its join waits for the server's reply."""
        return self.state == ChannelStates.JOINING

    @property
    def is_leaving(self) -> bool:
        """Whether it is being left."""
        return self.state == ChannelStates.LEAVING

    @property
    def is_errored(self) -> bool:
        """Whether it waits to be joined again."""
        return self.state == ChannelStates.ERRORED

    @property
    def is_joined(self) -> bool:
        """Whether messages come in and go out."""
        return self.state == ChannelStates.JOINED

    # joining and leaving

    async def subscribe(self, callback: SubscribeCallback | None = None) -> AsyncRealtimeChannel:
        """Join the channel, and connect the client where it is not.

        Returns when the server has replied or the time is over.

        callback: called with every new state (``SUBSCRIBED``, ``CHANNEL_ERROR``, ``TIMED_OUT``, ``CLOSED``) and an
            exception or None; later ones too, as after a lost connection. After an error or timeout it goes on
            joining by itself.

        Raises what ``connect`` raises, ``ValueError`` for options that JSON has no form for, ``NotConnectedError`` when
        the client is closed meanwhile, and ``Exception`` when it was subscribed before. Source: realtime-py.
        """
        self._check_first_subscribe()
        if not self.socket.is_connected:
            await self.socket.connect()
            self._check_first_subscribe()
            if not self.socket.is_connected:  # closed meanwhile
                raise NotConnectedError("subscribe")
        self.subscribe_callback = callback
        self._joined_once = True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribe_waiter = waiter
        try:
            await self._rejoin()
        except WireError:
            self.state, self._joined_once = ChannelStates.CLOSED, False
            raise
        await asyncio.wait([waiter], timeout=self.timeout + SUBSCRIBE_GRACE_S)
        return self

    def _check_first_subscribe(self) -> None:
        if self._joined_once:
            raise Exception(
                "Tried to subscribe multiple times. 'subscribe' can only be called a single time per channel instance"
            )

    async def join(self) -> AsyncRealtimeChannel:
        """Subscribe.

        Deprecated as upstream. On a channel that is subscribed it waits for the join that is under way.
        """
        warnings.warn("join() is deprecated: use subscribe()", DeprecationWarning, stacklevel=2)
        if not self._joined_once:
            return await self.subscribe()
        if self._subscribe_waiter is not None:
            await asyncio.wait([self._subscribe_waiter], timeout=self.timeout + SUBSCRIBE_GRACE_S)
        return self

    def _create_join_push(self) -> AsyncPush:
        push = AsyncPush(self, ChannelEvents.join, self.params, self.timeout)
        push.receive(Status.Ok, self._join_accepted)
        push.receive(Status.Error, self._join_refused)
        push.receive(Status.Timeout, self._join_timed_out)
        return push

    async def _rejoin(self) -> None:
        if self.is_leaving or self._is_over:
            return
        self.state = ChannelStates.JOINING
        self._presence_enabled = joining.wants_presence(self.params, has_listeners=self.presence._has_callback_attached)
        self.join_push.payload = {}  # an ended token must not stay in it
        self.join_push.update_payload(
            joining.join_payload(
                self.params,
                self.postgres_changes_callbacks,
                presence=self._presence_enabled,
                token=self.socket.access_token,
                positions=self._position_options(),
            )
        )
        await self.join_push.resend()

    def _position_options(self) -> dict[str, Any] | None:
        if not self.postgres_changes_callbacks:
            return None
        given = dict(self.params.get("config", {}).get("postgres_changes_options") or {})
        return self._positions.join_options(given, replay=self.socket.replay)

    async def _rejoin_if_connected(self) -> None:
        if self.socket.is_connected and self.is_errored:
            await self.socket._refresh_token()
            await self._rejoin()

    async def _resubscribe(self) -> None:
        """Join again on the same socket, so that the server knows of presence; it closes the join before by itself."""
        if self.is_joined and self.socket.is_connected:
            await self._rejoin()

    def _join_accepted(self, reply: ReplyPostgresChanges) -> None:
        if not self.is_joining:
            return
        if not joining.bind(self.postgres_changes_callbacks, reply):
            self.socket._run_in_background(self.unsubscribe())
            self.state = ChannelStates.ERRORED
            self._notify(States.CHANNEL_ERROR, Exception(MISMATCH))
            return
        self.state = ChannelStates.JOINED
        self._positions.joined()
        self._token_ended = self._waits_for_token = False
        self.rejoin_timer.reset()
        self._joins += 1
        waiting, self._push_buffer = self._push_buffer, []
        if self._joins > 1 and self._tracked is not None and not any(_is_presence(push) for push in waiting):
            payload = {"event": "track", "payload": self._tracked}
            waiting.insert(0, AsyncPush(self, ChannelEvents.presence, payload, self.timeout))
        if self.join_push.payload.get("access_token") != (self.socket.access_token or None):
            # The user changed while the server answered: the former one's rights must not stay.
            self.socket._run_in_background(self.socket._tell_token(self, changed=True))
        if waiting:
            self.socket._run_in_background(_send_in_order(waiting))
        self._notify(States.SUBSCRIBED, None)

    def _join_refused(self, payload: dict[str, Any]) -> None:
        if not self.is_joining:
            return
        self.socket._log("error", f"{self.topic}: the join was refused", payload)
        self._waits_for_token = joining.is_refusal(payload)
        self.state = ChannelStates.ERRORED
        self._schedule_rejoin(payload)
        self._notify(States.CHANNEL_ERROR, joining.error_of(payload))

    def _join_timed_out(self) -> None:
        if not self.is_joining:
            return
        self.socket._log("error", f"{self.topic}: no reply to the join")
        self.state = ChannelStates.ERRORED
        self._schedule_rejoin({})
        self._notify(States.TIMED_OUT, None)

    def _schedule_rejoin(self, payload: dict[str, Any]) -> None:
        if self.socket.is_connected:
            limited = joining.is_rate_limited(payload)
            self.rejoin_timer.schedule_timeout(delays.RATE_LIMITED_REJOIN_DELAY_S if limited else None)

    async def unsubscribe(self) -> None:
        """Leave the channel; the callback of ``subscribe`` is told ``CLOSED`` when the server has replied."""
        if self._is_over or self.is_leaving:
            return
        self._stop(ChannelStates.LEAVING)
        if not self._joined_once or not self.socket.is_connected:
            self.on_close()
            return
        leave = AsyncPush(self, ChannelEvents.leave, {}, self.timeout)
        leave.receive(Status.Ok, self._left).receive(Status.Error, self._left)
        leave.receive(Status.Timeout, self._left)
        await leave.send()

    def _left(self, *_: object) -> None:
        self.on_close()

    def _stop(self, state: ChannelStates) -> None:
        """End what would bring the channel back by itself."""
        self.state = state
        self.rejoin_timer.reset()
        self.join_push.destroy()
        for push in self._push_buffer:
            push.destroy()
        self._push_buffer = []
        self._release_waiter()

    def on_close(self) -> None:
        """Take in that the channel is closed for good; the client and its tests call it."""
        if self._is_over:
            return
        self._is_over = True
        self._stop(ChannelStates.CLOSED)
        self.socket._remove_channel(self)
        for stream in self._streams:
            stream.close()
        self._notify(States.CLOSED, None)

    def on_error(self, payload: dict[str, Any]) -> None:
        """Take in that the channel failed at the server: it joins again after a while."""
        if self.is_leaving or self.is_closed:
            return
        self.socket._log("error", f"{self.topic}: the channel failed", payload)
        self.state = ChannelStates.ERRORED
        self.join_push.destroy()
        self._schedule_rejoin(payload)
        self._notify(States.CHANNEL_ERROR, joining.error_of(payload))

    def _connection_lost(self, error: Exception | None) -> None:
        """Wait for the next connection. ``error`` is None where the client itself closed it."""
        if not (self.is_joined or self.is_joining):
            self.rejoin_timer.reset()
            return
        self.state = ChannelStates.ERRORED
        self.rejoin_timer.reset()
        self.join_push.destroy()
        if error is None:
            self._release_waiter()
        else:
            self._notify(States.CHANNEL_ERROR, error)

    def _notify(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if self.subscribe_callback is not None:
            self._call(self.subscribe_callback, status, error)
        self._release_waiter()

    def _release_waiter(self) -> None:
        waiter, self._subscribe_waiter = self._subscribe_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # what comes in

    def _receive(self, frame: Frame) -> None:
        """Take in a message of the server that is no reply.

        Raises ``ValueError`` and kin for one that cannot be read.
        """
        join_ref = self.join_push.ref
        if frame.join_ref is not None and frame.join_ref != join_ref:
            return  # of a join before this one
        match frame.event:
            case "broadcast":
                self._deliver_broadcast(frame)
            case "postgres_changes":
                self._deliver_change(frame)
            case "presence_state":
                self.presence._on_state_event(frame.payload)
            case "presence_diff":
                self.presence._on_diff_event(frame.payload)  # type: ignore[arg-type]  # as the server sent it
            case "system":
                self._take_system(frame.payload)
            case "phx_error" if frame.ref in (None, join_ref):
                self.on_error(frame.payload)
            case "phx_close" if frame.ref in (None, join_ref) and not self._token_ended:
                self.on_close()

    def _take_system(self, payload: dict[str, Any]) -> None:
        if self._deliver_system(payload):
            return
        if payload.get("extension") == "system":  # the server closes the channel now
            self._token_ended = self._waits_for_token = joining.is_token_ended(payload)
            self.on_error(payload)
        else:  # row changes do not come as asked; the channel itself goes on
            self._notify(States.CHANNEL_ERROR, joining.error_of(payload))

    # presence

    def presence_state(self) -> RealtimePresenceState:
        """Who is present: keys to lists of what was tracked, each with its ``presence_ref``."""
        return self.presence.state

    def on_presence_sync(self, callback: Callable[[], Awaitable[None] | None]) -> AsyncRealtimeChannel:
        """Call ``callback()`` after every change of the presence state. Gives the channel."""
        self.presence.on_sync(callback)
        return self._resubscribe_for_presence()

    def on_presence_join(self, callback: PresenceOnJoinCallback) -> AsyncRealtimeChannel:
        """Call ``callback(key, presences there before, presences that came)`` when somebody comes.

        Gives the channel.
        """
        self.presence.on_join(callback)
        return self._resubscribe_for_presence()

    def on_presence_leave(self, callback: PresenceOnLeaveCallback) -> AsyncRealtimeChannel:
        """Call ``callback(key, presences still there, presences that left)`` when somebody leaves.

        Gives the channel.
        """
        self.presence.on_leave(callback)
        return self._resubscribe_for_presence()

    def _resubscribe_for_presence(self) -> AsyncRealtimeChannel:
        if self.is_joined and not self._presence_enabled:
            self._presence_enabled = True
            self.socket._run_in_background(self._resubscribe())
        return self

    def _run_awaitable(self, awaitable: Awaitable[object]) -> None:
        self.socket._run_in_background(awaitable)


def _is_presence(push: AsyncPush) -> bool:
    return push.event == ChannelEvents.presence


async def _send_in_order(pushes: list[AsyncPush]) -> None:
    for push in pushes:
        await push.send()

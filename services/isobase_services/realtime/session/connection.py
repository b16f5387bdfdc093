"""One socket of a client: its channels, and where each of its messages goes.

``receive`` never waits, so a heartbeat is answered at once whatever joins or SQL are under way. The edge owns the transport:
it feeds ``receive``, gives ``outbox`` where to write, and closes when ``on_closing`` says so.
Source: contracts/realtime.md 1.1 to 1.7.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from isobase_platform.caller import RequestFacts
from isobase_services.realtime.core.access import AccessRefused, grant_access
from isobase_services.realtime.core.join import JoinRequest, parse_join
from isobase_services.realtime.core.outbox import Outbox
from isobase_services.realtime.core.topics import TOPIC_PREFIX, TopicKey
from isobase_services.realtime.session.channel import Channel
from isobase_services.realtime.session.joining import JoinRefused, begin_join
from isobase_services.realtime.session.refusals import Refusals
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import EMPTY_OBJECT, ClientMessage, Codec, Message, Ref, dump

if TYPE_CHECKING:
    from isobase_services.realtime.core.access import Access
    from isobase_services.realtime.session.hub import Hub

__all__ = ["MAX_FRAME_BYTES", "Connection"]

MAX_FRAME_BYTES = 5_000_000
MAX_TOPIC_LENGTH_CHARS = 1_000
MAX_TASKS = 1_000
"""Checks of policies under way for one socket; beyond it the socket is closed."""

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_TOO_BIG = 1009
CLOSE_TRY_AGAIN_LATER = 1013

_log = logging.getLogger("isobase.realtime")


class Connection:
    """A socket that passed the handshake with ``token``."""

    __slots__ = (
        "_refusals",
        "_tasks",
        "_token",
        "channel_left_at_s",
        "channels",
        "close_code",
        "codec",
        "hub",
        "is_user",
        "on_closing",
        "outbox",
        "put",
        "put_run",
        "received_at_s",
        "request",
        "stale_presence",
    )

    def __init__(self, hub: Hub, codec: Codec, token: str, request: RequestFacts) -> None:
        self.hub = hub
        self.codec = codec
        self.request = request
        self.channels: dict[str, Channel] = {}
        self.close_code: int | None = None
        self.is_user = False
        """Set and cleared by the hub, which counts the sockets that have joined a channel."""
        self.outbox = Outbox(
            max_bytes=hub.settings.max_send_buffer_bytes,
            droppable_bytes=hub.settings.drop_presence_above_bytes,
            on_overflow=self._overflow,
            on_drained=self._drained,
        )
        self.put = self.outbox.put
        """Send a frame, without waiting."""
        self.put_run = self.outbox.put_run
        """Send several frames, in one write where the socket takes it."""
        self.on_closing: Callable[[], None] = _nothing
        """What closes the transport with ``close_code``, behind what is queued."""
        self.stale_presence: set[Channel] | None = None
        """Channels whose client lost differences of presence, because it read too slowly."""
        self._token = token
        self._tasks: set[asyncio.Task[None]] | None = None
        self._refusals: Refusals | None = None
        self.received_at_s = self.channel_left_at_s = asyncio.get_running_loop().time()

    @staticmethod
    def wall_clock() -> float:
        """Unix seconds now."""
        return time.time()

    # -- incoming -----------------------------------------------------------------------------------------------------

    def receive(self, content: Message) -> None:
        """Handle one message; malformed ones are dropped, as upstream does."""
        self.received_at_s = asyncio.get_running_loop().time()
        if self.close_code is not None:
            return
        self.hub.counters.received += 1
        if len(content) > MAX_FRAME_BYTES:
            self.close(CLOSE_TOO_BIG)
            return
        try:
            message = self.codec.decode(content)
            if message is None:
                _log.debug("malformed frame dropped")
                return
            self.handle(message)
        except Exception:  # noqa: BLE001  as upstream: a message that cannot be handled is logged, and the socket lives
            _log.exception("a message of a client failed unexpectedly")

    def handle(self, message: ClientMessage) -> None:
        """Do what one message asks, or hand it to its channel."""
        if message.topic == "phoenix" and message.event == "heartbeat":
            self._reply_to_nobody(message, "ok", EMPTY_OBJECT)
        elif message.event == "phx_join":
            self._join(message)
        elif message.event == "phx_leave":
            self._leave(message)
        else:
            channel = self.channels.get(message.topic)
            if channel is None:
                self._reply_to_nobody(message, "error", '{"reason":"unmatched topic"}')
            else:
                channel.receive(message)

    def _join(self, message: ClientMessage) -> None:
        if not message.topic.startswith(TOPIC_PREFIX) or len(message.topic) > MAX_TOPIC_LENGTH_CHARS:
            self._reply_to_nobody(message, "error", '{"reason":"unmatched topic"}')
            return
        old = self.channels.get(message.topic)
        if old is not None:
            old.close()
        request = parse_join(message.payload)
        if request.problems:
            _log.warning("InvalidJoinPayload", extra={"topic": message.topic, "members": ", ".join(request.problems)})
        try:
            access = self._admit(message.topic, request)
        except JoinRefused as error:
            self.refuse_join(message.join_ref, message.ref, message.topic, str(error))
            return
        key = TopicKey(message.topic.removeprefix(TOPIC_PREFIX), request.is_private)
        channel = Channel(self, key, message.join_ref, request, access)
        self.channels[message.topic] = channel
        begin_join(channel, message.ref)

    def _admit(self, topic: str, request: JoinRequest) -> Access:
        """Check a join in upstream's order (1.6). Raises ``JoinRefused``."""
        hub = self.hub
        if topic == TOPIC_PREFIX:
            raise JoinRefused("TopicNameRequired: You must provide a topic name")
        if hub.is_draining:
            raise JoinRefused("RealtimeRestarting: Realtime is restarting, please standby")
        if hub.settings.private_only and not request.is_private:
            raise JoinRefused("PrivateOnly: This project only allows private channels")
        if not self.is_user and hub.user_count >= hub.settings.max_sockets:
            raise JoinRefused("ConnectionRateLimitReached: Too many connected users")
        if hub.joins.is_exceeded:
            self.close(CLOSE_GOING_AWAY)
            raise JoinRefused("ClientJoinRateLimitReached: Too many joins per second")
        hub.joins.add()
        hub.counters.joins += 1
        if len(self.channels) >= hub.settings.max_channels_per_socket:
            raise JoinRefused("ChannelRateLimitReached: Too many channels")
        try:
            access = grant_access(hub.verifier, self._token if request.token is None else request.token, self.request)
        except AccessRefused as error:
            raise JoinRefused(error.reason) from error
        if request.replay is not None and not request.is_private:
            raise JoinRefused("UnableToReplayMessages: Replay is not allowed for public channels")
        return access

    def _leave(self, message: ClientMessage) -> None:
        channel = self.channels.get(message.topic)
        if channel is not None and channel.join_ref not in (None, message.join_ref):
            # Upstream's rule: it is for an earlier channel of this topic, whose end was told already.
            return
        self._reply(message, "ok", EMPTY_OBJECT)
        if channel is not None:
            channel.close()

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def offer(self, frame: Frame, kind: str) -> bool:
        """Send what a socket that is behind does not get: False where it was dropped. ``kind`` is for the metrics."""
        if self.outbox.offer(frame):
            return True
        self.hub.counters.dropped[kind] += 1
        return False

    def lost_presence(self, channel: Channel) -> None:
        """Remember that ``channel`` needs the whole state of presence once its client has caught up."""
        if self.stale_presence is None:
            self.stale_presence = set()
        self.stale_presence.add(channel)

    def _drained(self) -> None:
        channels, self.stale_presence = self.stale_presence, None
        for channel in channels or ():
            channel.refresh_presence()

    def answer(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> None:
        """Answer a message: every reply, the channels' too, goes through here. ``response`` is JSON text."""
        self.put(self.codec.reply(join_ref=join_ref, ref=ref, topic=topic, status=status, response=response))

    def _reply(self, message: ClientMessage, status: str, response: str) -> None:
        self.answer(join_ref=message.join_ref, ref=message.ref, topic=message.topic, status=status, response=response)

    def _reply_to_nobody(self, message: ClientMessage, status: str, response: str) -> None:
        """Reply where no channel is: upstream gives back the ref alone."""
        self.answer(join_ref=None, ref=message.ref, topic=message.topic, status=status, response=response)

    def refuse_join(self, join_ref: Ref, ref: Ref, topic: str, reason: str) -> None:
        """Answer a refused join, held back a little against storms of clients that try again."""
        if self._refusals is None:
            self._refusals = Refusals(self.hub.settings.error_backoff_s, self._refuse)
        self._refusals.add(join_ref, ref, topic, dump({"reason": reason}))

    def _refuse(self, join_ref: Ref, ref: Ref, topic: str, response: str) -> None:
        self.answer(join_ref=join_ref, ref=ref, topic=topic, status="error", response=response)

    def announce_disconnect(self) -> None:
        """Tell every channel that the server is about to close the socket."""
        for channel in self.channels.values():
            channel.system("system", "ok", "Server requested disconnect")

    # -- life ---------------------------------------------------------------------------------------------------------

    def replace_token(self, token: str) -> None:
        """Join with ``token`` from now on, where a join brings none of its own."""
        self._token = token

    def confirm_tokens(self) -> None:
        """Verify the tokens of all channels again, because the keys changed."""
        for channel in list(self.channels.values()):
            channel.token.confirm()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` for this socket; it is cancelled when the socket ends."""
        if self._tasks is None:
            self._tasks = set()
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            self.close(CLOSE_TRY_AGAIN_LATER)
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a channel's task failed", exc_info=task.exception())
            self.close(1011)

    def forget(self, channel: Channel) -> None:
        """Take a channel that has ended off the socket."""
        if self.channels.get(channel.key.wire_name) is channel:
            del self.channels[channel.key.wire_name]
            self.channel_left_at_s = asyncio.get_running_loop().time()

    def _overflow(self) -> None:
        _log.warning("a socket does not read what it is sent and is closed", extra={"code": CLOSE_TRY_AGAIN_LATER})
        self.close(CLOSE_TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        """Ask the edge to send what is queued and then to close the socket with ``code``; the first code counts."""
        if self.close_code is None:
            self.close_code = code
            self.hub.counters.closed[code] += 1
            self.outbox.close()
            self.on_closing()

    def ended(self) -> None:
        """The socket is gone: leave every topic and stop every task."""
        if self.close_code is None:
            self.close_code = CLOSE_NORMAL
        self.outbox.discard()
        for channel in list(self.channels.values()):
            channel.end()
        self.channels.clear()
        if self._refusals is not None:
            self._refusals.stop()
        for task in tuple(self._tasks or ()):
            task.cancel()


def _nothing() -> None:
    """There is no transport yet."""

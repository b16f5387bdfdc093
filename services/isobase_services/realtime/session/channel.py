"""One joined channel of one socket: its rights, the order of its messages, its answers, and how it ends.

Nothing here waits in the socket's read loop. What needs SQL (policies of a private channel) runs in a task of the socket;
messages of this channel that arrive meanwhile wait in its backlog, those of other channels and heartbeats do not.
What the messages do is in ``joining``, ``broadcasting``, ``tracking`` and ``token_watch``.
Source: contracts/realtime.md 1.4 to 1.9 and 1.13.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from isobase_platform.caller import Caller
from isobase_services.realtime.core.access import Access
from isobase_services.realtime.core.join import JoinRequest
from isobase_services.realtime.core.topics import Topic, TopicKey
from isobase_services.realtime.session.broadcasting import handle_broadcast
from isobase_services.realtime.session.policies import Extension, PolicyFailed, ReadGrant
from isobase_services.realtime.session.token_watch import TokenWatch
from isobase_services.realtime.session.tracking import Tracking
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import (
    EMPTY_OBJECT,
    ClientMessage,
    Codec,
    Outgoing,
    Ref,
    TextBroadcast,
    dump,
)

if TYPE_CHECKING:
    from isobase_services.realtime.changes.feed import ChangeHandle
    from isobase_services.realtime.session.connection import Connection

__all__ = ["Channel", "Work"]

Work: TypeAlias = Coroutine[Any, Any, None]

MAX_BACKLOG_MESSAGES = 1_000
MAX_HELD_FRAMES = 1_000
_CONFIRM_RIGHTS = ClientMessage(join_ref=None, ref=None, topic="", event="")
"""Stands in the backlog for what no client says; told from a client's message by its identity."""

_log = logging.getLogger("isobase.realtime")


class Channel:
    """A channel of ``connection``, from its join on. Hashable by identity, as the registry needs it."""

    __slots__ = (
        "_backlog",
        "_held",
        "_may_write",
        "changes",
        "codec",
        "connection",
        "is_ended",
        "join_ref",
        "key",
        "may_read_broadcasts",
        "may_read_presence",
        "put",
        "put_run",
        "replayed_ids",
        "request",
        "token",
        "topic",
        "tracking",
        "wire_topic",
    )

    def __init__(
        self, connection: Connection, key: TopicKey, join_ref: Ref, request: JoinRequest, access: Access
    ) -> None:
        self.connection = connection
        self.key = key
        self.codec: Codec = connection.codec
        # Fan-out calls it for each frame: no call of a call. It sends a frame that was serialised already.
        self.put = connection.put
        self.put_run = connection.put_run
        self.wire_topic = key.wire_name
        """The topic as clients write it."""
        self.join_ref = join_ref
        self.request = request
        self.may_read_broadcasts = not key.is_private
        self.may_read_presence = not key.is_private
        self.token = TokenWatch(self, access)
        self.tracking = Tracking(self, is_enabled=request.is_presence_enabled)
        self.topic: Topic | None = None
        self.replayed_ids: frozenset[str] = frozenset()
        self.changes: ChangeHandle | None = None
        self.is_ended = False
        self._backlog: deque[ClientMessage] | None = None
        self._held: deque[Frame] | None = None
        self._may_write: dict[Extension, bool] = {}

    @property
    def caller(self) -> Caller:
        """Whose rights decide what this channel gets, now."""
        return self.token.access.caller

    # -- rights -------------------------------------------------------------------------------------------------------

    def apply(self, grant: ReadGrant) -> None:
        """Deliver what ``grant`` allows; rights to write are asked for again."""
        self.may_read_broadcasts = grant.broadcast
        self.may_read_presence = bool(grant.presence)
        self._may_write.clear()
        held, self._held = self._held, None
        if held is not None:
            self.put = self.connection.put
            for frame in held:
                self.put(frame)

    def withhold(self) -> None:
        """Hold back what comes until policies have answered anew (``apply``): the rights of before are over.

        With the rights confirmed nothing was lost; a channel that ends has delivered nothing of it. Beyond
        ``MAX_HELD_FRAMES`` the channel ends.
        """
        self._may_write.clear()
        if self._held is None:
            self._held = deque()
            self.put = self._hold

    @property
    def is_withheld(self) -> bool:
        """True from ``withhold`` to ``apply``."""
        return self._held is not None

    def _hold(self, frame: Frame) -> None:
        if self._held is None:
            return
        if len(self._held) >= MAX_HELD_FRAMES:
            self.fail("Too many messages per second")
            return
        self._held.append(frame)

    def confirm_rights(self, *, behind: str | None = None) -> None:
        """Ask the policies again, because what they read changed. Until they have answered nothing is delivered.

        behind: id of the row of ``realtime.messages`` whose transaction made the change, as the log told of it.
        """
        if self.key.is_private and not self.is_ended:
            self.withhold()
            self.token.behind = behind or self.token.behind
            self.receive(_CONFIRM_RIGHTS)

    def may_write(self, extension: Extension) -> bool | None:
        """Whether its client may send; None when the policies must be asked first (``check_write``)."""
        return not self.key.is_private or self._may_write.get(extension)

    async def check_write(self, extension: Extension) -> bool | None:
        """Ask the policies and remember the answer; None when they could not be asked (asked again next time)."""
        access = self.token.access
        try:
            answer = await self.connection.hub.policies.may_write(access.caller, self.key.name, extension)
        except PolicyFailed:
            return None
        if access is self.token.access:
            self._may_write[extension] = answer
        return answer

    # -- messages -----------------------------------------------------------------------------------------------------

    def receive(self, message: ClientMessage) -> None:
        """Handle one message of this channel's client, in the order of arrival."""
        if self._backlog is not None:
            if len(self._backlog) >= MAX_BACKLOG_MESSAGES:
                self.fail("Too many messages per second")
                return
            self._backlog.append(message)
            return
        try:
            work = self._handle(message)
        except Exception:  # noqa: BLE001  an error of ours concerns this channel alone
            self.crash()
            return
        if work is not None:
            self.occupy(work)

    def occupy(self, work: Work) -> None:
        """Run ``work`` in a task; messages wait in the backlog until it is done."""
        self._backlog = deque()
        self.connection.spawn(self._work_off(work))

    async def _work_off(self, work: Work | None) -> None:
        try:
            while work is not None:
                await work
                work = None
                while self._backlog and work is None and not self.is_ended:
                    work = self._handle(self._backlog.popleft())
        except Exception:  # noqa: BLE001  as above
            self.crash()
        self._backlog = None

    def _handle(self, message: ClientMessage) -> Work | None:
        """Do what a message asks; returns what is left to do when that needs SQL."""
        try:
            return self._begin(message)
        except RecursionError:
            _log.debug("a message nested too deep to be written again is dropped", extra={"topic": self.key.name})
            return None

    def _begin(self, message: ClientMessage) -> Work | None:
        if message is _CONFIRM_RIGHTS:
            return self.token.read_policies_again()
        match message.event:
            case "broadcast":
                return handle_broadcast(self, message)
            case "presence":
                return self.tracking.handle(message)
            case "access_token":
                return self.token.handle(message.payload.get("access_token"))
            case event:
                _log.debug("unexpected message", extra={"event": event, "topic": self.key.name})
                self.connection.hub.events.add()
                return None

    # -- answers and the end ------------------------------------------------------------------------------------------

    def offer(self, frame: Frame) -> None:
        """As ``put``, for what may be lost where the socket is behind."""
        if self._held is None:
            self.connection.offer(frame, "ephemeral")

    def put_presence(self, frame: Frame) -> None:
        """As ``put``; where the socket is behind, the difference is lost and the whole state is sent when it caught up."""
        if self._held is not None:
            self._hold(frame)
        elif not self.connection.offer(frame, "presence"):
            self.connection.lost_presence(self)

    def refresh_presence(self) -> None:
        """Send the state of presence again; clients replace theirs by it."""
        if self.topic is not None and self.may_read_presence and not (self.is_ended or self.is_withheld):
            self.push("presence_state", self.topic.presence.state)

    def reply(self, ref: Ref, status: str, response: str) -> None:
        """Answer a message; ``response`` is JSON text. The join_ref is the join's, whatever the message carried (1.2)."""
        self.connection.answer(join_ref=self.join_ref, ref=ref, topic=self.wire_topic, status=status, response=response)

    def push(self, event: str, payload: str) -> None:
        """Send a message to this channel alone; ``payload`` is JSON text."""
        frame = self.codec.push(join_ref=self.join_ref, topic=self.wire_topic, event=event, payload=payload)
        self.connection.put(frame)

    def push_broadcast(self, message: Outgoing) -> None:
        """Send a broadcast to this channel alone; nothing where its version cannot carry it."""
        if isinstance(message, TextBroadcast):
            self.push("broadcast", message.payload)
            return
        frame = self.codec.broadcast(topic=self.wire_topic, message=message)
        if frame is not None:
            self.connection.put(frame)

    @property
    def queued_bytes(self) -> int:
        """What waits for this channel's socket."""
        return self.connection.outbox.size_bytes

    def system(self, extension: str, status: str, message: str, extra: Mapping[str, object] | None = None) -> None:
        """Send a ``system`` message; ``extra``: members beyond upstream's, for who asked for them."""
        payload = {"extension": extension, "status": status, "message": message, "channel": self.key.name}
        self.push("system", dump({**payload, **(extra or {})}))

    def fail(self, message: str) -> None:
        """End the channel for a reason that the client is told: ``system`` error, then ``phx_close`` (1.7)."""
        if self.is_ended:
            return
        self.system("system", "error", message)
        self.close()

    def close(self) -> None:
        """Leave the topic and tell the client with ``phx_close``."""
        if self.is_ended:
            return
        self._finish("phx_close", EMPTY_OBJECT)

    def crash(self) -> None:
        """End the channel after an error of ours, which is logged: with ``phx_error``, on which clients join again."""
        _log.exception("a channel failed unexpectedly", extra={"topic": self.key.name})
        if not self.is_ended:
            self._finish("phx_error", '{"reason":"channel_crash"}')

    def _finish(self, event: str, payload: str) -> None:
        self.end()
        self.connection.put(
            self.codec.closing(join_ref=self.join_ref, topic=self.wire_topic, event=event, payload=payload)
        )
        self.connection.forget(self)

    def end(self) -> None:
        """Leave the topic without a word (its socket is gone, or ``close`` says it)."""
        self.is_ended = True
        # What is under way to the topic's members passes by this one from now on.
        self.may_read_broadcasts = self.may_read_presence = False
        self._backlog = self._held = None
        self.token.stop()
        if self.changes is not None:
            self.changes.cancel()
        self.connection.hub.topics.leave(self.key, self)

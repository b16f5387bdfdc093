"""One joined channel of one socket: what its messages do, its token's life, and how it ends.

Nothing here waits in the socket's read loop. What needs SQL (policies of a private channel) runs in a task of the socket;
messages of this channel that arrive meanwhile wait in its backlog, those of other channels and heartbeats do not.
Source: contracts/realtime.md 1.4 to 1.9 and 1.13.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from isobase_platform.caller import Caller
from isobase_services.realtime.core.access import Access, AccessRefused, grant_access
from isobase_services.realtime.core.join import JoinRequest
from isobase_services.realtime.core.rates import CallWindow
from isobase_services.realtime.core.topics import Topic, TopicKey
from isobase_services.realtime.session.policies import Extension, PolicyFailed, ReadGrant
from isobase_services.realtime.wire.messages import (
    EMPTY_OBJECT,
    ClientMessage,
    Codec,
    Frame,
    Outgoing,
    Ref,
    TextBroadcast,
    dump,
)

if TYPE_CHECKING:
    from isobase_services.realtime.changes.feed import ChangeHandle
    from isobase_services.realtime.session.connection import Connection

__all__ = ["Channel", "JoinRefused"]

Work: TypeAlias = Coroutine[Any, Any, None]

MAX_BACKLOG_MESSAGES = 1_000
CONFIRM_TOKEN_INTERVAL_S = 300.0
PRESENCE_CALLS = 5
PRESENCE_WINDOW_S = 30.0
REPLICATION_READY_TIMEOUT_S = 15.0

_log = logging.getLogger("isobase.realtime")


class JoinRefused(Exception):
    """A join that is answered with an error reply; the text is the reply's ``reason``."""


class Channel:
    """A channel of ``connection``, from its join on. Hashable by identity, as the registry needs it."""

    def __init__(
        self, connection: Connection, key: TopicKey, join: ClientMessage, request: JoinRequest, access: Access
    ) -> None:
        self.connection = connection
        self.key = key
        self.codec: Codec = connection.codec
        self.join_ref: Ref = join.join_ref
        self.access = access
        self.may_read_broadcasts = not key.is_private
        self.may_read_presence = not key.is_private
        self._ref: Ref = join.ref
        self._request = request
        self._topic: Topic | None = None
        self._backlog: deque[ClientMessage] | None = None
        self._may_write: dict[Extension, bool] = {}
        self._presence_calls = CallWindow(PRESENCE_CALLS, PRESENCE_WINDOW_S)
        self._is_presence_enabled = request.is_presence_enabled
        self._changes: ChangeHandle | None = None
        self._token_timer: asyncio.TimerHandle | None = None
        self._is_ended = False

    @property
    def wire_topic(self) -> str:
        """The topic as clients write it."""
        return self.key.wire_name

    @property
    def caller(self) -> Caller:
        """Whose rights decide what this channel gets, now."""
        return self.access.caller

    # -- joining ------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Join now, or for a private channel once its policies have answered."""
        if not self.key.is_private:
            self._enter()
            return
        self._occupy(self._join_private())

    async def _join_private(self) -> None:
        try:
            grant = await self.connection.hub.policies.may_read(
                self.access.caller, self.key.name, with_presence=self._is_presence_enabled
            )
        except PolicyFailed as error:
            reason = (
                "UnableToConnectToProject: Realtime was unable to connect to the project database"
                if error.is_database_away
                else self._no_permission
            )
            self._refuse(reason)
            return
        if self._is_ended:
            return
        if not (grant.broadcast or grant.presence):
            self._refuse(self._no_permission)
            return
        self._apply(grant)
        self._enter()

    @property
    def _no_permission(self) -> str:
        return f"Unauthorized: You do not have permissions to read from this Channel topic: {self.key.name}"

    def _apply(self, grant: ReadGrant) -> None:
        self.may_read_broadcasts = grant.broadcast
        self.may_read_presence = bool(grant.presence)
        self._may_write.clear()

    def _refuse(self, reason: str) -> None:
        self._is_ended = True
        self.connection.forget(self)
        self.connection.refuse_join(self.join_ref, self._ref, self.wire_topic, reason)

    def _enter(self) -> None:
        """Become a member, answer the join, then push what a new member gets, in this order (1.6)."""
        hub = self.connection.hub
        self._topic = hub.topics.join(self.key, self)
        self._watch_token()
        changes = hub.changes.subscribe(self, self._request.changes)
        self.reply(self._ref, "ok", f'{{"postgres_changes":{changes.echo}}}')
        if self._is_presence_enabled and self.may_read_presence:
            self.push("presence_state", self._topic.presence.state)
        self._changes = changes
        changes.start()
        if self._request.wants_replication_ready:
            self.connection.spawn(self._announce_replication())

    async def _announce_replication(self) -> None:
        is_ready = await self.connection.hub.changes.wait_until_live(REPLICATION_READY_TIMEOUT_S)
        if self._is_ended:
            return
        if is_ready:
            self.system("system", "ok", "Replication connection established")
        else:
            self.fail("Replication connection was not established in time")

    # -- messages -----------------------------------------------------------------------------------------------------

    def receive(self, message: ClientMessage) -> None:
        """Handle one message of this channel's client, in the order of arrival."""
        if self._backlog is not None:
            if len(self._backlog) >= MAX_BACKLOG_MESSAGES:
                self.fail("Too many messages per second")
                return
            self._backlog.append(message)
            return
        work = self._handle(message)
        if work is not None:
            self._occupy(work)

    def _occupy(self, work: Work) -> None:
        """Run ``work`` in a task; messages wait in the backlog until it is done."""
        self._backlog = deque()
        self.connection.spawn(self._work_off(work))

    async def _work_off(self, work: Work | None) -> None:
        while work is not None:
            await work
            work = None
            while self._backlog and work is None and not self._is_ended:
                work = self._handle(self._backlog.popleft())
        self._backlog = None

    def _handle(self, message: ClientMessage) -> Work | None:
        """Do what a message asks; returns what is left to do when that needs SQL."""
        match message.event:
            case "broadcast":
                return self._handle_broadcast(message)
            case "presence":
                return self._handle_presence(message)
            case "access_token":
                return self._handle_token(message.payload.get("access_token"))
            case event:
                _log.debug("unexpected message", extra={"event": event, "topic": self.key.name})
                self.connection.hub.events.add()
                return None

    def _handle_broadcast(self, message: ClientMessage) -> Work | None:
        outgoing: Outgoing
        try:
            outgoing = message.broadcast or TextBroadcast(dump(message.payload))
        except RecursionError:
            return None
        may_write = not self.key.is_private or self._may_write.get(Extension.BROADCAST)
        if may_write is None:
            return self._broadcast_after_check(message, outgoing)
        if may_write:
            self._broadcast(message, outgoing)
        # Denied: nothing is sent and nothing is answered, not even with ack (1.8).
        return None

    async def _broadcast_after_check(self, message: ClientMessage, outgoing: Outgoing) -> None:
        if await self._check_write(Extension.BROADCAST) and not self._is_ended:
            self._broadcast(message, outgoing)

    async def _check_write(self, extension: Extension) -> bool | None:
        """Ask the policies and remember the answer; None when they could not be asked (asked again next time)."""
        access = self.access
        try:
            answer = await self.connection.hub.policies.may_write(access.caller, self.key.name, extension)
        except PolicyFailed:
            return None
        if access is self.access:
            self._may_write[extension] = answer
        return answer

    def _broadcast(self, message: ClientMessage, outgoing: Outgoing) -> None:
        hub = self.connection.hub
        hub.events.add()
        if hub.events.is_exceeded:
            self.fail("Too many messages per second")
            return
        if hub.too_large(outgoing):
            if self._request.ack:
                # Upstream's response is a bare string, which its own Python client refuses to read.
                self.reply(message.ref, "error", '{"reason":"payload_size_exceeded"}')
            return
        hub.publish(self.key, outgoing, exclude=None if self._request.sees_own_broadcasts else self)
        if self._request.ack:
            self.reply(message.ref, "ok", EMPTY_OBJECT)

    # -- presence -----------------------------------------------------------------------------------------------------

    def _handle_presence(self, message: ClientMessage) -> Work | None:
        event = message.payload.get("event")
        if not isinstance(event, str):
            self.reply(message.ref, "ok", EMPTY_OBJECT)
            return None
        if not self._presence_calls.take():
            self.fail("Client presence rate limit exceeded")
            return None
        event = event.lower()
        if event == "untrack":
            self._untrack()
            self.reply(message.ref, "ok", EMPTY_OBJECT)
            return None
        if event != "track":
            self.reply(message.ref, "error", EMPTY_OBJECT)
            return None
        may_write = not self.key.is_private or self._may_write.get(Extension.PRESENCE)
        if may_write is None:
            return self._track_after_check(message)
        self._track(message, is_allowed=may_write)
        return None

    async def _track_after_check(self, message: ClientMessage) -> None:
        """The first track of a private channel: writing is checked, and reading where the join did not ask for it."""
        is_allowed = await self._check_write(Extension.PRESENCE)
        if is_allowed and not self._is_presence_enabled:
            try:
                grant = await self.connection.hub.policies.may_read(
                    self.access.caller, self.key.name, with_presence=True
                )
            except PolicyFailed:
                is_allowed = None
            else:
                self.may_read_presence = bool(grant.presence)
        if not self._is_ended:
            self._track(message, is_allowed=bool(is_allowed))

    def _track(self, message: ClientMessage, *, is_allowed: bool) -> None:
        assert self._topic is not None
        hub = self.connection.hub
        if not is_allowed:
            self.reply(message.ref, "error", EMPTY_OBJECT)
            return
        fields = message.payload.get("payload", {})
        if not isinstance(fields, dict):
            reason = dump({"reason": "Presence track payload must be a map"})
            self.reply(message.ref, "error", reason)
            return
        if len(dump(fields)) > hub.settings.max_payload_bytes:
            self.fail("Track message size exceeded")
            return
        self._is_presence_enabled = True
        self.reply(message.ref, "ok", EMPTY_OBJECT)
        diff = self._topic.presence.track(self, self._request.presence_key, fields)
        if diff is not None:
            hub.events.add(hub.topics.publish_presence(self._topic, diff))

    def _untrack(self) -> None:
        assert self._topic is not None
        diff = self._topic.presence.untrack(self)
        if diff is not None:
            self.connection.hub.topics.publish_presence(self._topic, diff)

    # -- the token ----------------------------------------------------------------------------------------------------

    def _handle_token(self, token: object) -> Work | None:
        """A new token: the rights of the old one end at once, whatever the new one allows."""
        if not isinstance(token, str) or token.startswith("sb_") or token == self.access.token:
            return None
        try:
            self.access = grant_access(self.connection.hub.verifier, token, self.connection.request)
        except AccessRefused as error:
            self.fail(error.message)
            return None
        self._watch_token()
        if self._changes is not None:
            self._changes.replace_caller()
        return self._read_policies_again() if self.key.is_private else None

    async def _read_policies_again(self) -> None:
        previous = (self.may_read_broadcasts, self.may_read_presence)
        self._may_write.clear()
        # Until the policies have answered for the new token, nothing of the channel is delivered under the old one's rights.
        self.may_read_broadcasts = self.may_read_presence = False
        try:
            grant = await self.connection.hub.policies.may_read(
                self.access.caller, self.key.name, with_presence=self._is_presence_enabled
            )
        except PolicyFailed as error:
            if error.is_database_away:
                self.fail("Realtime was unable to connect to the project database")
            else:
                self.fail(f"You do not have permissions to read from this Channel topic: {self.key.name}")
            return
        if self._is_ended:
            return
        has_lost = (previous[0] and not grant.broadcast) or (previous[1] and grant.presence is False)
        if has_lost or not (grant.broadcast or grant.presence):
            self.fail(f"You no longer have permission to read from this Channel topic: {self.key.name}")
            return
        self._apply(grant)

    def _watch_token(self) -> None:
        if self._token_timer is not None:
            self._token_timer.cancel()
        loop = asyncio.get_running_loop()
        left_s = self.access.expires_at_s - self.connection.wall_clock()
        # A millisecond late: a token is good until its very last second has passed.
        delay_s = min(CONFIRM_TOKEN_INTERVAL_S, max(left_s, 0.0) + 0.001)
        self._token_timer = loop.call_later(delay_s, self.confirm_token)

    def confirm_token(self) -> None:
        """Verify a member's token again: it may have expired, or its key may be gone."""
        if self._token_timer is None or self._is_ended:
            return
        try:
            grant_access(self.connection.hub.verifier, self.access.token, self.connection.request)
        except AccessRefused as error:
            self.fail(error.message)
            return
        self._watch_token()

    # -- answers and the end ------------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """Queue a frame that was serialised already."""
        self.connection.put(frame)

    def reply(self, ref: Ref, status: str, response: str) -> None:
        """Answer a message; ``response`` is JSON text. The join_ref is the join's, whatever the message carried (1.2)."""
        frame = self.codec.reply(
            join_ref=self.join_ref, ref=ref, topic=self.wire_topic, status=status, response=response
        )
        self.connection.put(frame)

    def push(self, event: str, payload: str) -> None:
        """Send a message to this channel alone; ``payload`` is JSON text."""
        frame = self.codec.push(join_ref=self.join_ref, topic=self.wire_topic, event=event, payload=payload)
        self.connection.put(frame)

    def system(self, extension: str, status: str, message: str) -> None:
        """Send a ``system`` message."""
        payload = {"extension": extension, "status": status, "message": message, "channel": self.key.name}
        self.push("system", dump(payload))

    def fail(self, message: str) -> None:
        """End the channel for a reason that the client is told: ``system`` error, then ``phx_close`` (1.7)."""
        if self._is_ended:
            return
        self.system("system", "error", message)
        self.close()

    def close(self) -> None:
        """Leave the topic and tell the client with ``phx_close``."""
        if self._is_ended:
            return
        self.end()
        closing = self.codec.closing(
            join_ref=self.join_ref, topic=self.wire_topic, event="phx_close", payload=EMPTY_OBJECT
        )
        self.connection.put(closing)
        self.connection.forget(self)

    def end(self) -> None:
        """Leave the topic without a word (its socket is gone, or ``close`` says it)."""
        self._is_ended = True
        self._backlog = None
        if self._token_timer is not None:
            self._token_timer.cancel()
        if self._changes is not None:
            self._changes.cancel()
        self.connection.hub.topics.leave(self.key, self)

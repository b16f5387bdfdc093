"""What all sockets of one process share: topics, rates, policies, row changes, limits, and the order to drain.

Made once by the service; connections and HTTP endpoints publish through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isobase_platform.config import RealtimeSettings
from isobase_platform.tokens import ApiKeys, TokenVerifier
from isobase_services.realtime.cluster.broadcasts import Broadcasts
from isobase_services.realtime.cluster.presence import SharedPresence
from isobase_services.realtime.core.counters import Counters
from isobase_services.realtime.core.fanout import FanOut
from isobase_services.realtime.core.rates import RollingRate
from isobase_services.realtime.core.topics import Member, TopicKey, Topics
from isobase_services.realtime.session.room_gate import may_be_lost
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast

if TYPE_CHECKING:
    from isobase_services.realtime.changes.feed import RowChanges
    from isobase_services.realtime.cluster import Cluster
    from isobase_services.realtime.session.channel import Channel
    from isobase_services.realtime.session.connection import Connection
    from isobase_services.realtime.session.history import MessageHistory
    from isobase_services.realtime.session.policies import ChannelPolicies
    from isobase_services.realtime.session.room_gate import RoomGate

__all__ = ["Hub", "payload_size_bytes"]

SWEEP_INTERVAL_S = 5.0
EMPTY_SOCKET_LIFE_S = 600.0
"""How long a socket may stay without any channel."""
MAX_HELD_MESSAGES = 100
"""Stored messages that one join with a replay keeps while it reads the table."""

_log = logging.getLogger("isobase.realtime")


class Hub:
    """The shared state of one process."""

    def __init__(
        self,
        *,
        settings: RealtimeSettings,
        verifier: TokenVerifier,
        api_keys: ApiKeys,
        policies: ChannelPolicies,
        history: MessageHistory,
        changes: RowChanges,
        cluster: Cluster,
    ) -> None:
        self.settings = settings
        self.verifier = verifier
        self.api_keys = api_keys
        self.policies = policies
        self.history = history
        self.changes = changes
        self.counters = Counters()
        self.fan_out = FanOut()
        self.topics = Topics(self.fan_out, self.counters, settings.cluster.max_presence_entries)
        self.rooms: RoomGate | None = None
        """Where events of rooms go, when the simple face is served."""
        self.connections: set[Connection] = set()
        self.events = RollingRate(settings.max_events_per_s)
        self.requests = RollingRate(settings.max_events_per_s)
        """Requests of the HTTP endpoints, which upstream limits by the same figure as messages."""
        self.presences = RollingRate(settings.max_presence_events_per_s)
        self.joins = RollingRate(settings.max_joins_per_s)
        self.user_count = 0
        """Sockets that have joined a channel; upstream calls them users, and limits them."""
        self._broadcasts = Broadcasts(cluster, self.publish_here)
        self._presence = SharedPresence(cluster, self.topics, self.presences)
        self.is_draining = False
        self._emptied = asyncio.Event()
        self._holds: dict[TopicKey, list[deque[Outgoing]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Register an accepted socket."""
        self.connections.add(connection)
        self.counters.sockets += 1
        self._emptied.clear()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def confirm_tokens(self) -> None:
        """Verify the tokens of all channels again, because the keys changed: one may have been revoked."""
        for connection in list(self.connections):
            connection.confirm_tokens()

    def channels_of(self, key: TopicKey) -> list[Channel]:
        """The channels of a topic on the sockets of this process, those whose join is under way too."""
        found = (connection.channels.get(key.wire_name) for connection in self.connections)
        return [channel for channel in found if channel is not None and channel.key == key]

    def count_user(self, connection: Connection) -> None:
        """``connection`` has joined a channel: it is a user from now on."""
        if not connection.is_user:
            connection.is_user = True
            self.user_count += 1

    def remove(self, connection: Connection) -> None:
        """Forget a socket that has ended."""
        self.connections.discard(connection)
        if connection.is_user:
            connection.is_user = False
            self.user_count -= 1
        if not self.connections:
            self._emptied.set()

    def publish(self, key: TopicKey, message: Outgoing, *, exclude: Member | None = None) -> None:
        """Broadcast to the members of a topic, here first and then in every other process."""
        self.publish_here(key, message, exclude=exclude)
        self._broadcasts.send(key, message)

    def publish_here(self, key: TopicKey, message: Outgoing, *, exclude: Member | None = None) -> None:
        """Broadcast to the members of a topic in this process alone: what other processes sent, or have by themselves."""
        if message.identifier is not None:
            for held in self._holds.get(key, ()):
                held.append(message)
        self.events.add(self.topics.publish(key, message, exclude=exclude, is_droppable=may_be_lost(key, message)))

    @contextlib.contextmanager
    def hold(self, key: TopicKey) -> Iterator[deque[Outgoing]]:
        """Collect the stored messages of a topic that pass while a replay is being read, so that none falls between.

        Beyond ``MAX_HELD_MESSAGES`` the oldest go: a replay is of the newest messages anyway.
        """
        held: deque[Outgoing] = deque(maxlen=MAX_HELD_MESSAGES)
        holds = self._holds.setdefault(key, [])
        holds.append(held)
        try:
            yield held
        finally:
            # By identity: two empty collections are equal.
            holds[:] = [other for other in holds if other is not held]
            if not holds:
                self._holds.pop(key, None)

    def too_large(self, message: Outgoing) -> bool:
        """True for a payload beyond ``max_payload_bytes``."""
        return payload_size_bytes(message) > self.settings.max_payload_bytes

    def _sweep(self) -> None:
        """Close the sockets that fell silent or hold no channel; stops by itself when none is left."""
        self._sweeper = None
        now_s = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            is_silent = now_s - connection.received_at_s > self.settings.idle_timeout_s
            is_empty = not connection.channels and now_s - connection.channel_left_at_s > EMPTY_SOCKET_LIFE_S
            if is_silent or is_empty:
                connection.close(1000)
        if self.connections:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    async def drain(self, timeout_s: float) -> None:
        """Tell every channel, close every socket with 1012 and wait up to ``timeout_s`` seconds for them to end."""
        self.is_draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self.connections):
            connection.announce_disconnect()
            connection.close(1012)
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), timeout_s)
        self._presence.close()


def payload_size_bytes(message: Outgoing) -> int:
    """The size that the payload limit counts: the JSON text or the raw bytes."""
    match message:
        case TextBroadcast(payload=text):
            return len(text) if text.isascii() else len(text.encode())
        case UserBroadcast(payload=content):
            return len(content)

"""The registry of topics and their members: a message is serialised once per codec and put to every member, waiting for none.

A public and a private channel of one name are two topics. Source: contracts/realtime.md 1.8, 5 (fan-out).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from isobase_services.realtime.core.counters import Counters
from isobase_services.realtime.core.fanout import FanOut, Send
from isobase_services.realtime.core.presence import Presence, PresenceDiff, PresenceEntry, PresenceRefs
from isobase_services.realtime.core.presence_elsewhere import PresenceElsewhere
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import Codec, Outgoing

__all__ = ["Member", "Topic", "TopicKey", "Topics"]

TOPIC_PREFIX = "realtime:"


@dataclass(slots=True, frozen=True)
class TopicKey:
    """``name`` without the prefix ``realtime:``."""

    name: str
    is_private: bool

    @property
    def wire_name(self) -> str:
        """The topic as clients write it."""
        return TOPIC_PREFIX + self.name


class Member(Protocol):
    """What the registry needs to know of a joined channel."""

    def __hash__(self) -> int:
        """By identity."""
        ...

    @property
    def codec(self) -> Codec:
        """How its socket writes."""
        ...

    @property
    def may_read_broadcasts(self) -> bool:
        """False where a policy withholds broadcasts from it."""
        ...

    @property
    def may_read_presence(self) -> bool:
        """False where a policy withholds presence from it."""
        ...

    @property
    def replayed_ids(self) -> frozenset[str]:
        """The stored messages that it was sent when it joined: their live copies are not for it."""
        ...

    def put(self, frame: Frame) -> None:
        """Send a frame to its socket, without waiting."""
        ...

    def offer(self, frame: Frame) -> None:
        """As ``put``, for what a socket that is behind may lose for good (typing)."""
        ...

    def put_presence(self, frame: Frame) -> None:
        """As ``offer``, for a difference of presence: a member that lost one gets the whole state later."""
        ...


class Topic:
    """The members of one topic and their presence."""

    __slots__ = ("_groups", "_members", "key", "presence")

    def __init__(self, key: TopicKey, presence: Presence) -> None:
        self.key = key
        self.presence = presence
        self._members: dict[Member, None] = {}
        self._groups: list[tuple[Codec, tuple[Member, ...]]] | None = None

    @property
    def groups(self) -> list[tuple[Codec, tuple[Member, ...]]]:
        """The members of now by how their sockets write; sorted once, until somebody joins or leaves."""
        groups = self._groups
        if groups is None:
            by_codec: dict[Codec, list[Member]] = {}
            for member in self._members:
                by_codec.setdefault(member.codec, []).append(member)
            groups = self._groups = [(codec, tuple(members)) for codec, members in by_codec.items()]
        return groups

    def add(self, member: Member) -> None:
        """Let ``member`` get what comes from now on."""
        self._members[member] = None
        self._groups = None

    def discard(self, member: Member) -> None:
        """Let ``member`` get nothing more but what its own flags still let through."""
        self._members.pop(member, None)
        self._groups = None

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    def __len__(self) -> int:
        return len(self._members)


class Topics:
    """All topics with at least one member in this process.

    Fan-out may go on after ``publish`` has returned (``fanout``). What a member may read is asked when its turn comes, so
    nothing reaches a member whose right ended meanwhile.
    """

    def __init__(self, fan_out: FanOut, counters: Counters, max_entries_elsewhere: int = 0) -> None:
        self._topics: dict[TopicKey, Topic] = {}
        self._fan_out = fan_out
        self._counters = counters
        self._refs = PresenceRefs()
        self.elsewhere = PresenceElsewhere(max_entries_elsewhere)
        """Whom other processes track."""
        self.on_presence: Callable[[TopicKey, PresenceDiff], None] = _tell_nobody
        """Learns of every change among the members that this process tracks."""

    def join(self, key: TopicKey, member: Member) -> Topic:
        """Add ``member``; returns its topic."""
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(key, Presence(key, self._refs, self.elsewhere))
        topic.add(member)
        return topic

    def leave(self, key: TopicKey, member: Member) -> None:
        """Remove ``member`` and its presence, and tell the others that it left."""
        topic = self._topics.get(key)
        if topic is None or member not in topic:
            return
        topic.discard(member)
        diff = topic.presence.untrack(member)
        if not topic:
            del self._topics[key]
        if diff is not None:
            self.publish_presence(topic, diff)

    def publish(
        self, key: TopicKey, message: Outgoing, *, exclude: Member | None = None, is_droppable: bool = False
    ) -> int:
        """Send a broadcast to every member but ``exclude``; returns to how many at the most.

        ``is_droppable``: a socket that is behind may lose it.
        """
        topic = self._topics.get(key)
        if topic is None:
            return 0
        count = 0
        wire_name = key.wire_name
        for codec, members in topic.groups:
            frame = codec.broadcast(topic=wire_name, message=message)
            if frame is not None:
                count += len(members)
                send = self._broadcast_to(members, frame, message.identifier, exclude, is_droppable=is_droppable)
                self._fan_out.submit(send, len(members), len(frame))
        return count if exclude is None or exclude not in topic else max(0, count - 1)

    def _broadcast_to(
        self,
        members: tuple[Member, ...],
        frame: Frame,
        identifier: str | None,
        exclude: Member | None,
        *,
        is_droppable: bool,
    ) -> Send:
        counters = self._counters
        size_bytes = len(frame)

        def send(start: int, until: int) -> None:
            sent = 0
            for member in members[start:until]:
                if not member.may_read_broadcasts or member is exclude:
                    continue
                if identifier is not None and identifier in member.replayed_ids:
                    continue
                if is_droppable:
                    member.offer(frame)
                else:
                    member.put(frame)
                sent += 1
            counters.deliveries += sent
            counters.delivered_bytes += sent * size_bytes

        return send

    def publish_presence(self, topic: Topic, diff: PresenceDiff) -> int:
        """Tell of a change among this process's own members, here and elsewhere; returns to how many here at the most."""
        self.on_presence(topic.key, diff)
        return self._put_presence(topic, diff)

    def deliver_presence(self, key: TopicKey, diff: PresenceDiff) -> int:
        """Tell the members here of a change among those of other processes; returns to how many at the most."""
        topic = self._topics.get(key)
        return 0 if topic is None else self._put_presence(topic, diff)

    def tracked(self) -> list[tuple[TopicKey, tuple[PresenceEntry, ...]]]:
        """Whom this process tracks, by topic; topics without any are left out."""
        return [(topic.key, entries) for topic in self._topics.values() if (entries := topic.presence.entries)]

    def _put_presence(self, topic: Topic, diff: PresenceDiff) -> int:
        """Send a ``presence_diff`` to every member that may see presence; returns to how many at the most."""
        payload = diff.payload
        count = 0
        for codec, members in topic.groups:
            frame = codec.fan_out(topic=topic.key.wire_name, event="presence_diff", payload=payload)
            count += len(members)
            self._fan_out.submit(self._presence_to(members, frame), len(members), len(frame))
        return count

    def _presence_to(self, members: tuple[Member, ...], frame: Frame) -> Send:
        counters = self._counters
        size_bytes = len(frame)

        def send(start: int, until: int) -> None:
            sent = 0
            for member in members[start:until]:
                if member.may_read_presence:
                    member.put_presence(frame)
                    sent += 1
            counters.deliveries += sent
            counters.delivered_bytes += sent * size_bytes

        return send

    def __len__(self) -> int:
        return len(self._topics)


def _tell_nobody(_key: TopicKey, _diff: PresenceDiff) -> None:
    """Where no other process is."""

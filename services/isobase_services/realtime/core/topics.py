"""The registry of topics and their members, and fan-out: serialise once per codec, put to every member, wait for none.

A public and a private channel of one name are two topics. Source: contracts/realtime.md 1.8, 5 (fan-out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from isobase_services.realtime.core.presence import Presence, PresenceDiff
from isobase_services.realtime.wire.messages import Codec, Frame, Outgoing

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
        """Queue a frame for its socket, without waiting."""
        ...


class Topic:
    """The members of one topic and their presence."""

    __slots__ = ("key", "members", "presence")

    def __init__(self, key: TopicKey) -> None:
        self.key = key
        self.members: dict[Member, None] = {}
        self.presence = Presence()


class Topics:
    """All topics with at least one member in this process."""

    def __init__(self) -> None:
        self._topics: dict[TopicKey, Topic] = {}

    def join(self, key: TopicKey, member: Member) -> Topic:
        """Add ``member``; returns its topic."""
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(key)
        topic.members[member] = None
        return topic

    def leave(self, key: TopicKey, member: Member) -> None:
        """Remove ``member`` and its presence, and tell the others that it left."""
        topic = self._topics.get(key)
        if topic is None or member not in topic.members:
            return
        del topic.members[member]
        diff = topic.presence.untrack(member)
        if not topic.members:
            del self._topics[key]
        elif diff is not None:
            self.publish_presence(topic, diff)

    def publish(self, key: TopicKey, message: Outgoing, *, exclude: Member | None = None) -> int:
        """Put a broadcast to every member but ``exclude``; returns how many got it."""
        topic = self._topics.get(key)
        if topic is None:
            return 0
        frames: dict[Codec, Frame | None] = {}
        delivered = 0
        wire_name = key.wire_name
        identifier = message.identifier
        for member in topic.members:
            if member is exclude or not member.may_read_broadcasts:
                continue
            if identifier is not None and identifier in member.replayed_ids:
                continue
            codec = member.codec
            if codec not in frames:
                frames[codec] = codec.broadcast(topic=wire_name, message=message)
            frame = frames[codec]
            if frame is not None:
                member.put(frame)
                delivered += 1
        return delivered

    def publish_presence(self, topic: Topic, diff: PresenceDiff) -> int:
        """Put a ``presence_diff`` to every member that may see presence; returns how many got it."""
        frames: dict[Codec, Frame] = {}
        payload = diff.payload
        delivered = 0
        for member in topic.members:
            if not member.may_read_presence:
                continue
            codec = member.codec
            frame = frames.get(codec)
            if frame is None:
                frame = codec.fan_out(topic=topic.key.wire_name, event="presence_diff", payload=payload)
                frames[codec] = frame
            member.put(frame)
            delivered += 1
        return delivered

    def __len__(self) -> int:
        return len(self._topics)

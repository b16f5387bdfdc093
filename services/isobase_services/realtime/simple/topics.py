"""How the simple face's rooms, channels and subscriptions are called on the core they share with the Phoenix face. Pure."""

from __future__ import annotations

from isobase_services.realtime.core.topics import TOPIC_PREFIX, TopicKey

__all__ = [
    "ROOM_EVENTS",
    "ROOM_PREFIX",
    "SUBSCRIPTION_PREFIX",
    "address_of",
    "channel_topic",
    "room_key",
    "room_of",
    "subscription_topic",
]

ROOM_PREFIX = "room:"
SUBSCRIPTION_PREFIX = "isobase:changes:"
ROOM_EVENTS = frozenset({"message", "typing", "read", "member", "room"})
"""Events of a room that have an action of their own. What the last two say comes from the database alone."""


def room_key(room_id: str) -> TopicKey:
    """The private channel of a room; supabase-js joins the same as ``channel("room:ID", {config: {private: true}})``."""
    return TopicKey(ROOM_PREFIX + room_id, is_private=True)


def room_of(key: TopicKey) -> str | None:
    """The id of the room that a channel may be of, or None."""
    return key.name.removeprefix(ROOM_PREFIX) if key.is_private and key.name.startswith(ROOM_PREFIX) else None


def subscription_topic(subscription: str) -> str:
    """The topic of row changes: equal subscriptions share it, and with it the bytes of their frames."""
    return f"{TOPIC_PREFIX}{SUBSCRIPTION_PREFIX}{subscription}"


def channel_topic(name: str) -> str:
    """The topic of a channel by its name."""
    return TOPIC_PREFIX + name


def address_of(topic: str) -> tuple[str, str]:
    """The member of a frame that says what it is about, and its value: ``("roomId", "general")``."""
    name = topic.removeprefix(TOPIC_PREFIX)
    if name.startswith(ROOM_PREFIX):
        return "roomId", name.removeprefix(ROOM_PREFIX)
    if name.startswith(SUBSCRIPTION_PREFIX):
        return "subscription", name.removeprefix(SUBSCRIPTION_PREFIX)
    return "channel", name

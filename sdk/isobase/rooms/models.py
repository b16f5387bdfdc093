"""Rooms, their members and messages, and what happens in them. Source: docs/realtime-rooms.md.

The face writes names like ``roomId``; here they are ``room_id``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from isobase._face.wire import read

__all__ = [
    "History",
    "Left",
    "Live",
    "Member",
    "MemberChange",
    "MemberPage",
    "Message",
    "Person",
    "Presence",
    "ReadMark",
    "Role",
    "Room",
    "RoomChange",
    "RoomEvent",
    "RoomPage",
    "Typing",
    "event_of",
    "from_wire",
]

T = TypeVar("T")
Role: TypeAlias = Literal["owner", "member"]


@dataclass(slots=True, frozen=True)
class Room:
    """A room as the caller sees it. ``role``: None for who is no member. ``unread``: messages above ``read_seq``."""

    room_id: str
    public: bool
    created_at: datetime
    name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    role: Role | None = None
    created_by: str | None = None
    last_seq: int = 0
    last_message_at: datetime | None = None
    read_seq: int | None = None
    unread: int | None = None


@dataclass(slots=True, frozen=True)
class RoomPage:
    """One page of rooms. ``next``: the ``before`` of the next page; None: there is none."""

    rooms: list[Room]
    next: str | None = None


@dataclass(slots=True, frozen=True)
class Message:
    """A message. ``seq`` counts the room's messages from 1 without gaps; ``sender``: a user's id, None for the
    service."""

    id: str
    room_id: str
    seq: int
    message: Any
    created_at: datetime
    sender: str | None = None
    client_id: str | None = None


@dataclass(slots=True, frozen=True)
class History:
    """Messages, the oldest first. ``more``: there are others beyond, in the direction that was asked for."""

    messages: list[Message]
    more: bool = False


@dataclass(slots=True, frozen=True)
class Member:
    """A member of a room, and how far they have read."""

    user: str
    role: Role
    since: datetime
    read_seq: int | None = None


@dataclass(slots=True, frozen=True)
class MemberPage:
    """The members, the oldest first, at most 1,000."""

    members: list[Member]
    more: bool = False


@dataclass(slots=True, frozen=True)
class Person:
    """One socket of a user in a room. ``replaces``: the entry of the same socket before its status changed."""

    user: str
    ref: str
    status: dict[str, Any] = field(default_factory=dict)
    replaces: str | None = None


@dataclass(slots=True, frozen=True)
class Typing:
    """Somebody types, or has ended."""

    room_id: str
    typing: bool
    user: str | None = None


@dataclass(slots=True, frozen=True)
class ReadMark:
    """Somebody has read up to a message."""

    room_id: str
    user: str
    seq: int


@dataclass(slots=True, frozen=True)
class Presence:
    """Who is in the room (``present``, when one comes and after a reconnection), or who came and went."""

    room_id: str
    present: list[Person] | None = None
    joined: list[Person] = field(default_factory=list)
    left: list[Person] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class MemberChange:
    """A member was added, removed, or has another role."""

    room_id: str
    user: str
    change: Literal["added", "removed", "role"]
    role: Role | None = None


@dataclass(slots=True, frozen=True)
class RoomChange:
    """The room was changed or deleted."""

    room_id: str
    change: Literal["created", "updated", "deleted"]


@dataclass(slots=True, frozen=True)
class Left:
    """The room is over for this socket: the user was removed, or it was deleted."""

    room_id: str


@dataclass(slots=True, frozen=True)
class Live:
    """Whether messages come at once. False: the server cannot read its database's log now, so that what others say is
    stored but comes late, when the client asks for it; True: it can again, and what was said meanwhile has come.
    """

    room_id: str
    live: bool


RoomEvent: TypeAlias = Message | Typing | ReadMark | Presence | MemberChange | RoomChange | Live | Left
_EVENTS: dict[str, type[Any]] = {
    "message": Message,
    "typing": Typing,
    "read": ReadMark,
    "presence": Presence,
    "member": MemberChange,
    "room": RoomChange,
    "left": Left,
}
_HUMP = re.compile(r"(?<=[a-z])([A-Z])")
_KEPT = frozenset({"metadata", "message", "status"})
"""Members whose content is the app's own."""


def from_wire(kind: type[T], value: Mapping[str, Any]) -> T:
    """Give an answer of the face as a ``kind``."""
    return read(kind, _renamed(value))


def event_of(frame: Mapping[str, Any]) -> RoomEvent | None:
    """Give a frame that is no answer as an event of its room; None for one that a newer server may send."""
    kind = _EVENTS.get(str(frame.get("action")))
    if kind is None or "roomId" not in frame:
        return None
    event: RoomEvent = from_wire(kind, frame)
    return event


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            _HUMP.sub(lambda found: f"_{found[1].lower()}", name): inner if name in _KEPT else _renamed(inner)
            for name, inner in value.items()
        }
    return [_renamed(item) for item in value] if isinstance(value, list) else value

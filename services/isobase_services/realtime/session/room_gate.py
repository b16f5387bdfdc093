"""What a channel knows of rooms: some events on ``room:ID`` are more than broadcasts, and somebody else handles them.

The simple face implements it. Where it is not served, ``Hub.rooms`` is None and such channels are channels like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from isobase_platform.caller import Caller
from isobase_services.realtime.core.topics import Member, TopicKey
from isobase_services.realtime.wire.messages import Outgoing, UserBroadcast

__all__ = ["RoomAnswer", "RoomGate", "may_be_lost"]

TYPING = "typing"


@dataclass(slots=True, frozen=True)
class RoomAnswer:
    """What became of a room's event. ``reason`` says why it was refused; None where it was accepted."""

    reason: str | None = None


def may_be_lost(key: TopicKey, message: Outgoing) -> bool:
    """True for what a socket that is behind need not get: that somebody in a room is typing."""
    return (
        isinstance(message, UserBroadcast)
        and message.event == TYPING
        and key.is_private
        and key.name.startswith("room:")
    )


class RoomGate(Protocol):
    """Takes over the events of rooms that clients of other faces send."""

    def takes(self, key: TopicKey, event: object) -> bool:
        """Whether ``event`` on that channel may be a room's; quick, and True also where there is no such room."""
        ...

    async def receive(
        self, key: TopicKey, message: Outgoing, caller: Caller, sender: Member | None = None
    ) -> RoomAnswer | None:
        """Do what the event means, as ``caller``; None where there is no such room: then it is a broadcast like others."""
        ...

    def watch(self, key: TopicKey, message: Outgoing, row: Mapping[str, str | None]) -> None:
        """Look at a row of ``realtime.messages`` (column name -> the log's text) before ``message`` is delivered."""
        ...

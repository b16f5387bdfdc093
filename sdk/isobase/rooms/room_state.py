"""Which messages a room has yet to give: each once, in their order, none left out. No I/O.

Messages are numbered without gaps. One that comes twice is known by its number; one that comes too early waits until
those before it were fetched.
"""

from __future__ import annotations

from collections.abc import Iterable

from isobase.rooms.models import Message

__all__ = ["RoomState"]


class RoomState:
    """The messages of one joined room. ``last_seq`` is the number of the last one that was given."""

    def __init__(self, last_seq: int = 0) -> None:
        self.last_seq: int = last_seq
        self.is_fetching: bool = True
        """Whether messages were asked for; what comes meanwhile waits behind them. So it is before the room is
        joined."""
        self._early: dict[int, Message] = {}

    def begin(self, last_seq: int) -> list[Message]:
        """Begin behind a message; gives those that came meanwhile and are next."""
        self.last_seq = last_seq
        self.is_fetching = False
        return self._next()

    def take(self, message: Message) -> list[Message]:
        """Take a message that came; gives those that are next."""
        self._early[message.seq] = message
        return [] if self.is_fetching else self._next()

    def take_fetched(self, messages: Iterable[Message], more: bool) -> list[Message]:
        """Take the messages behind ``last_seq`` that were asked for; gives those that are next."""
        self.is_fetching = more
        self._early.update({message.seq: message for message in messages})
        given = self._next()
        if not more and self._early:
            # The database has nothing between: what is missing was deleted.
            self.last_seq = min(self._early) - 1
            given += self._next()
        return given

    @property
    def misses_some(self) -> bool:
        """Whether messages wait for others that must be asked for."""
        return bool(self._early) and not self.is_fetching

    def _next(self) -> list[Message]:
        given = []
        while (message := self._early.pop(self.last_seq + 1, None)) is not None:
            given.append(message)
            self.last_seq = message.seq
        for seq in [seq for seq in self._early if seq <= self.last_seq]:
            del self._early[seq]
        return given

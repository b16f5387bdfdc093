"""A joined room."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from isobase.rooms.mailbox import AsyncMailbox
from isobase.rooms.models import History, Left, Live, Message, Person, Room, RoomEvent, from_wire
from isobase.rooms.room_state import RoomState

if TYPE_CHECKING:
    from isobase.rooms._async.socket import AsyncRoomSocket

__all__ = ["AsyncLiveRoom"]

MAX_WAITING_EVENTS = 10_000
"""Events of a room that nobody reads; beyond, the oldest are forgotten and a warning is logged."""


class AsyncLiveRoom:
    """A room that a socket has joined; ``AsyncRoomSocket.join`` gives it.

    room: as it was when it was joined. recent: the messages that ``join`` asked for, the oldest first.
    is_live: whether messages come at once; a change of it is an event, ``Live``.
    """

    def __init__(
        self, socket: AsyncRoomSocket, room_id: str, status: Mapping[str, Any] | None, after: int | None
    ) -> None:
        self._socket = socket
        self.room_id = room_id
        self.status = status
        self.after = after
        self.state: RoomState = RoomState(after or 0)
        self.room: Room | None = None
        self.recent: list[Message] = []
        self.is_live: bool = True
        self.is_over: bool = False
        self._events: AsyncMailbox[RoomEvent | BaseException | None] = AsyncMailbox(MAX_WAITING_EVENTS)

    async def events(self) -> AsyncIterator[RoomEvent]:
        """Give what happens in the room, from its joining on, until it is left.

        Messages come each once, in their order, none left out, also when the connection was lost meanwhile. Raises
        ``IsobaseAPIError`` when the server does not take the user's token any more.
        """
        while (event := await self._next(None)) is not None:
            yield event

    async def messages(self) -> AsyncIterator[Message]:
        """Give the messages alone, as ``events`` does."""
        while (event := await self._next(None)) is not None:
            if isinstance(event, Message):
                yield event

    async def next_event(self, timeout: float) -> RoomEvent | None:
        """Wait at most ``timeout`` seconds for an event; None: the room was left. Raises ``TimeoutError``."""
        return await self._next(timeout)

    async def send(self, message: Any, *, client_id: str | None = None) -> Message:
        """Say something (any JSON) and give it with its number; over a lost connection it is said once."""
        content = {"message": message, "clientId": client_id or str(uuid.uuid4())}
        return from_wire(Message, await self._ask("sendMessage", **content))

    async def typing(self, typing: bool = True) -> None:
        """Tell that one is typing, or has ended; it ends by itself after some seconds."""
        await self._ask("typing", typing=typing)

    async def read(self, seq: int | None = None) -> int:
        """Note that one has read up to a message (None: all); gives how far that is."""
        answer = await self._ask("read", **({} if seq is None else {"seq": seq}))
        read_to: int = answer["seq"]
        return read_to

    async def presence(self, status: Mapping[str, Any] | None = None) -> list[Person]:
        """Give who is in the room; ``status`` changes what others see of oneself."""
        if status is not None:
            self.status = status
        content = {} if status is None else {"status": dict(status)}
        answer = await self._ask("presence", **content)
        return [from_wire(Person, person) for person in answer["present"]]

    async def history(self, *, before: int | None = None, after: int | None = None, limit: int = 50) -> History:
        """Give messages before or after one of a number, the oldest first; without a mark the newest."""
        marks = {"before": before, "after": after}
        content = {name: value for name, value in marks.items() if value is not None}
        return from_wire(History, await self._ask("history", limit=limit, **content))

    async def leave(self) -> None:
        """Receive it no longer; its events end."""
        await self._socket.leave(self)

    def give(self, event: RoomEvent | BaseException | None) -> bool:
        """Let readers have an event, an error that ends them, or the end; gives whether an old event was forgotten."""
        if event is None or isinstance(event, BaseException | Left):
            self.is_over = True
        return self._events.put(event)

    def note_live(self, live: bool) -> bool:
        """Note whether messages come at once, and tell it when that has changed; gives whether an old event was
        forgotten.
        """
        if live == self.is_live:
            return False
        self.is_live = live
        return self.give(Live(self.room_id, live))

    async def _next(self, timeout: float | None) -> RoomEvent | None:
        event = await self._events.get(timeout)
        if event is None or isinstance(event, BaseException):
            self._events.put(event)  # for the other readers, and for who asks again
            if event is not None:
                raise event
            return None
        if isinstance(event, Left):
            self._events.put(None)
        return event

    async def _ask(self, action: str, **content: Any) -> Mapping[str, Any]:
        return await self._socket.ask(action, roomId=self.room_id, **content)

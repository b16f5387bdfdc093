"""The socket of rooms: it comes back by itself, joins its rooms again and fetches what was said meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import time

# [sync] import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from isobase._acompat import AEvent, asleep, aspawn
from isobase._face.errors import IsobaseAPIError, error_of_body
from isobase._http import DeadlineExceeded, current_options
from isobase.rooms._async.live import AsyncLiveRoom
from isobase.rooms.lost import LOST
from isobase.rooms.mailbox import AsyncMailbox
from isobase.rooms.models import Message, Room, event_of, from_wire

# [async]
from websockets.asyncio.client import ClientConnection, connect  # isort: skip

Token = Callable[[], Awaitable[str]]
# [/async]
# [sync] from typing import cast  # isort: skip
# [sync] from websockets.sync.client import ClientConnection, connect  # isort: skip
# [sync] Token = Callable[[], str]

__all__ = ["AsyncRoomSocket", "Token"]

logger = logging.getLogger("isobase.rooms")

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 30.0
SILENCE_S = 60.0
"""The server says something every 25 s; after this time without a word the connection is given up."""
FIRST_DELAY_S = 0.2
MAX_DELAY_S = 10.0
REFUSED_PAUSE_S = 1.0
PAGE = 200


@dataclass(slots=True)
class _Question:
    """A frame that waits for its answer; sent again when the connection was lost before."""

    text: str
    box: AsyncMailbox[Mapping[str, Any] | BaseException]
    joining: AsyncLiveRoom | None = None
    """The room that its answer begins."""


class AsyncRoomSocket:
    """A connection to rooms; ``client.rooms.connect()`` gives it, ``async with`` opens and closes it.

    Everything it asks may be asked twice without harm, so after a lost connection what was not answered is asked again.
    An action waits 30 seconds for its answer, or the ``timeout`` of ``call_options``, and raises ``DeadlineExceeded``
    then.
    """

    def __init__(self, url: str, token: Token) -> None:
        self._url = url
        self._token = token
        self._sent_token = ""
        self._connection: ClientConnection | None = None
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._rooms: dict[str, AsyncLiveRoom] = {}
        self._fetching: dict[int, AsyncLiveRoom] = {}
        """Rooms by the number of the frame that asked for their messages."""
        self._closing = AEvent()
        # [async]
        self._reader: asyncio.Task[None] | None = None
        # [/async]
        # [sync] self._reader: threading.Thread | None = None
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Connect and sign in. Raises ``IsobaseAPIError`` for a token that is not taken, and ``OSError`` or
        ``TimeoutError`` when nobody answers.
        """
        self._connection = await self._connect()
        self._reader = aspawn(self._run, name="isobase-rooms")
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the socket; the events of its rooms end."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the socket; the events of its rooms end."""
        self._closing.set()
        # [async]
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        # [/async]
        if self._connection is not None:
            with contextlib.suppress(*LOST):
                await self._connection.close()
        # [sync] if self._reader is not None:
        # [sync]     self._reader.join()
        self._end(None)

    async def join(
        self,
        room_id: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        status: Mapping[str, Any] | None = None,
    ) -> AsyncLiveRoom:
        """Receive what happens in a room.

        after: the number of the last message that was seen; those behind it come first, as events.
        limit: how many messages before now ``recent`` shall hold, at most 200. status: what others see of oneself.
        Raises ``IsobaseAPIError`` ``room_not_found`` when it is not open to the user.
        """
        if room_id in self._rooms:
            return self._rooms[room_id]
        room = AsyncLiveRoom(self, room_id, status, after)
        self._rooms[room_id] = room
        content: dict[str, Any] = {"roomId": room_id}
        if after is not None:
            content |= {"after": after, "limit": PAGE}
        elif limit is not None:
            content["limit"] = limit
        if status is not None:
            content["status"] = dict(status)
        try:
            await self._ask("joinRoom", content, joining=room)
        except BaseException:
            self._rooms.pop(room_id, None)
            raise
        return room

    async def leave(self, room: AsyncLiveRoom) -> None:
        """Receive a room no longer; its events end."""
        self._rooms.pop(room.room_id, None)
        room.give(None)
        try:
            await self.ask("leaveRoom", roomId=room.room_id)
        except IsobaseAPIError as error:
            if error.code != "not_joined":
                raise

    async def ask(self, action: str, **content: Any) -> Mapping[str, Any]:
        """Send an action that may be done twice, and give its answer.

        Raises ``IsobaseAPIError`` for a refusal and ``DeadlineExceeded`` when no answer comes in time, whatever the
        connection does.
        """
        return await self._ask(action, content)

    async def _ask(
        self, action: str, content: Mapping[str, Any], joining: AsyncLiveRoom | None = None
    ) -> Mapping[str, Any]:
        if self._failure is not None:
            raise self._failure
        if self._closing.is_set() or self._reader is None:
            raise RuntimeError("the socket is not open: use it in `with client.rooms.connect() as socket:`")
        box: AsyncMailbox[Mapping[str, Any] | BaseException] = AsyncMailbox()
        number = next(self._numbers)
        question = _Question(json.dumps({"action": action, "requestId": number, **content}), box, joining)
        self._questions[number] = question
        timeout = current_options().timeout
        wait_s = ANSWER_TIMEOUT_S if timeout is None else timeout
        ends_at = time.monotonic() + wait_s
        try:
            # [async]
            async with asyncio.timeout(wait_s):
                await self._transmit(question.text)
            # [/async]
            # [sync] self._transmit(question.text)
            answer = await box.get(max(0.0, ends_at - time.monotonic()))
        except TimeoutError as error:
            raise DeadlineExceeded(wait_s) from error
        finally:
            self._questions.pop(number, None)
        if isinstance(answer, BaseException):
            raise answer
        if not answer.get("ok"):
            raise error_of_body(answer)
        return answer

    # The connection.

    async def _transmit(self, text: str) -> None:
        """Send a frame, if there is a connection; if not, it is sent when there is one again."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(*LOST):
                await connection.send(text)

    async def _connect(self) -> ClientConnection:
        opening = connect(self._url, open_timeout=OPEN_TIMEOUT_S, close_timeout=CLOSE_TIMEOUT_S, max_size=None)
        # [async]
        connection = await opening
        # [/async]
        # [sync] # websockets 17 warns of a connection that was not entered
        # [sync] connection = cast("ClientConnection", opening.__enter__())
        try:
            token = await self._token()
            await connection.send(json.dumps({"action": "connect", "token": token, "requestId": 0}))
            while True:
                frame = await self._heard(connection, OPEN_TIMEOUT_S)
                if frame.get("ok") is False:
                    raise error_of_body(frame)
                if frame.get("action") == "connect":
                    self._sent_token = token
                    return connection
        except BaseException:
            await connection.close()
            raise

    @staticmethod
    async def _heard(connection: ClientConnection, timeout: float) -> Mapping[str, Any]:
        # [async]
        async with asyncio.timeout(timeout):
            frame = json.loads(await connection.recv())
        # [/async]
        # [sync] frame = json.loads(connection.recv(timeout))
        return frame if isinstance(frame, Mapping) else {}

    async def _run(self) -> None:
        """Read until the socket is closed, over as many connections as that takes."""
        try:
            while not self._closing.is_set():
                try:
                    while self._connection is not None:
                        await self._take(await self._heard(self._connection, SILENCE_S))
                except LOST as error:
                    logger.info("the connection of rooms was lost: %s", type(error).__name__)
                if not self._closing.is_set():
                    await self._reconnect()
        except IsobaseAPIError as error:
            logger.warning("rooms ended: %s", error.code)
            self._failure = error
            self._end(error)
        # [async]
        except asyncio.CancelledError:
            raise
        # [/async]
        except Exception as error:
            logger.exception("the reader of rooms failed")
            self._failure = error
            self._end(error)

    async def _reconnect(self) -> None:
        former, self._connection = self._connection, None
        if former is not None:
            with contextlib.suppress(*LOST):
                await former.close()
        for attempt in itertools.count():
            if self._closing.is_set():
                return
            try:
                connection = await self._connect()
                break
            except LOST as error:
                logger.info("rooms could not be reached: %s", type(error).__name__)
            except IsobaseAPIError as error:
                if error.status is None and error.code not in {"rate_limited", "internal_error"}:
                    raise
            delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
            # [async]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), delay)
            # [/async]
            # [sync] self._closing.wait(delay)
        else:
            return
        self._connection = connection
        # [sync] if self._closing.is_set():
        # [sync]     connection.close()
        # [sync]     return
        waiting = list(self._questions.values())
        self._fetching.clear()
        for room in list(self._rooms.values()):
            await self._rejoin(room)
        for question in waiting:
            await self._transmit(question.text)

    async def _rejoin(self, room: AsyncLiveRoom, *, with_status: bool = True) -> None:
        """Ask for a room again, with what was said since; one whose joining was not answered asks by itself."""
        if room.room is None:
            return
        room.state.is_fetching = True
        content: dict[str, Any] = {"after": room.state.last_seq, "limit": PAGE}
        if room.status is not None and with_status:
            content["status"] = dict(room.status)
        await self._ask_for_room(room, "joinRoom", content)

    async def _ask_for_room(self, room: AsyncLiveRoom, action: str, content: Mapping[str, Any]) -> None:
        """Ask for messages without waiting: the reader takes the answer like everything else."""
        number = next(self._numbers)
        self._fetching[number] = room
        frame = {"action": action, "requestId": number, "roomId": room.room_id, **content}
        await self._transmit(json.dumps(frame))

    # What comes.

    async def _take(self, frame: Mapping[str, Any]) -> None:
        number = frame.get("requestId")
        if isinstance(number, int) and "ok" in frame:
            room = self._fetching.pop(number, None)
            question = self._questions.pop(number, None)
            if room is not None:
                await self._fetched(room, frame)
            elif question is not None:
                if question.joining is not None and frame.get("ok"):
                    await self._joined(question.joining, frame)
                question.box.put(frame)
            return
        action = frame.get("action")
        if action == "ping":
            await self._renew()
            for late in [room for room in self._rooms.values() if not room.is_live]:
                await self._rejoin(late, with_status=False)  # what was said meanwhile, and whether it is live again
            return
        room = self._rooms.get(str(frame.get("roomId")))
        event = event_of(frame)
        if room is None or event is None:
            return
        if isinstance(event, Message):
            self._give(room, room.state.take(event))
            if room.state.misses_some:
                await self._fetch(room)
            return
        if room.give(event):
            logger.warning("events of room %s wait unread; the oldest is forgotten", room.room_id)
        if action == "left":
            self._rooms.pop(room.room_id, None)

    async def _joined(self, room: AsyncLiveRoom, frame: Mapping[str, Any]) -> None:
        room.room = from_wire(Room, frame["room"])
        messages = [from_wire(Message, message) for message in frame.get("messages", [])]
        if room.after is not None:
            await self._caught_up(room, messages, bool(frame.get("more")))
            self._note_live(room, frame)
            return
        room.recent = messages
        self._give(room, room.state.begin(max([room.room.last_seq, *(message.seq for message in messages)])))
        self._note_live(room, frame)
        if room.state.misses_some:
            await self._fetch(room)

    def _note_live(self, room: AsyncLiveRoom, frame: Mapping[str, Any]) -> None:
        live = frame.get("live")
        if isinstance(live, bool) and room.note_live(live):
            logger.warning("events of room %s wait unread; the oldest is forgotten", room.room_id)

    async def _fetch(self, room: AsyncLiveRoom) -> None:
        room.state.is_fetching = True
        await self._ask_for_room(room, "history", {"after": room.state.last_seq, "limit": PAGE})

    async def _fetched(self, room: AsyncLiveRoom, frame: Mapping[str, Any]) -> None:
        if frame.get("ok"):
            messages = [from_wire(Message, message) for message in frame.get("messages", [])]
            await self._caught_up(room, messages, bool(frame.get("more")))
            self._note_live(room, frame)
            return
        error = error_of_body(frame)
        if error.code in {"room_not_found", "not_allowed"}:
            self._rooms.pop(room.room_id, None)
            room.give(error)
        else:
            # Refused for now (a rate, a database that is away): ask again with the next connection.
            logger.info("room %s could not be joined again: %s", room.room_id, error.code)
            await asleep(REFUSED_PAUSE_S)
            if self._connection is not None:
                await self._connection.close()

    async def _caught_up(self, room: AsyncLiveRoom, messages: list[Message], more: bool) -> None:
        more = more and bool(messages)
        self._give(room, room.state.take_fetched(messages, more))
        if more:
            await self._fetch(room)

    def _give(self, room: AsyncLiveRoom, messages: list[Message]) -> None:
        for message in messages:
            if room.give(message):
                logger.warning("messages of room %s wait unread; the oldest is forgotten", room.room_id)

    async def _renew(self) -> None:
        """Tell the server a token that was renewed, before the former one ends."""
        token = await self._token()
        if token != self._sent_token:
            self._sent_token = token
            await self._transmit(json.dumps({"action": "authenticate", "token": token, "requestId": 0}))

    def _end(self, error: BaseException | None) -> None:
        """Let everybody who waits know that the socket is over."""
        for question in list(self._questions.values()):
            question.box.put(error or RuntimeError("the socket was closed"))
        for room in list(self._rooms.values()):
            room.give(error)
        self._rooms.clear()

"""What happens in rooms, whoever it comes from: actions of the simple face, broadcasts of other clients, rows of the log.

A message is stored, and its commit publishes it (schema.sql: ``isobase.tell_room``): the write-ahead log carries it to every
process, so nothing that is stored fails to be told, and all members get the same order. Typing and read marks are told by
whoever made them. Neighbours: ``rooms`` holds the statements, ``session.hub`` publishes.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import cast

from isobase_platform.caller import Caller
from isobase_platform.config_realtime.rooms import RoomSettings
from isobase_platform.errors import BadRequest, DatabaseError, IsobaseError, TooManyRequests, Unavailable
from isobase_services.realtime.core.topics import Member, TopicKey
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.session.room_gate import RoomAnswer
from isobase_services.realtime.simple.rooms import ReadMark, Rooms
from isobase_services.realtime.simple.topics import ROOM_EVENTS, room_key, room_of
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast, dump, parse_json

__all__ = ["RoomDesk"]

MAX_REMEMBERED_ROOMS = 10_000
EXISTS = float("inf")
ABSENCE_LIFE_S = 5.0
"""How long it is believed that a room does not exist; the log tells of new ones before."""

_log = logging.getLogger("isobase.realtime")


class RoomDesk:
    """See ``session.room_gate.RoomGate`` for what the channels of the Phoenix face use of it."""

    def __init__(self, hub: Hub, rooms: Rooms, settings: RoomSettings) -> None:
        self.rooms = rooms
        self._hub = hub
        self._settings = settings
        self._known: OrderedDict[str, float] = OrderedDict()

    # -- what members do ----------------------------------------------------------------------------------------------

    async def send(self, caller: Caller, room_id: str, body: str, client_id: str | None) -> str:
        """Store a message and return it as JSON text. Errors as ``Rooms.send``, and ``TooManyRequests``."""
        self._count()
        return await self.rooms.send(caller, room_id, body, client_id)

    async def read(self, caller: Caller, room_id: str, seq: int | None) -> ReadMark:
        """Note how far the caller has read and tell the room where that is news. Errors as ``Rooms.read``."""
        mark = await self.rooms.read(caller, room_id, seq)
        if mark.has_advanced:
            self._tell(room_id, "read", {"user": caller.user_id, "seq": mark.seq})
        return mark

    def typing(self, caller: Caller, room_id: str, *, is_typing: bool, sender: Member | None) -> None:
        """Tell the room, but for ``sender``, that the caller types or has ended. Raises ``TooManyRequests``."""
        self._count()
        ttl_ms = int(self._settings.typing_ttl_s * 1000)
        content = {"user": caller.user_id, "typing": is_typing, **({"expiresInMs": ttl_ms} if is_typing else {})}
        self._tell(room_id, "typing", content, exclude=sender)

    def _tell(self, room_id: str, event: str, content: Mapping[str, object], *, exclude: Member | None = None) -> None:
        payload = dump({"roomId": room_id, **content}).encode()
        self._hub.publish(room_key(room_id), UserBroadcast(event, payload, is_json=True), exclude=exclude)

    def _count(self) -> None:
        events = self._hub.events
        if events.is_exceeded:
            raise TooManyRequests("The project's rate of messages is used up", code="rate_limited")
        events.add()

    # -- what other clients send --------------------------------------------------------------------------------------

    def takes(self, key: TopicKey, event: object) -> bool:
        """See ``RoomGate.takes``."""
        room_id = room_of(key)
        return room_id is not None and event in ROOM_EVENTS and not self._is_known_absent(room_id)

    async def receive(
        self, key: TopicKey, message: Outgoing, caller: Caller, sender: Member | None = None
    ) -> RoomAnswer | None:
        """See ``RoomGate.receive``."""
        room_id = room_of(key)
        if room_id is None:
            return None
        try:
            if not await self._exists(room_id):
                return None
            event, payload = _parts(message)
            match event:
                case "message":
                    if "message" not in payload:
                        raise BadRequest("The payload has no member message", code="invalid_action")
                    client_id = payload.get("clientId")
                    text = client_id if isinstance(client_id, str) and client_id else None
                    await self.send(caller, room_id, dump(payload["message"]), text)
                case "typing":
                    self.typing(caller, room_id, is_typing=payload.get("typing") is not False, sender=sender)
                case "read":
                    seq = payload.get("seq")
                    is_mark = isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < 2**63
                    await self.read(caller, room_id, cast("int", seq) if is_mark else None)
                case _:
                    return RoomAnswer(reason="reserved_event")
        except (Unavailable, DatabaseError) as error:
            _log.warning("a room's event could not be handled", extra={"code": error.code, "topic": key.name})
            return RoomAnswer(reason="unavailable")
        except IsobaseError as error:
            return RoomAnswer(reason=error.code)
        return RoomAnswer()

    async def _exists(self, room_id: str) -> bool:
        if self._known.get(room_id) == EXISTS:
            return True
        exists = await self.rooms.exists(room_id)
        self._remember(room_id, exists=exists)
        return exists

    def _is_known_absent(self, room_id: str) -> bool:
        return time.monotonic() < self._known.get(room_id, 0.0) < EXISTS

    def _remember(self, room_id: str, *, exists: bool) -> None:
        """Absence is believed for a while, existence until the log tells of the deletion."""
        self._known[room_id] = EXISTS if exists else time.monotonic() + ABSENCE_LIFE_S
        self._known.move_to_end(room_id)
        if len(self._known) > MAX_REMEMBERED_ROOMS:
            self._known.popitem(last=False)

    # -- what the log tells -------------------------------------------------------------------------------------------

    def watch(self, key: TopicKey, message: Outgoing, row: Mapping[str, str | None]) -> None:
        """Look at a row of ``realtime.messages`` before it is delivered: rights may have ended with it.

        Behind the commit that removed a member, nothing more of the room reaches that member's channels: they are told of it,
        and then deliver nothing until the policies have answered anew.
        """
        room_id, event, payload = room_of(key), row.get("event"), row.get("payload")
        if room_id is None or event not in ("member", "room") or payload is None:
            return
        content = _mapping(payload)
        change = content.get("change")
        if event == "room":
            self._known.pop(room_id, None)
        for channel in self._hub.channels_of(key):
            is_concerned = (
                change == "removed" and channel.caller.user_id == content.get("user")
                if event == "member"
                else change in ("created", "deleted") or content.get("closed") is True
            )
            if is_concerned:
                if channel.topic is not None and channel.may_read_broadcasts and not channel.is_withheld:
                    channel.push_broadcast(message)
                channel.confirm_rights(behind=row.get("id"))


def _parts(message: Outgoing) -> tuple[object, Mapping[str, object]]:
    """Event and payload of a broadcast; a payload that is no object counts as empty."""
    if isinstance(message, TextBroadcast):
        whole = _mapping(message.payload)
        payload = whole.get("payload")
        return whole.get("event"), cast("Mapping[str, object]", payload) if isinstance(payload, dict) else {}
    return message.event, _mapping(message.payload) if message.is_json else {}


def _mapping(text: str | bytes) -> Mapping[str, object]:
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

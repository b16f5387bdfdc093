"""What each action of the simple face does: one coroutine per action, run in the order of its lane.

An answer is JSON text of an object; a refusal is an ``IsobaseError``. Neighbours: ``connection`` reads the actions and sends
the answers, ``desk`` and ``rooms`` do what concerns rooms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from isobase_platform.errors import (
    BadRequest,
    Forbidden,
    IsobaseError,
    NotFound,
    TokenError,
    TokenRefusal,
    TooManyRequests,
    Unavailable,
)
from isobase_services.realtime.changes.request import change_id
from isobase_services.realtime.core.rates import CallWindow
from isobase_services.realtime.session.policies import Extension
from isobase_services.realtime.simple import actions
from isobase_services.realtime.simple.codec import people
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.rooms import NewRoom, RoomChange
from isobase_services.realtime.simple.topics import (
    ROOM_PREFIX,
    SUBSCRIPTION_PREFIX,
    channel_topic,
    room_key,
    subscription_topic,
)
from isobase_services.realtime.wire.messages import TextBroadcast, dump, parse_json

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel
    from isobase_services.realtime.simple.connection import SimpleConnection

__all__ = ["Acts"]

LIVE_TIMEOUT_S = 5.0
"""How long joining a room waits for the stream of messages; then it joins all the same and says ``live: false``."""
STATUS_CHANGES = 4
STATUS_WINDOW_S = 30.0
"""Changes of one's status in a room, below the core's own limit, which would end the channel."""

Act: TypeAlias = Callable[[Any], Coroutine[Any, Any, str]]


class _Typing:
    """Somebody types in a room; ``timer`` says for him that he has ended."""

    __slots__ = ("timer", "told_at_s")

    def __init__(self, told_at_s: float, timer: asyncio.TimerHandle) -> None:
        self.told_at_s = told_at_s
        self.timer = timer


class Acts:
    """The actions of one socket."""

    def __init__(self, connection: SimpleConnection, desk: RoomDesk) -> None:
        self._connection = connection
        self._desk = desk
        self._typing: dict[str, _Typing] = {}
        self._status_changes: dict[str, CallWindow] = {}
        self._acts: Mapping[type[actions.Action], Act] = {
            actions.JoinRoom: self._join_room,
            actions.LeaveRoom: self._leave_room,
            actions.SendMessage: self._send_message,
            actions.Typing: self._type,
            actions.Presence: self._presence,
            actions.Read: self._read,
            actions.History: self._history,
            actions.CreateRoom: self._create_room,
            actions.UpdateRoom: self._update_room,
            actions.DeleteRoom: self._delete_room,
            actions.ListRooms: self._list_rooms,
            actions.Members: self._members,
            actions.AddMember: self._add_member,
            actions.RemoveMember: self._remove_member,
            actions.Subscribe: self._subscribe,
            actions.Unsubscribe: self._unsubscribe,
            actions.Publish: self._publish,
        }

    async def do(self, action: actions.Action) -> str:
        """Do ``action``; the answer's members as JSON text. Raises ``IsobaseError``."""
        return await self._acts[type(action)](action)

    def forget(self, topic: str) -> None:
        """A channel was left: what was remembered of it is over."""
        self._status_changes.pop(topic, None)
        typing = self._typing.pop(topic, None)
        if typing is not None:
            typing.timer.cancel()

    def ended(self) -> None:
        """The socket is gone: whoever typed has ended."""
        for topic, typing in list(self._typing.items()):
            typing.timer.cancel()
            self._end_typing(topic)
        self._typing.clear()

    # -- rooms --------------------------------------------------------------------------------------------------------

    async def _join_room(self, action: actions.JoinRoom) -> str:
        is_live = await self._enter(action.room_id, action.status)
        caller = self._connection.caller
        try:
            room = await self._desk.rooms.get(caller, action.room_id)
        except NotFound:
            # A project's own policies may open a channel of this name though there is no room.
            self._connection.leave(room_key(action.room_id).wire_name)
            raise
        answer = f'{{"roomId":{dump(action.room_id)},"room":{room},"live":{dump(is_live)}'
        if action.after is not None or action.limit is not None:
            history = await self._desk.rooms.history(caller, action.room_id, after=action.after, limit=action.limit)
            _, _, messages = history.partition(',"messages":')
            return f'{answer},"messages":{messages}'
        return answer + "}"

    async def _enter(self, room_id: str, status: Mapping[str, object] | None) -> bool:
        """Join the room's channel and be seen in it; True once no message can be missed any more."""
        topic, caller = room_key(room_id).wire_name, self._connection.caller
        if topic not in self._connection.channels:
            if room_id in self._connection.settings.public:
                await self._desk.rooms.get(caller, room_id)
            presence = {"key": caller.user_id or "", "enabled": True}
            await self._join(topic, {"private": True, "broadcast": {"self": True}, "presence": presence})
            if caller.user_id:
                await self._track(topic, status or {})
        elif status is not None:
            await self._track(topic, status)
        return await self._connection.hub.changes.wait_until_live(LIVE_TIMEOUT_S)

    async def _track(self, topic: str, status: Mapping[str, object]) -> None:
        window = self._status_changes.setdefault(topic, CallWindow(STATUS_CHANGES, STATUS_WINDOW_S))
        if not window.take():
            raise TooManyRequests("The status changes too often", code="rate_limited")
        payload = {"type": "presence", "event": "track", "payload": status}
        await self._connection.ask(topic, "presence", payload)

    async def _join(self, topic: str, config: Mapping[str, object]) -> None:
        connection = self._connection
        if len(connection.channels) >= connection.settings.max_rooms_per_socket:
            raise TooManyRequests("The socket has joined too many rooms and channels", code="too_many_rooms")
        status, response = await connection.ask(topic, "phx_join", {"config": config})
        if status != "ok":
            raise _refusal(response, is_room=topic.startswith(channel_topic(ROOM_PREFIX)))

    async def _leave_room(self, action: actions.LeaveRoom) -> str:
        topic = room_key(action.room_id).wire_name
        self._end_typing(topic)
        if not self._connection.leave(topic):
            raise _not_joined()
        return dump({"roomId": action.room_id})

    async def _send_message(self, action: actions.SendMessage) -> str:
        topic = room_key(action.room_id).wire_name
        if topic not in self._connection.channels:
            # Who speaks in a room hears it: a client may do nothing but connect and send.
            await self._enter(action.room_id, None)
        caller = self._connection.caller
        message = await self._desk.send(caller, action.room_id, dump(action.message), action.client_id)
        self._end_typing(topic)
        return message

    async def _type(self, action: actions.Typing) -> str:
        topic = room_key(action.room_id).wire_name
        channel = self._joined(topic)
        if not action.typing:
            self._end_typing(topic)
            return dump({"roomId": action.room_id, "typing": False})
        ttl_s = self._connection.settings.typing_ttl_s
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        typing = self._typing.get(topic)
        if typing is not None:
            typing.timer.cancel()
        told_at_s = now_s
        # Clients may say so with every key: others need to be told about twice in its life.
        if typing is None or now_s - typing.told_at_s > ttl_s / 2:
            self._desk.typing(channel.caller, action.room_id, is_typing=True, sender=channel)
        else:
            told_at_s = typing.told_at_s
        self._typing[topic] = _Typing(told_at_s, loop.call_later(ttl_s, self._end_typing, topic))
        return dump({"roomId": action.room_id, "typing": True})

    def _end_typing(self, topic: str) -> None:
        typing = self._typing.pop(topic, None)
        channel = self._connection.channels.get(topic)
        if typing is None or channel is None:
            return
        typing.timer.cancel()
        room_id = channel.key.name.removeprefix(ROOM_PREFIX)
        self._desk.typing(channel.caller, room_id, is_typing=False, sender=channel)

    async def _presence(self, action: actions.Presence) -> str:
        topic = room_key(action.room_id).wire_name
        channel = self._joined(topic)
        if action.status is not None:
            await self._track(topic, action.status)
        if channel.topic is None:
            raise _not_joined()
        state = cast("Mapping[str, object]", parse_json(channel.topic.presence.state))
        return dump({"roomId": action.room_id, "present": people(state)})

    async def _read(self, action: actions.Read) -> str:
        mark = await self._desk.read(self._connection.caller, action.room_id, action.seq)
        return dump({"roomId": action.room_id, "seq": mark.seq})

    async def _history(self, action: actions.History) -> str:
        return await self._desk.rooms.history(
            self._connection.caller,
            action.room_id,
            before=action.before,
            after=action.after,
            since=action.since,
            limit=action.limit,
        )

    async def _create_room(self, action: actions.CreateRoom) -> str:
        room = NewRoom(action.room_id, action.name, action.public, action.metadata, action.members)
        return await self._desk.rooms.create(self._connection.caller, room)

    async def _update_room(self, action: actions.UpdateRoom) -> str:
        change = RoomChange(action.name, action.public, action.metadata)
        return await self._desk.rooms.update(self._connection.caller, action.room_id, change)

    async def _delete_room(self, action: actions.DeleteRoom) -> str:
        await self._desk.rooms.delete(self._connection.caller, action.room_id)
        return dump({"roomId": action.room_id})

    async def _list_rooms(self, action: actions.ListRooms) -> str:
        return await self._desk.rooms.page(self._connection.caller, before=action.before, limit=action.limit)

    async def _members(self, action: actions.Members) -> str:
        return await self._desk.rooms.members(self._connection.caller, action.room_id)

    async def _add_member(self, action: actions.AddMember) -> str:
        caller = self._connection.caller
        await self._desk.rooms.add_member(caller, action.room_id, action.user, action.role)
        return dump({"roomId": action.room_id, "user": action.user or caller.user_id})

    async def _remove_member(self, action: actions.RemoveMember) -> str:
        caller = self._connection.caller
        await self._desk.rooms.remove_member(caller, action.room_id, action.user)
        return dump({"roomId": action.room_id, "user": action.user or caller.user_id})

    # -- channels and row changes -------------------------------------------------------------------------------------

    async def _subscribe(self, action: actions.Subscribe) -> str:
        if (action.channel is None) == (action.table is None):
            raise BadRequest("Give a channel or a table", code="invalid_action")
        if action.channel is not None:
            topic = _channel(action.channel)
            if topic not in self._connection.channels:
                await self._join(topic, {"private": action.private, "broadcast": {"self": False}})
            return dump({"channel": action.channel})
        entry: dict[str, object] = {"event": action.event, "schema": action.schema_name, "table": action.table}
        if action.filter is not None:
            entry["filter"] = action.filter
        if action.select is not None:
            entry["select"] = action.select
        subscription = f"{change_id(entry):x}"
        topic = subscription_topic(subscription)
        if topic not in self._connection.channels:
            options: dict[str, object] = {"position": True} if action.position else {}
            if action.since is not None:
                options["since"] = action.since
            config = {"postgres_changes": [entry], **({"postgres_changes_options": options} if options else {})}
            await self._join(topic, config)
        return dump({"subscription": subscription})

    async def _unsubscribe(self, action: actions.Unsubscribe) -> str:
        if (action.channel is None) == (action.subscription is None):
            raise BadRequest("Give a channel or a subscription", code="invalid_action")
        if action.channel is not None:
            topic, answer = _channel(action.channel), {"channel": action.channel}
        else:
            subscription = action.subscription or ""
            topic, answer = subscription_topic(subscription), {"subscription": subscription}
        if not self._connection.leave(topic):
            raise _not_joined()
        return dump(answer)

    async def _publish(self, action: actions.Publish) -> str:
        hub = self._connection.hub
        channel = self._joined(_channel(action.channel))
        message = TextBroadcast(dump({"type": "broadcast", "event": action.event, "payload": action.payload}))
        if hub.too_large(message):
            raise BadRequest("The payload is too large", code="payload_too_large", status=413)
        may_write = channel.may_write(Extension.BROADCAST)
        if may_write is None:
            may_write = await channel.check_write(Extension.BROADCAST)
        if may_write is None:
            raise Unavailable("The policies could not be asked")
        if not may_write:
            raise Forbidden("You may not send to this channel", code="not_allowed")
        if hub.events.is_exceeded:
            raise TooManyRequests("The project's rate of messages is used up", code="rate_limited")
        hub.events.add()
        hub.publish(channel.key, message, exclude=channel)
        return dump({"channel": action.channel})

    def _joined(self, topic: str) -> Channel:
        channel = self._connection.channels.get(topic)
        if channel is None or channel.topic is None:
            raise _not_joined()
        return channel


def _channel(name: str) -> str:
    if name.startswith((ROOM_PREFIX, SUBSCRIPTION_PREFIX)):
        raise BadRequest("This name is a room's: use the actions of rooms", code="invalid_action")
    return channel_topic(name)


def _not_joined() -> IsobaseError:
    return BadRequest("Join it first", code="not_joined", status=409)


def _refusal(response: str, *, is_room: bool) -> IsobaseError:
    """A refused join in the face's words. ``response`` is the core's, ``{"reason": "Code: text"}``."""
    reason = str(cast("Mapping[str, object]", parse_json(response)).get("reason", ""))
    code, _, text = reason.partition(": ")
    match code:
        case "Unauthorized" if is_room:
            return NotFound("There is no such room, or it is not open to you", code="room_not_found")
        case "Unauthorized" | "PrivateOnly":
            return Forbidden(text, code="not_allowed")
        case "ConnectionRateLimitReached" | "ClientJoinRateLimitReached" | "ChannelRateLimitReached":
            return TooManyRequests(text, code="rate_limited")
        case "InvalidJWTToken" | "MalformedJWT" | "JwtSignatureError" | "JwtSignerError":
            return TokenError(text, TokenRefusal.CLAIMS)
        case _:
            return Unavailable(text or "The channel could not be joined")

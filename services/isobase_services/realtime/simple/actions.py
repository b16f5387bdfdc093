"""What a client of the simple face may ask for: the edge where its frames are checked. Pure.

Source: contracts/realtime.md section 4; docs/realtime-rooms.md shows every action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError

from isobase_platform.errors import BadRequest
from isobase_services.realtime.wire.messages import parse_json

__all__ = [
    "ACTIONS",
    "Action",
    "AddMember",
    "CreateRoom",
    "DeleteRoom",
    "History",
    "JoinRoom",
    "LeaveRoom",
    "ListRooms",
    "Members",
    "Ping",
    "Pong",
    "Presence",
    "Publish",
    "Read",
    "RemoveMember",
    "RequestId",
    "RoomAction",
    "SendMessage",
    "SignIn",
    "Subscribe",
    "Typing",
    "Unsubscribe",
    "UpdateRoom",
    "checked",
    "parse_action",
    "read_frame",
]

MAX_SEQ = 2**63 - 1
MAX_PAGE_ITEMS = 200
"""Messages or rooms of one answer."""
MAX_NEW_MEMBERS = 1_000
"""Members that a room begins with."""
ROOM_ID_PATTERN = r"^[A-Za-z0-9_.:@~-]{1,128}$"
MAX_USER_ID_LENGTH_CHARS = 255
MAX_ROOM_NAME_LENGTH_CHARS = 200
MAX_CHANNEL_NAME_LENGTH_CHARS = 900
"""Less than a topic on the wire may have, which begins with ``realtime:``."""
MAX_EVENT_LENGTH_CHARS = 255
MAX_CLIENT_ID_LENGTH_CHARS = 128
MAX_SUBSCRIPTION_LENGTH_CHARS = 64
MAX_TIME_LENGTH_CHARS = 40
MAX_CURSOR_LENGTH_CHARS = 300
MAX_SQL_NAME_LENGTH_CHARS = 63
"""PostgreSQL's, for schemas and tables."""
RequestId: TypeAlias = str | int | None
RoomId: TypeAlias = Annotated[str, Field(pattern=ROOM_ID_PATTERN)]
UserId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID_LENGTH_CHARS)]
Seq: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SEQ)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MAX_PAGE_ITEMS)]
ChannelName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_CHANNEL_NAME_LENGTH_CHARS)]
RoomName: TypeAlias = Annotated[str, Field(max_length=MAX_ROOM_NAME_LENGTH_CHARS)]
ClientId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_CLIENT_ID_LENGTH_CHARS)]
Role: TypeAlias = Literal["owner", "member"]


class Action(BaseModel):
    """What all actions share. ``lane`` says with which others an action keeps its order."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    @property
    def lane(self) -> str:
        """Actions of one lane are done one after the other; lanes do not wait for each other."""
        return ""


class SignIn(Action):
    """``connect`` and ``authenticate``: the token by which a socket acts from now on."""

    token: SecretStr = Field(min_length=1)


class Ping(Action):
    """Answered with ``pong``."""


class Pong(Action):
    """The answer to the server's ``ping``; not needed, and not answered."""


class RoomAction(Action):
    """An action on one room."""

    room_id: RoomId = Field(alias="roomId")

    @property
    def lane(self) -> str:
        """The room."""
        return f"room:{self.room_id}"


class JoinRoom(RoomAction):
    """Receive what happens in a room. ``after``: also, first, what was said since the message of that number."""

    after: Seq | None = None
    limit: Count | None = None
    status: Mapping[str, JsonValue] | None = None


class LeaveRoom(RoomAction):
    """Receive it no longer."""


class SendMessage(RoomAction):
    """Say something. ``client_id`` makes sending it again harmless."""

    message: JsonValue
    client_id: ClientId | None = Field(default=None, alias="clientId")


class Typing(RoomAction):
    """Say that one is typing, or has ended."""

    typing: bool = True


class Presence(RoomAction):
    """Who is in a room; with ``status``, change what others see of oneself."""

    status: Mapping[str, JsonValue] | None = None


class Read(RoomAction):
    """Note that a room was read up to a message; without ``seq``, all of it."""

    seq: Seq | None = None


class History(RoomAction):
    """What was said ``before`` or ``after`` a message, or at and since a time."""

    before: Seq | None = None
    after: Seq | None = None
    since: Annotated[str, Field(max_length=MAX_TIME_LENGTH_CHARS)] | None = None
    limit: Count | None = None


class CreateRoom(Action):
    """Make a room; who makes it owns it."""

    room_id: RoomId | None = Field(default=None, alias="roomId")
    name: RoomName | None = None
    public: bool = False
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)
    members: Annotated[tuple[UserId, ...], Field(max_length=MAX_NEW_MEMBERS, strict=False)] = ()

    @property
    def lane(self) -> str:
        """The room, where it is named."""
        return f"room:{self.room_id or ''}"


class UpdateRoom(RoomAction):
    """Change what is given; the rest stays."""

    name: RoomName | None = None
    public: bool | None = None
    metadata: Mapping[str, JsonValue] | None = None


class DeleteRoom(RoomAction):
    """Delete a room with all that was said in it."""


class ListRooms(Action):
    """One's rooms and the public ones, the latest first; ``before`` is the ``next`` of the page before."""

    before: Annotated[str, Field(max_length=MAX_CURSOR_LENGTH_CHARS)] | None = None
    limit: Count | None = None


class Members(RoomAction):
    """Who is a member of a room, and how far each has read."""


class AddMember(RoomAction):
    """Add a user to a room, or give a member another role. Without ``user``: come to a public room oneself."""

    user: UserId | None = None
    role: Role = "member"


class RemoveMember(RoomAction):
    """Remove a member from a room. Without ``user``: go oneself."""

    user: UserId | None = None


class Subscribe(Action):
    """Receive a channel by its name, or row changes of a table."""

    channel: ChannelName | None = None
    private: bool = False
    schema_name: str = Field(default="public", alias="schema", min_length=1, max_length=MAX_SQL_NAME_LENGTH_CHARS)
    table: Annotated[str, Field(min_length=1, max_length=MAX_SQL_NAME_LENGTH_CHARS)] | None = None
    event: str = "*"
    filter: str | None = None
    select: list[str] | None = None
    since: str | None = None
    position: bool = False

    @property
    def lane(self) -> str:
        """The channel, or all row changes."""
        return "changes" if self.channel is None else f"channel:{self.channel}"


class Unsubscribe(Action):
    """Receive a channel, or the row changes of a subscription, no longer."""

    channel: ChannelName | None = None
    subscription: Annotated[str, Field(min_length=1, max_length=MAX_SUBSCRIPTION_LENGTH_CHARS)] | None = None

    @property
    def lane(self) -> str:
        """The same as that of ``Subscribe``."""
        return "changes" if self.channel is None else f"channel:{self.channel}"


class Publish(Action):
    """Send to a channel by its name; nothing is stored."""

    channel: ChannelName
    event: Annotated[str, Field(min_length=1, max_length=MAX_EVENT_LENGTH_CHARS)]
    payload: Mapping[str, JsonValue] = Field(default_factory=dict)

    @property
    def lane(self) -> str:
        """The channel."""
        return f"channel:{self.channel}"


ACTIONS: Mapping[str, type[Action]] = {
    "connect": SignIn,
    "authenticate": SignIn,
    "ping": Ping,
    "pong": Pong,
    "joinRoom": JoinRoom,
    "leaveRoom": LeaveRoom,
    "sendMessage": SendMessage,
    "typing": Typing,
    "presence": Presence,
    "read": Read,
    "history": History,
    "createRoom": CreateRoom,
    "updateRoom": UpdateRoom,
    "deleteRoom": DeleteRoom,
    "listRooms": ListRooms,
    "members": Members,
    "addMember": AddMember,
    "removeMember": RemoveMember,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "publish": Publish,
}
"""Every action by its name on the wire."""

_Model = TypeVar("_Model", bound=BaseModel)


def read_frame(frame: str | bytes) -> Mapping[str, JsonValue]:
    """A frame as the object that it must be. Raises ``BadRequest`` ``invalid_json``."""
    try:
        value = parse_json(frame)
    except ValueError as error:
        raise BadRequest("A frame must be a JSON object with an action", code="invalid_json") from error
    if not isinstance(value, dict):
        raise BadRequest("A frame must be a JSON object with an action", code="invalid_json")
    return value


def parse_action(value: Mapping[str, object]) -> Action:
    """The action of a frame. Raises ``BadRequest``: ``unknown_action``, or ``invalid_action`` naming the wrong members."""
    name = value.get("action")
    model = ACTIONS.get(name) if isinstance(name, str) else None
    if model is None:
        raise BadRequest(
            "There is no such action" if isinstance(name, str) else "The frame names no action",
            code="unknown_action",
            hint="Actions: " + ", ".join(ACTIONS),
        )
    return checked(model, value, code="invalid_action")


def checked(model: type[_Model], value: object, *, code: str, is_text: bool = False) -> _Model:
    """``value`` as ``model``; ``is_text``: its members are text, as in a query string.

    Raises ``BadRequest`` with ``code``, whose details name what is missing or wrong.
    """
    try:
        return model.model_validate(value, strict=False if is_text else None)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise BadRequest("The action is not valid", code=code, details=problems) from None

"""Whole messages as pydantic models, under the names of realtime-py's ``realtime.message``.

The clients read what comes in through ``wire``, which refuses less; these are for users who build or check messages
themselves, and for what callbacks are given (``SuccessSystemPayload``, ``ReplyPostgresChanges``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

from isobase.realtime.types import (
    BroadcastPayload,
    ChannelEvents,
    PostgresChangesPayload,
    RawPresenceDiff,
    RawPresenceState,
    RealtimeChannelOptions,
    RealtimePostgresChangesListenEvent,
)

__all__ = [
    "AccessTokenMessage",
    "AccessTokenPayload",
    "BroadcastMessage",
    "ChannelCloseMessage",
    "ChannelErrorMessage",
    "ClientMessage",
    "ErrorReplyMessage",
    "ErrorSystemPayload",
    "HeartbeatMessage",
    "HeartbeatPayload",
    "JoinMessage",
    "Message",
    "PostgresChangesMessage",
    "PostgresRowChange",
    "PresenceDiffMessage",
    "PresenceMessage",
    "PresenceStateMessage",
    "ReplyMessage",
    "ReplyPostgresChanges",
    "ServerMessage",
    "ServerMessageAdapter",
    "SuccessReplyMessage",
    "SuccessSystemPayload",
    "SystemMessage",
]


class Message(BaseModel):
    """A message to the server, as ``send`` takes it."""

    event: str
    payload: Mapping[str, Any]
    topic: str
    ref: str | None = None
    join_ref: str | None = None


class JoinMessage(BaseModel):
    """A join."""

    event: Literal[ChannelEvents.join]
    topic: str
    ref: str
    payload: RealtimeChannelOptions


class PostgresRowChange(BaseModel):
    """One listener as the server repeats it in the reply to a join, with the id that it gave."""

    id: int
    event: RealtimePostgresChangesListenEvent
    table: str | None = None
    schema_: str | None = Field(alias="schema", default=None)
    filter: str | None = None
    select: list[str] | None = None


class ReplyPostgresChanges(BaseModel):
    """What an ``ok`` reply holds; the list is there in the reply to a join."""

    postgres_changes: list[PostgresRowChange] | None = None


class SuccessReplyMessage(BaseModel):
    """The payload of an ``ok`` reply."""

    status: Literal["ok"]
    response: ReplyPostgresChanges


class ErrorReplyMessage(BaseModel):
    """The payload of an ``error`` reply."""

    status: Literal["error"]
    response: dict[str, Any]


class ReplyMessage(BaseModel):
    """A reply; ``ref`` is that of the message it answers."""

    event: Literal[ChannelEvents.reply]
    topic: str
    payload: SuccessReplyMessage | ErrorReplyMessage
    ref: str | None


class SuccessSystemPayload(BaseModel):
    """What callbacks of ``on_system`` get. ``position`` and ``replayed`` are there on servers with replay."""

    channel: str
    extension: str
    message: str
    status: Literal["ok"]
    position: str | None = None
    replayed: int | None = None


class ErrorSystemPayload(BaseModel):
    """What callbacks of ``on_system_error`` get."""

    channel: str
    extension: str
    message: str
    status: Literal["error"]


class SystemMessage(BaseModel):
    """A message of the server about the channel itself."""

    event: Literal[ChannelEvents.system]
    topic: str
    payload: SuccessSystemPayload | ErrorSystemPayload
    ref: Literal[None]


class HeartbeatPayload(BaseModel):
    """Nothing."""


class HeartbeatMessage(BaseModel):
    """A sign of life."""

    event: Literal[ChannelEvents.heartbeat]
    topic: Literal["phoenix"]
    ref: str
    payload: HeartbeatPayload


class AccessTokenPayload(BaseModel):
    """A new token."""

    access_token: str


class AccessTokenMessage(BaseModel):
    """A new token for one channel."""

    event: Literal[ChannelEvents.access_token]
    topic: str
    payload: AccessTokenPayload
    ref: Literal[None]


class PostgresChangesMessage(BaseModel):
    """A row change."""

    event: Literal[ChannelEvents.postgres_changes]
    topic: str
    payload: PostgresChangesPayload
    ref: Literal[None]


class BroadcastMessage(BaseModel):
    """A broadcast."""

    event: Literal[ChannelEvents.broadcast]
    topic: str
    payload: BroadcastPayload
    ref: Literal[None]


class PresenceMessage(BaseModel):
    """A presence that is tracked or no longer is."""

    event: Literal[ChannelEvents.presence]
    topic: str
    payload: dict[str, Any]
    ref: Literal[None]


class PresenceStateMessage(BaseModel):
    """Everybody who is there."""

    event: Literal[ChannelEvents.presence_state]
    topic: str
    payload: RawPresenceState
    ref: Literal[None]


class PresenceDiffMessage(BaseModel):
    """Who came and who left."""

    event: Literal[ChannelEvents.presence_diff]
    topic: str
    payload: RawPresenceDiff
    ref: Literal[None]


class ChannelErrorMessage(BaseModel):
    """The channel failed at the server."""

    event: Literal[ChannelEvents.error]
    topic: str
    payload: dict[str, Any]
    ref: str | None


class ChannelCloseMessage(BaseModel):
    """The server closed the channel."""

    event: Literal[ChannelEvents.close]
    topic: str
    payload: dict[str, Any]
    ref: str | None


ServerMessage: TypeAlias = (
    SystemMessage
    | ReplyMessage
    | HeartbeatMessage
    | BroadcastMessage
    | PresenceStateMessage
    | PresenceDiffMessage
    | PostgresChangesMessage
    | ChannelErrorMessage
    | ChannelCloseMessage
)
ServerMessageAdapter: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)
ClientMessage: TypeAlias = JoinMessage | HeartbeatMessage | BroadcastMessage | PresenceMessage | AccessTokenMessage

"""Names, states and payloads of the realtime client.

The enums and dictionaries of realtime-py's ``realtime.types`` under the same names; what is ours says so. Neighbours:
``message`` (whole messages as pydantic models), ``wire`` (what goes over the socket).
"""

# ruff: noqa: UP042 - enums that are texts in another way than StrEnum, as upstream's: str() gives their name

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NotRequired, ParamSpec, Protocol, TypeAlias, TypeVar

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

# The same list as upstream's, which `from realtime import *` gives, and what is ours at its end.
__all__ = [
    "DEFAULT_HEARTBEAT_INTERVAL",
    "DEFAULT_TIMEOUT",
    "PHOENIX_CHANNEL",
    "VSN",
    "BroadcastCallback",
    "BroadcastMeta",
    "BroadcastPayload",
    "Callback",
    "ChannelEvents",
    "ChannelStates",
    "Payload",
    "PostgresChangesCallback",
    "PostgresChangesColumn",
    "PostgresChangesData",
    "PostgresChangesOptions",
    "PostgresChangesPayload",
    "Presence",
    "PresenceDiff",
    "PresenceEvents",
    "PresenceMeta",
    "PresenceOnJoinCallback",
    "PresenceOnLeaveCallback",
    "PresenceOpts",
    "RawPresenceDiff",
    "RawPresenceState",
    "RawPresenceStateEntry",
    "RealtimeAcknowledgementStatus",
    "RealtimeChannelBroadcastConfig",
    "RealtimeChannelConfig",
    "RealtimeChannelOptions",
    "RealtimeChannelPresenceConfig",
    "RealtimeConnectionState",
    "RealtimeGap",
    "RealtimeGapReason",
    "RealtimeHeartbeatStatus",
    "RealtimePostgresChangesListenEvent",
    "RealtimePresenceJoinPayload",
    "RealtimePresenceLeavePayload",
    "RealtimePresenceListenEvents",
    "RealtimePresenceState",
    "RealtimeSubscribeStates",
    "ReplayOption",
    "T_ParamSpec",
    "T_Retval",
    "WebSocketFactory",
    "WebSocketLike",
]

DEFAULT_TIMEOUT = 10
"""Seconds for opening a socket, and for the reply to a message."""
PHOENIX_CHANNEL = "phoenix"
VSN = "1.0.0"
DEFAULT_HEARTBEAT_INTERVAL = 25
"""Seconds between two heartbeats."""

T_ParamSpec = ParamSpec("T_ParamSpec")
T_Retval = TypeVar("T_Retval")
Payload = TypeVar("Payload")
Callback: TypeAlias = Callable[T_ParamSpec, T_Retval]


class ChannelEvents(str, Enum):
    """The events of the Phoenix protocol that client and server exchange."""

    close = "phx_close"
    error = "phx_error"
    # `join` hides str's method, as upstream's name does.
    join = "phx_join"  # type: ignore[assignment]
    reply = "phx_reply"
    leave = "phx_leave"
    heartbeat = "heartbeat"
    access_token = "access_token"  # noqa: S105 - a name
    broadcast = "broadcast"
    presence = "presence"
    presence_state = "presence_state"
    presence_diff = "presence_diff"
    system = "system"
    postgres_changes = "postgres_changes"


class ChannelStates(str, Enum):
    """Where a channel stands."""

    JOINED = "joined"
    CLOSED = "closed"
    ERRORED = "errored"
    JOINING = "joining"
    LEAVING = "leaving"


class RealtimeSubscribeStates(str, Enum):
    """What the callback of ``subscribe`` is told."""

    SUBSCRIBED = "SUBSCRIBED"
    TIMED_OUT = "TIMED_OUT"
    CLOSED = "CLOSED"
    CHANNEL_ERROR = "CHANNEL_ERROR"


class RealtimePresenceListenEvents(str, Enum):
    """The kinds of presence events."""

    SYNC = "SYNC"
    JOIN = "JOIN"
    LEAVE = "LEAVE"


class RealtimeAcknowledgementStatus(str, Enum):
    """How a message that waits for a reply has ended."""

    Ok = "ok"
    Error = "error"
    Timeout = "timeout"


class RealtimePostgresChangesListenEvent(str, Enum):
    """The kinds of row changes; ``All`` listens to each of them."""

    All = "*"
    Insert = "INSERT"
    Update = "UPDATE"
    Delete = "DELETE"


class RealtimeHeartbeatStatus(str, Enum):
    """What the callback of ``on_heartbeat`` is told. Ours, with the texts of realtime-js."""

    SENT = "sent"
    OK = "ok"
    TIMEOUT = "timeout"
    ERROR = "error"
    DISCONNECTED = "disconnected"


class RealtimeConnectionState(str, Enum):
    """Where the client's socket stands. Ours, with the texts of realtime-js."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class RealtimeGapReason(str, Enum):
    """Why row changes may be missing. Ours."""

    TOO_OLD = "too_old"
    """The server does not keep what came after the client's last position."""
    INVALID = "invalid"
    """The server does not know the position (another project, say)."""
    NOT_REPLAYED = "not_replayed"
    """The connection was away and the server has no replay."""


@dataclass(slots=True, frozen=True)
class RealtimeGap:
    """Row changes may have been missed: read the tables again. Ours; see ``on_gap``."""

    reason: RealtimeGapReason
    message: str


class PostgresChangesColumn(TypedDict):
    """A column of a changed row."""

    name: str
    type: str


class PostgresChangesData(TypedDict):
    """A row change. ``position`` is there on servers with replay."""

    schema: str
    table: str
    commit_timestamp: str
    type: RealtimePostgresChangesListenEvent
    errors: str | list[str] | None
    columns: list[PostgresChangesColumn]
    record: NotRequired[dict[str, Any] | None]
    old_record: NotRequired[dict[str, Any]]
    position: NotRequired[str]


class PostgresChangesPayload(TypedDict):
    """What callbacks of ``on_postgres_changes`` get."""

    data: PostgresChangesData
    ids: list[int]


class BroadcastMeta(TypedDict, total=False):
    """What the server adds to broadcasts that come from the database."""

    replayed: bool
    id: str


class BroadcastPayload(TypedDict):
    """What callbacks of ``on_broadcast`` get. ``payload`` is ``bytes`` where the sender sent bytes (protocol 2.0.0)."""

    event: str
    payload: dict[str, Any]
    meta: NotRequired[BroadcastMeta]


@dataclass(frozen=True)
class BroadcastCallback:
    """A listener to broadcasts of one event, or of all (``*``); upper and lower case do not matter."""

    callback: Callable[[BroadcastPayload], Awaitable[None] | None]
    event: str

    def matches(self, payload: BroadcastPayload) -> bool:
        """Tell whether the listener wants this broadcast."""
        event = self.event.lower()
        return event == "*" or event == payload["event"].lower()

    def __call__(self, payload: BroadcastPayload) -> Awaitable[None] | None:
        return self.callback(payload) if self.matches(payload) else None


@dataclass
class PostgresChangesCallback:
    """A listener to row changes. ``id`` is what the server calls it, once joined; no schema means ``public``."""

    callback: Callable[[PostgresChangesPayload], Awaitable[None] | None]
    event: RealtimePostgresChangesListenEvent
    table: str | None
    schema: str | None
    filter: str | None
    select: list[str] | None = None
    id: int | None = None

    def __post_init__(self) -> None:
        self.schema = self.schema or "public"

    def matches(self, payload: PostgresChangesPayload) -> bool:
        """Tell whether the listener wants this change."""
        wanted = self.event in (RealtimePostgresChangesListenEvent.All, payload["data"]["type"])
        return wanted and bool(self.id) and self.id in payload["ids"]

    def __call__(self, payload: PostgresChangesPayload) -> Awaitable[None] | None:
        return self.callback(payload) if self.matches(payload) else None

    @property
    def binding_filter(self) -> dict[str, Any]:
        """What the join's payload says of this listener."""
        optional = {"table": self.table, "filter": self.filter, "select": self.select}
        return {"event": self.event, "schema": self.schema} | {key: value for key, value in optional.items() if value}


@with_config(ConfigDict(extra="allow"))
class Presence(TypedDict):
    """One presence: what was tracked, with the server's reference."""

    presence_ref: str


class PresenceEvents:
    """The names of the two presence events; kept for its name."""

    def __init__(self, state: str, diff: str) -> None:
        self.state = state
        self.diff = diff


class PresenceOpts:
    """Options of a presence; kept for its name."""

    def __init__(self, events: PresenceEvents) -> None:
        self.events = events


class ReplayOption(TypedDict, total=False):
    """Which stored broadcasts a private channel is sent when it joins: since when (ms since 1970), at most how many."""

    since: int
    limit: int


class RealtimeChannelBroadcastConfig(TypedDict, total=False):
    """How a channel broadcasts: confirmed by the server, also back to the sender, with a replay."""

    ack: bool
    self: bool
    replay: ReplayOption
    replication_ready: bool


class RealtimeChannelPresenceConfig(TypedDict, total=False):
    """How a channel takes part in presence: under which key (empty: the server gives one), and whether it listens."""

    key: str
    enabled: bool


class PostgresChangesOptions(TypedDict, total=False):
    """How row changes are replayed (Isobase): with positions, and from which on. Ours."""

    position: bool
    since: str


class RealtimeChannelConfig(TypedDict, total=False):
    """What a channel is joined with."""

    broadcast: RealtimeChannelBroadcastConfig | None
    presence: RealtimeChannelPresenceConfig | None
    private: bool
    postgres_changes_options: PostgresChangesOptions


class RealtimeChannelOptions(TypedDict):
    """The second argument of ``channel``."""

    config: NotRequired[RealtimeChannelConfig]


@with_config(ConfigDict(extra="allow"))
class PresenceMeta(TypedDict):
    """One presence as the server sends it."""

    phx_ref: NotRequired[str]
    phx_ref_prev: NotRequired[str]


class RawPresenceStateEntry(TypedDict):
    """The presences under one key, as the server sends them."""

    metas: list[PresenceMeta]


PresenceOnJoinCallback = Callable[[str, list[Any], list[Presence]], Awaitable[None] | None]
PresenceOnLeaveCallback = Callable[[str, list[Any], list[Presence]], Awaitable[None] | None]
RealtimePresenceState = dict[str, list[Presence]]
RawPresenceState = dict[str, RawPresenceStateEntry]


class RawPresenceDiff(TypedDict):
    """Who came and who left, as the server sends it."""

    joins: RawPresenceState
    leaves: RawPresenceState


class PresenceDiff(TypedDict):
    """Who came and who left."""

    joins: RealtimePresenceState
    leaves: RealtimePresenceState


class RealtimePresenceJoinPayload(TypedDict):
    """Somebody came."""

    event: Literal[RealtimePresenceListenEvents.JOIN]
    key: str
    current_presences: list[Presence]
    new_presences: list[Presence]


class RealtimePresenceLeavePayload(TypedDict):
    """Somebody left."""

    event: Literal[RealtimePresenceListenEvents.LEAVE]
    key: str
    current_presences: list[Presence]
    left_presences: list[Presence]


class WebSocketLike(Protocol):
    """What the client needs of a WebSocket; ``websockets``' own has it. Ours, for ``websocket_factory``."""

    async def send(self, message: str | bytes, /) -> None:
        """Send one text or binary message; raises once the socket is closed."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket."""
        ...

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Give the messages that come in, until the socket is closed."""
        ...


WebSocketFactory: TypeAlias = Callable[[str], Awaitable[WebSocketLike]]
"""Opens a socket to a URL."""

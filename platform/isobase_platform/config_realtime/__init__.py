"""The settings of realtime. A group that belongs to one feature has a module of its own in this package."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_realtime.changes import RowChangeSettings
from isobase_platform.config_realtime.cluster import ClusterSettings
from isobase_platform.config_realtime.rooms import RoomSettings

__all__ = ["RealtimeSettings"]


class RealtimeSettings(SettingsGroup):
    """Realtime (``/realtime/v1``): limits of one process, by default upstream's. Beyond each: docs/realtime.md."""

    enabled: bool = True
    """Whether the service is served at all."""
    publication: str = "supabase_realtime"
    """The publication whose tables' row changes are sent."""
    max_payload_bytes: int = Field(default=3_000_500, ge=1)
    """The payload of one broadcast or of one member's presence; a larger one is not sent."""
    max_channels_per_socket: int = Field(default=100, ge=1)
    """Channels that one socket may have joined; one more is refused."""
    max_events_per_s: int = Field(default=100, ge=1)
    """Broadcasts, each delivery counted, and requests to the HTTP endpoints, as averages of a minute."""
    max_presence_events_per_s: int = Field(default=1_000, ge=1)
    """Presence messages, each delivery counted, as an average of a minute; beyond it channels that use presence end."""
    max_presence_calls: int = Field(default=5, ge=1)
    """How often one channel may track and untrack within ``presence_window_s``; one more ends it."""
    presence_window_s: float = Field(default=30.0, gt=0)
    """The time in which `max_presence_calls` are counted, from the first one."""
    max_joins_per_s: int = Field(default=100, ge=1)
    """Joins as an average of a minute; beyond it they are refused and their sockets closed."""
    max_sockets: int = Field(default=200, ge=1)
    """Sockets that have joined a channel; twice as many may be open."""
    private_only: bool = False
    """Whether public channels are refused."""
    max_send_buffer_bytes: int = Field(default=16 * 1024 * 1024, ge=1)
    """What may wait for one socket that reads slowly, before it is closed with 1013."""
    drop_presence_above_bytes: int = Field(default=1024 * 1024, ge=1)
    """When more than this waits for a socket, it gets no differences of presence until it has caught up."""
    idle_timeout_s: int = Field(default=60, ge=1)
    """How long a socket may send nothing, not even a heartbeat, before it is closed."""
    error_backoff_s: float = Field(default=0.5, ge=0)
    """How long a refused join is held back, against storms of rejoining clients (upstream: 5 s)."""
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    changes: RowChangeSettings = Field(default_factory=RowChangeSettings)
    rooms: RoomSettings = Field(default_factory=RoomSettings)

"""The settings of realtime. A group that belongs to one feature has a module of its own in this package."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_realtime.changes import RowChangeSettings
from isobase_platform.config_realtime.cluster import ClusterSettings
from isobase_platform.config_realtime.rooms import RoomSettings

__all__ = ["RealtimeSettings"]


class RealtimeSettings(SettingsGroup):
    """Realtime (``/realtime/v1``); limits as contracts/realtime.md 1.14."""

    enabled: bool = True
    """Whether the service is served at all."""
    publication: str = "supabase_realtime"
    max_payload_bytes: int = 3_000_500
    max_channels_per_socket: int = 100
    max_events_per_s: int = 100
    max_presence_events_per_s: int = 1_000
    """Presence messages, each delivery counted, as an average of a minute; beyond it channels that use presence end."""
    max_presence_calls: int = 5
    """How often one channel may track and untrack within ``presence_window_s``; one more ends it."""
    presence_window_s: float = 30.0
    max_joins_per_s: int = 100
    max_sockets: int = 200
    """Sockets that have joined a channel; twice as many may be open."""
    private_only: bool = False
    """Whether public channels are refused."""
    max_send_buffer_bytes: int = 16 * 1024 * 1024
    """What may wait for one socket that reads slowly, before it is closed with 1013."""
    drop_presence_above_bytes: int = 1024 * 1024
    """When more than this waits for a socket, it gets no differences of presence until it has caught up."""
    idle_timeout_s: int = 60
    error_backoff_s: float = 0.5
    """How long a refused join is held back, against storms of rejoining clients (upstream: 5 s)."""
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    changes: RowChangeSettings = Field(default_factory=RowChangeSettings)
    rooms: RoomSettings = Field(default_factory=RoomSettings)

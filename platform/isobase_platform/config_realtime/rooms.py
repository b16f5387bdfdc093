"""The settings of rooms and of the simple face's sockets (``/realtime``)."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["RoomSettings"]


class RoomSettings(SettingsGroup):
    """Rooms and sockets of the simple face (``/realtime``)."""

    enabled: bool = True
    """Whether the simple face is served."""
    public: tuple[str, ...] = ("general",)
    """Public rooms that need not be made: each begins to exist when somebody first asks for it."""
    max_message_bytes: int = Field(default=16 * 1024, ge=1, le=256 * 1024)
    """The JSON of one message; a longer one is refused."""
    max_frame_bytes: int = Field(default=64 * 1024, ge=1024)
    """One frame of a client; a longer one is refused and the socket stays."""
    max_rooms_per_socket: int = Field(default=100, ge=1)
    """Rooms, channels and subscriptions of one socket together; `realtime.max_channels_per_socket` counts too."""
    max_actions_per_s: float = Field(default=20.0, gt=0)
    """Actions of one socket, over ten seconds; beyond it they are refused."""
    max_waiting_actions: int = Field(default=100, ge=1)
    """Actions of one socket that wait for their turn; beyond it they are refused."""
    history_limit: int = Field(default=50, ge=1, le=200)
    """Messages that one `history` gives when it names no number; the most is 200."""
    typing_ttl_s: float = Field(default=5.0, gt=0)
    """After what time somebody who went on typing without saying so counts as done."""
    sign_in_timeout_s: float = Field(default=10.0, gt=0)
    """How long a socket that was opened without a token may take to send one."""
    ping_interval_s: float = Field(default=25.0, gt=0)
    """How often a socket is sent `{"action":"ping"}`, so that no proxy takes it for idle."""

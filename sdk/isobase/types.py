"""Types of the composed client: the public names of ``supabase.types`` and what its own options take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from isobase.realtime.types import RealtimeHeartbeatStatus, WebSocketLike

__all__ = ["RealtimeClientOptions", "SessionInUrl", "TracePropagationOptions"]


class RealtimeClientOptions(TypedDict, total=False):
    """Arguments of the realtime client."""

    auto_reconnect: bool
    """Whether a lost connection is made anew, default True."""
    hb_interval: int
    """Seconds between heartbeats."""
    max_retries: int
    """How often a connection is tried again."""
    initial_backoff: float
    """Seconds before the first new try; doubled each time."""
    timeout: float
    """Seconds for opening a socket, and for replies."""
    connect_timeout: float
    """Seconds for one ``connect`` with all its attempts, in place of ``max_retries``."""
    access_token: Callable[[], Awaitable[str | None] | str | None]
    """Gives the token; a coroutine function with the async client only."""
    heartbeat_callback: Callable[[RealtimeHeartbeatStatus, float | None], None]
    """Hears of heartbeats."""
    reconnect_after: Callable[[int], float]
    """Gives the seconds before an attempt to come back, from the number of failures."""
    vsn: str
    """Version of the protocol, ``1.0.0`` or ``2.0.0``."""
    websocket_factory: Callable[[str], Awaitable[WebSocketLike]]
    """Opens the socket."""
    logger: Callable[[str, str, object], None]
    """Is given log lines: kind, message, data."""
    log_level: str
    """The least kind of lines for ``logger``."""
    disconnect_on_empty_channels_after: float
    """Seconds until the socket is closed once the last channel was removed."""
    headers: dict[str, str]
    """More headers of the handshake."""
    params: dict[str, str]
    """More query parameters of the socket's URL."""
    replay: bool
    """Whether row changes that were missed are asked for."""


class TracePropagationOptions(TypedDict, total=False):
    """How trace context is passed on; source: supabase-js's option of the same name."""

    enabled: bool
    """Whether the current span's context goes with every request to the client's own host, default False."""
    respect_sampling_decision: bool
    """Whether a trace that is not sampled stays out, default True."""


SessionInUrl = bool | Callable[[str, Mapping[str, str]], bool]
"""Whether a URL that ``auth.initialize(url=...)`` is given is looked at for a session: yes, no, or what a function of
the URL and its parameters says."""

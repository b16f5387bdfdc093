"""Types of the composed client: the public names of ``supabase.types`` and what its own options take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypedDict

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


class TracePropagationOptions(TypedDict, total=False):
    """How trace context is passed on; source: supabase-js's option of the same name."""

    enabled: bool
    """Whether the current span's context goes with every request to the client's own host, default False."""
    respect_sampling_decision: bool
    """Whether a trace that is not sampled stays out, default True."""


SessionInUrl = bool | Callable[[str, Mapping[str, str]], bool]
"""Whether a URL that ``auth.initialize(url=...)`` is given is looked at for a session: yes, no, or what a function of
the URL and its parameters says."""

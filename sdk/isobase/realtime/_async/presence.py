"""Presence under the async client's name."""

from __future__ import annotations

from isobase.realtime.presence import PresenceTracker

__all__ = ["AsyncRealtimePresence"]


class AsyncRealtimePresence(PresenceTracker):
    """Who is present on a channel; ``state`` maps keys to lists of presences."""

    def __init__(self) -> None:
        super().__init__()

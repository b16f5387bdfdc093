"""Presence under the sync client's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isobase.realtime.presence import PresenceTracker
from isobase.realtime.types import PresenceOpts

__all__ = ["SyncRealtimePresence"]


class SyncRealtimePresence(PresenceTracker):
    """Who is present on a channel.

    ``state`` maps keys to lists of presences. The arguments are upstream's and have no effect.
    """

    def __init__(self, channel: Any = None, opts: PresenceOpts | None = None) -> None:
        super().__init__()

    def _use(self, call: Callable[..., object]) -> None:
        self._call = call

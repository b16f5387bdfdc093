"""Realtime: channels with broadcast, presence and row changes, in the Phoenix protocol that Supabase's clients speak.

``edge`` (HTTP, sockets) -> ``session`` (connections, channels, policies) -> ``core`` (topics, presence, rates, outboxes) over
``wire`` (the two serialisations); ``changes`` turns PostgreSQL's write-ahead log into row changes under row-level security.
"""

from __future__ import annotations

from isobase_platform.runtime import Platform
from isobase_services.realtime.service import RealtimeService

__all__ = ["RealtimeService", "create_service"]


def create_service(platform: Platform) -> RealtimeService:
    """Realtime on ``platform``: ``/realtime/v1/websocket`` and ``/realtime/v1/api/broadcast``."""
    return RealtimeService(platform)

"""The settings of row changes: how long they are kept for those who come back, and the replication slot."""

from __future__ import annotations

from typing import Literal

from isobase_platform.config_group import SettingsGroup

__all__ = ["RowChangeSettings"]


class RowChangeSettings(SettingsGroup):
    """Row changes (``postgres_changes``) and their replication slot; see docs/realtime-changes.md."""

    retention_s: float = 300.0
    """How long a change is kept for clients and processes that missed it, and the slot after the last one who listened."""
    retention_bytes: int = 32 * 1024 * 1024
    """What the kept changes may take in each process's memory; beyond it the oldest go earlier."""
    slot: Literal["auto", "permanent", "temporary"] = "auto"
    """``permanent``: nothing is lost when the reading process or the server dies. ``temporary``: the slot goes with its
    session. ``auto``: permanent where the server has ``max_slot_wal_keep_size``."""
    max_lag_bytes: int = 1024 * 1024 * 1024
    """What a permanent slot may hold back of the server's log; beyond it, it is dropped and made anew."""

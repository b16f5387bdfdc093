"""The settings of row changes: how long they are kept for those who come back, and the replication slot."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["RowChangeSettings"]


class RowChangeSettings(SettingsGroup):
    """Row changes (``postgres_changes``) and their replication slot; see docs/realtime-changes.md."""

    retention_s: float = Field(default=300.0, ge=0)
    """How long a change is kept for clients and processes that missed it, and the slot after the last one who listened."""
    retention_bytes: int = Field(default=32 * 1024 * 1024, ge=0)
    """What the kept changes may take in each process's memory; beyond it the oldest go earlier."""
    slot: Literal["auto", "permanent", "temporary"] = "auto"
    """``permanent``: nothing is lost when the reading process or the server dies. ``temporary``: the slot goes with its
    session. ``auto``: permanent where the server has ``max_slot_wal_keep_size``."""
    max_lag_bytes: int = Field(default=1024 * 1024 * 1024, ge=1)
    """What a permanent slot may hold back of the server's log; beyond it, it is dropped and made anew."""

"""The settings of realtime that concern several processes: ``realtime.cluster``."""

from __future__ import annotations

from pydantic import Field, model_validator

from isobase_platform.config_group import SettingsGroup

__all__ = ["ClusterSettings"]


class ClusterSettings(SettingsGroup):
    """How realtime processes of one project know of each other and talk (docs/realtime-cluster.md)."""

    enabled: bool = True
    """Whether this process carries channels to the others; without it each serves its own sockets alone."""
    heartbeat_interval_s: float = Field(default=5.0, gt=0)
    """How often a process that has others beside it says that it lives."""
    dead_after_s: float = Field(default=16.0, gt=0)
    """How long another process may be silent before it is taken as dead, and its presence leaves."""
    max_queue_bytes: int = Field(default=16 * 1024 * 1024, ge=256 * 1024)
    """What may wait for the bus, for each kind of message; what comes beyond is dropped and counted."""

    max_presence_entries: int = Field(default=200_000, ge=0)
    """Tracked members of other processes that this one keeps; those beyond are not shown here."""

    @model_validator(mode="after")
    def _death_takes_beats(self) -> ClusterSettings:
        if self.dead_after_s < 2 * self.heartbeat_interval_s:
            raise ValueError("realtime.cluster.dead_after_s must be at least twice heartbeat_interval_s")
        return self

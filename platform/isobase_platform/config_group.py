"""What the groups of settings share. ``config`` puts them together; ``config_auth`` and ``config_rest`` hold such groups."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["SettingsGroup"]


class SettingsGroup(BaseModel):
    """What the groups of settings share: they never change, and know no names but their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

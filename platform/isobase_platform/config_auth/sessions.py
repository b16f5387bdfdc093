"""Settings of how long sessions last: ``[auth.sessions]`` of config.toml."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["SessionSettings"]


class SessionSettings(SettingsGroup):
    """When sessions end by themselves; without a value, never."""

    timebox_s: float | None = Field(default=None, gt=0)
    """How long after the sign-in."""
    inactivity_timeout_s: float | None = Field(default=None, gt=0)
    """How long after the last refresh."""
    low_aal_s: float | None = Field(default=None, gt=0)
    """How long after the sign-in where the user has a second factor and has not used it."""
    single_per_user: bool = False
    """Whether a newer session ends a user's older ones."""
    tags: tuple[str, ...] = ()
    """Session tags that `single_per_user` counts apart."""

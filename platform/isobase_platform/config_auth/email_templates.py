"""A project's own words for its mail: config.toml's ``[auth.email.notification.NAME]``."""

from __future__ import annotations

from isobase_platform.config_group import SettingsGroup

__all__ = ["NotificationSettings"]


class NotificationSettings(SettingsGroup):
    """One notice; it is sent only where it is enabled."""

    enabled: bool = False

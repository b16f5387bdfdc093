"""A project's own words for its mail: config.toml's ``[auth.email.template.NAME]`` and ``[auth.email.notification.NAME]``."""

from __future__ import annotations

from pathlib import Path

from isobase_platform.config_group import SettingsGroup

__all__ = ["NotificationSettings", "TemplateSettings"]


class TemplateSettings(SettingsGroup):
    """One template; what is None stays as it is by default."""

    subject: str | None = None
    """A template of its own, without HTML."""
    content_path: Path | None = None
    """The file with the HTML."""
    content_url: str | None = None
    """Where the HTML is fetched from, where no file is named; a path lies below `auth.site_url`."""


class NotificationSettings(TemplateSettings):
    """One notice; it is sent only where it is enabled."""

    enabled: bool = False

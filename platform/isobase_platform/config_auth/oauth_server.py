"""The settings of auth as an OAuth server for other programs: config.toml's ``[auth.oauth_server]``."""

from __future__ import annotations

from isobase_platform.config_group import SettingsGroup

__all__ = ["OAuthServerSettings"]


class OAuthServerSettings(SettingsGroup):
    """Auth as an OAuth server for other programs; names as config.toml's [auth.oauth_server]."""

    enabled: bool = False
    """Whether there are OAuth clients at all; their routes answer 404 ``feature_disabled`` otherwise."""
    allow_dynamic_registration: bool = False
    """Whether a program may register itself as a client."""

"""The settings of auth as an OAuth server for other programs: config.toml's ``[auth.oauth_server]``."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["OAuthServerSettings"]


class OAuthServerSettings(SettingsGroup):
    """Auth as an OAuth server for other programs; names as config.toml's [auth.oauth_server]."""

    enabled: bool = False
    """Whether there are OAuth clients at all; their routes answer 404 ``feature_disabled`` otherwise."""
    allow_dynamic_registration: bool = False
    """Whether a program may register itself as a client."""
    authorization_url_path: str = "/oauth/consent"
    """The page of the site (below `auth.site_url`) that asks users for their consent; it gets `authorization_id`."""
    authorization_ttl_s: float = Field(default=600, gt=0)
    """How long a program's request can be answered, and its code exchanged."""
    default_scope: str = "email"
    """What a program asks for that names no scope; several are separated by blanks."""

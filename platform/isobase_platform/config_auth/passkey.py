"""Passkeys and who asks for them: config.toml's ``[auth.passkey]`` and ``[auth.webauthn]``. Contracts auth section 1."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["PasskeySettings", "WebAuthnSettings"]


class PasskeySettings(SettingsGroup):
    """Passkeys."""

    enabled: bool = False
    """Whether users can sign in with a passkey alone."""
    max_passkeys_per_user: int = Field(default=10, ge=0)


class WebAuthnSettings(SettingsGroup):
    """The relying party of passkeys and WebAuthn factors. What is not set follows from ``auth.site_url``."""

    rp_id: str | None = None
    """The domain that credentials are bound to; by default the host of ``auth.site_url``."""
    rp_display_name: str | None = None
    """What an authenticator shows; by default the ``rp_id``."""
    rp_origins: tuple[str, ...] = ()
    """The pages that may ask, such as ``https://app.example.com``; by default the origin of ``auth.site_url``."""
    challenge_expiry_s: int = Field(default=300, ge=1)
    """How long a passkey challenge can be answered."""

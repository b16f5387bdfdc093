"""Settings of auth's rate limits: ``[auth.rate_limit]`` of config.toml and its like."""

from __future__ import annotations

from pydantic import Field, field_validator

from isobase_platform.config_group import SettingsGroup
from isobase_platform.networks import Networks

__all__ = ["RateLimitSettings"]


class RateLimitSettings(SettingsGroup):
    """Rate limits of auth, per client address where nothing else is said; 0 means never."""

    email_sent: int = Field(default=30, ge=0)
    """Mails per hour of the whole server; counted where they leave it, not for the local mailbox."""
    sms_sent: int = Field(default=30, ge=0)
    """Text messages per hour of the whole server."""
    anonymous_users: int = Field(default=30, ge=0)
    """Anonymous sign-ups per hour."""
    sign_in_sign_ups: int = Field(default=30, ge=0)
    """Per 5 minutes, each of: sign-ups, OTPs, magic links, recoveries, resends, changes of one's own user."""
    token_refresh: int = Field(default=150, ge=0)
    """Calls of `/token` with any grant but web3 per 5 minutes."""
    token_verifications: int = Field(default=30, ge=0)
    """Calls of `/verify` per 5 minutes."""
    web3: int = Field(default=30, ge=0)
    """Sign-ins by web3 wallet per 5 minutes."""
    passkey: int = Field(default=30, ge=0)
    """Passkey sign-ins begun per 5 minutes."""
    dynamic_client_registration: int = Field(default=10, ge=0)
    """OAuth clients that register themselves per 5 minutes."""
    mfa: int = Field(default=15, ge=0)
    """Challenges of a second factor per minute, and as many verifications."""
    burst: int = Field(default=30, ge=1)
    """How many requests may come at once before the rate counts (anonymous sign-ups: as many as their rate)."""
    unlimited_addresses: tuple[str, ...] | None = None
    """Networks whose addresses are not limited; default: this machine itself, as on upstream's local stack, and none in
    production."""

    @field_validator("unlimited_addresses")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        Networks(value or ())
        return value

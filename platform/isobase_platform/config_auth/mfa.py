"""Second factors: config.toml's ``[auth.mfa]``. Defaults: supabase/auth internal/conf; contracts auth 2.16."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["MfaPhoneSettings", "MfaSettings", "MfaTotpSettings", "MfaWebAuthnSettings"]


class MfaTotpSettings(SettingsGroup):
    """Authenticator apps as a second factor."""

    enroll_enabled: bool = True
    """Whether users can add one."""
    verify_enabled: bool = True
    """Whether it can be used."""


class MfaPhoneSettings(SettingsGroup):
    """Codes by SMS as a second factor."""

    enroll_enabled: bool = False
    """Whether users can add one."""
    verify_enabled: bool = False
    """Whether it can be used."""
    otp_length: int = Field(default=6, ge=6, le=10)
    """Digits of a code."""
    template: str = "Your code is {{ .Code }}"
    """Text of the message."""
    max_frequency_s: float = Field(default=60, ge=0)
    """Least time between two codes to one factor."""


class MfaWebAuthnSettings(SettingsGroup):
    """Security keys and devices (WebAuthn) as a second factor."""

    enroll_enabled: bool = False
    """Whether users can add one."""
    verify_enabled: bool = False
    """Whether it can be used."""


class MfaSettings(SettingsGroup):
    """Second factors."""

    max_enrolled_factors: int = Field(default=10, ge=0)
    """Factors of one user, verified or not."""
    max_verified_factors: int = Field(default=10, ge=0)
    """Verified factors of one user."""
    challenge_expiry_s: int = Field(default=300, ge=1)
    """How long a challenge can be answered."""
    factor_expiry_s: int = Field(default=300, ge=1)
    """How long an enrolled factor that was never challenged is kept."""
    totp: MfaTotpSettings = MfaTotpSettings()
    phone: MfaPhoneSettings = MfaPhoneSettings()
    web_authn: MfaWebAuthnSettings = MfaWebAuthnSettings()

"""Codes and links that auth sends: how long, how often, for how long. Bases of the groups ``auth.email`` and ``auth.sms``."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["EmailCodeSettings", "EmailLinkSettings", "SmsCodeSettings"]


class EmailLinkSettings(SettingsGroup):
    """Where the links in mail lead: a path or URL, resolved against the URL of auth; by default its ``verify`` route."""

    confirmation: str | None = None
    """For mail that confirms a sign-up."""
    invite: str | None = None
    recovery: str | None = None
    """For magic links and password recovery."""
    email_change: str | None = None


class EmailCodeSettings(SettingsGroup):
    """Codes by e-mail; names as config.toml's ``[auth.email]``."""

    otp_length: int = Field(default=6, ge=6, le=10)
    """Digits of a code."""
    otp_expiry_s: int = Field(default=3600, ge=1, le=86_400)
    """How long codes and links are good, counted from when they were sent."""
    max_frequency_s: float = Field(default=1.0, ge=0)
    """Least time between two mails of one kind to one user."""
    double_confirm_changes: bool = True
    """Whether a change of e-mail must be confirmed by both addresses, the old one and the new one."""
    secure_password_change: bool = False
    """Whether changing the password takes a code by mail when the session is older than a day."""
    magic_link_enabled: bool = True
    links: EmailLinkSettings = EmailLinkSettings()
    """Other places for links to lead to than auth's own route."""


class SmsCodeSettings(SettingsGroup):
    """Codes by text message; names as config.toml's ``[auth.sms]``."""

    otp_length: int = Field(default=6, ge=6, le=10)
    """Digits of a code."""
    otp_expiry_s: int = Field(default=6000, ge=1, le=86_400)
    """How long codes are good, counted from when they were sent; the default is the Supabase command line's."""
    max_frequency_s: float = Field(default=5.0, ge=0)
    """Least time between two text messages of one kind to one user."""

"""Settings of the CAPTCHA check: ``[auth.captcha]`` of config.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from isobase_platform.config_group import SettingsGroup

__all__ = ["CaptchaSettings"]


class CaptchaSettings(SettingsGroup):
    """CAPTCHA before sign-ups, sign-ins with a password and whatever sends a message."""

    enabled: bool = False
    provider: Literal["hcaptcha", "turnstile"] = "hcaptcha"
    secret: SecretStr = SecretStr("")
    verify_url: str | None = None
    """Where tokens are verified; default the provider's own address."""
    timeout_s: float = Field(default=9.0, gt=0)
    """How long the provider may take to answer."""

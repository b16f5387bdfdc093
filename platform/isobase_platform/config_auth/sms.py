"""Text messages of auth. Names as config.toml's ``[auth.sms]``."""

from __future__ import annotations

from isobase_platform.config_auth.codes import SmsCodeSettings

__all__ = ["SmsSettings"]


class SmsSettings(SmsCodeSettings):
    """Text messages of auth (``[auth.sms]``)."""

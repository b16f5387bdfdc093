"""Text messages of auth. Names as config.toml's ``[auth.sms]``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from isobase_platform.config_auth.codes import SmsCodeSettings
from isobase_platform.config_auth.sms_providers import (
    MessagebirdSettings,
    TextlocalSettings,
    TwilioSettings,
    TwilioVerifySettings,
    VonageSettings,
)

__all__ = ["SmsSettings"]


class SmsSettings(SmsCodeSettings):
    """Text messages of auth (``[auth.sms]``); of the providers the first that is enabled sends them."""

    template: str = "Your code is {{ .Code }}"
    """The text of a message, in Go's template language."""
    test_otp: Mapping[str, str] = Field(default_factory=dict)
    """Codes for phone numbers to which nothing is ever sent, by number without a plus: for tests and reviewers of apps."""
    test_otp_valid_until: datetime | None = None
    """From then on these codes are good for nothing; without a zone it is UTC."""
    timeout_s: float = Field(default=10.0, gt=0)
    """How long a provider may take to answer."""
    twilio: TwilioSettings = TwilioSettings()
    twilio_verify: TwilioVerifySettings = TwilioVerifySettings()
    messagebird: MessagebirdSettings = MessagebirdSettings()
    textlocal: TextlocalSettings = TextlocalSettings()
    vonage: VonageSettings = VonageSettings()

"""Providers of text messages. Names as config.toml's ``[auth.sms.twilio]`` and its siblings."""

from __future__ import annotations

from pydantic import SecretStr

from isobase_platform.config_group import SettingsGroup

__all__ = ["MessagebirdSettings", "TextlocalSettings", "TwilioSettings", "TwilioVerifySettings", "VonageSettings"]


class TwilioSettings(SettingsGroup):
    """Text messages through Twilio (``[auth.sms.twilio]``)."""

    enabled: bool = False
    account_sid: str = ""
    message_service_sid: str = ""
    """A messaging service, or the number that messages come from."""
    auth_token: SecretStr = SecretStr("")
    content_sid: str = ""
    """WhatsApp only: the template whose first variable is the code."""
    api_url: str = "https://api.twilio.com"


class TwilioVerifySettings(SettingsGroup):
    """Text messages through Twilio Verify, which makes and checks the codes itself (``[auth.sms.twilio_verify]``)."""

    enabled: bool = False
    account_sid: str = ""
    message_service_sid: str = ""
    """The Verify service."""
    auth_token: SecretStr = SecretStr("")
    api_url: str = "https://verify.twilio.com"


class MessagebirdSettings(SettingsGroup):
    """Text messages through MessageBird (``[auth.sms.messagebird]``)."""

    enabled: bool = False
    originator: str = ""
    access_key: SecretStr = SecretStr("")
    api_url: str = "https://rest.messagebird.com"


class TextlocalSettings(SettingsGroup):
    """Text messages through Textlocal (``[auth.sms.textlocal]``)."""

    enabled: bool = False
    sender: str = ""
    api_key: SecretStr = SecretStr("")
    api_url: str = "https://api.textlocal.in"


class VonageSettings(SettingsGroup):
    """Text messages through Vonage (``[auth.sms.vonage]``)."""

    enabled: bool = False
    sender: str = ""
    """config.toml's `from`."""
    api_key: str = ""
    api_secret: SecretStr = SecretStr("")
    api_url: str = "https://rest.nexmo.com"

"""Providers of text messages; ``provider_of`` makes the one that is enabled."""

from __future__ import annotations

from typing import TypeVar

from pydantic import SecretStr

from isobase_platform.config_auth.sms import SmsSettings
from isobase_platform.config_group import SettingsGroup
from isobase_platform.errors import ConfigurationError
from isobase_services.auth.messages.sms.others import Messagebird, Textlocal, Vonage
from isobase_services.auth.messages.sms.provider import SmsProvider
from isobase_services.auth.messages.sms.twilio import Twilio, TwilioVerify

__all__ = ["SmsProvider", "provider_name", "provider_of"]

Group = TypeVar("Group", bound=SettingsGroup)

_OPTIONAL = frozenset({"content_sid"})


def provider_of(settings: SmsSettings) -> SmsProvider | None:
    """The first provider that is enabled, or None. Raises ``ConfigurationError`` where something of it is missing."""
    timeout_s = settings.timeout_s
    if settings.twilio.enabled:
        return Twilio(_complete("twilio", settings.twilio), timeout_s=timeout_s)
    if settings.twilio_verify.enabled:
        return TwilioVerify(_complete("twilio_verify", settings.twilio_verify), timeout_s=timeout_s)
    if settings.messagebird.enabled:
        return Messagebird(_complete("messagebird", settings.messagebird), timeout_s=timeout_s)
    if settings.textlocal.enabled:
        return Textlocal(_complete("textlocal", settings.textlocal), timeout_s=timeout_s)
    if settings.vonage.enabled:
        return Vonage(_complete("vonage", settings.vonage), timeout_s=timeout_s)
    return None


def provider_name(settings: SmsSettings) -> str:
    """The name of the first provider that is enabled, as in config.toml; empty where none is."""
    enabled = {
        "twilio": settings.twilio.enabled,
        "twilio_verify": settings.twilio_verify.enabled,
        "messagebird": settings.messagebird.enabled,
        "textlocal": settings.textlocal.enabled,
        "vonage": settings.vonage.enabled,
    }
    return next((name for name, is_enabled in enabled.items() if is_enabled), "")


def _complete(name: str, group: Group) -> Group:
    for key, value in group:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text == "" and key not in _OPTIONAL:
            raise ConfigurationError(f"auth.sms.{name}.{key} is missing")
    return group

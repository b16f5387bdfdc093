"""Text messages where no hook takes them: worded by the template, sent by the provider; test codes are never sent.

Source: supabase/auth internal/api/phone.go.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from isobase_platform.errors import ConfigurationError
from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.messages.model import SendFailed, SmsDelivery, SmsMessage
from isobase_services.auth.rules import trim_phone

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings
    from isobase_services.auth.messages.sms import SmsProvider
    from isobase_services.auth.messages.templates import CompiledTemplate

__all__ = ["TEST_MESSAGE_ID", "TestCodes", "TextDelivery", "TextRules", "UnsentTests"]

TEST_MESSAGE_ID = "test-otp"
MAX_TEMPLATES = 8
DEFAULT_TEMPLATE = "Your code is {{ .Code }}"

_log = logging.getLogger("isobase.auth.messages")


class TestCodes:
    """The codes of ``auth.sms.test_otp``."""

    __test__ = False  # pytest: it is no test

    def __init__(self, codes: Mapping[str, str], valid_until: datetime | None) -> None:
        self._codes = {trim_phone(phone): code for phone, code in codes.items()}
        is_naive = valid_until is not None and valid_until.tzinfo is None
        self._valid_until = valid_until.replace(tzinfo=UTC) if valid_until is not None and is_naive else valid_until

    def of(self, phone: str) -> str | None:
        """The code that stands for ``phone`` (digits without a plus) now, or None."""
        if self._valid_until is not None and datetime.now(UTC) >= self._valid_until:
            return None
        return self._codes.get(phone)


class TextRules:
    """What flows ask about text messages before they make a code. ``has_hook``: a project's hook sends them."""

    def __init__(
        self, codes: TestCodes | None = None, provider: SmsProvider | None = None, *, has_hook: bool = False
    ) -> None:
        self._codes = codes or TestCodes({}, None)
        self._provider = provider
        self._has_hook = has_hook

    def test_code(self, phone: str) -> str | None:
        """The code of ``auth.sms.test_otp`` for ``phone``, which is not sent; None for every other number."""
        return self._codes.of(phone)

    def takes_channel(self, channel: str) -> bool:
        """Whether a caller may ask for ``channel``: SMS always, WhatsApp where provider or hook take it.

        Upstream lets any word through to a hook, which is not told of it.
        """
        if channel == "whatsapp":
            return self._has_hook or (self._provider is not None and channel in self._provider.channels)
        return channel == "sms"

    @property
    def checks_codes(self) -> bool:
        """Whether the provider makes codes of its own, so that ``check_code`` decides and not what is stored."""
        return self._provider is not None and self._provider.checks_codes

    async def check_code(self, phone: str, code: str) -> bool:
        """Whether ``code`` is the one that the provider sent. One that is out of reach has confirmed nothing: False."""
        if self._provider is None:
            return False
        try:
            return await self._provider.check(phone, code)
        except SendFailed as failure:
            _log.error("a code could not be checked", extra={"reason": str(failure)})
            return False


class UnsentTests:
    """Lets messages with a test code end here, and hands the others on."""

    def __init__(self, codes: TestCodes, delivery: SmsDelivery) -> None:
        self._codes = codes
        self._delivery = delivery

    async def deliver(self, message: SmsMessage) -> str:
        """See ``SmsDelivery``."""
        if message.code == self._codes.of(message.phone):
            return TEST_MESSAGE_ID
        return await self._delivery.deliver(message)

    async def close(self) -> None:
        """See ``SmsDelivery``."""
        await self._delivery.close()


class TextDelivery:
    """Words and sends. ``provider`` None: there is none, and ``problem`` says why where one was asked for.

    ``is_told``: the log has it already.
    """

    def __init__(
        self, provider: SmsProvider | None, template: str, *, problem: str = "", is_told: bool = False
    ) -> None:
        self._provider = provider
        self._template = template
        self._problem = problem or "no SMS provider is enabled"
        self._is_told = is_told

    @classmethod
    def of(cls, settings: AuthSettings) -> Self:
        """As the settings ask for. Raises ``ConfigurationError`` for a template that cannot be used.

        A provider with something missing is no reason not to start: as upstream, sending fails.
        """
        sms = settings.sms
        for key, template in (
            ("auth.sms.template", sms.template),
            ("auth.mfa.phone.template", settings.mfa.phone.template),
        ):
            if template != DEFAULT_TEMPLATE:  # what needs no look needs no translator loaded at start
                _checked(key, template)
        if not any(one.enabled for one in (sms.twilio, sms.twilio_verify, sms.messagebird, sms.textlocal, sms.vonage)):
            return cls(None, sms.template)
        from isobase_services.auth.messages.sms import provider_of

        try:
            return cls(provider_of(sms), sms.template)
        except ConfigurationError as error:
            _log.warning("text messages cannot be sent", extra={"reason": error.message})
            return cls(None, sms.template, problem=error.message, is_told=True)

    @property
    def provider(self) -> SmsProvider | None:
        """Who sends."""
        return self._provider

    async def deliver(self, message: SmsMessage) -> str:
        """See ``SmsDelivery``."""
        if self._provider is None:
            if not self._is_told:
                self._is_told = True
                _log.error("text messages cannot be sent", extra={"reason": self._problem})
            raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Unable to get SMS provider")
        if message.channel not in self._provider.channels:
            told = f'channel type "{message.channel}" is not supported'
            raise SendFailed("the SMS provider does not know the channel", is_permanent=True, told=told)
        text = _compiled(message.template or self._template).render({"Code": message.code})
        return await self._provider.send(message.phone, text, message.channel, message.code)

    async def close(self) -> None:
        """See ``SmsDelivery``."""
        if self._provider is not None:
            await self._provider.close()


def _checked(key: str, template: str) -> None:
    from isobase_services.auth.messages.templates import TemplateError

    try:
        _compiled(template)
    except TemplateError as error:
        raise ConfigurationError(f"{key}, {error}") from error


@lru_cache(maxsize=MAX_TEMPLATES)
def _compiled(template: str) -> CompiledTemplate:
    from isobase_services.auth.messages.templates import compile_template

    return compile_template(template, is_html=False)

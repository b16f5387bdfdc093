"""``Messages``: the one way by which flows send mail and text messages.

Flows hand a message over AFTER their transaction was committed. Where the caller must not learn whether an address is known
(signup, otp, magiclink, recover, resend) they ``post`` it; where the caller is signed in they await ``send_email`` or
``send_sms``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from isobase_services.auth.errors import AuthError, ErrorCode, unprocessable
from isobase_services.auth.hooks.outgoing import EmailHook, SmsHook
from isobase_services.auth.messages.counted import CountedEmail, CountedSms
from isobase_services.auth.messages.delivery import MailDelivery
from isobase_services.auth.messages.model import (
    EmailDelivery,
    EmailKind,
    EmailMessage,
    Message,
    SendFailed,
    SmsDelivery,
    SmsMessage,
)
from isobase_services.auth.messages.outbox import OnFailure, Outbox
from isobase_services.auth.messages.texts import TestCodes, TextDelivery, TextRules, UnsentTests

if TYPE_CHECKING:
    from isobase_platform.config import Settings
    from isobase_platform.runtime import Platform
    from isobase_services.auth.hooks import Hooks
    from isobase_services.auth.limits import Limits
    from isobase_services.auth.models import User

__all__ = ["Messages"]

_WORDS = {
    EmailKind.SIGNUP: "confirmation email",
    EmailKind.MAGICLINK: "magic link email",
    EmailKind.EMAIL_CHANGE: "email change email",
}

_log = logging.getLogger("isobase.auth.messages")


class Messages:
    """Sends messages. ``notices``: the kinds of notice that the project switched on; ``texts``: rules of text messages."""

    def __init__(
        self,
        email: EmailDelivery,
        sms: SmsDelivery,
        outbox: Outbox,
        *,
        notices: frozenset[EmailKind] = frozenset(),
        texts: TextRules | None = None,
    ) -> None:
        self.texts = texts or TextRules()
        self._email = email
        self._sms = sms
        self._outbox = outbox
        self._notices = notices

    @classmethod
    def of(cls, platform: Platform, hooks: Hooks, limits: Limits) -> Self:
        """Build what the settings ask for; a project's hook takes the place of a sender.

        Raises ``ConfigurationError`` for a template that cannot be used.
        """
        settings = platform.settings
        enabled = {name for name, notice in settings.auth.email.notification.items() if notice.enabled}
        sms, texts = _sms_delivery(settings, hooks, limits)
        return cls(
            _email_delivery(settings, hooks, limits),
            sms,
            Outbox(platform.metrics.messages),
            texts=texts,
            notices=frozenset(kind for kind in EmailKind if kind.is_notice and kind.template in enabled),
        )

    @property
    def counts_mail(self) -> bool:
        """Whether mail leaves the server and is limited by the hour."""
        return isinstance(self._email, CountedEmail) and self._email.is_counted

    async def send_email(self, message: EmailMessage) -> None:
        """Send a mail and wait until it was accepted. Raises 500 "Error sending ... email" as upstream does."""
        try:
            await self._email.deliver(message)
        except SendFailed as failure:
            if not failure.is_known:
                _log.error("a message could not be sent", extra={"kind": message.kind.value, "reason": str(failure)})
            what = _WORDS.get(message.kind, f"{message.kind.value.replace('_', ' ')} email")
            raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, f"Error sending {what}") from failure

    async def send_sms(self, message: SmsMessage) -> str:
        """Send a text message and return the provider's id of it.

        Raises 422 sms_send_failed with the provider's words, 500 where no provider is configured.
        """
        try:
            return await self._sms.deliver(message)
        except SendFailed as failure:
            raise unprocessable(
                ErrorCode.SMS_SEND_FAILED, f"Error sending {message.kind.value} OTP to provider: {failure.told}"
            ) from failure

    def post(self, message: Message, on_failure: OnFailure | None = None) -> None:
        """Send in the background; never raises and does not wait.

        ``on_failure`` is awaited when every try failed: it takes back what a new request would have to wait for
        (``*_sent_at``).
        """
        kind = message.kind.value
        if isinstance(message, EmailMessage):
            self._outbox.post("email", kind, lambda: self._email.deliver(message), on_failure)
        else:
            self._outbox.post("sms", kind, lambda: self._sms.deliver(message), on_failure)

    def notice(
        self,
        kind: EmailKind,
        user: User,
        *,
        address: str | None = None,
        old_email: str = "",
        old_phone: str = "",
        provider: str = "",
        factor_type: str = "",
    ) -> None:
        """Tell a user, in the background, what was done to their account; nothing where the notice is switched off.

        ``user`` as they are after the change. ``address``: where it goes, by default the user's e-mail (for
        ``EMAIL_CHANGED`` the old one, so that who lost the account learns of it); nothing is sent where there is none.
        """
        to = address or (old_email if kind is EmailKind.EMAIL_CHANGED else user.email)
        if kind in self._notices and to:
            self.post(
                EmailMessage(
                    kind=kind,
                    user=user,
                    address=to,
                    old_email=old_email,
                    old_phone=old_phone,
                    provider=provider,
                    factor_type=factor_type,
                )
            )

    async def close(self, timeout_s: float) -> None:
        """Let what waits leave within ``timeout_s`` seconds, then close connections."""
        await self._outbox.close(timeout_s)
        await self._email.close()
        await self._sms.close()


def _email_delivery(settings: Settings, hooks: Hooks, limits: Limits) -> EmailDelivery:
    if hooks.is_enabled("send_email"):
        return CountedEmail(EmailHook(hooks, settings.auth_url), limits, settings.auth)
    delivery = MailDelivery.of(settings)
    # What stays in the house needs no limit, and a developer would only be surprised by one.
    return delivery if delivery.is_local else CountedEmail(delivery, limits, settings.auth)


def _sms_delivery(settings: Settings, hooks: Hooks, limits: Limits) -> tuple[SmsDelivery, TextRules]:
    sms = settings.auth.sms
    codes = TestCodes(sms.test_otp, sms.test_otp_valid_until)
    if hooks.is_enabled("send_sms"):
        delivery: SmsDelivery = SmsHook(hooks)
        rules = TextRules(codes, has_hook=True)
    else:
        text = TextDelivery.of(settings.auth)
        delivery, rules = text, TextRules(codes, text.provider)
    return UnsentTests(codes, CountedSms(delivery, limits, settings.auth)), rules

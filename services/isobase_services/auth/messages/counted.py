"""Counting what leaves the server: a delivery in front of another that keeps to the hour's number.

Source: contracts auth 2.12; supabase/auth internal/api/mail.go and phone.go: nothing is counted while addresses need no
confirmation, and a number of zero refuses all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings
    from isobase_services.auth.limits import Limits
    from isobase_services.auth.messages.model import EmailDelivery, EmailMessage, SmsDelivery, SmsMessage

__all__ = ["CountedEmail", "CountedSms"]


class CountedEmail:
    """Counts mails; ``deliver`` raises 429 over_email_send_rate_limit beyond the hour's number."""

    def __init__(self, delivery: EmailDelivery, limits: Limits, settings: AuthSettings) -> None:
        self._delivery = delivery
        self._limits = limits
        self.is_counted = settings.email_enable_confirmations or not settings.rate_limit.email_sent

    async def deliver(self, message: EmailMessage) -> None:
        """See ``EmailDelivery``. Both mails of a secure change of e-mail count as one, as upstream."""
        if self.is_counted:
            await self._limits.check_email_sent()
        await self._delivery.deliver(message)

    async def close(self) -> None:
        """See ``EmailDelivery``."""
        await self._delivery.close()


class CountedSms:
    """Counts text messages; ``deliver`` raises 429 over_sms_send_rate_limit beyond the hour's number."""

    def __init__(self, delivery: SmsDelivery, limits: Limits, settings: AuthSettings) -> None:
        self._delivery = delivery
        self._limits = limits
        self._is_counted = settings.phone_enable_confirmations or not settings.rate_limit.sms_sent

    async def deliver(self, message: SmsMessage) -> str:
        """See ``SmsDelivery``."""
        if self._is_counted:
            await self._limits.check_sms_sent()
        return await self._delivery.deliver(message)

    async def close(self) -> None:
        """See ``SmsDelivery``."""
        await self._delivery.close()

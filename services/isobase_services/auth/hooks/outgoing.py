"""The hooks that take messages in the place of mail servers and SMS providers; each is a delivery for ``core.messages``.

Source of the inputs: supabase/auth internal/mailer (EmailData) and internal/hooks/v0hooks; contracts auth 2.19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.auth.messages.model import EmailKind, SmsKind
from isobase_services.auth.models import JsonObject
from isobase_services.auth.user_json import user_body

if TYPE_CHECKING:
    from isobase_services.auth.hooks import Hooks
    from isobase_services.auth.messages.model import EmailMessage, SmsMessage

__all__ = ["EmailHook", "SmsHook", "email_data"]


class EmailHook:
    """Hands mail to the hook ``send_email``. ``site_url``: the URL of auth, which is what upstream calls ``site_url``."""

    def __init__(self, hooks: Hooks, site_url: str) -> None:
        self._hooks = hooks
        self._site_url = site_url

    async def deliver(self, message: EmailMessage) -> None:
        """Call the hook, once for both mails of a secure change of e-mail. Raises the hook's ``AuthError``."""
        given = {"user": user_body(message.user), "email_data": email_data(message, self._site_url)}
        await self._hooks.run("send_email", given, message.facts)

    async def close(self) -> None:
        """Nothing is kept open here."""


class SmsHook:
    """Hands text messages to the hook ``send_sms``."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def deliver(self, message: SmsMessage) -> str:
        """Call the hook; there is no message id. Raises the hook's ``AuthError``."""
        sms = {"otp": message.code, "phone": message.phone}
        if message.kind is SmsKind.FACTOR:
            sms["sms_type"] = "mfa"
        await self._hooks.run("send_sms", {"user": user_body(message.user), "sms": sms}, message.facts)
        return ""

    async def close(self) -> None:
        """Nothing is kept open here."""


def email_data(message: EmailMessage, site_url: str) -> JsonObject:
    """``email_data`` of a hook's input.

    Of a secure change of e-mail ``token`` is the code sent to the current address and ``token_hash`` the hash of the one sent
    to the new address; with ``token_new`` and ``token_hash_new`` it is the other way round. Receivers rely on this.
    """
    data = {
        "token": message.code,
        "token_hash": message.token_hash,
        "redirect_to": message.redirect_to,
        "email_action_type": message.kind.value,
        "site_url": site_url,
        "token_new": "",
        "token_hash_new": "",
        "old_email": message.old_email,
        "old_phone": message.old_phone,
        "provider": message.provider,
        "factor_type": message.factor_type,
    }
    current = message.to_current
    if message.kind is EmailKind.EMAIL_CHANGE and current is not None:
        data |= {"token": current.code, "token_new": message.code, "token_hash_new": current.token_hash}
    return data

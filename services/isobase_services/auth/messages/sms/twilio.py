"""Twilio: programmable messages (SMS and WhatsApp), and Verify, which makes and checks codes itself.

Source: Twilio's Messages resource and Verify v2 API; supabase/auth internal/api/sms_provider/twilio.go, twilio_verify.go.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from isobase_services.auth.messages.model import Channel
from isobase_services.auth.messages.sms.provider import Answer, HttpApi

if TYPE_CHECKING:
    from isobase_platform.config_auth.sms_providers import TwilioSettings, TwilioVerifySettings

__all__ = ["Twilio", "TwilioVerify"]

_NUMBER = re.compile(r"\+?[1-9][0-9 ]{1,14}")
_BOTH: frozenset[Channel] = frozenset({"sms", "whatsapp"})


class Twilio:
    """Sends messages that auth words."""

    channels = _BOTH
    checks_codes = False

    def __init__(self, settings: TwilioSettings, *, timeout_s: float) -> None:
        self._sender = settings.message_service_sid
        self._content_sid = settings.content_sid
        self._path = f"/2010-04-01/Accounts/{quote(settings.account_sid, safe='')}/Messages.json"
        login = (settings.account_sid, settings.auth_token.get_secret_value())
        self._api = HttpApi(settings.api_url, timeout_s=timeout_s, login=login)

    async def send(self, phone: str, text: str, channel: Channel, code: str) -> str:
        """See ``SmsProvider``."""
        answer = await self._api.post(self._path, self._form(phone, text, channel, code))
        if answer.is_error:
            raise answer.failure(_words(answer))
        if answer.text("status") in {"failed", "undelivered"}:
            told = f"{answer.text('error_message')} {answer.text('error_code')} for message {answer.text('sid')}"
            raise answer.failure(f"twilio error: {told}")
        return answer.text("sid")

    def _form(self, phone: str, text: str, channel: Channel, code: str) -> dict[str, str]:
        if channel == "sms":
            return {"To": f"+{phone}", "Channel": channel, "From": self._sender, "Body": text}
        sender = f"whatsapp:{self._sender}" if _NUMBER.fullmatch(self._sender) else self._sender
        form = {"To": f"whatsapp:+{phone}", "Channel": channel, "From": sender}
        if self._content_sid:
            return {**form, "ContentSid": self._content_sid, "ContentVariables": json.dumps({"1": code})}
        return {**form, "Body": text}

    async def check(self, phone: str, code: str) -> bool:
        """Never: the codes are auth's own."""
        return False

    async def close(self) -> None:
        """See ``SmsProvider``."""
        await self._api.close()


class TwilioVerify:
    """Has Twilio make, send and check codes; auth's own code and words are not used."""

    channels = _BOTH
    checks_codes = True

    def __init__(self, settings: TwilioVerifySettings, *, timeout_s: float) -> None:
        self._path = f"/v2/Services/{quote(settings.message_service_sid, safe='')}"
        login = (settings.account_sid, settings.auth_token.get_secret_value())
        self._api = HttpApi(settings.api_url, timeout_s=timeout_s, login=login)

    async def send(self, phone: str, text: str, channel: Channel, code: str) -> str:
        """See ``SmsProvider``."""
        answer = await self._api.post(f"{self._path}/Verifications", {"To": f"+{phone}", "Channel": channel})
        if answer.is_error:
            raise answer.failure(_words(answer))
        return answer.text("sid")

    async def check(self, phone: str, code: str) -> bool:
        """See ``SmsProvider``. A code that Twilio knows nothing of (any more) is a wrong one."""
        answer = await self._api.post(f"{self._path}/VerificationCheck", {"To": f"+{phone}", "Code": code})
        if answer.is_error:
            failure = answer.failure(_words(answer))
            if failure.is_permanent:
                return False
            raise failure
        return answer.text("status") == "approved" and answer.body.get("valid") is True

    async def close(self) -> None:
        """See ``SmsProvider``."""
        await self._api.close()


def _words(answer: Answer) -> str:
    return f"{answer.text('message')} More information: {answer.text('more_info')}"

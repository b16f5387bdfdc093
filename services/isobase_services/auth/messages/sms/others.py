"""MessageBird, Textlocal and Vonage: SMS only. Source: supabase/auth internal/api/sms_provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from isobase_services.auth.messages.model import Channel
from isobase_services.auth.messages.sms.provider import Answer, HttpApi
from isobase_services.auth.models import JsonObject

if TYPE_CHECKING:
    from isobase_platform.config_auth.sms_providers import MessagebirdSettings, TextlocalSettings, VonageSettings

__all__ = ["Messagebird", "Textlocal", "Vonage"]

_SMS_ONLY: frozenset[Channel] = frozenset({"sms"})


class _FormProvider(ABC):
    """A provider that takes one form for a message."""

    channels = _SMS_ONLY
    checks_codes = False
    path = ""

    def __init__(self, api: HttpApi, form: Mapping[str, str]) -> None:
        self._api = api
        self._form = form

    async def send(self, phone: str, text: str, channel: Channel, code: str) -> str:
        """See ``SmsProvider``."""
        return self.read(await self._api.post(self.path, {**self._form, **self.fields(phone, text)}))

    async def check(self, phone: str, code: str) -> bool:
        """Never: the codes are auth's own."""
        return False

    async def close(self) -> None:
        """See ``SmsProvider``."""
        await self._api.close()

    @abstractmethod
    def fields(self, phone: str, text: str) -> dict[str, str]:
        """The fields of one message."""

    @abstractmethod
    def read(self, answer: Answer) -> str:
        """The message's id. Raises ``SendFailed`` for a refusal."""


class Messagebird(_FormProvider):
    """MessageBird."""

    path = "/messages"

    def __init__(self, settings: MessagebirdSettings, *, timeout_s: float) -> None:
        headers = {"authorization": f"AccessKey {settings.access_key.get_secret_value()}"}
        form = {"originator": settings.originator, "type": "sms", "datacoding": "unicode"}
        super().__init__(HttpApi(settings.api_url, timeout_s=timeout_s, headers=headers), form)

    def fields(self, phone: str, text: str) -> dict[str, str]:
        """See above."""
        return {"body": text, "recipients": phone}

    def read(self, answer: Answer) -> str:
        """See above."""
        if answer.is_error:
            raise answer.failure(str(_first(answer.body.get("errors")).get("description", answer.status)))
        recipients = answer.body.get("recipients")
        if not isinstance(recipients, dict) or not recipients.get("totalSentCount"):
            raise answer.failure("messagebird error: total sent count is 0")
        return answer.text("id")


class Textlocal(_FormProvider):
    """Textlocal."""

    path = "/send"

    def __init__(self, settings: TextlocalSettings, *, timeout_s: float) -> None:
        form = {"sender": settings.sender, "apikey": settings.api_key.get_secret_value()}
        super().__init__(HttpApi(settings.api_url, timeout_s=timeout_s), form)

    def fields(self, phone: str, text: str) -> dict[str, str]:
        """See above."""
        return {"message": text, "numbers": phone}

    def read(self, answer: Answer) -> str:
        """See above."""
        if answer.text("status") != "success":
            error = _first(answer.body.get("errors"))
            raise answer.failure(f"textlocal error: {error.get('message', '')} (code: {error.get('code', '')})")
        return str(_first(answer.body.get("messages")).get("id", ""))


class Vonage(_FormProvider):
    """Vonage."""

    path = "/sms/json"

    def __init__(self, settings: VonageSettings, *, timeout_s: float) -> None:
        secret = settings.api_secret.get_secret_value()
        form = {"from": settings.sender, "api_key": settings.api_key, "api_secret": secret}
        super().__init__(HttpApi(settings.api_url, timeout_s=timeout_s), form)

    def fields(self, phone: str, text: str) -> dict[str, str]:
        """See above."""
        return {"to": phone, "text": text, **({} if text.isascii() else {"type": "unicode"})}

    def read(self, answer: Answer) -> str:
        """See above."""
        message = _first(answer.body.get("messages"))
        if str(message.get("status")) != "0":
            told = f"{message.get('error-text', '')} (status: {message.get('status', '')})"
            raise answer.failure(f"vonage error: {told}")
        return str(message.get("message-id", ""))


def _first(value: object) -> JsonObject:
    """The first object of a list, or an empty one."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}

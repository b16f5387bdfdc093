"""What a provider of text messages can do, and the HTTP that they share. Source: supabase/auth internal/api/sms_provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from isobase_services.auth.http_client import AnswerTooLong, HttpClient, read_limited
from isobase_services.auth.messages.model import Channel, SendFailed
from isobase_services.auth.models import JsonObject

__all__ = ["Answer", "HttpApi", "SmsProvider"]

TOO_MANY_REQUESTS = 429
FIRST_SERVER_ERROR = 500
FIRST_ERROR = 400
MAX_ANSWER_BYTES = 64 * 1024


class SmsProvider(Protocol):
    """A way for text messages to leave."""

    @property
    def channels(self) -> frozenset[Channel]:
        """What it can send over."""
        ...

    @property
    def checks_codes(self) -> bool:
        """Whether it makes codes of its own, which only it can check."""
        ...

    async def send(self, phone: str, text: str, channel: Channel, code: str) -> str:
        """Send ``text`` to ``phone`` (digits without a plus); returns the provider's id. Raises ``SendFailed``."""
        ...

    async def check(self, phone: str, code: str) -> bool:
        """Whether ``code`` is the one that the provider sent to ``phone``. Raises ``SendFailed``."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Answer:
    """A provider's answer: its status and the object of its body."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: JsonObject) -> None:
        self.status = status
        self.body = body

    @property
    def is_error(self) -> bool:
        """Whether the status says so."""
        return self.status >= FIRST_ERROR

    def text(self, name: str) -> str:
        """A field as text; empty where it is none."""
        value = self.body.get(name)
        return "" if value is None else str(value)

    def failure(self, told: str) -> SendFailed:
        """The failure that this answer is. ``told``: the provider's words, for the caller; they may hold the number."""
        is_worth_another_try = self.status == TOO_MANY_REQUESTS or self.status >= FIRST_SERVER_ERROR
        reason = f"the SMS provider refused the message ({self.status})"
        return SendFailed(reason, is_permanent=not is_worth_another_try, told=told)


class HttpApi:
    """POSTs forms to one provider. ``login``: user and password of basic authentication; ``headers``: others of its own."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        login: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._client = HttpClient(timeout_s, headers=headers, login=login)

    async def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form. Raises ``SendFailed`` where no answer comes or it is no JSON object."""
        import httpx

        try:
            async with self._client.stream("POST", f"{self._url}{path}", form=form) as answer:
                content = await read_limited(answer, MAX_ANSWER_BYTES)
        except (httpx.HTTPError, AnswerTooLong) as error:
            reason = f"the SMS provider does not answer: {type(error).__name__}"
            raise SendFailed(reason, told="the provider does not answer") from error
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Answer(answer.status_code, {}).failure(f"the provider answered {answer.status_code}")
        return Answer(answer.status_code, body)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

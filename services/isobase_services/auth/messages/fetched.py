"""A template that lies behind a URL, as with GoTrue's ``GOTRUE_MAILER_TEMPLATES_*``: fetched when a mail needs it, and kept.

The URL comes from the settings alone. What cannot be fetched or used is logged, and mail goes out with the last good version
or with our own words. Source: supabase/auth internal/mailer/templatemailer/template.go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from isobase_services.auth.http_client import AnswerTooLong, HttpClient, read_limited
from isobase_services.auth.messages.model import SendFailed

if TYPE_CHECKING:
    from isobase_services.auth.messages.templates import CompiledTemplate

__all__ = ["FetchedTemplate"]

MAX_AGE_S = 600.0
RETRY_AFTER_S = 10.0
TIMEOUT_S = 10.0
MAX_BYTES = 512 * 1024
HTTP_OK = 200

_log = logging.getLogger("isobase.auth.messages")


class FetchedTemplate:
    """The template of one kind of mail at ``url``; ``max_age_s`` and ``retry_after_s`` are for tests."""

    def __init__(
        self, key: str, url: str, *, max_age_s: float = MAX_AGE_S, retry_after_s: float = RETRY_AFTER_S
    ) -> None:
        self._key = key
        self._url = url
        self._max_age_s = max_age_s
        self._retry_after_s = retry_after_s
        self._due_s = 0.0
        self._lock = asyncio.Lock()
        self.words: CompiledTemplate | None = None
        """The last good version; None before there was one."""

    async def refresh(self) -> None:
        """Fetch it where it is missing or old. Never raises; of several callers at once one fetches and the others wait."""
        if time.monotonic() < self._due_s:
            return
        async with self._lock:
            if time.monotonic() < self._due_s:
                return
            try:
                self.words = await self._fetched()
            except SendFailed as failure:
                self._due_s = time.monotonic() + self._retry_after_s
                _log.error("a mail template could not be fetched", extra={"key": self._key, "reason": str(failure)})
            else:
                self._due_s = time.monotonic() + self._max_age_s

    async def _fetched(self) -> CompiledTemplate:
        import httpx

        from isobase_services.auth.messages.templates import TemplateError, compile_template

        # Not kept open: it is asked for every ten minutes.
        client = HttpClient(TIMEOUT_S, follows_redirects=True)
        try:
            async with asyncio.timeout(TIMEOUT_S), client.stream("GET", self._url) as answer:
                if answer.status_code != HTTP_OK:
                    raise SendFailed(f"its server answered {answer.status_code}")
                found = await read_limited(answer, MAX_BYTES)
        except AnswerTooLong:
            raise SendFailed(f"it is larger than {MAX_BYTES} bytes") from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise SendFailed(f"its server does not answer: {type(error).__name__}") from error
        finally:
            await client.close()
        try:
            return compile_template(found.decode(), is_html=True)
        except (TemplateError, UnicodeDecodeError) as error:
            raise SendFailed(str(error)) from error

"""Asking hCaptcha or Cloudflare Turnstile whether a person solved the puzzle.

Source: supabase/auth internal/security/captcha.go; contracts auth 2.19. Which routes ask is the faces' business.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.http_client import HttpClient, read_limited

if TYPE_CHECKING:
    from isobase_platform.config_auth.captcha import CaptchaSettings
    from isobase_services.auth.models import ClientFacts

__all__ = ["Captcha"]

MAX_ANSWER_BYTES = 64 * 1024
_VERIFY_URLS = {
    "hcaptcha": "https://hcaptcha.com/siteverify",
    "turnstile": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
}
_FAILED = "captcha protection: request disallowed"

_log = logging.getLogger("isobase.auth")


class Captcha:
    """Verifies tokens at the configured provider. Close it with ``close``."""

    def __init__(self, settings: CaptchaSettings) -> None:
        self._secret = settings.secret.get_secret_value().strip()
        self._url = settings.verify_url or _VERIFY_URLS[settings.provider]
        self._timeout_s = settings.timeout_s
        self._client = HttpClient(settings.timeout_s)
        self.is_enabled = settings.enabled

    async def check(self, token: str, facts: ClientFacts) -> None:
        """Let a solved puzzle pass.

        Raises 400 captcha_failed without a token or for one that the provider does not accept, 500 where the provider
        cannot be asked or answers nonsense.
        """
        token = token.strip()
        if not token:
            raise bad_request(ErrorCode.CAPTCHA_FAILED, f"{_FAILED} (no captcha_token found)")
        verdict = await self._verdict(token, facts.ip or "")
        if verdict.get("success") is not True:
            codes = verdict.get("error-codes")
            reasons = ", ".join(str(code) for code in codes) if isinstance(codes, list) else ""
            raise bad_request(ErrorCode.CAPTCHA_FAILED, f"{_FAILED} ({reasons})")

    async def _verdict(self, token: str, ip: str) -> dict[str, object]:
        import httpx

        form = {"secret": self._secret, "response": token, "remoteip": ip}
        try:
            async with asyncio.timeout(self._timeout_s):
                verdict = json.loads(await self._ask(form))
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            _log.warning("the CAPTCHA provider cannot be asked", extra={"reason": type(error).__name__})
            raise _unverified() from None
        if not isinstance(verdict, dict):
            raise _unverified()
        return verdict

    async def _ask(self, form: dict[str, str]) -> bytes:
        async with self._client.stream("POST", self._url, form=form) as answer:
            return await read_limited(answer, MAX_ANSWER_BYTES)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()


def _unverified() -> AuthError:
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "captcha verification process failed")

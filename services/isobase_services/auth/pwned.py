"""Asking HaveIBeenPwned whether a password is known from leaks, without telling it the password.

Five hexadecimal characters of its SHA-1 go out; some hundreds of hashes that begin so come back and are compared here.
Source: https://haveibeenpwned.com/API/v3#SearchingPwnedPasswordsByRange; supabase/auth internal/api/password.go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING

from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.http_client import HttpClient, read_limited

if TYPE_CHECKING:
    from isobase_platform.config_auth.security import PwnedPasswordSettings

__all__ = ["PwnedPasswords"]

PREFIX_CHARS = 5
MAX_ANSWER_BYTES = 1024 * 1024
"""A padded range has about 50 KB."""
USER_AGENT = "isobase"

_log = logging.getLogger("isobase.auth")


class PwnedPasswords:
    """Looks passwords up. Close it with ``close``."""

    def __init__(self, settings: PwnedPasswordSettings) -> None:
        self._settings = settings
        # Padding hides from who watches the line which range it was.
        headers = {"user-agent": USER_AGENT, "add-padding": "true"}
        self._client = HttpClient(settings.timeout_s, headers=headers)

    async def knows(self, password: str) -> bool:
        """Whether the password was leaked; False where the project does not ask.

        Where the service cannot be asked: False and a warning, or, with ``fail_closed``, the 500 of upstream.
        """
        if not self._settings.enabled:
            return False
        import httpx

        # SHA-1 is the service's key, not a protection.
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                listed = await self._range(digest[:PREFIX_CHARS])
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            _log.warning("leaked passwords cannot be asked for", extra={"reason": type(error).__name__})
            if self._settings.fail_closed:
                raise AuthError(
                    500,
                    ErrorCode.UNEXPECTED_FAILURE,
                    "Unable to perform password strength check with HaveIBeenPwned.org.",
                ) from None
            return False
        return _is_listed(listed, digest[PREFIX_CHARS:])

    async def _range(self, prefix: str) -> str:
        async with self._client.stream("GET", f"{self._settings.url.rstrip('/')}/{prefix}") as answer:
            answer.raise_for_status()
            if answer.status_code != 200:
                raise ValueError("no list")
            return (await read_limited(answer, MAX_ANSWER_BYTES)).decode("ascii", "replace")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()


def _is_listed(listed: str, suffix: str) -> bool:
    """Whether ``suffix`` stands in the list with a count; lines of padding have a count of zero."""
    for line in listed.splitlines():
        found, _, count = line.partition(":")
        if found.strip().upper() == suffix:
            return count.strip() not in ("", "0")
    return False

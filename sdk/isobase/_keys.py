"""API keys: what kind one is, and which headers follow from it. Pure; nothing here checks a signature.

Keys are JWTs with a role (``anon``, ``service_role``) or, newer, opaque texts ``sb_publishable_...`` and
``sb_secret_...``.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping

from isobase.errors import SupabaseException

__all__ = [
    "bearer",
    "check_arguments",
    "given_authorization",
    "is_opaque_key",
    "is_secret_key",
    "project_headers",
    "unverified_claim",
    "warn_of_unknown_key",
]

logger = logging.getLogger("isobase")

OPAQUE_PREFIXES = ("sb_publishable_", "sb_secret_")
TEMPORARY_PREFIX = "sb_temp_"
URL = re.compile(r"https?://.+")


def check_arguments(url: object, key: object) -> None:
    """Raise ``SupabaseException`` unless both are texts and the URL is one of http or https; texts are upstream's."""
    for name, value in (("supabase_url", url), ("supabase_key", key)):
        if value is not None and not isinstance(value, str):
            raise SupabaseException(f"{name} must be a string, got {type(value).__name__}")
        if not value:
            raise SupabaseException(f"{name} is required")
    if not URL.match(str(url)):
        raise SupabaseException("Invalid URL")


def bearer(token: str) -> str:
    """Give the ``Authorization`` header's value for a token."""
    return f"Bearer {token}"


def given_authorization(headers: Mapping[str, str]) -> str | None:
    """Give the ``Authorization`` among headers, however it is written; None without one."""
    return next((value for name, value in headers.items() if name.lower() == "authorization"), None)


def project_headers(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Give a client's headers: those of the app, the API key, and ``Authorization``, which is the key's unless given.

    Each is there once, whatever case the app wrote it in: of two tokens in one request, nobody could say which counts.
    """
    others = {name: value for name, value in headers.items() if name.lower() not in ("apikey", "authorization")}
    return {**others, "apiKey": key, "Authorization": given_authorization(headers) or bearer(key)}


def is_opaque_key(key: str) -> bool:
    """Whether a key is one of the new kind, which is no token: functions get it as ``apikey`` alone."""
    return key.startswith(OPAQUE_PREFIXES)


def unverified_claim(token: str, name: str) -> str | None:
    """Give what a JWT says of itself under ``name``, where that is a text: good for choosing, never for trusting."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    said = claims.get(name) if isinstance(claims, dict) else None
    return said if isinstance(said, str) else None


def is_secret_key(key: str) -> bool:
    """Whether a key passes row-level security: a secret key, or a token of the role ``service_role``."""
    return key.startswith("sb_secret_") or unverified_claim(key, "role") == "service_role"


_warned: set[str] = set()


def warn_of_unknown_key(key: str) -> None:
    """Log once for each unknown kind of ``sb_...`` key; the key itself is never shown, and the server decides whether
    it holds.
    """
    if not key.startswith("sb_") or key.startswith((*OPAQUE_PREFIXES, TEMPORARY_PREFIX)):
        return
    found = re.match(r"sb_[a-zA-Z0-9]+_", key)
    kind = found[0] if found else "sb_"
    if kind not in _warned:
        _warned.add(kind)
        logger.warning("an API key of the unknown kind %s... is sent as it is; a newer release may know it", kind)

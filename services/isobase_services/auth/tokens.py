"""Making tokens: access-token claims, refresh tokens, one-time codes and their hashes. No I/O.

Source: contracts auth 2.4, 2.5, 2.8; supabase/auth internal/tokens/service.go and internal/crypto.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from isobase_services.auth.models import AAL1, AAL2, JsonObject, MethodUse, User

__all__ = [
    "OneTimeCode",
    "access_token_claims",
    "is_refresh_token_shaped",
    "new_one_time_code",
    "new_refresh_token",
    "session_end",
]

REFRESH_TOKEN_CHARS = 12
ONE_TIME_CODE_DIGITS = 6
PKCE_PREFIX = "pkce_"
_REFRESH_TOKEN = re.compile(r"[a-z0-9]{12}")
_SECOND_FACTOR_METHODS = frozenset({"totp", "mfa/phone", "mfa/webauthn"})


def access_token_claims(
    user: User, *, session_id: UUID, methods: Iterable[MethodUse], issuer: str, issued_at_s: int, expires_at_s: int
) -> JsonObject:
    """The payload of an access token: ``aud`` is a string, ``amr`` a list of objects, newest first.

    An empty ``issuer`` leaves ``iss`` out.
    """
    ordered = sorted(methods, key=lambda use: use.used_at, reverse=True)
    aal = AAL2 if any(use.method in _SECOND_FACTOR_METHODS for use in ordered) else AAL1
    claims: dict[str, Any] = {
        **({"iss": issuer} if issuer else {}),
        "sub": str(user.id),
        "aud": user.aud,
        "exp": expires_at_s,
        "iat": issued_at_s,
        "email": user.email,
        "phone": user.phone,
        "app_metadata": user.app_metadata,
        "user_metadata": user.user_metadata,
        "role": user.role,
        "aal": aal,
        "amr": [{"method": use.method, "timestamp": int(use.used_at.timestamp())} for use in ordered],
        "session_id": str(session_id),
        "is_anonymous": user.is_anonymous,
    }
    return claims


def new_refresh_token() -> str:
    """Twelve characters of [a-z2-7]: 60 random bits."""
    return base64.b32encode(secrets.token_bytes(8)).decode()[:REFRESH_TOKEN_CHARS].lower()


def is_refresh_token_shaped(token: str) -> bool:
    """Whether ``token`` can be a refresh token at all; what cannot is refused without a look at the database."""
    return _REFRESH_TOKEN.fullmatch(token) is not None


@dataclass(slots=True, frozen=True)
class OneTimeCode:
    """A code to type and the hash that is stored and travels in links; the code itself is kept nowhere."""

    code: str = field(repr=False)
    token_hash: str = field(repr=False)


def new_one_time_code(address: str, *, is_pkce: bool) -> OneTimeCode:
    """A fresh code for an e-mail address or phone number; with PKCE the hash carries the flow's prefix."""
    code = f"{secrets.randbelow(10**ONE_TIME_CODE_DIGITS):0{ONE_TIME_CODE_DIGITS}d}"
    digest = hashlib.sha224(f"{address}{code}".encode()).hexdigest()
    return OneTimeCode(code, f"{PKCE_PREFIX}{digest}" if is_pkce else digest)


def session_end(now: datetime, session_s: int | None) -> datetime | None:
    """When a session that opens ``now`` ends, or None where it has no end."""
    return None if session_s is None else now + timedelta(seconds=session_s)

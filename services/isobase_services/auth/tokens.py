"""Making tokens: access-token claims, refresh tokens, one-time codes and their hashes. No I/O.

Source: contracts auth 2.4, 2.5, 2.8; supabase/auth internal/tokens/service.go and internal/crypto.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from isobase_services.auth.models import AAL1, AAL2, JsonObject, MethodUse, OAuthTerms, User

__all__ = [
    "PKCE_PREFIX",
    "OneTimeCode",
    "aal_of",
    "access_token_claims",
    "is_code_of",
    "is_refresh_token_shaped",
    "new_one_time_code",
    "new_refresh_token",
    "one_time_hash",
    "session_end",
]

REFRESH_TOKEN_CHARS = 12
ONE_TIME_SALT_BYTES = 16
PKCE_PREFIX = "pkce_"
_REFRESH_TOKEN = re.compile(r"[a-z0-9]{12}")
_SECOND_FACTOR_METHODS = frozenset({"totp", "mfa/phone", "mfa/webauthn"})


def access_token_claims(
    user: User,
    *,
    session_id: UUID,
    methods: Iterable[MethodUse],
    issuer: str,
    issued_at_s: int,
    expires_at_s: int,
    oauth: OAuthTerms | None = None,
) -> JsonObject:
    """The payload of an access token: ``aud`` is a string, ``amr`` a list of objects, newest first.

    An empty ``issuer`` leaves ``iss`` out. A program's token says whose it is and what for (``client_id``, ``scope``).
    """
    ordered = sorted(methods, key=lambda use: use.used_at, reverse=True)
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
        "aal": aal_of(ordered),
        "amr": [{"method": use.method, "timestamp": int(use.used_at.timestamp())} for use in ordered],
        "session_id": str(session_id),
        "is_anonymous": user.is_anonymous,
    }
    if oauth is not None:
        claims["client_id"] = str(oauth.client_id)
        if oauth.scope:
            claims["scope"] = oauth.scope
    return claims


def aal_of(methods: Iterable[MethodUse]) -> str:
    """aal2 where a second factor is among the methods, else aal1."""
    return AAL2 if any(use.method in _SECOND_FACTOR_METHODS for use in methods) else AAL1


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
    salt: bytes = field(repr=False)


def new_one_time_code(address: str, *, digits: int, is_pkce: bool = False, fixed: str | None = None) -> OneTimeCode:
    """A code of ``digits`` digits for an e-mail address or phone number; with PKCE the hash carries the flow's prefix.

    ``fixed`` is taken instead of a fresh code, for test numbers.
    """
    code = fixed or f"{secrets.randbelow(10**digits):0{digits}d}"
    salt = secrets.token_bytes(ONE_TIME_SALT_BYTES)
    digest = one_time_hash(address, code, salt)
    return OneTimeCode(code, f"{PKCE_PREFIX}{digest}" if is_pkce else digest, salt)


def one_time_hash(address: str, code: str, salt: bytes) -> str:
    """The stored form of a code: hex SHA-224, as long as upstream's.

    Upstream hashes address and code alone, so that who knows an address can work out all million link tokens and try them
    as such, past any counter of wrong codes. The salt, which is never shown, shuts that door; it is empty for rows that
    another server wrote.
    """
    return hashlib.sha224(salt + f"{address}{code}".encode("utf-8", "surrogatepass")).hexdigest()


def is_code_of(token_hash: str, address: str, code: str, salt: bytes) -> bool:
    """Whether ``code`` is the one behind a stored hash, of either flow; takes the same time whatever the answer."""
    return hmac.compare_digest(
        token_hash.removeprefix(PKCE_PREFIX).encode(), one_time_hash(address, code, salt).encode()
    )


def session_end(now: datetime, session_s: int | None) -> datetime | None:
    """When a session that opens ``now`` ends, or None where it has no end."""
    return None if session_s is None else now + timedelta(seconds=session_s)

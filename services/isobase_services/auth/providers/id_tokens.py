"""ID tokens: whether the issuer signed one, for whom, and until when.

Source: OpenID Connect Core 1.0, section 3.1.3.7; supabase/auth internal/api/provider/oidc.go (go-oidc's checks).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Collection
from typing import Any

from isobase_platform.errors import TokenError
from isobase_platform.oidc import Issuer, peek, verified_claims
from isobase_platform.outbound import OutboundError
from isobase_services.auth.models import JsonObject
from isobase_services.auth.providers.base import ProviderError

__all__ = ["APPLE_ISSUERS", "audiences_of", "azure_tenant_issuer", "token_issuer", "verified_id_token"]

APPLE_ISSUERS = ("https://appleid.apple.com", "https://account.apple.com")
NOT_BEFORE_LEEWAY_S = 300.0
_AZURE_ISSUER = re.compile(
    r"https://login\.microsoftonline\.com/[A-Za-z0-9.-]{1,64}/v2\.0/?|https://sts\.windows\.net/[A-Za-z0-9.-]{1,64}/?"
)
_AZURE_SHARED = frozenset({"common", "organizations", "consumers"})
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


async def verified_id_token(
    issuer: Issuer, token: str, *, issuers: Collection[str], access_token: str = ""
) -> JsonObject:
    """The claims of a token that ``issuer``'s keys signed and that names one of ``issuers``.

    With ``access_token`` an ``at_hash`` in the token must be its hash. Whose audience it is, and the nonce, are the caller's
    to check. Raises ``ProviderError``.
    """
    try:
        seen = peek(token)
        claims = verified_claims(token, await issuer.keys_for(seen.kid, seen.algorithm))
    except (TokenError, OutboundError) as error:
        raise ProviderError(f"ID token of {issuer.url}: {error.message}") from error
    if claims.get("iss") not in issuers:
        raise ProviderError(f"ID token of {issuer.url}: it names another issuer")
    _check_times(claims, time.time())
    expected = claims.get("at_hash")
    if access_token and expected:
        given = _left_half(access_token, seen.algorithm or "")
        if not isinstance(expected, str) or not hmac.compare_digest(given.encode(), expected.encode()):
            raise ProviderError(f"ID token of {issuer.url}: at_hash is not the access token's")
    return claims


def audiences_of(claims: JsonObject) -> list[str]:
    """Whom a token is for."""
    audience = claims.get("aud")
    members = audience if isinstance(audience, list) else [audience]
    return [member for member in members if isinstance(member, str)]


def token_issuer(token: str) -> str:
    """The ``iss`` of a token that nobody has verified yet; empty for what is no token."""
    try:
        return peek(token).issuer
    except TokenError:
        return ""


def azure_tenant_issuer(issuer: str) -> bool:
    """Whether ``issuer`` is one of Microsoft's tenants."""
    if _AZURE_ISSUER.fullmatch(issuer) is None:
        return False
    return issuer.split("/")[3] not in _AZURE_SHARED


def _check_times(claims: JsonObject, now_s: float) -> None:
    if _number(claims.get("exp")) <= now_s:
        raise ProviderError("ID token: it has ended, or has no end")
    if claims.get("nbf") is not None and _number(claims["nbf"]) > now_s + NOT_BEFORE_LEEWAY_S:
        raise ProviderError("ID token: it is not good yet")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _left_half(access_token: str, algorithm: str) -> str:
    """``at_hash`` of an access token: the left half of its hash by the token's algorithm."""
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()

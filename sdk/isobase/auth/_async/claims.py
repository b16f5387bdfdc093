"""The claims of a token, verified with the server's public keys, or by the server where the keys are secret.

Source: ``supabase_auth``, ``get_claims``; supabase-js for ``allow_expired``.
"""

from __future__ import annotations

import time

from isobase.auth._async.users import AsyncUsers
from isobase.auth.errors import AuthInvalidJwtError
from isobase.auth.helpers import decode_jwt, parse_jwks, validate_exp, validate_nbf
from isobase.auth.jwks import REFETCH_PAUSE_S, find_key, is_checked_by_server, verify_signature
from isobase.auth.types import JWK, ClaimsResponse, JWKSet

__all__ = ["AsyncClaims"]

JWKS_TTL_S = 600.0


class AsyncClaims(AsyncUsers):
    """``get_claims`` and the cache of public keys."""

    _jwks: JWKSet
    _jwks_ttl: float
    _jwks_cached_at: float | None

    async def get_claims(
        self, jwt: str | None = None, jwks: JWKSet | None = None, *, allow_expired: bool = False
    ) -> ClaimsResponse | None:
        """Verify a token and give its claims: ``jwt``, else the session's; None without either.

        A token signed with a private key is verified here, with a key of ``jwks`` or of the server's (kept for 10
        minutes); every other one by a call to the server. ``allow_expired`` takes tokens that have ended. Raises
        ``AuthInvalidJwtError`` for a token that is none, has ended or not begun, or was not signed by the server;
        ``AuthApiError`` when the server refuses it.
        """
        token = jwt or await self._user_token()
        if not token:
            return None
        decoded = decode_jwt(token)
        if not allow_expired:
            validate_exp(decoded["payload"].get("exp"))
        validate_nbf(decoded["payload"].get("nbf"))
        if is_checked_by_server(decoded):
            await self.get_user(token)
        else:
            verify_signature(decoded, await self._fetch_jwks(decoded["header"]["kid"], jwks or {"keys": []}))
        return ClaimsResponse(claims=decoded["payload"], headers=decoded["header"], signature=decoded["signature"])

    async def _fetch_jwks(self, kid: str, jwks: JWKSet) -> JWK:
        """Give the key with this id: of ``jwks``, of those kept, or of the server's now."""
        key = find_key(jwks, kid)
        if key is not None:
            return key
        age_s = time.time() - self._jwks_cached_at if self._jwks_cached_at is not None else None
        if age_s is not None and 0 <= age_s < self._jwks_ttl:
            key = find_key(self._jwks, kid)
            if key is None and age_s < REFETCH_PAUSE_S:
                raise AuthInvalidJwtError("No matching signing key found in JWKS")
        if key is None:
            self._jwks = parse_jwks(await self._request("GET", ".well-known/jwks.json"))
            self._jwks_cached_at = time.time()
            key = find_key(self._jwks, kid)
        if key is None:
            raise AuthInvalidJwtError("No matching signing key found in JWKS")
        return key

"""Who a token says its bearer is, and upstream's words for a token that is refused.

Source: contracts/realtime.md 1.1 and 1.6: a token must verify and carry ``role`` and ``exp``.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.errors import IsobaseError, TokenError, TokenRefusal
from isobase_platform.tokens import TokenVerifier

__all__ = ["Access", "AccessRefused", "grant_access"]

_CHECK = "check your JWT secret or JWKS configuration"
_WHITESPACE = re.compile(r"\s")


class AccessRefused(IsobaseError):
    """A token that may not join. ``code`` is upstream's error code.

    ``handshake_message`` is its text for the handshake, ``end_message`` that for a channel which ends by it.
    """

    default_status = 401

    def __init__(
        self, code: str, message: str, *, handshake_message: str | None = None, end_message: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.handshake_message = handshake_message or message
        self.end_message = end_message or message

    @property
    def reason(self) -> str:
        """The text of a refused join."""
        return f"{self.code}: {self.message}"


@dataclass(slots=True, frozen=True)
class Access:
    """A verified token: the caller it stands for and when it ends, in unix seconds."""

    token: str
    caller: Caller
    expires_at_s: int


def grant_access(verifier: TokenVerifier, token: str, request: RequestFacts) -> Access:
    """Verify ``token``. ``request`` is what policies may read of the handshake. Raises ``AccessRefused``."""
    token = _WHITESPACE.sub("", unquote(token))
    try:
        claims = verifier.verify(token)
    except TokenError as error:
        raise _refused(error, token) from error
    role, expires_at_s = claims.role, claims.expires_at_s
    if role is None or expires_at_s is None:
        raise AccessRefused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    # Interned: thousands of sockets are opened with the same key.
    return Access(token=sys.intern(token), caller=_caller(role, claims, request), expires_at_s=expires_at_s)


def _caller(role: str, claims: Claims, request: RequestFacts) -> Caller:
    return Caller(role=role, claims=claims, request=request)


def _refused(error: TokenError, token: str) -> AccessRefused:
    match error.reason:
        case TokenRefusal.EXPIRED:
            seconds = max(0, int(time.time()) - _expiry(token))
            return AccessRefused(
                "InvalidJWTToken", f"Token has expired {seconds} seconds ago", handshake_message="Token has expired"
            )
        case TokenRefusal.SIGNATURE:
            # Where a channel ends upstream shows the bare name that it has for it inside; so below.
            return AccessRefused(
                "JwtSignatureError", "Failed to validate JWT signature", end_message=":signature_error"
            )
        case TokenRefusal.ALGORITHM | TokenRefusal.UNKNOWN_KEY:
            kid = _part(token, 0).get("kid")
            if isinstance(kid, str):
                text = f"Failed to generate JWT signer for key ID (kid) {json.dumps(kid, ensure_ascii=False)}"
                return AccessRefused("JwtSignerError", f"{text}, {_CHECK}")
            return AccessRefused(
                "JwtSignerError",
                f"Failed to generate JWT signer, {_CHECK}",
                end_message=":error_generating_signer",
            )
        case _:
            return AccessRefused("MalformedJWT", "The token provided is not a valid JWT")


def _expiry(token: str) -> int:
    """``exp`` of a token whose signature has verified before it was found to be expired."""
    return int(_part(token, 1)["exp"])


def _part(token: str, index: int) -> dict[str, Any]:
    """The header (0) or the payload (1) of a token that was readable enough to be refused for something else."""
    text = token.split(".")[index]
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return value

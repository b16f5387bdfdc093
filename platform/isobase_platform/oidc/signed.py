"""Tokens that an issuer signed: what they say before and after their signature was verified."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from isobase_platform.errors import TokenError, TokenRefusal
from isobase_platform.keys import Key

__all__ = ["MAX_TOKEN_LENGTH_CHARS", "Peeked", "peek", "verified_claims"]


MAX_TOKEN_LENGTH_CHARS = 16_384
ASYMMETRIC_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
_jws = jwt.PyJWS(algorithms=list(ASYMMETRIC_ALGORITHMS))


@dataclass(slots=True, frozen=True)
class Peeked:
    """What a token says of itself, none of which is proven: good for finding the key to try, and for nothing else."""

    kid: str | None
    algorithm: str | None
    issuer: str


def peek(token: str) -> Peeked:
    """Read a token without verifying it. Raises ``TokenError`` for one that is no JWT or too long."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_LENGTH_CHARS or len(parts) != 3:
        raise TokenError("The token is malformed", TokenRefusal.MALFORMED)
    header, payload = _object(parts[0]), _object(parts[1])
    kid, algorithm, issuer = header.get("kid"), header.get("alg"), payload.get("iss")
    return Peeked(
        kid=kid if isinstance(kid, str) else None,
        algorithm=algorithm if isinstance(algorithm, str) else None,
        issuer=issuer if isinstance(issuer, str) else "",
    )


def verified_claims(token: str, keys: Sequence[Key]) -> Mapping[str, Any]:
    """The payload of a token that one of ``keys`` signed. Times, issuer and audience are the caller's business.

    Raises ``TokenError``. Each key verifies its own algorithm only, and none is a shared secret.
    """
    for key in keys:
        try:
            payload = _jws.decode_complete(token, key.verifying, algorithms=[key.algorithm])["payload"]
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidTokenError as error:
            raise TokenError("The token is malformed", TokenRefusal.MALFORMED) from error
        return _parsed(payload)
    reason = TokenRefusal.SIGNATURE if keys else TokenRefusal.UNKNOWN_KEY
    raise TokenError("No key of the issuer verifies the token", reason)


def _object(part: str) -> Mapping[str, Any]:
    try:
        return _parsed(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise TokenError("The token is malformed", TokenRefusal.MALFORMED) from error


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
        # Half a surrogate pair is no text and could not travel to PostgreSQL.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise TokenError("The token is malformed", TokenRefusal.MALFORMED) from error
    if not isinstance(value, dict):
        raise TokenError("The token's payload is not a JSON object", TokenRefusal.MALFORMED)
    return value

"""Public keys of the auth server, kept and used to verify tokens; no I/O.

PyJWT (with ``cryptography``) is imported when the first token is verified.
"""

from __future__ import annotations

import json
from typing import Any, cast

from isobase.auth.errors import AuthInvalidJwtError
from isobase.auth.helpers import DecodedJWT
from isobase.auth.types import JWK, JWKSet

__all__ = ["REFETCH_PAUSE_S", "find_key", "is_checked_by_server", "verify_signature"]

REFETCH_PAUSE_S = 5.0
"""Tokens with unknown keys make the client ask for the keys anew at most that often."""

_KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
_parsed: dict[str, Any] = {}
_PARSED_MAX = 64


def find_key(keys: JWKSet, kid: str) -> JWK | None:
    """Give the key with this id."""
    return next((key for key in keys["keys"] if key.get("kid") == kid), None)


def is_checked_by_server(token: DecodedJWT) -> bool:
    """Tell whether only the server can verify a token: it has no key id, or is signed with the server's own secret."""
    return "kid" not in token["header"] or token["header"]["alg"] == "HS256"


def verify_signature(token: DecodedJWT, key: JWK) -> None:
    """Refuse (AuthInvalidJwtError) a token that was not signed with this key.

    The key must be of the kind that the token's algorithm needs: a token does not choose how a key is used.
    """
    algorithm = token["header"]["alg"]
    if key.get("kty") != _KEY_TYPES.get(algorithm) or key.get("alg") not in (None, algorithm):
        raise AuthInvalidJwtError("Invalid JWT signature")
    from jwt.algorithms import get_default_algorithms

    verifier = get_default_algorithms()[algorithm]
    text = json.dumps(key, sort_keys=True)
    public_key = _parsed.get(text)
    if public_key is None:
        try:
            public_key = verifier.from_jwk(text)
        except Exception as error:  # PyJWT, cryptography and the key's own fields raise what they like
            raise AuthInvalidJwtError("Invalid signing key in JWKS") from error
        if len(_parsed) >= _PARSED_MAX:
            _parsed.clear()
        _parsed[text] = public_key
    signed = f"{token['raw']['header']}.{token['raw']['payload']}".encode()
    if not cast("Any", verifier).verify(signed, public_key, token["signature"]):
        raise AuthInvalidJwtError("Invalid JWT signature")

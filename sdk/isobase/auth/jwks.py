"""Public keys of the auth server, kept and used to verify tokens; no I/O.

PyJWT (with ``cryptography``) is imported when the first token is verified.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from isobase.auth.errors import AuthInvalidJwtError
from isobase.auth.helpers import DecodedJWT
from isobase.auth.types import JWK, JWKSet

__all__ = ["REFETCH_PAUSE_S", "find_key", "is_checked_by_server", "verify_signature"]

REFETCH_PAUSE_S = 5.0
"""Tokens with unknown keys make the client ask for the keys anew at most that often."""

_KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
_parsed: dict[str, Any] = {}
_PARSED_MAX = 64
_verified: dict[bytes, None] = {}
"""Hashes of keys with tokens that they signed: who sends a token once sends it again, and a signature costs 50 µs."""
_VERIFIED_MAX = 4096


def find_key(keys: JWKSet, kid: str) -> JWK | None:
    """Give the key with this id."""
    return next((key for key in keys["keys"] if key.get("kid") == kid), None)


def is_checked_by_server(token: DecodedJWT) -> bool:
    """Tell whether only the server can verify a token: it has no key id, or is signed with the server's own secret."""
    return "kid" not in token["header"] or token["header"]["alg"] == "HS256"


def verify_signature(token: DecodedJWT, key: JWK) -> None:
    """Refuse (AuthInvalidJwtError) a token that was not signed with this key.

    The key must be of the kind that the token's algorithm needs: a token does not choose how a key is used. A token
    that this key has verified before is known by its hash.
    """
    algorithm = token["header"]["alg"]
    if key.get("kty") != _KEY_TYPES.get(algorithm) or key.get("alg") not in (None, algorithm):
        raise AuthInvalidJwtError("Invalid JWT signature")
    text = json.dumps(key, sort_keys=True)
    signed = f"{token['raw']['header']}.{token['raw']['payload']}".encode()
    lengths = b"%d %d " % (len(text), len(signed))  # where one part ends and the next begins
    seen = hashlib.sha256(b"".join((lengths, text.encode(), signed, token["signature"]))).digest()
    if seen in _verified:
        return
    verifier = _verifier(algorithm)
    public_key = _parsed.get(text)
    if public_key is None:
        try:
            public_key = verifier.from_jwk(text)
        except Exception as error:  # PyJWT, cryptography and the key's own fields raise what they like
            raise AuthInvalidJwtError("Invalid signing key in JWKS") from error
        if len(_parsed) >= _PARSED_MAX:
            _parsed.clear()
        _parsed[text] = public_key
    if not verifier.verify(signed, public_key, token["signature"]):
        raise AuthInvalidJwtError("Invalid JWT signature")
    if len(_verified) >= _VERIFIED_MAX:
        _verified.clear()
    _verified[seen] = None


@lru_cache
def _verifier(algorithm: str) -> Any:
    from jwt.algorithms import get_default_algorithms

    return get_default_algorithms()[algorithm]

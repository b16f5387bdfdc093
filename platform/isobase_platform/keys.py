"""Signing keys: the shared HS256 secret, RS256 / ES256 pairs from a JWK file, and the public JWKS.

A ``KeyRing`` answers two questions: which key signs, and which key may verify a token whose header says ``kid`` and
``alg``. An algorithm is accepted only for the key that it belongs to, so a public key can never be used as an HMAC
secret. Source: contracts/auth.md 0 ("Key choice on verify") and 2.4; RFC 7517, RFC 7518.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from isobase_platform.errors import ConfigurationError

__all__ = [
    "MIN_SECRET_BYTES",
    "VERIFYING_ALGORITHMS",
    "Key",
    "KeyRing",
    "base64url",
    "generate_jwk",
    "load_jwks_file",
    "parse_jwks",
]

MIN_SECRET_BYTES = 32
"""RFC 7518 3.2: an HS256 secret has at least the size of the hash."""

ALGORITHMS = ("HS256", "RS256", "ES256")
"""What the project's own keys are for."""
VERIFYING_ALGORITHMS = frozenset({*ALGORITHMS, "HS384", "HS512", "RS384", "RS512", "ES384", "ES512", "EdDSA"})
"""What keys of others, that only verify, may be for."""
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(slots=True, frozen=True)
class Key:
    """One key: its id (None for the bare shared secret), its only algorithm, and what PyJWT signs or verifies with.

    ``signing`` is None for a key that only verifies. ``public_jwk`` is None for a symmetric key, which is never shown.
    """

    kid: str | None
    algorithm: str
    verifying: Any
    signing: Any
    public_jwk: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, algorithm={self.algorithm!r})"


class KeyRing:
    """The keys of one project.

    Parameters: ``secret``, the shared HS256 secret (also verifies tokens with no or an unknown ``kid``); ``jwks``, JWK
    mappings with private parts for those that sign. The first JWK whose ``key_ops`` contains ``sign`` signs; with none,
    the secret signs. Raises ``ConfigurationError`` for a short secret, an unusable JWK, or two signing keys.
    """

    algorithms = frozenset(ALGORITHMS)

    def __init__(self, secret: str, jwks: Sequence[Mapping[str, Any]] = ()) -> None:
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"jwt_secret must have at least {MIN_SECRET_BYTES} bytes")
        self._secret = Key(None, "HS256", secret.encode(), secret.encode(), None)
        self._by_kid: dict[str, Key] = {}
        signing: list[Key] = []
        for number, jwk in enumerate(jwks, start=1):
            key, may_sign = _key_from_jwk(jwk, number)
            assert key.kid is not None
            self._by_kid[key.kid] = key
            if may_sign:
                signing.append(key)
        if len(signing) > 1:
            raise ConfigurationError('more than one key of the JWK file has "sign" in key_ops; exactly one may sign')
        self.signing_key = signing[0] if signing else self._secret
        self.published_jwks: Mapping[str, Any] = {
            "keys": [key.public_jwk for key in self._by_kid.values() if key.public_jwk is not None]
        }

    def key_for(self, kid: str | None, algorithm: str | None) -> Key | None:
        """The key that may verify a token with this header, or None where the token must be refused."""
        if kid is not None and kid in self._by_kid:
            key = self._by_kid[kid]
            return key if key.algorithm == algorithm else None
        return self._secret if algorithm == "HS256" else None

    def candidates(self, kid: str | None, algorithm: str | None) -> Sequence[Key]:
        """``key_for`` as a list of one or none, as ``TokenVerifier`` asks."""
        key = self.key_for(kid, algorithm)
        return [] if key is None else [key]

    @property
    def secret_key(self) -> Key:
        """The shared-secret key, which signs storage URLs and API keys whatever signs user tokens."""
        return self._secret


def _key_from_jwk(jwk: Mapping[str, Any], number: int) -> tuple[Key, bool]:
    where = f"key {number} of the JWK file"
    kid = jwk.get("kid")
    algorithm = jwk.get("alg")
    if not isinstance(kid, str) or not kid:
        raise ConfigurationError(f"{where} has no kid")
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"{where} has alg {algorithm!r}; Isobase takes {', '.join(ALGORITHMS)}")
    operations = jwk.get("key_ops") or []
    try:
        if algorithm == "HS256":
            secret = HMACAlgorithm.from_jwk(dict(jwk))
            return Key(kid, algorithm, secret, secret, None), "sign" in operations
        implementation = RSAAlgorithm if algorithm == "RS256" else ECAlgorithm
        material: Any = implementation.from_jwk(dict(jwk))
    except (jwt.InvalidKeyError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{where} is not a usable {algorithm} key") from error
    is_private = "d" in jwk
    public = {name: value for name, value in jwk.items() if name not in _PRIVATE_MEMBERS}
    public |= {"alg": algorithm, "kid": kid, "use": "sig", "key_ops": ["verify"]}
    verifying = material.public_key() if is_private else material
    if "sign" in operations and not is_private:
        raise ConfigurationError(f'{where} has "sign" in key_ops but no private part')
    return Key(kid, algorithm, verifying, material if is_private else None, public), "sign" in operations


def load_jwks_file(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that holds an array of JWKs, as ``supabase gen signing-key`` writes it.

    Also takes the ``{"keys": [...]}`` form. Raises ``ConfigurationError`` when the file is missing or is neither.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the JWK file {path}: {error}") from error
    return _jwks_in(content, str(path))


def parse_jwks(text: str) -> list[dict[str, Any]]:
    """``load_jwks_file`` for the setting that holds the keys as text; its errors never repeat the text."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    return _jwks_in(content, "jwt_keys")


def _jwks_in(content: object, where: str) -> list[dict[str, Any]]:
    keys = content.get("keys") if isinstance(content, dict) else content
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ConfigurationError(f"{where} holds no array of JWKs")
    return keys


def generate_jwk(algorithm: str) -> dict[str, Any]:
    """Make a new private JWK for ``RS256`` (2048 bit) or ``ES256`` (P-256), ready for the JWK file, with ``sign``."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if algorithm == "RS256":
        jwk = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
    elif algorithm == "ES256":
        jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    else:
        raise ConfigurationError(f"cannot generate a key for {algorithm!r}; choose RS256 or ES256")
    return {**jwk, "kid": str(uuid.uuid4()), "alg": algorithm, "use": "sig", "key_ops": ["sign", "verify"]}


def base64url(data: bytes) -> str:
    """Unpadded base64url, as JOSE writes it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""The keys of the data API's ``jwt_secret``: a shared secret, one JWK, or a JWK set. They only verify.

Unlike the project's own ``keys`` they need no ids, and several may fit one token: each is tried. A key fits by its kind, by
its ``alg`` and ``use`` where it has them, and by its ``kid`` where the token names one. Source: PostgREST v14 docs,
references/auth, and how its JOSE library chooses keys.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import HMACAlgorithm

from isobase_platform.errors import ConfigurationError
from isobase_platform.keys import MIN_SECRET_BYTES, VERIFYING_ALGORITHMS, Key

__all__ = ["MAX_REMOTE_KEYS", "JwkSet", "parse_jwt_secret", "public_jwk_set"]

MAX_REMOTE_KEYS = 64
"""Of a key set that was fetched; more would only cost time with every token that names no key."""
MIN_RSA_KEY_BITS = 2048

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_SHARED = ("HS256", "HS384", "HS512")
_RSA = ("RS256", "RS384", "RS512")


class JwkSet:
    """Keys by what they verify. Build it with ``parse_jwt_secret``."""

    algorithms = VERIFYING_ALGORITHMS
    version = 0

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def candidates(self, kid: str | None, algorithm: str | None) -> Sequence[Key]:
        """The keys that may verify a token with this header, in their order."""
        return [key for key in self._keys if key.algorithm == algorithm and (kid is None or key.kid == kid)]

    @property
    def is_empty(self) -> bool:
        """True where nothing can be verified."""
        return not self._keys

    @property
    def ids(self) -> frozenset[str | None]:
        """The ids of the keys."""
        return frozenset(key.kid for key in self._keys)


def public_jwk_set(jwks: Sequence[object]) -> JwkSet:
    """The public keys of a set that somebody else published: at most ``MAX_REMOTE_KEYS`` of them.

    Shared secrets in it are passed over, whatever their ``alg``: what everybody can read proves nothing. So are RSA keys of
    fewer than ``MIN_RSA_KEY_BITS`` bits.
    """
    keys: list[Key] = []
    for jwk in jwks[:MAX_REMOTE_KEYS]:
        if isinstance(jwk, Mapping) and jwk.get("kty") != "oct":
            keys += [key for key in _keys(jwk) if _is_strong(key.verifying)]
    return JwkSet(keys)


def _is_strong(material: object) -> bool:
    return not isinstance(material, RSAPublicKey) or material.key_size >= MIN_RSA_KEY_BITS


def parse_jwt_secret(secret: str, *, is_base64: bool = False) -> JwkSet:
    """Read the setting: a JWK set, a JWK, or the secret itself, whose base64 it is where ``is_base64``.

    Raises ``ConfigurationError``, which never repeats the secret, for a short secret and for JWKs of which none is usable.
    """
    data = _decoded(secret) if is_base64 else secret.encode()
    jwks = _jwks(data)
    if jwks is not None:
        return JwkSet([key for jwk in jwks for key in _keys(jwk)])
    if len(data) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"The JWT secret must be at least {MIN_SECRET_BYTES} characters long.")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(data)
    except jwt.InvalidKeyError as error:
        # Whoever knows a public key could sign with it as a secret.
        raise ConfigurationError("jwt-secret is a public key in a form other than JWK; give it as a JWK") from error
    # The bare secret is for HS256 and nothing else.
    return JwkSet([Key(None, "HS256", data, data, None)])


def _decoded(text: str) -> bytes:
    """Base64 and base64url, with ``.`` for padding too, as upstream takes them."""
    plain = text.strip().replace("_", "/").replace("-", "+").replace(".", "=")
    try:
        return base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError("jwt-secret is not valid base64") from error


def _jwks(data: bytes) -> Sequence[Mapping[str, Any]] | None:
    """The JWKs of a set or of one JWK; None where the text is neither, and so a secret."""
    try:
        value = json.loads(data)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    members = value.get("keys")
    if isinstance(members, list):
        return [member for member in members if isinstance(member, dict)]
    return [value] if isinstance(value.get("kty"), str) else None


def _keys(jwk: Mapping[str, Any]) -> list[Key]:
    """One JWK as a key per algorithm that it may verify; none for one of an unknown kind, as upstream passes over those."""
    if jwk.get("use") == "enc":
        return []
    try:
        material: Any = jwt.PyJWK({**jwk, "alg": jwk.get("alg") or _any_algorithm(jwk)}).key
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return []
    if hasattr(material, "public_key"):
        material = material.public_key()
    kid, named = jwk.get("kid"), jwk.get("alg")
    possible = [one for one in _algorithms(material) if named is None or one == named]
    return [Key(kid if isinstance(kid, str) else None, one, material, None, None) for one in possible]


def _any_algorithm(jwk: Mapping[str, Any]) -> str:
    """An algorithm of the key's kind, by which PyJWT knows how to read it."""
    kinds = {"oct": "HS256", "RSA": "RS256", "OKP": "EdDSA"}
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    return kinds.get(str(jwk.get("kty"))) or curves.get(str(jwk.get("crv")), "")


def _algorithms(material: object) -> tuple[str, ...]:
    """What a key of this kind can verify: never more, so that no public key is taken for a shared secret."""
    match material:
        case bytes():
            return _SHARED
        case RSAPublicKey():
            return _RSA
        case EllipticCurvePublicKey() | EllipticCurvePrivateKey():
            return (_CURVES[material.curve.name],) if material.curve.name in _CURVES else ()
        case Ed25519PublicKey() | Ed448PublicKey():
            return ("EdDSA",)
        case _:
            return ()

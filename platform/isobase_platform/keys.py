"""Signing keys: the shared HS256 secret, RS256 / ES256 pairs from a JWK file or the database, and the public JWKS.

A ``KeyRing`` answers two questions: which key signs, and which key may verify a token whose header says ``kid`` and
``alg``. An algorithm is accepted only for the key that it belongs to, so a public key can never be used as an HMAC
secret. Keys of the database come and go while a process runs: ``key_store`` keeps them, ``key_keeper`` brings them here.
Source: contracts/auth.md 0 ("Key choice on verify") and 2.4; RFC 7517, RFC 7518; the states of Supabase's signing keys.
"""

from __future__ import annotations

import binascii
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from isobase_platform.errors import ConfigurationError

__all__ = [
    "ALGORITHMS",
    "MIN_SECRET_BYTES",
    "VERIFYING_ALGORITHMS",
    "HeldKey",
    "Key",
    "KeyRing",
    "KeyStatus",
    "base64url",
    "generate_jwk",
    "load_jwks_file",
    "parse_jwks",
    "public_part",
    "read_jwk",
]

MIN_SECRET_BYTES = 32
"""RFC 7518 3.2: an HS256 secret has at least the size of the hash."""

ALGORITHMS = ("HS256", "RS256", "ES256")
"""What the project's own keys are for."""
VERIFYING_ALGORITHMS = frozenset({*ALGORITHMS, "HS384", "HS512", "RS384", "RS512", "ES384", "ES512", "EdDSA"})
"""What keys of others, that only verify, may be for."""
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


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


class KeyStatus(StrEnum):
    """What a key of the database is for; the names are Supabase's. It only ever moves down this list."""

    STANDBY = "standby"
    """Published and believed, so that every verifier knows it before it signs."""
    IN_USE = "in_use"
    """Signs."""
    PREVIOUSLY_USED = "previously_used"
    """Signed once: what it signed is good until it expires."""
    REVOKED = "revoked"
    """Nothing that it signed is believed."""


@dataclass(slots=True, frozen=True)
class HeldKey:
    """A key of the database with its status. ``key`` is None for a revoked one, of which only the id counts.

    ``is_for_simple_face``: while in use it signs for the simple face only, because the project signs with a shared secret.
    """

    kid: str
    status: KeyStatus
    key: Key | None
    is_for_simple_face: bool = False


@dataclass(slots=True, frozen=True)
class _State:
    """What belongs together: a change of the keys puts a new one in the place of the old."""

    by_kid: Mapping[str, Key]
    signing_key: Key
    simple_key: Key | None
    published_jwks: Mapping[str, Any]


class KeyRing:
    """The keys of one project.

    Parameters: ``secret``, the shared HS256 secret (also verifies tokens with no or an unknown ``kid``, unless there are
    JWKs and ``trusts_secret`` is False); ``jwks``, JWK mappings with private parts for those that sign. The first JWK whose
    ``key_ops`` contains ``sign`` signs; with none, the secret signs. Keys of the database (``hold``) stand above both.
    Raises ``ConfigurationError`` for a short secret, an unusable JWK, or two signing keys.
    """

    algorithms = frozenset(ALGORITHMS)

    def __init__(self, secret: str, jwks: Sequence[Mapping[str, Any]] = (), *, trusts_secret: bool = True) -> None:
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"jwt_secret must have at least {MIN_SECRET_BYTES} bytes")
        self._secret = Key(None, "HS256", secret.encode(), secret.encode(), None)
        self._trusts_secret = trusts_secret or not jwks
        self._of_settings: dict[str, Key] = {}
        self._held: tuple[HeldKey, ...] = ()
        signing: list[Key] = []
        for number, jwk in enumerate(jwks, start=1):
            key, may_sign = _key_from_jwk(jwk, f"key {number} of the JWK file")
            assert key.kid is not None
            self._of_settings[key.kid] = key
            if may_sign:
                signing.append(key)
        if len(signing) > 1:
            raise ConfigurationError('more than one key of the JWK file has "sign" in key_ops; exactly one may sign')
        self._signing_of_settings = signing[0] if signing else self._secret
        self._state = self._state_of(())
        self._listeners: list[Callable[[], None]] = []
        self.version = 0
        """Counts the changes: what was verified before one is verified anew after it."""

    def hold(self, held: Sequence[HeldKey]) -> bool:
        """Take ``held`` for the keys of the database, all at once, and tell who listens; returns whether they changed."""
        if tuple(held) == self._held:
            return False
        self._held = tuple(held)
        self._state = self._state_of(held)
        self.version += 1
        for listener in self._listeners:
            listener()
        return True

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change of the keys, for those who keep what they once verified."""
        self._listeners.append(listener)

    def _state_of(self, held: Sequence[HeldKey]) -> _State:
        by_kid = dict(self._of_settings)
        signing, simple = self._signing_of_settings, None
        for one in held:
            by_kid.pop(one.kid, None)
            if one.key is None or one.status is KeyStatus.REVOKED:
                continue
            by_kid[one.kid] = one.key
            if one.status is KeyStatus.IN_USE and one.is_for_simple_face:
                simple = one.key
            elif one.status is KeyStatus.IN_USE:
                signing = one.key
        if signing.public_jwk is not None:
            simple = signing
        published = [key.public_jwk for key in by_kid.values() if key.public_jwk is not None]
        return _State(by_kid, signing, simple, {"keys": published})

    @property
    def signing_key(self) -> Key:
        """The key that signs users' tokens."""
        return self._state.signing_key

    @property
    def simple_key(self) -> Key | None:
        """The pair that signs for the simple face: ``signing_key`` where that is a pair; None where there is none."""
        return self._state.simple_key

    @property
    def published_jwks(self) -> Mapping[str, Any]:
        """The JWK set of the public keys, standby and previously used ones among them."""
        return self._state.published_jwks

    @property
    def of_settings(self) -> Mapping[str, Key]:
        """The keys of the JWK file by their ids, whatever the database says of them."""
        return self._of_settings

    def knows(self, kid: str) -> bool:
        """Whether a key of this id verifies, or was revoked: looking for it in the database would find nothing new."""
        return kid in self._state.by_kid or any(one.kid == kid for one in self._held)

    def key_for(self, kid: str | None, algorithm: str | None) -> Key | None:
        """The key that may verify a token with this header, or None where the token must be refused."""
        known = self._state.by_kid.get(kid) if kid is not None else None
        if known is not None:
            return known if known.algorithm == algorithm else None
        return self._secret if algorithm == "HS256" and self._trusts_secret else None

    def candidates(self, kid: str | None, algorithm: str | None) -> Sequence[Key]:
        """``key_for`` as a list of one or none, as ``TokenVerifier`` asks."""
        key = self.key_for(kid, algorithm)
        return [] if key is None else [key]

    @property
    def secret_key(self) -> Key:
        """The shared-secret key, which signs storage URLs and API keys whatever signs user tokens."""
        return self._secret


def read_jwk(jwk: Mapping[str, Any]) -> Key:
    """One JWK, private or public, as a key. Raises ``ConfigurationError`` for one that is of no use."""
    return _key_from_jwk(jwk, f"signing key {jwk.get('kid')!r}")[0]


def public_part(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """A pair's JWK as it is published: no private member, and what its use is."""
    public = {name: value for name, value in jwk.items() if name not in _PRIVATE_MEMBERS}
    return public | {"use": "sig", "key_ops": ["verify"]}


def _key_from_jwk(jwk: Mapping[str, Any], where: str) -> tuple[Key, bool]:
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
    public = public_part(jwk)
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
    """Make a new private JWK for ``RS256`` (2048 bit), ``ES256`` (P-256) or ``HS256`` (256 bit), with ``sign``. Blocks."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    jwk: dict[str, Any]
    if algorithm == "RS256":
        jwk = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
    elif algorithm == "ES256":
        jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    elif algorithm == "HS256":
        jwk = {"kty": "oct", "k": base64url(secrets.token_bytes(MIN_SECRET_BYTES))}
    else:
        raise ConfigurationError(f"cannot generate a key for {algorithm!r}; choose {', '.join(ALGORITHMS)}")
    return {**jwk, "kid": str(uuid.uuid4()), "alg": algorithm, "use": "sig", "key_ops": ["sign", "verify"]}


def base64url(data: bytes) -> str:
    """Unpadded base64url, as JOSE writes it."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode()

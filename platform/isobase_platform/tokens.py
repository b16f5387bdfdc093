"""Tokens in, claims out; claims in, tokens out; and what an API key stands for.

``TokenVerifier`` verifies bearer tokens with the algorithm allow-list of ``keys``; ``TokenIssuer`` signs;
``ApiKeys`` knows the project's four keys. Times are unix seconds. Source: contracts/auth.md 0 and 2.4, and for the demo
keys the Supabase command line (``iss`` supabase-demo, ``exp`` 1983812996).
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import jwt
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from isobase_platform.caller import ANON_ROLE, SERVICE_ROLE, Claims
from isobase_platform.errors import ConfigurationError, TokenError, TokenRefusal
from isobase_platform.keys import VERIFYING_ALGORITHMS, Key, KeyRing, base64url
from isobase_platform.strict_json import load_finite

__all__ = ["MAX_TOKEN_LENGTH_CHARS", "ApiKeys", "TokenIssuer", "TokenVerifier", "VerifyingKeys", "role_token"]

MAX_TOKEN_LENGTH_CHARS = 16_384
VERIFIED_CACHE_SIZE_TOKENS = 2_048
DEMO_EXPIRY_S = 1_983_812_996
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)
_ES256 = ECAlgorithm(ECAlgorithm.SHA256)
_compact_json = json.JSONEncoder(separators=(",", ":")).encode
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_jws = jwt.PyJWS(algorithms=sorted(VERIFYING_ALGORITHMS))


class VerifyingKeys(Protocol):
    """Where a verifier finds keys: the project's ``KeyRing``, or a ``JwkSet``."""

    algorithms: frozenset[str]
    """What tokens may be signed with at all; any other algorithm is refused by its name."""
    version: int
    """Another number whenever the keys changed: signatures that verified before count no more."""

    def candidates(self, kid: str | None, algorithm: str | None) -> Sequence[Key]:
        """The keys that may verify a token with this header; none where it must be refused."""
        ...


class TokenVerifier:
    """Verifies bearer tokens against keys.

    Signatures that verified are remembered (``cache_size`` tokens, first in first out), times are checked on every call.
    ``lookups``, ``hits`` and ``evictions`` count what that memory did, for the metrics.
    """

    def __init__(self, keys: VerifyingKeys, *, cache_size: int = VERIFIED_CACHE_SIZE_TOKENS) -> None:
        self._keys = keys
        self._cache_size = cache_size
        self._verified: dict[str, Claims] = {}
        self._version = keys.version
        self.lookups = self.hits = self.evictions = 0

    def verify(self, token: str, *, leeway_s: int = 0, now_s: float | None = None) -> Claims:
        """Return the claims of ``token``.

        ``leeway_s`` seconds of clock difference are forgiven on ``exp``, ``nbf`` and ``iat`` (PostgREST: 30, GoTrue: 0).
        Raises ``TokenError`` whose ``reason`` says what is wrong. The audience is each face's own business.
        """
        if self._version != self._keys.version:
            self._version = self._keys.version
            self._verified.clear()
        claims = self._verified.get(token)
        self.lookups += 1
        if claims is None:
            claims = self._verify_signature(token)
            self._remember(token, claims)
        else:
            self.hits += 1
        _check_times(claims.raw, leeway_s, time.time() if now_s is None else now_s)
        return claims

    async def prepare(self, token: str) -> None:
        """Fetch what ``verify`` will need for ``token``: nothing for the project's own keys, which are all here."""

    def _remember(self, token: str, claims: Claims) -> None:
        if self._cache_size <= 0:
            return
        if len(self._verified) >= self._cache_size:
            self._verified.pop(next(iter(self._verified)))
            self.evictions += 1
        self._verified[token] = claims

    def _verify_signature(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH_CHARS:
            raise TokenError("The token is too long", TokenRefusal.MALFORMED)
        if _COMPACT.fullmatch(token) is None:
            # PyJWT passes over padding, which RFC 7515 has none of: one token must not have many spellings.
            raise TokenError("The token is malformed", TokenRefusal.MALFORMED)
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenError("The token is malformed", TokenRefusal.MALFORMED) from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str):
            raise TokenError("The token names no algorithm", TokenRefusal.ALGORITHM)
        keys = self._keys.candidates(kid if isinstance(kid, str) else None, algorithm)
        if not keys:
            reason = TokenRefusal.UNKNOWN_KEY if algorithm in self._keys.algorithms else TokenRefusal.ALGORITHM
            raise TokenError("No key of this project verifies the token", reason)
        return Claims.from_payload(_json_object(_verified_payload(token, keys)))


def _verified_payload(token: str, keys: Sequence[Key]) -> bytes:
    """The payload, by the first of ``keys`` whose signature it carries."""
    for key in keys:
        try:
            payload: bytes = _jws.decode_complete(token, key.verifying, algorithms=[key.algorithm])["payload"]
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidTokenError as error:
            raise TokenError("The token is malformed", TokenRefusal.MALFORMED) from error
        return payload
    raise TokenError("The token's signature does not verify", TokenRefusal.SIGNATURE)


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        # NaN and numbers beyond a float's are no JSON to PostgreSQL, and an ``exp`` of either would never come.
        value = load_finite(payload)
        # Python reads half a surrogate pair, which is no text and cannot travel to PostgreSQL: UnicodeEncodeError.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise TokenError("The token's payload is not JSON", TokenRefusal.MALFORMED) from error
    if not isinstance(value, dict):
        raise TokenError("The token's payload is not a JSON object", TokenRefusal.MALFORMED)
    return value


def _check_times(payload: Mapping[str, Any], leeway_s: int, now_s: float) -> None:
    times: dict[str, float] = {}
    for name in ("exp", "nbf", "iat"):
        value = payload.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TokenError(f"The claim {name} is not a number", TokenRefusal.CLAIMS)
        times[name] = value
    if "exp" in times and now_s > times["exp"] + leeway_s:
        raise TokenError("The token has expired", TokenRefusal.EXPIRED)
    if "nbf" in times and now_s < times["nbf"] - leeway_s:
        raise TokenError("The token is not valid yet", TokenRefusal.NOT_YET_VALID)
    # A clock difference of a minute is everyday life between an issuer and us; upstream allows 30 s for all three.
    if "iat" in times and now_s < times["iat"] - max(leeway_s, 30):
        raise TokenError("The token was issued in the future", TokenRefusal.ISSUED_IN_FUTURE)


class TokenIssuer:
    """Signs payloads with the ring's signing key."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def sign(self, payload: Mapping[str, Any]) -> str:
        """Return a compact JWS of ``payload`` by the signing key; the header carries ``kid`` when the key has one."""
        return _encode(payload, self._keys.signing_key)

    def sign_for_simple_face(self, payload: Mapping[str, Any]) -> str:
        """As ``sign``, by the pair that the simple face signs with, where there is one (``KeyKeeper.need_pair``)."""
        return _encode(payload, self._keys.simple_key or self._keys.signing_key)

    def sign_with_secret(self, payload: Mapping[str, Any]) -> str:
        """Return an HS256 token by the shared secret: storage URLs and API keys."""
        return _encode(payload, self._keys.secret_key)

    def sign_json_with_secret(self, payload_json: str) -> str:
        """As ``sign_with_secret``, of a payload that is JSON text already (an object without spaces)."""
        return _encode_json(payload_json, self._keys.secret_key)


def _encode(payload: Mapping[str, Any], key: Key) -> str:
    """A compact JWS. By hand, because PyJWT looks at the key's form anew for every token, which costs more than signing."""
    return _encode_json(_compact_json(dict(payload)), key)


def _encode_json(payload_json: str, key: Key) -> str:
    signed = f"{_header(key.algorithm, key.kid)}.{base64url(payload_json.encode())}"
    return f"{signed}.{base64url(_signature(signed.encode(), key))}"


@lru_cache(maxsize=64)
def _header(algorithm: str, kid: str | None) -> str:
    return base64url(_compact_json({"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})).encode())


def _signature(message: bytes, key: Key) -> bytes:
    match key.algorithm:
        case "HS256":
            return hmac.digest(key.signing, message, "sha256")
        case "RS256":
            return _RS256.sign(message, key.signing)
        case "ES256":
            return _ES256.sign(message, key.signing)
    raise ConfigurationError(f"no key for {key.algorithm} may sign")


def role_token(secret: str, role: str, *, issuer: str = "supabase-demo", expires_at_s: int = DEMO_EXPIRY_S) -> str:
    """The API key of ``role``: an HS256 token of ``iss``, ``role`` and ``exp`` in this order.

    With the default secret this gives byte for byte the demo keys that the Supabase command line prints.
    """
    # Written out by hand because the member order (alg before typ) is part of the bytes that every .env file holds.
    signed = ".".join(
        base64url(json.dumps(part, separators=(",", ":")).encode())
        for part in ({"alg": "HS256", "typ": "JWT"}, {"iss": issuer, "role": role, "exp": expires_at_s})
    )
    return f"{signed}.{base64url(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


class ApiKeys:
    """The project's keys and the role each stands for.

    ``anon`` and ``service_role`` are JWTs and travel on as bearer tokens; ``publishable`` and ``secret`` are opaque
    (``sb_publishable_...``, ``sb_secret_...``) and are swapped for those two.
    """

    def __init__(self, *, anon: str, service_role: str, publishable: str, secret: str) -> None:
        self.anon = anon
        self.service_role = service_role
        self.publishable = publishable
        self.secret = secret

    def token_for(self, api_key: str) -> str | None:
        """The JWT that an opaque key stands for, or None for anything else. Takes constant time over the secrets."""
        is_publishable = hmac.compare_digest(api_key.encode(), self.publishable.encode())
        is_secret = hmac.compare_digest(api_key.encode(), self.secret.encode())
        if is_secret:
            return self.service_role
        return self.anon if is_publishable else None

    @staticmethod
    def is_opaque(value: str) -> bool:
        """True for the form of a publishable or secret key, whether or not it is one of this project's."""
        return value.startswith("sb_")

    @property
    def roles(self) -> Mapping[str, str]:
        """Key name -> role, for documentation and the status command."""
        return {"anon": ANON_ROLE, "publishable": ANON_ROLE, "service_role": SERVICE_ROLE, "secret": SERVICE_ROLE}

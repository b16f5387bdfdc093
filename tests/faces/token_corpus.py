"""Tokens that must be refused, and tokens that are odd: what attackers and broken clients send in the place of a JWT.

``FORGED`` verify nowhere. ``ODD`` carry the project's own signature and say strange things: they are not forgeries, so a
service that does not look at what is strange may take them, but none may fall over them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from isobase_platform.keys import generate_jwk

__all__ = ["FORGED", "GOOD", "ODD", "Material"]

OTHER_SECRET = "another-secret-of-more-than-thirty-two-bytes"
HOUR_S = 3600


@dataclass(slots=True, frozen=True)
class Material:
    """What tokens are made of: a signed-in user's claims, the project's secret, and the public JWK of a pair of it."""

    secret: str
    claims: Mapping[str, Any]
    pair: Mapping[str, Any]

    def signed(self, changes: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """The user's claims with changes (None takes a claim away), signed by the project's secret."""
        claims = {**self.claims, **(changes or {})}
        return self.of_text(json.dumps({name: value for name, value in claims.items() if value is not None}), header)

    def of_text(self, payload: str, header: Mapping[str, Any] | None = None) -> str:
        """A payload as it stands, signed by the project's secret."""
        return compact({"alg": "HS256", "typ": "JWT", **(header or {})}, payload, self.secret)


Build: TypeAlias = Callable[[Material], str]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: Mapping[str, Any] | str, payload: str, secret: str | bytes, digest: str = "sha256") -> str:
    """A JWS with an HMAC signature, whatever the header says."""
    text = header if isinstance(header, str) else json.dumps(header)
    signed = f"{encoded(text.encode())}.{encoded(payload.encode())}"
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), digest))}"


def payload_of(material: Material) -> str:
    return json.dumps(dict(material.claims) | {"role": "service_role"})


def public_key(material: Material) -> RSAPublicKey:
    key = RSAAlgorithm.from_jwk(dict(material.pair))
    assert isinstance(key, RSAPublicKey)
    return key


def pem(material: Material) -> bytes:
    return public_key(material).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def of_attackers_pair(material: Material, **header: Any) -> str:
    """Signed with RS256 by a pair that the project does not know; ``{jwk}`` in the header is its public part."""
    jwk = generate_jwk("RS256")
    public = {name: jwk[name] for name in ("kty", "n", "e")}
    named = {name: public if value == "{jwk}" else value for name, value in header.items()}
    key = RSAAlgorithm.from_jwk(jwk)
    assert isinstance(key, RSAPrivateKey)
    return jwt.encode(json.loads(payload_of(material)), key, algorithm="RS256", headers=named)


def unsigned(material: Material, algorithm: object, signature: str = "") -> str:
    header = encoded(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    return f"{header}.{encoded(payload_of(material).encode())}.{signature}"


def replaced(material: Material, part: int, change: Callable[[str], str]) -> str:
    parts = material.signed().split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def swapped_payload(material: Material) -> str:
    return replaced(material, 1, lambda _: encoded(payload_of(material).encode()))


def hs(material: Material, secret: str | bytes, **header: Any) -> str:
    return compact({"alg": "HS256", "typ": "JWT", **header}, payload_of(material), secret)


def past(material: Material) -> str:
    return material.signed({"exp": int(time.time()) - HOUR_S})


GOOD: Build = Material.signed

FORGED: Mapping[str, Build] = {
    # No signature at all.
    "alg none": lambda m: unsigned(m, "none"),
    "alg None": lambda m: unsigned(m, "None"),
    "alg NONE with a signature": lambda m: unsigned(m, "NONE", "AAAA"),
    "alg empty": lambda m: unsigned(m, ""),
    "alg null": lambda m: unsigned(m, None),
    "alg a list": lambda m: unsigned(m, ["HS256"]),
    "alg a number": lambda m: unsigned(m, 256),
    "no alg": lambda m: compact({"typ": "JWT"}, payload_of(m), m.secret),
    "an empty signature": lambda m: replaced(m, 2, lambda _: ""),
    "a cut signature": lambda m: replaced(m, 2, lambda text: text[:-4]),
    "alg none first, HS256 second": lambda m: compact('{"alg":"HS256","alg":"none"}', payload_of(m), m.secret),
    # A key for another purpose than its own.
    "HS256 by the public key as PEM": lambda m: hs(m, pem(m)),
    "HS256 by the public key as PEM, its kid": lambda m: hs(m, pem(m), kid=m.pair["kid"]),
    "HS256 by the public key as JWK, its kid": lambda m: hs(m, json.dumps(dict(m.pair)), kid=m.pair["kid"]),
    "HS256 by the modulus, its kid": lambda m: hs(m, m.pair["n"], kid=m.pair["kid"]),
    "HS256 by the secret, kid of the pair": lambda m: hs(m, m.secret, kid=m.pair["kid"]),
    "HS512 by the secret": lambda m: compact({"alg": "HS512"}, payload_of(m), m.secret, "sha512"),
    "HS256 by an empty secret": lambda m: hs(m, ""),
    "HS256 by another secret": lambda m: hs(m, OTHER_SECRET),
    "HS256 by another secret, unknown kid": lambda m: hs(m, OTHER_SECRET, kid="../../dev/null"),
    "HS256 by the hash of the secret": lambda m: hs(m, hashlib.sha256(m.secret.encode()).digest()),
    "RS256 in name, signed by the secret": lambda m: hs(m, m.secret, alg="RS256", kid=m.pair["kid"]),
    "ES256 in name with zeros": lambda m: unsigned(m, "ES256", encoded(bytes(64))),
    # A key that the attacker brings along.
    "RS256 by a stranger": lambda m: of_attackers_pair(m),
    "RS256 by a stranger, kid of the pair": lambda m: of_attackers_pair(m, kid=m.pair["kid"]),
    "RS256 by a stranger, unknown kid": lambda m: of_attackers_pair(m, kid="strangers"),
    "embedded jwk": lambda m: of_attackers_pair(m, jwk="{jwk}"),
    "embedded jwk, kid of the pair": lambda m: of_attackers_pair(m, jwk="{jwk}", kid=m.pair["kid"]),
    "jku": lambda m: of_attackers_pair(m, jku="http://127.0.0.1:1/jwks.json"),
    "x5u": lambda m: of_attackers_pair(m, x5u="http://127.0.0.1:1/cert.pem"),
    "x5c": lambda m: of_attackers_pair(m, x5c=["AAAA"]),
    "kid a statement": lambda m: of_attackers_pair(m, kid="' or 1=1 --"),
    # Extensions that a verifier must understand (RFC 7515 4.1.11).
    "unknown crit": lambda m: m.signed(header={"crit": ["x"], "x": 1}),
    "crit that names nothing": lambda m: m.signed(header={"crit": []}),
    "crit a text": lambda m: m.signed(header={"crit": "exp"}),
    # Times.
    "expired": past,
    "expired for ever": lambda m: m.signed({"exp": 0}),
    "negative exp": lambda m: m.signed({"exp": -1}),
    "exp a text": lambda m: m.signed({"exp": "4102444800"}),
    "exp true": lambda m: m.signed({"exp": True}),
    "exp a list": lambda m: m.signed({"exp": [4102444800]}),
    "exp NaN": lambda m: m.of_text(json.dumps({**m.claims, "exp": float("nan")})),
    "exp Infinity": lambda m: m.of_text(json.dumps({**m.claims, "exp": float("inf")})),
    "exp beyond floats": lambda m: m.of_text(json.dumps({**m.claims, "exp": 0})[:-1] + ', "exp": 1e999}'),
    "exp -Infinity": lambda m: m.of_text(json.dumps({**m.claims, "exp": float("-inf")})),
    "nbf in an hour": lambda m: m.signed({"nbf": int(time.time()) + HOUR_S}),
    "nbf a text": lambda m: m.signed({"nbf": "0"}),
    "iat in an hour": lambda m: m.signed({"iat": int(time.time()) + HOUR_S}),
    "iat a text": lambda m: m.signed({"iat": "now"}),
    # Not the form of a token.
    "another payload": swapped_payload,
    "one segment": lambda m: "eyJhbGciOiJIUzI1NiJ9",
    "two segments": lambda m: m.signed().rpartition(".")[0],
    "four segments": lambda m: m.signed() + ".AAAA",
    "five segments": lambda m: "a.b.c.d.e",
    "dots": lambda m: "..",
    "a dot behind": lambda m: m.signed() + ".",
    "padding in the payload": lambda m: replaced(m, 1, lambda text: text + "="),
    "padding in the signature": lambda m: replaced(m, 2, lambda text: text + "="),
    "an octet that is no base64": lambda m: replaced(m, 1, lambda text: text[:8] + "!" + text[8:]),
    "a percent sign": lambda m: m.signed() + "%00",
    "unicode": lambda m: m.signed() + "\u00e9",
    "very long": lambda m: m.signed({"x": "x" * 20_000}),
    "deep nesting": lambda m: m.of_text("[" * 5_000 + "]" * 5_000),
    "header a list": lambda m: compact("[]", payload_of(m), m.secret),
    "header no JSON": lambda m: compact("{", payload_of(m), m.secret),
    "header deep": lambda m: compact("[" * 5_000, payload_of(m), m.secret),
    "payload a list": lambda m: m.of_text("[1]"),
    "payload a text": lambda m: m.of_text('"service_role"'),
    "payload null": lambda m: m.of_text("null"),
    "payload no JSON": lambda m: m.of_text("{"),
    "payload empty": lambda m: m.of_text(""),
    "payload no UTF-8": lambda m: jwt.PyJWS().encode(b'{"role":"\xff"}', m.secret, algorithm="HS256"),
    "payload half a pair": lambda m: m.of_text('{"role":"\\ud800"}'),
    "payload compressed": lambda m: m.of_text("x\x9c\x03\x00", {"zip": "DEF"}),
}

ODD: Mapping[str, Build] = {
    "exp with a fraction": lambda m: m.signed({"exp": time.time() + HOUR_S + 0.5}),
    "exp very late": lambda m: m.signed({"exp": 10**30}),
    "no exp": lambda m: m.signed({"exp": None}),
    "nbf of long ago": lambda m: m.signed({"nbf": -1.5}),
    "no sub": lambda m: m.signed({"sub": None}),
    "sub empty": lambda m: m.signed({"sub": ""}),
    "sub no UUID": lambda m: m.signed({"sub": "1234567890"}),
    "sub a number": lambda m: m.signed({"sub": 7}),
    "sub an object": lambda m: m.signed({"sub": {"a": 1}}),
    "sub with a NUL": lambda m: m.signed({"sub": "a\x00b"}),
    "sub of nobody": lambda m: m.signed({"sub": "00000000-0000-4000-8000-000000000000"}),
    "session revoked": lambda m: m.signed({"session_id": "00000000-0000-4000-8000-000000000000"}),
    "session no UUID": lambda m: m.signed({"session_id": "mine"}),
    "session a number": lambda m: m.signed({"session_id": 7}),
    "role missing": lambda m: m.signed({"role": None}),
    "role empty": lambda m: m.signed({"role": ""}),
    "role none": lambda m: m.signed({"role": "none"}),
    "role unknown": lambda m: m.signed({"role": "nobody"}),
    "role of the login": lambda m: m.signed({"role": "authenticator"}),
    "role of the owner": lambda m: m.signed({"role": "supabase_storage_admin"}),
    "role postgres": lambda m: m.signed({"role": "postgres"}),
    "role a list": lambda m: m.signed({"role": ["service_role"]}),
    "role an object": lambda m: m.signed({"role": {"service_role": True}}),
    "role a number": lambda m: m.signed({"role": 1}),
    "role with a NUL": lambda m: m.signed({"role": "anon\x00"}),
    "role very long": lambda m: m.signed({"role": "r" * 500}),
    "role a statement": lambda m: m.signed({"role": "anon'; reset role; --"}),
    "aud of another": lambda m: m.signed({"aud": "somebody-else"}),
    "aud a list": lambda m: m.signed({"aud": ["authenticated"]}),
    "aud a number": lambda m: m.signed({"aud": 7}),
    "aud an object": lambda m: m.signed({"aud": {}}),
    "no aud": lambda m: m.signed({"aud": None}),
    "iss of another": lambda m: m.signed({"iss": "https://elsewhere.example.com/auth/v1"}),
    "iss a number": lambda m: m.signed({"iss": 7}),
    "twice the same member": lambda m: m.of_text(json.dumps(dict(m.claims))[:-1] + ', "role": "anon"}'),
    "a claim with a NUL": lambda m: m.signed({"user_metadata": {"name": "a\x00b"}}),
    "many claims": lambda m: m.signed({f"claim{number}": number for number in range(400)}),
    "a number without end": lambda m: m.of_text(json.dumps(dict(m.claims))[:-1] + ', "x": ' + "9" * 4_000 + "}"),
    "NaN in a claim": lambda m: m.of_text(json.dumps({**m.claims, "x": float("nan")})),
    "unknown kid": lambda m: m.signed(header={"kid": "of-an-older-key"}),
    "kid a number": lambda m: m.signed(header={"kid": 7}),
    "typ of another": lambda m: m.signed(header={"typ": "at+jwt"}),
}

"""The keys of the data API's jwt_secret."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from isobase_platform.errors import ConfigurationError, TokenError, TokenRefusal
from isobase_platform.jwk_set import parse_jwt_secret
from isobase_platform.tokens import TokenVerifier

SECRET = "a-secret-of-at-least-thirty-two-bytes"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "RSA": ("RS512", RSA, RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)),
}
for _name, _algorithm, _curve in (("P-256", "ES256", ec.SECP256R1()), ("P-384", "ES384", ec.SECP384R1())):
    _private = ec.generate_private_key(_curve)
    KEYS[_name] = (_algorithm, _private, ECAlgorithm.to_jwk(_private.public_key(), as_dict=True))
_edwards = ed25519.Ed25519PrivateKey.generate()
KEYS["Ed25519"] = ("EdDSA", _edwards, OKPAlgorithm.to_jwk(_edwards.public_key(), as_dict=True))


def token(key: Any, algorithm: str, **headers: str) -> str:
    return jwt.encode({"role": "author"}, key, algorithm=algorithm, headers=headers or None)


def refusal(secret: str, given: str) -> TokenRefusal:
    with pytest.raises(TokenError) as caught:
        TokenVerifier(parse_jwt_secret(secret)).verify(given)
    return caught.value.reason


def test_a_plain_secret_verifies_hs256_and_nothing_else() -> None:
    assert TokenVerifier(parse_jwt_secret(SECRET)).verify(token(SECRET, "HS256")).role == "author"
    longer = SECRET * 2
    assert refusal(longer, token(longer, "HS512")) is TokenRefusal.UNKNOWN_KEY


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_in_base64_stands_for_its_bytes(encode: Any) -> None:
    secret = bytes(range(200, 240))
    keys = parse_jwt_secret(encode(secret).decode() + "\n", is_base64=True)
    assert TokenVerifier(keys).verify(token(secret, "HS256")).role == "author"


@pytest.mark.parametrize("name", KEYS)
def test_a_public_key_verifies_alone_and_in_a_set(name: str) -> None:
    algorithm, private, jwk = KEYS[name]
    given = token(private, algorithm)
    assert TokenVerifier(parse_jwt_secret(json.dumps(jwk))).verify(given).role == "author"
    whole = {"keys": [{"kty": "unknown"}, *(one for _, _, one in KEYS.values())]}
    assert TokenVerifier(parse_jwt_secret(json.dumps(whole))).verify(given).role == "author"


def test_every_key_that_fits_is_tried() -> None:
    shared = [{"kty": "oct", "k": base64.urlsafe_b64encode(one * 32).decode().rstrip("=")} for one in (b"a", b"b")]
    verifier = TokenVerifier(parse_jwt_secret(json.dumps({"keys": shared})))
    assert verifier.verify(token(b"b" * 32, "HS256")).role == "author"


def test_a_key_id_in_the_token_leaves_only_the_key_of_that_id() -> None:
    _, private, jwk = KEYS["RSA"]
    named = json.dumps({"keys": [jwk | {"kid": "one"}]})
    assert TokenVerifier(parse_jwt_secret(named)).verify(token(private, "RS256", kid="one")).role == "author"
    assert refusal(named, token(private, "RS256", kid="two")) is TokenRefusal.UNKNOWN_KEY
    assert refusal(json.dumps(jwk), token(private, "RS256", kid="one")) is TokenRefusal.UNKNOWN_KEY


def test_the_algorithm_and_use_of_a_key_bind_it() -> None:
    _, private, jwk = KEYS["RSA"]
    assert refusal(json.dumps(jwk | {"alg": "RS256"}), token(private, "RS512")) is TokenRefusal.UNKNOWN_KEY
    assert refusal(json.dumps(jwk | {"use": "enc"}), token(private, "RS256")) is TokenRefusal.UNKNOWN_KEY


def test_a_public_key_is_no_shared_secret() -> None:
    _, _, jwk = KEYS["RSA"]
    signed = token("x" * 32, "HS256").rpartition(".")[0]
    signature = hmac.digest(json.dumps(jwk).encode(), signed.encode(), "sha256")
    forged = f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert refusal(json.dumps(jwk), forged) is TokenRefusal.UNKNOWN_KEY
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigurationError, match="give it as a JWK"):
        parse_jwt_secret(pem)


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_short_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="must be at least 32 characters"):
        parse_jwt_secret(secret)


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not valid base64"):
        parse_jwt_secret("ä" * 40, is_base64=True)


def test_a_verifier_without_memory_verifies_every_time() -> None:
    verifier = TokenVerifier(parse_jwt_secret(SECRET), cache_size=0)
    given = token(SECRET, "HS256")
    assert verifier.verify(given) == verifier.verify(given)
    assert (verifier.lookups, verifier.hits, verifier.evictions) == (2, 0, 0)
    small = TokenVerifier(parse_jwt_secret(SECRET), cache_size=1)
    for one in (given, given, token(SECRET, "HS256", typ="x")):
        small.verify(one)
    assert (small.lookups, small.hits, small.evictions) == (3, 1, 1)

"""A token is good where a key of the server signed it, the second time as the first."""

from __future__ import annotations

import json
from typing import cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from isobase.auth.errors import AuthInvalidJwtError
from isobase.auth.helpers import DecodedJWT, decode_jwt
from isobase.auth.jwks import verify_signature
from isobase.auth.types import JWK


def a_key() -> tuple[ec.EllipticCurvePrivateKey, JWK]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(private.public_key()))
    return private, cast("JWK", {**public, "kid": "k", "alg": "ES256", "key_ops": ["verify"]})


def a_token(private: ec.EllipticCurvePrivateKey, **claims: str) -> DecodedJWT:
    return decode_jwt(jwt.encode(claims, private, algorithm="ES256", headers={"kid": "k"}))


def test_a_token_is_verified_again_and_again() -> None:
    private, public = a_key()
    token = a_token(private, sub="a")
    for _ in range(3):
        verify_signature(token, public)


def test_a_verified_token_says_nothing_of_another_with_its_signature() -> None:
    private, public = a_key()
    token, other = a_token(private, sub="a"), a_token(private, sub="b")
    verify_signature(token, public)
    for _ in range(2):
        with pytest.raises(AuthInvalidJwtError):
            verify_signature(cast("DecodedJWT", {**other, "signature": token["signature"]}), public)
    shorter = {"header": token["raw"]["header"], "payload": token["raw"]["payload"][:-1]}
    moved = {**token, "raw": shorter, "signature": token["raw"]["payload"][-1:].encode() + token["signature"]}
    with pytest.raises(AuthInvalidJwtError):
        verify_signature(cast("DecodedJWT", moved), public)


def test_a_verified_token_is_not_good_for_another_key_of_the_same_name() -> None:
    private, public = a_key()
    token = a_token(private, sub="a")
    verify_signature(token, public)
    with pytest.raises(AuthInvalidJwtError):
        verify_signature(token, a_key()[1])


def test_a_key_is_not_used_for_another_algorithm_than_its_own() -> None:
    private, public = a_key()
    token = a_token(private, sub="a")
    verify_signature(token, public)
    token["header"]["alg"] = "RS256"
    with pytest.raises(AuthInvalidJwtError):
        verify_signature(token, public)

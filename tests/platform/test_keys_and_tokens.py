"""Keys, tokens and API keys: what verifies, what is refused, and why."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.errors import ConfigurationError, TokenError, TokenRefusal
from isobase_platform.keys import KeyRing, generate_jwk, load_jwks_file
from isobase_platform.tokens import ApiKeys, TokenIssuer, TokenVerifier, role_token

SECRET = "a-secret-of-more-than-thirty-two-bytes-for-tests"
# The keys that the Supabase command line has printed for years; every tutorial's .env holds them.
DEMO_ANON = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24iLCJleHAiOjE5ODM4MTI5OTZ9"
    ".CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0"
)
DEMO_SERVICE = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6InNlcnZpY2Vfcm9sZSIsImV4cCI6MTk4Mzgx"
    "Mjk5Nn0.EGIM96RAZx35lJzdJsyH-qQwv8Hdp7fsn3W0YpN81IU"
)


def refusal(verifier: TokenVerifier, token: str, **options: Any) -> TokenRefusal:
    with pytest.raises(TokenError) as caught:
        verifier.verify(token, **options)
    assert token not in str(caught.value)
    return caught.value.reason


def sign(payload: Mapping[str, Any], secret: str = SECRET, **options: Any) -> str:
    return jwt.encode(dict(payload), secret, algorithm="HS256", **options)


def test_the_default_secret_gives_the_demo_keys_byte_for_byte() -> None:
    assert role_token(DEFAULT_JWT_SECRET, "anon") == DEMO_ANON
    assert role_token(DEFAULT_JWT_SECRET, "service_role") == DEMO_SERVICE


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_signed_with_a_jwk_verifies_and_names_its_key(algorithm: str) -> None:
    jwk = generate_jwk(algorithm)
    ring = KeyRing(SECRET, [jwk])
    token = TokenIssuer(ring).sign({"sub": "u1", "role": "authenticated"})
    assert jwt.get_unverified_header(token)["kid"] == jwk["kid"]
    claims = TokenVerifier(ring).verify(token)
    assert (claims.sub, claims.role) == ("u1", "authenticated")


def test_a_published_key_has_no_private_part_and_the_secret_is_not_published() -> None:
    ring = KeyRing(SECRET, [generate_jwk("RS256"), {**generate_jwk("ES256"), "key_ops": ["verify"]}])
    keys = ring.published_jwks["keys"]
    assert [key["alg"] for key in keys] == ["RS256", "ES256"]
    assert all(not {"d", "p", "q", "k"} & key.keys() for key in keys)
    assert all(key["use"] == "sig" and key["key_ops"] == ["verify"] for key in keys)


def test_a_public_key_never_serves_as_an_hmac_secret() -> None:
    jwk = generate_jwk("RS256")
    ring = KeyRing(SECRET, [jwk])
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": jwk["kid"]}).encode()).rstrip(b"=").decode()
    forged = f"{header}.{sign({'role': 'service_role'}).split('.')[1]}.AAAA"
    assert refusal(TokenVerifier(ring), forged) is TokenRefusal.UNKNOWN_KEY


def test_an_unsigned_token_is_refused() -> None:
    token = jwt.encode({"role": "service_role"}, "", algorithm="none")
    assert refusal(TokenVerifier(KeyRing(SECRET)), token) is TokenRefusal.ALGORITHM


def test_an_unknown_kid_falls_back_to_the_shared_secret() -> None:
    token = sign({"role": "anon"}, headers={"kid": "of-an-older-key"})
    assert TokenVerifier(KeyRing(SECRET, [generate_jwk("ES256")])).verify(token).role == "anon"


def test_the_secret_verifies_nothing_where_only_jwks_are_believed() -> None:
    token = role_token(SECRET, "anon")
    believing = KeyRing(SECRET, [generate_jwk("ES256")], trusts_secret=False)
    assert refusal(TokenVerifier(believing), token) is TokenRefusal.UNKNOWN_KEY
    assert TokenVerifier(KeyRing(SECRET, trusts_secret=False)).verify(token).role == "anon"


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "." * 10, "é.é.é", "a" * 20_000],
    ids=["empty", "word", "letters", "dots", "not-ascii", "too-long"],
)
def test_what_is_no_token_is_malformed(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        TokenVerifier(KeyRing(SECRET)).verify(token)
    assert caught.value.reason is TokenRefusal.MALFORMED


def test_a_payload_that_is_no_object_is_malformed() -> None:
    token = jwt.PyJWS().encode(b"[1]", SECRET, algorithm="HS256")
    assert refusal(TokenVerifier(KeyRing(SECRET)), token) is TokenRefusal.MALFORMED


def test_a_foreign_signature_is_refused() -> None:
    token = sign({"role": "service_role"}, secret="another-secret-of-more-than-thirty-two-bytes")
    assert refusal(TokenVerifier(KeyRing(SECRET)), token) is TokenRefusal.SIGNATURE


def test_a_changed_payload_is_refused_even_after_the_original_was_seen() -> None:
    verifier = TokenVerifier(KeyRing(SECRET))
    token = sign({"role": "anon"})
    verifier.verify(token)
    header, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(b'{"role":"service_role"}').rstrip(b"=").decode()
    assert refusal(verifier, f"{header}.{payload}.{signature}") is TokenRefusal.SIGNATURE


@pytest.mark.parametrize("algorithm", [["HS256"], {"HS256": 1}, None, 256, True])
def test_an_algorithm_that_is_no_text_is_refused(algorithm: object) -> None:
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": algorithm, "typ": "JWT"}, {"role": "service_role"})
    )
    assert refusal(TokenVerifier(KeyRing(SECRET)), f"{header}.{payload}.AAAA") is TokenRefusal.ALGORITHM


def test_times_are_checked_on_every_use_of_a_remembered_token() -> None:
    verifier = TokenVerifier(KeyRing(SECRET))
    now = time.time()
    token = sign({"exp": int(now) + 60})
    verifier.verify(token, now_s=now)
    assert refusal(verifier, token, now_s=now + 62) is TokenRefusal.EXPIRED
    verifier.verify(token, now_s=now + 80, leeway_s=30)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nbf": 2_000_000_000_000}, TokenRefusal.NOT_YET_VALID),
        ({"iat": 2_000_000_000_000}, TokenRefusal.ISSUED_IN_FUTURE),
        ({"exp": 1}, TokenRefusal.EXPIRED),
        ({"exp": "soon"}, TokenRefusal.CLAIMS),
        ({"exp": True}, TokenRefusal.CLAIMS),
    ],
)
def test_a_token_outside_its_time_is_refused(claims: dict[str, Any], reason: TokenRefusal) -> None:
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, algorithm="HS256")
    assert refusal(TokenVerifier(KeyRing(SECRET)), token) is reason


def test_a_short_secret_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        KeyRing("short")


def test_two_signing_keys_are_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="exactly one may sign"):
        KeyRing(SECRET, [generate_jwk("ES256"), generate_jwk("RS256")])


@pytest.mark.parametrize("content", ["nonsense", "{}", "[1]", '{"keys": "x"}'])
def test_a_jwk_file_that_holds_no_keys_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"keys\.json"):
        load_jwks_file(path)


def test_opaque_keys_stand_for_their_roles_and_nothing_else_does() -> None:
    keys = ApiKeys(anon="A", service_role="S", publishable="sb_publishable_p", secret="sb_secret_s")
    assert keys.token_for("sb_publishable_p") == "A"
    assert keys.token_for("sb_secret_s") == "S"
    assert keys.token_for("sb_secret_x") is None
    assert keys.token_for("A") is None


@pytest.mark.parametrize("payload", [b'{"role":"anon","name":"\\ud800"}', b'{"a":' * 5000 + b"1" + b"}" * 5000])
def test_claims_that_are_no_text_for_postgresql_are_refused_though_they_are_signed(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, SECRET, algorithm="HS256")
    verifier = TokenVerifier(KeyRing(SECRET, []))
    with pytest.raises(TokenError) as caught:
        verifier.verify(token)
    assert caught.value.reason is TokenRefusal.MALFORMED

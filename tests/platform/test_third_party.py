"""Tokens of other issuers: whose keys verify them, which role they get, and how seldom the issuer is asked."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.config_auth.third_party import ThirdPartyIssuer
from isobase_platform.config_toml import read_config_toml
from isobase_platform.errors import ConfigurationError, TokenError, TokenRefusal
from isobase_platform.keys import KeyRing, base64url
from isobase_platform.oidc import IssuerTiming
from isobase_platform.third_party import MixedVerifier, ThirdPartyTokens, role_of
from isobase_platform.tokens import role_token
from tests.plugins.issuer import LoopbackIssuer, new_jwk, public, running_issuer

EAGER = IssuerTiming(min_interval_s=0.0)


@asynccontextmanager
async def verifier_for(
    issuer: LoopbackIssuer, *, timing: IssuerTiming = EAGER, **settings: Any
) -> AsyncIterator[MixedVerifier]:
    """A verifier that trusts the issuer."""
    given = ThirdPartyIssuer(enabled=True, issuer_url=issuer.url, **settings)
    tokens = ThirdPartyTokens.of({"acme": given}, timing=timing)
    try:
        yield MixedVerifier(KeyRing(DEFAULT_JWT_SECRET), tokens)
    finally:
        await tokens.close()


async def refusal(verifier: MixedVerifier, token: str) -> TokenRefusal:
    """Why the token is refused."""
    await verifier.prepare(token)
    with pytest.raises(TokenError) as caught:
        verifier.verify(token)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_token_of_a_trusted_issuer_is_accepted_as_authenticated(algorithm: str) -> None:
    async with running_issuer(jwk=new_jwk(algorithm)) as issuer, verifier_for(issuer) as verifier:
        token = issuer.sign({"sub": "user-1", "email": "alice@example.com"})
        await verifier.prepare(token)
        claims = verifier.verify(token)
        assert (claims.role, claims.sub) == ("authenticated", "user-1")
        assert json.loads(claims.json)["role"] == "authenticated"


async def test_own_tokens_are_accepted_beside_them() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        assert verifier.verify(role_token(DEFAULT_JWT_SECRET, "service_role")).role == "service_role"
        assert issuer.requests == {}


async def test_keys_are_fetched_once_and_not_per_token() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        for number in range(20):
            token = issuer.sign({"sub": str(number)})
            await verifier.prepare(token)
            verifier.verify(token)
        assert issuer.requests == {"/.well-known/openid-configuration": 1, "/keys": 1}


async def test_new_key_is_found_and_a_withdrawn_one_ends_its_tokens() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        old = issuer.sign({})
        await verifier.prepare(old)
        verifier.verify(old)
        issuer.jwk = new_jwk()
        new = issuer.sign({})
        await verifier.prepare(new)
        assert verifier.verify(new).role == "authenticated"
        assert await refusal(verifier, old) is TokenRefusal.UNKNOWN_KEY


async def test_flood_of_unknown_keys_asks_the_issuer_no_more_often_than_its_interval() -> None:
    timing = IssuerTiming(min_interval_s=60.0)
    async with running_issuer() as issuer, verifier_for(issuer, timing=timing) as verifier:
        forged = [issuer.sign({}, kid=f"unknown-{number}") for number in range(30)]
        await asyncio.gather(*(verifier.prepare(token) for token in forged))
        assert issuer.requests["/keys"] == 1


async def test_issuer_that_is_down_leaves_its_known_keys_in_use() -> None:
    async with running_issuer() as issuer, verifier_for(issuer, timing=IssuerTiming(0.0, 0.0)) as verifier:
        await verifier.prepare(issuer.sign({}))
        issuer.is_down = True
        token = issuer.sign({"sub": "later"})
        await verifier.prepare(token)
        assert verifier.verify(token).sub == "later"


async def test_issuer_that_never_answered_refuses_its_tokens_only() -> None:
    async with running_issuer(is_down=True) as issuer, verifier_for(issuer) as verifier:
        assert await refusal(verifier, issuer.sign({})) is TokenRefusal.UNKNOWN_KEY
        assert verifier.verify(role_token(DEFAULT_JWT_SECRET, "anon")).role == "anon"


async def test_token_signed_by_somebody_else_under_the_same_key_id_is_refused() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        rogue = {**new_jwk(), "kid": issuer.jwk["kid"]}
        assert await refusal(verifier, issuer.sign({}, signed_by=rogue)) is TokenRefusal.SIGNATURE


async def test_shared_secret_of_the_project_does_not_sign_for_the_issuer() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        token = jwt.encode({"iss": issuer.url, "role": "authenticated", "exp": 2**31}, DEFAULT_JWT_SECRET)
        assert await refusal(verifier, token) is TokenRefusal.UNKNOWN_KEY


async def test_issuer_key_does_not_sign_for_the_project() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        await verifier.prepare(issuer.sign({}))
        for iss in ("supabase-demo", None, f"{issuer.url}.example.com"):
            token = issuer.sign({"iss": iss, "role": "service_role"})
            assert await refusal(verifier, token) is not TokenRefusal.CLAIMS


async def test_public_key_is_no_shared_secret() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        await verifier.prepare(issuer.sign({}))
        secret = json.dumps(public(issuer.jwk)).encode()
        head = {"alg": "HS256", "typ": "JWT", "kid": issuer.jwk["kid"]}
        payload = {"iss": issuer.url, "exp": int(time.time()) + 60}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (head, payload))
        # Written out, because the library that makes tokens would refuse to.
        token = f"{signed}.{base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"
        assert await refusal(verifier, token) is TokenRefusal.UNKNOWN_KEY


async def test_shared_secret_that_an_issuer_publishes_verifies_nothing() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    oct_key = {"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode(), "kid": "oct", "alg": "HS256"}
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        issuer.published = [public(issuer.jwk), oct_key]
        payload = {"iss": issuer.url, "exp": int(time.time()) + 60}
        token = jwt.encode(payload, secret, algorithm="HS256", headers={"kid": "oct"})
        assert await refusal(verifier, token) is TokenRefusal.UNKNOWN_KEY


async def test_unsigned_token_is_refused() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        await verifier.prepare(issuer.sign({}))
        token = jwt.encode({"iss": issuer.url, "exp": 2**31}, "", algorithm="none")
        assert await refusal(verifier, token) is TokenRefusal.UNKNOWN_KEY


@pytest.mark.parametrize(
    "claims, reason",
    [
        ({"exp": 1}, TokenRefusal.EXPIRED),
        ({"exp": None}, TokenRefusal.CLAIMS),
        ({"exp": "soon"}, TokenRefusal.CLAIMS),
        ({"nbf": 2**40}, TokenRefusal.NOT_YET_VALID),
        ({"role": "service_role"}, TokenRefusal.CLAIMS),
        ({"role": "supabase_admin"}, TokenRefusal.CLAIMS),
        ({"aud": "another"}, TokenRefusal.CLAIMS),
        ({"aud": None}, TokenRefusal.CLAIMS),
    ],
    ids=["expired", "endless", "end in words", "not yet", "service role", "superuser", "other audience", "no audience"],
)
async def test_claims_that_do_not_fit_are_refused(claims: dict[str, Any], reason: TokenRefusal) -> None:
    async with running_issuer() as issuer, verifier_for(issuer, audiences=("app",)) as verifier:
        assert await refusal(verifier, issuer.sign({"aud": ["other", "app"], **claims})) is reason


async def test_discovery_document_of_another_issuer_is_not_believed() -> None:
    async with running_issuer() as honest, running_issuer() as rogue, verifier_for(rogue) as verifier:
        rogue.document = {"issuer": honest.url}
        assert await refusal(verifier, rogue.sign({})) is TokenRefusal.UNKNOWN_KEY
        assert "/keys" not in rogue.requests


async def test_huge_key_set_is_not_read() -> None:
    async with running_issuer(padding="x" * 600_000) as issuer, verifier_for(issuer) as verifier:
        assert await refusal(verifier, issuer.sign({})) is TokenRefusal.UNKNOWN_KEY


async def test_keys_at_a_private_address_that_no_setting_names_are_not_fetched() -> None:
    async with running_issuer() as issuer, verifier_for(issuer) as verifier:
        port = issuer.url.rpartition(":")[2]
        # localhost is the same machine by another name, which the settings do not hold.
        issuer.document = {"jwks_uri": f"http://localhost:{port}/keys"}
        assert await refusal(verifier, issuer.sign({})) is TokenRefusal.UNKNOWN_KEY
        assert "/keys" not in issuer.requests


@pytest.mark.parametrize(
    "payload, role",
    [
        ({}, "authenticated"),
        ({"role": "editor"}, "editor"),
        ({"role": ""}, "authenticated"),
        ({"role": ["service_role"]}, "authenticated"),
        ({"cognito:groups": ["nobody", "staff", "admins"]}, "editor"),
        ({"cognito:groups": "admins"}, "authenticated"),
        ({"role": "reader", "cognito:groups": ["admins"]}, "reader"),
    ],
)
def test_role_is_the_claim_else_a_mapped_group_else_the_default(payload: dict[str, Any], role: str) -> None:
    settings = ThirdPartyIssuer(group_roles={"admins": "service_role", "staff": "editor"})
    assert role_of(payload, settings) == role


def test_privileged_role_needs_the_operators_leave() -> None:
    settings = ThirdPartyIssuer(privileged_roles=("service_role",))
    assert role_of({"role": "service_role"}, settings) == "service_role"
    with pytest.raises(TokenError):
        role_of({"role": "postgres"}, settings)


@pytest.mark.parametrize(
    "name, fields, issuer",
    [
        ("firebase", {"project_id": "acme"}, "https://securetoken.google.com/acme"),
        ("auth0", {"tenant": "acme"}, "https://acme.auth0.com"),
        ("auth0", {"tenant": "acme", "tenant_region": "eu"}, "https://acme.eu.auth0.com"),
        (
            "aws_cognito",
            {"user_pool_id": "eu-1_a", "user_pool_region": "eu-1"},
            "https://cognito-idp.eu-1.amazonaws.com/eu-1_a",
        ),
        ("clerk", {"domain": "clerk.example.com"}, "https://clerk.example.com"),
        ("workos", {"issuer_url": "https://api.workos.com/"}, "https://api.workos.com"),
        ("acme", {"issuer_url": "https://id.example.com"}, "https://id.example.com"),
    ],
)
def test_config_toml_names_the_issuer(tmp_path: Path, name: str, fields: dict[str, str], issuer: str) -> None:
    lines = [f"[auth.third_party.{name}]", "enabled = true", *(f'{key} = "{value}"' for key, value in fields.items())]
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines))
    project = read_config_toml(path)
    assert project.warnings == ()
    auth = project.values["auth"]
    assert isinstance(auth, dict)
    assert ThirdPartyIssuer(**auth["third_party"][name]).issuer(name) == issuer


@pytest.mark.parametrize("given", [{}, {"issuer_url": "http://id.example.com"}, {"issuer_url": "ftp://127.0.0.1"}])
def test_issuer_that_is_not_named_or_not_by_https_is_refused_at_start(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.third_party\.acme"):
        ThirdPartyTokens.of({"acme": ThirdPartyIssuer.model_validate({"enabled": True, **given})})

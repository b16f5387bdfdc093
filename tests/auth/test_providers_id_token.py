"""The id_token grant: whose tokens are taken, for whom, and the tokens that must not get through."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from pydantic import SecretStr

from isobase_platform.config_auth.external import ExternalProvider
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.plugins.issuer import LoopbackIssuer, new_jwk, public, running_issuer

NONCE = "n0nce"
HASHED_NONCE = hashlib.sha256(NONCE.encode()).hexdigest()
INVALID = "invalid request"


@asynccontextmanager
async def trusting(
    start_auth: StartAuth, issuer: LoopbackIssuer, name: str = "acme", **settings: Any
) -> AsyncIterator[AuthServer]:
    """Auth that knows the issuer as a provider."""
    fields = {key: settings.pop(key) for key in ("skip_nonce_check",) if key in settings}
    given: dict[str, Any] = {"enabled": True, "client_id": "web,ios", "secret": SecretStr("s"), "url": issuer.url}
    async with start_auth(external={name: ExternalProvider(**given, **fields)}, **settings) as auth:
        yield auth


def claims_of(**changes: Any) -> dict[str, Any]:
    """What an honest token says."""
    return {
        "sub": "at-acme",
        "aud": "web",
        "email": "alice@example.com",
        "email_verified": True,
        "name": "Alice",
        **changes,
    }


async def hand_in(auth: AuthServer, token: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    """Try the grant."""
    body = {"provider": "acme", "id_token": token, **fields}
    return await auth.client.post("/token", params={"grant_type": "id_token"}, json=body, headers=headers)


async def refusal(auth: AuthServer, token: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of a refusal, after which nobody is there."""
    answer = await hand_in(auth, token, **fields)
    assert await auth.count("users") == 0
    return answer.status_code, answer.json()


async def test_token_of_the_provider_signs_in(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        answer = await hand_in(auth, issuer.sign(claims_of(aud=["other", "ios"])))
        assert answer.status_code == 200, answer.text
        user = answer.json()["user"]
        assert (user["email"], user["app_metadata"]["provider"]) == ("alice@example.com", "acme")
        assert (user["identities"][0]["id"], user["user_metadata"]["name"]) == ("at-acme", "Alice")
        assert (await hand_in(auth, issuer.sign(claims_of()))).json()["user"]["id"] == user["id"]
        assert issuer.requests == {"/.well-known/openid-configuration": 1, "/keys": 1}


async def test_nonce_must_be_in_both_and_be_the_hash_of_the_apps(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        both = "Passed nonce and nonce in id_token should either both exist or not."
        plain, with_nonce = issuer.sign(claims_of()), issuer.sign(claims_of(nonce=HASHED_NONCE))
        assert await refusal(auth, plain, nonce=NONCE) == (400, {"error": INVALID, "error_description": both})
        assert await refusal(auth, with_nonce) == (400, {"error": INVALID, "error_description": both})
        mismatch = {"error": "invalid nonce", "error_description": "Nonces mismatch"}
        assert await refusal(auth, with_nonce, nonce="other") == (400, mismatch)
        # The token's nonce is the hash; the hash itself proves nothing.
        assert await refusal(auth, with_nonce, nonce=HASHED_NONCE) == (400, mismatch)
        assert (await hand_in(auth, with_nonce, nonce=NONCE)).status_code == 200


async def test_nonce_is_not_compared_where_the_settings_say_so(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer, skip_nonce_check=True) as auth:
        assert (await hand_in(auth, issuer.sign(claims_of(nonce="any")))).status_code == 200


async def test_at_hash_must_be_the_access_tokens(start_auth: StartAuth) -> None:
    access_token = "an access token"
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        token = issuer.sign(claims_of(at_hash=at_hash))
        bad = {"error": INVALID, "error_description": "Bad ID token"}
        assert await refusal(auth, token, access_token="another") == (400, bad)
        assert (await hand_in(auth, token, access_token=access_token)).status_code == 200


@pytest.mark.parametrize(
    "changes, description",
    [
        ({"aud": "somebody else"}, "Unacceptable audience in id_token: [somebody else]"),
        ({"aud": None}, "Unacceptable audience in id_token: []"),
        ({"aud": ["a", "b"]}, "Unacceptable audience in id_token: [a b]"),
        ({"sub": ""}, "Missing sub claim in id_token"),
        ({"exp": int(time.time()) - 1}, "Bad ID token"),
        ({"exp": None}, "Bad ID token"),
        ({"nbf": int(time.time()) + 3600}, "Bad ID token"),
        ({"iss": "https://accounts.google.com"}, "Bad ID token"),
        ({"iss": None}, "Bad ID token"),
    ],
)
async def test_token_whose_claims_do_not_fit_is_refused(
    start_auth: StartAuth, changes: dict[str, Any], description: str
) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        expected = {"error": INVALID, "error_description": description}
        assert await refusal(auth, issuer.sign(claims_of(**changes))) == (400, expected)


async def test_oauth_errors_look_the_same_in_both_api_versions(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        current = {"x-supabase-api-version": "2024-01-01"}
        answer = await hand_in(auth, issuer.sign(claims_of(aud="x")), headers=current)
        assert set(answer.json()) == {"error", "error_description"}


async def test_rogue_issuer_is_neither_believed_nor_asked(start_auth: StartAuth) -> None:
    """A token says whose it is, and the caller may too; keys come from the issuer of the settings alone."""
    async with running_issuer() as issuer, running_issuer() as rogue, trusting(start_auth, issuer) as auth:
        bad = {"error": INVALID, "error_description": "Bad ID token"}
        assert await refusal(auth, rogue.sign(claims_of())) == (400, bad)
        assert await refusal(auth, rogue.sign(claims_of()), issuer=rogue.url) == (400, bad)
        assert await refusal(auth, rogue.sign(claims_of(iss=issuer.url))) == (400, bad)
        status, body = await refusal(auth, rogue.sign(claims_of()), provider="", issuer=rogue.url, client_id="web")
        assert (status, body["error_code"]) == (400, "validation_failed")
        assert body["msg"] == 'Custom OIDC provider "" not allowed'
        assert rogue.requests == {}


async def test_key_in_the_tokens_own_header_is_not_used(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        rogue = {**new_jwk(), "kid": issuer.jwk["kid"]}
        header = {"jwk": public(rogue), "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}
        token = issuer.sign(claims_of(), signed_by=rogue, **header)
        assert (await refusal(auth, token))[1]["error_description"] == "Bad ID token"


async def test_token_without_a_signature_or_by_a_shared_secret_is_refused(start_auth: StartAuth) -> None:
    async with running_issuer(jwk=new_jwk("RS256")) as issuer, trusting(start_auth, issuer) as auth:
        payload = {**claims_of(), "iss": issuer.url, "exp": int(time.time()) + 60}
        unsigned = jwt.encode(payload, "", algorithm="none")
        secret = jwt.encode(payload, "s" * 32, algorithm="HS256", headers={"kid": issuer.jwk["kid"]})
        renamed = issuer.sign(claims_of()).split(".")
        renamed[0] = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        for token in (unsigned, secret, ".".join(renamed), ".".join([*renamed[:2], ""]), "x", "a.b.c", "é.é.é"):
            assert (await refusal(auth, token))[1]["error_description"] == "Bad ID token"


async def test_what_is_missing_is_said(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        missing = {"error": INVALID, "error_description": "id_token required"}
        assert await refusal(auth, "") == (400, missing)
        nobody = {"error": INVALID, "error_description": "provider or client_id and issuer required"}
        assert await refusal(auth, "x", provider="") == (400, nobody)
        unknown = await refusal(auth, "x", provider="nobody")
        assert (unknown[0], unknown[1]["msg"]) == (400, 'Custom OIDC provider "nobody" not allowed')


async def test_provider_that_is_off_is_said_to_be(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        for name, issuer in (("google", "https://accounts.google.com"), ("facebook", "https://www.facebook.com")):
            status, body = await refusal(auth, "x", provider=name)
            assert (status, body["error_code"]) == (400, "provider_disabled")
            assert body["msg"] == f'Provider (issuer "{issuer}") is not enabled'


async def test_issuer_of_the_token_is_pinned_for_apple_and_azure(start_auth: StartAuth) -> None:
    both = {
        "apple": ExternalProvider(enabled=True, client_id="web"),
        "azure": ExternalProvider(
            enabled=True, client_id="web", url="https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"
        ),
    }
    async with running_issuer() as rogue, start_auth(external=both) as auth:
        other_tenant = "https://login.microsoftonline.com/22222222-2222-2222-2222-222222222222/v2.0"
        lookalikes = (rogue.url, other_tenant, "https://login.microsoftonline.com.evil.example.com/x/v2.0")
        for name, article in (("apple", "an Apple"), ("azure", "an Azure")):
            for issuer in lookalikes:
                status, body = await refusal(auth, rogue.sign(claims_of(iss=issuer)), provider=name)
                expected = f"Detected ID token issuer is not {article} ID token issuer"
                assert (status, body["msg"]) == (400, expected)
        assert rogue.requests == {}


async def test_unproven_address_in_a_token_joins_nobody(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        owner = await auth.sign_up()
        answer = await hand_in(auth, issuer.sign(claims_of(email_verified=False)))
        assert answer.json()["user"]["id"] != owner["user"]["id"]
        for value in ("true", 1, None):
            answer = await hand_in(auth, issuer.sign(claims_of(sub=f"other-{value}", email_verified=value)))
            assert answer.json()["user"]["id"] != owner["user"]["id"]


async def test_identity_is_linked_by_a_token(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        session = await auth.sign_up("bob@example.com")
        token = issuer.sign(claims_of())
        missing = await hand_in(auth, token, link_identity=True)
        assert (missing.status_code, missing.json()["error"]) == (400, INVALID)
        assert (await hand_in(auth, token, {"authorization": "Bearer x"}, link_identity=True)).status_code == 403
        linked = await hand_in(auth, token, bearer(session), link_identity=True)
        assert linked.status_code == 200, linked.text
        assert linked.json()["user"]["id"] == session["user"]["id"]
        assert linked.json()["user"]["app_metadata"]["providers"] == ["email", "acme"]
        again = await hand_in(auth, token, bearer(session), link_identity=True)
        assert (again.status_code, again.json()["error_code"]) == (422, "identity_already_exists")


async def test_listed_issuer_needs_no_provider(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer:
        external = {"trusted": ExternalProvider(enabled=True, url=issuer.url)}
        async with start_auth(external=external, external_allowed_id_token_issuers=("https://id.example.com",)) as auth:
            status, body = await refusal(auth, "x", provider="", issuer="https://id2.example.com", client_id="web")
            assert (status, body["error_code"]) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("ours", "client_id", "status"), [((), "any", 200), (("web",), "web", 200), (("web",), "any", 400)]
)
async def test_listed_issuer_signs_in_for_the_listed_clients(
    start_auth: StartAuth, ours: tuple[str, ...], client_id: str, status: int
) -> None:
    """An app of somebody else's at the same issuer has ID tokens of our users too."""
    async with running_issuer() as issuer:
        reachable = {"trusted": ExternalProvider(enabled=True, url=f"{issuer.url}/elsewhere")}
        settings: dict[str, Any] = {
            "external_allowed_id_token_issuers": (issuer.url,),
            "external_allowed_id_token_client_ids": ours,
        }
        async with start_auth(external=reachable, **settings) as auth:
            token = issuer.sign(claims_of(aud=client_id))
            answer = await hand_in(auth, token, provider="", issuer=issuer.url, client_id=client_id)
            assert answer.status_code == status, answer.text


async def test_rotated_key_of_a_provider_is_found(start_auth: StartAuth) -> None:
    async with running_issuer() as issuer, trusting(start_auth, issuer) as auth:
        assert (await hand_in(auth, issuer.sign(claims_of()))).status_code == 200
        issuer.jwk = new_jwk()
        # Asked for again no sooner than the interval after the last time.
        assert (await hand_in(auth, issuer.sign(claims_of()))).status_code == 400
        assert issuer.requests["/keys"] == 1

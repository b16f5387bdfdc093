"""Providers with an API of their own: each is walked through on a server that answers as it does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from isobase_platform.config_auth.external import ExternalProvider
from isobase_services.auth.providers.specs import OAUTH2_SPECS, PROVIDER_NAMES
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.provider_apis import EMAIL, PICTURE, PROVIDERS
from tests.plugins.issuer import LoopbackIssuer, new_jwk, running_issuer
from tests.plugins.listening import listening

CALLBACK = "http://isobase/auth/v1/callback"
SECRET = "cl13nt-s3cret"


@dataclass(slots=True)
class Api:
    """A provider's server: what it answers by path, and what it was asked."""

    answers: dict[str, Any]
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        form = dict(parse_qsl((await request.body()).decode()))
        self.asked[request.url.path] = {"headers": dict(request.headers), "form": form, "query": request.url.query}
        answer = self.answers.get(request.url.path)
        response: Response = JSONResponse({"error": "not here"}, 404) if answer is None else JSONResponse(answer)
        if isinstance(answer, str):
            response = PlainTextResponse(answer)
        await response(scope, receive, send)


@asynccontextmanager
async def provider_at(start_auth: StartAuth, name: str, api: Api, **settings: Any) -> AsyncIterator[AuthServer]:
    """Auth whose provider is at ``api``."""
    async with listening(api) as url:
        given = ExternalProvider(
            enabled=True, client_id="client", secret=SecretStr(SECRET), redirect_uri=CALLBACK, url=url
        )
        async with start_auth(external={name: given}, **settings) as auth:
            yield auth


async def walk(auth: AuthServer, name: str, **back: str) -> tuple[dict[str, str], httpx.Response]:
    """Begin, and come back with a code: (the query at the provider, the answer of /callback)."""
    begun = await auth.client.get("/authorize", params={"provider": name})
    assert begun.status_code == 302, begun.text
    query = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
    params = {"state": query.get("state", ""), "code": "the-code", **back}
    return query, await auth.client.get("/callback", params=params)


def fragment_of(answer: httpx.Response) -> dict[str, str]:
    """What an answer's Location carries behind the #."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).fragment, keep_blank_values=True))


def test_every_provider_with_an_api_is_walked_through() -> None:
    assert set(PROVIDERS) == set(OAUTH2_SPECS)
    assert len(PROVIDER_NAMES) == 25


@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_profile_becomes_the_identity(start_auth: StartAuth, name: str) -> None:
    answers, is_proven, expected = PROVIDERS[name]
    api = Api(answers)
    async with provider_at(start_auth, name, api) as auth:
        query, answer = await walk(auth, name)
        fragment = fragment_of(answer)
        assert "access_token" in fragment, answer.headers["location"]
        assert (fragment["provider_token"], fragment["provider_refresh_token"]) == ("at", "rt")
        spec = OAUTH2_SPECS[name]
        assert query.get("scope", "") == " ".join(spec.scopes)
        user = (await auth.client.get("/user", headers=bearer(fragment))).json()
        data = user["identities"][0]["identity_data"]
        assert {key: data.get(key) for key in expected} == expected
        assert (data["email"], data["email_verified"], data["phone_verified"]) == (EMAIL, is_proven, False)
        assert data["provider_id"] == expected["sub"]
        assert data["iss"].startswith(("http://127.0.0.1", "https://accounts.snapchat.com"))


@pytest.mark.parametrize("name", ["github", "notion", "x", "twitch", "facebook"])
async def test_client_proves_itself_as_the_provider_wants(start_auth: StartAuth, name: str) -> None:
    api = Api(PROVIDERS[name][0])
    async with provider_at(start_auth, name, api) as auth:
        query, _ = await walk(auth, name)
    exchange = api.asked[OAUTH2_SPECS[name].exchange_path]
    form = exchange["form"]
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == ("authorization_code", "the-code", CALLBACK)
    basic = base64.b64encode(f"client:{SECRET}".encode()).decode()
    if name in ("notion", "x"):
        assert exchange["headers"]["authorization"] == f"Basic {basic}"
        assert "client_secret" not in form
    else:
        assert (form["client_id"], form["client_secret"]) == ("client", SECRET)
    match name:
        case "x":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert query["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        case "twitch":
            assert api.asked["/helix/users"]["headers"]["client-id"] == "client"
        case "notion":
            assert api.asked["/v1/users/me"]["headers"]["notion-version"]
        case "facebook":
            proof = hmac.new(SECRET.encode(), b"at", hashlib.sha256).hexdigest()
            assert f"appsecret_proof={proof}" in api.asked["/me"]["query"]
        case _:
            assert api.asked["/api/v3/user"]["headers"]["authorization"] == "Bearer at"


async def test_second_proven_address_joins_too_and_an_unproven_first_does_not(start_auth: StartAuth) -> None:
    answers = dict(PROVIDERS["github"][0])
    answers["/api/v3/user/emails"] = [
        {"email": "victim@example.com", "primary": True, "verified": False},
        {"email": EMAIL, "primary": False, "verified": True},
    ]
    async with provider_at(start_auth, "github", Api(answers)) as auth:
        await auth.sign_up("victim@example.com")
        owner = await auth.sign_up(EMAIL)
        _, answer = await walk(auth, "github")
        user = (await auth.client.get("/user", headers=bearer(fragment_of(answer)))).json()
        assert user["id"] == owner["user"]["id"]


@pytest.mark.parametrize(
    "path, answer, text",
    [
        ("/login/oauth/access_token", {"error": "bad_verification_code"}, "Unable to exchange external code: the-"),
        ("/login/oauth/access_token", "not a form", "Unable to exchange external code: the-"),
        ("/login/oauth/access_token", None, "Unable to exchange external code: the-"),
        ("/api/v3/user", None, "Error getting user profile from external provider"),
        ("/api/v3/user", ["no", "object"], "Error getting user profile from external provider"),
        ("/api/v3/user", {"login": "no id"}, "Error getting user profile from external provider"),
        ("/api/v3/user/emails", [], "Error getting user email from external provider"),
        ("/api/v3/user/emails", "x" * 600_000, "Error getting user profile from external provider"),
    ],
)
async def test_provider_that_misbehaves_signs_nobody_in(
    start_auth: StartAuth, path: str, answer: Any, text: str
) -> None:
    api = Api({**PROVIDERS["github"][0], path: answer})
    async with provider_at(start_auth, "github", api) as auth:
        _, landed = await walk(auth, "github")
        fields = fragment_of(landed)
        assert (fields["error"], fields["error_description"]) == ("server_error", text)
        assert (await auth.count("users"), await auth.count("sessions")) == (0, 0)
        assert SECRET not in landed.headers["location"]


async def test_twitter_proves_the_request_token_that_it_gave(start_auth: StartAuth) -> None:
    user = {"id_str": "1", "name": "Alice", "screen_name": "ali", "email": EMAIL, "profile_image_url_https": PICTURE}
    api = Api(
        {
            "/oauth/request_token": "oauth_token=rt&oauth_token_secret=rts&oauth_callback_confirmed=true",
            "/oauth/access_token": "oauth_token=at&oauth_token_secret=ats",
            "/1.1/account/verify_credentials.json": json.dumps(user),
        }
    )
    async with provider_at(start_auth, "twitter", api) as auth:
        await auth.client.get("/authorize", params={"provider": "twitter"})
        signed = api.asked["/oauth/request_token"]["headers"]["authorization"]
        assert "oauth_signature=" in signed
        state = str(await auth.database.fetchval("select id from auth.flow_state"))
        assert f"state%3D{state}" in signed
        stolen = await auth.client.get("/callback", params={"state": state, "oauth_token": "x", "oauth_verifier": "v"})
        assert fragment_of(stolen)["error_description"] == "Unable to retrieve access token"
        assert "/oauth/access_token" not in api.asked
        begun = await auth.client.get("/authorize", params={"provider": "twitter"})
        assert urlsplit(begun.headers["location"]).query == "oauth_token=rt"
        state = str(await auth.database.fetchval("select id from auth.flow_state order by created_at desc limit 1"))
        landed = await auth.client.get("/callback", params={"state": state, "oauth_token": "rt", "oauth_verifier": "v"})
        fragment = fragment_of(landed)
        assert fragment["provider_token"] == "at"
        assert 'oauth_verifier="v"' in api.asked["/oauth/access_token"]["headers"]["authorization"]
        shown = (await auth.client.get("/user", headers=bearer(fragment))).json()
        assert shown["user_metadata"]["user_name"] == "ali"


# -- issuers known by name --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TokenEndpoint:
    """An issuer's token endpoint that answers with a given ID token, before the issuer's other paths."""

    issuer: LoopbackIssuer
    claims: dict[str, Any]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not scope["path"].endswith("/token"):
            # A tenant of Azure's has a path.
            await self.issuer.app({**scope, "path": scope["path"].removeprefix("/v2.0")}, receive, send)
            return
        content = {"access_token": "at", "id_token": self.issuer.sign({"aud": "client", "sub": "i", **self.claims})}
        await JSONResponse(content)(scope, receive, send)


@pytest.mark.parametrize(
    "name, claims, expected",
    [
        (
            "google",
            {"email": EMAIL, "email_verified": True, "name": "Alice", "picture": PICTURE, "hd": "example.com"},
            {"full_name": "Alice", "avatar_url": PICTURE, "custom_claims": {"hd": "example.com"}},
        ),
        (
            "apple",
            {"email": EMAIL, "is_private_email": "true", "auth_time": 1},
            {"name": "Alice A", "custom_claims": {"is_private_email": True, "auth_time": 1}},
        ),
        (
            "azure",
            {"email": EMAIL, "name": "Alice", "preferred_username": "ali", "tid": "t", "xms_edov": "1"},
            {"full_name": "Alice", "preferred_username": "ali"},
        ),
    ],
)
async def test_issuer_known_by_name_tells_in_its_own_way(
    start_auth: StartAuth, name: str, claims: dict[str, Any], expected: dict[str, Any]
) -> None:
    issuer = LoopbackIssuer(jwk=new_jwk())
    async with listening(TokenEndpoint(issuer, claims)) as url:
        issuer.url = f"{url}/v2.0" if name == "azure" else url
        given = ExternalProvider(
            enabled=True, client_id="client", secret=SecretStr(SECRET), redirect_uri=CALLBACK, url=url
        )
        if name == "azure":
            issuer.document = {"jwks_uri": f"{url}/keys"}
        async with start_auth(external={name: given}) as auth:
            begun = await auth.client.get("/authorize", params={"provider": name})
            query = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
            params = {"state": query["state"], "code": "c"}
            if name == "apple":
                assert query["response_mode"] == "form_post"
                params["user"] = json.dumps({"name": {"firstName": "Alice", "lastName": "A"}})
                landed = await auth.client.post("/callback", data=params)
            else:
                landed = await auth.client.get("/callback", params=params)
            fragment = fragment_of(landed)
            assert "access_token" in fragment, landed.headers["location"]
            user = (await auth.client.get("/user", headers=bearer(fragment))).json()
            data = user["identities"][0]["identity_data"]
            assert {key: data.get(key) for key in expected} == expected
            assert (data["email"], data["email_verified"], data["iss"]) == (EMAIL, True, issuer.url)


@pytest.mark.parametrize("changes", [{"aud": "other"}, {"aud": ["client", "other"], "azp": "other"}, {"at_hash": "x"}])
async def test_id_token_of_a_redirect_must_be_for_us(start_auth: StartAuth, changes: dict[str, Any]) -> None:
    issuer = LoopbackIssuer(jwk=new_jwk())
    claims = {"email": EMAIL, "email_verified": True, **changes}
    async with listening(TokenEndpoint(issuer, claims)) as url:
        issuer.url = url
        given = ExternalProvider(enabled=True, client_id="client", redirect_uri=CALLBACK, url=url)
        async with start_auth(external={"acme": given}) as auth:
            _, landed = await walk(auth, "acme")
            assert fragment_of(landed)["error_description"] == "Error getting user profile from external provider"
            assert await auth.count("users") == 0


async def test_endpoint_at_a_private_address_that_no_setting_names_is_not_asked(start_auth: StartAuth) -> None:
    """A discovery document that was tampered with shall not lead into the machine's own network."""
    async with running_issuer() as issuer:
        port = issuer.url.rpartition(":")[2]
        issuer.document = {"token_endpoint": f"http://localhost:{port}/token"}
        given = ExternalProvider(enabled=True, client_id="client", redirect_uri=CALLBACK, url=issuer.url)
        async with start_auth(external={"acme": given}) as auth:
            _, landed = await walk(auth, "acme")
            assert fragment_of(landed)["error_description"] == "Unable to exchange external code: the-"
            assert "/token" not in issuer.requests

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
from tests.plugins.issuer import LoopbackIssuer, new_jwk, running_issuer
from tests.plugins.listening import listening

CALLBACK = "http://isobase/auth/v1/callback"
SECRET = "cl13nt-s3cret"
EMAIL = "alice@example.com"
PICTURE = "https://img.example.com/alice.png"


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


TOKEN = {"access_token": "at", "refresh_token": "rt", "token_type": "bearer"}

# name -> (answers by path, is the address proven, identity data beside iss, email and the flags)
PROVIDERS: dict[str, tuple[dict[str, Any], bool, dict[str, Any]]] = {
    "bitbucket": (
        {
            "/site/oauth2/access_token": TOKEN,
            "/2.0/user": {"display_name": "Alice", "uuid": "{u}", "avatar": {"href": PICTURE}},
            "/2.0/user/emails": {"values": [{"email": EMAIL, "is_primary": True, "is_confirmed": True}]},
        },
        True,
        {"sub": "{u}", "name": "Alice", "picture": PICTURE},
    ),
    "discord": (
        {
            "/api/oauth2/token": TOKEN,
            "/api/users/@me": {
                "id": "7",
                "username": "alice",
                "global_name": "Alice A",
                "discriminator": "0012",
                "avatar": "a_x",
                "email": EMAIL,
                "verified": True,
            },
        },
        True,
        {
            "sub": "7",
            "name": "alice#0012",
            "full_name": "alice",
            "picture": "https://cdn.discordapp.com/avatars/7/a_x.gif",
            "custom_claims": {"global_name": "Alice A"},
        },
    ),
    "facebook": (
        {
            "/oauth/access_token": TOKEN,
            "/me": {
                "id": "9",
                "email": EMAIL,
                "first_name": "Alice",
                "last_name": "A",
                "name": "ali",
                "picture": {"data": {"url": PICTURE}},
            },
        },
        True,
        {"sub": "9", "name": "Alice A", "nickname": "ali", "slug": "ali", "picture": PICTURE},
    ),
    "figma": (
        {"/v1/oauth/token": TOKEN, "/v1/me": {"id": "f", "email": EMAIL, "handle": "Alice", "img_url": PICTURE}},
        True,
        {"sub": "f", "name": "Alice", "avatar_url": PICTURE},
    ),
    "fly": (
        {
            "/oauth/token": TOKEN,
            "/oauth/token/info": {"user_id": "fl", "user_name": "Alice", "email": EMAIL, "organizations": []},
        },
        True,
        {"sub": "fl", "full_name": "Alice"},
    ),
    "github": (
        {
            "/login/oauth/access_token": "access_token=at&refresh_token=rt&token_type=bearer",
            "/api/v3/user": {"id": 42, "login": "alice", "name": "Alice", "avatar_url": PICTURE},
            "/api/v3/user/emails": [
                {"email": "old@example.com", "primary": False, "verified": True},
                {"email": EMAIL, "primary": True, "verified": True},
            ],
        },
        True,
        {"sub": "42", "name": "Alice", "user_name": "alice", "preferred_username": "alice", "avatar_url": PICTURE},
    ),
    "gitlab": (
        {
            "/oauth/token": TOKEN,
            "/api/v4/user": {"id": 5, "email": EMAIL, "name": "Alice", "avatar_url": PICTURE, "confirmed_at": "2020"},
            "/api/v4/user/emails": [{"id": 1, "email": "second@example.com"}],
        },
        True,
        {"sub": "5", "name": "Alice", "picture": PICTURE},
    ),
    "kakao": (
        {
            "/oauth/token": TOKEN,
            "/v2/user/me": {
                "id": 6,
                "kakao_account": {
                    "profile": {"nickname": "Alice", "profile_image_url": PICTURE},
                    "email": EMAIL,
                    "is_email_valid": True,
                    "is_email_verified": True,
                },
            },
        },
        True,
        {"sub": "6", "name": "Alice", "user_name": "Alice", "avatar_url": PICTURE},
    ),
    "keycloak": (
        {
            "/protocol/openid-connect/token": TOKEN,
            "/protocol/openid-connect/userinfo": {
                "sub": "k",
                "name": "Alice",
                "email": EMAIL,
                "email_verified": True,
                "groups": ["staff"],
            },
        },
        True,
        {"sub": "k", "name": "Alice", "custom_claims": {"groups": ["staff"]}},
    ),
    "linkedin": (
        {
            "/oauth/v2/accessToken": TOKEN,
            "/v2/me": {
                "id": "li",
                "firstName": {
                    "localized": {"en_US": "Alice"},
                    "preferredLocale": {"language": "en", "country": "US"},
                },
                "lastName": {"localized": {"en_US": "A"}, "preferredLocale": {"language": "en", "country": "US"}},
                "profilePicture": {"displayImage~": {"elements": [{"identifiers": [{"identifier": PICTURE}]}]}},
            },
            "/v2/emailAddress": {"elements": [{"handle~": {"emailAddress": EMAIL}}]},
        },
        True,
        {"sub": "li", "name": "Alice A", "picture": PICTURE},
    ),
    "notion": (
        {
            "/v1/oauth/token": TOKEN,
            "/v1/users/me": {
                "bot": {
                    "owner": {"user": {"id": "n", "name": "Alice", "avatar_url": PICTURE, "person": {"email": EMAIL}}}
                }
            },
        },
        True,
        {"sub": "n", "name": "Alice", "picture": PICTURE},
    ),
    "slack": (
        {
            "/api/oauth.access": {"ok": True, **TOKEN},
            "/api/openid.connect.userInfo": {
                "https://slack.com/user_id": "s",
                "https://slack.com/team_id": "t",
                "email": EMAIL,
                "name": "Alice",
                "picture": PICTURE,
            },
        },
        True,
        {"sub": "s", "name": "Alice", "custom_claims": {"https://slack.com/team_id": "t"}},
    ),
    "slack_oidc": (
        {
            "/api/openid.connect.token": TOKEN,
            "/api/openid.connect.userInfo": {
                "https://slack.com/user_id": "s",
                "https://slack.com/team_id": "t",
                "email": EMAIL,
                "email_verified": False,
                "name": "Alice",
            },
        },
        False,
        {"sub": "s", "name": "Alice"},
    ),
    "snapchat": (
        {
            "/accounts/oauth2/token": TOKEN,
            "/v1/me": {
                "data": {
                    "me": {"externalId": "sn", "displayName": "Ali", "bitmoji": {"avatar": PICTURE}, "email": EMAIL}
                }
            },
        },
        True,
        {"sub": "sn", "name": "Ali", "slug": "Ali", "picture": PICTURE},
    ),
    "spotify": (
        {
            "/api/token": TOKEN,
            "/me": {
                "id": "sp",
                "display_name": "Alice",
                "email": EMAIL,
                "images": [
                    {"url": "https://img.example.com/small.png", "height": 64, "width": 64},
                    {"url": PICTURE, "height": 300, "width": 300},
                ],
            },
        },
        False,
        {"sub": "sp", "name": "Alice", "picture": PICTURE},
    ),
    "twitch": (
        {
            "/oauth2/token": TOKEN,
            "/helix/users": {
                "data": [
                    {
                        "id": "tw",
                        "login": "alice",
                        "display_name": "Alice",
                        "profile_image_url": PICTURE,
                        "email": EMAIL,
                    }
                ]
            },
        },
        True,
        {"sub": "tw", "name": "alice", "nickname": "Alice", "slug": "Alice", "picture": PICTURE},
    ),
    "workos": (
        {
            "/sso/token": {
                **TOKEN,
                "profile": {
                    "id": "w",
                    "email": EMAIL,
                    "first_name": "Alice",
                    "last_name": "A",
                    "connection_id": "c",
                    "organization_id": "o",
                },
            }
        },
        True,
        {"sub": "w", "name": "Alice A", "custom_claims": {"connection_id": "c", "organization_id": "o"}},
    ),
    "x": (
        {
            "/2/oauth2/token": TOKEN,
            "/2/users/me": {
                "data": {
                    "id": "x1",
                    "name": "Alice",
                    "username": "ali",
                    "confirmed_email": EMAIL,
                    "url": "https://a.example.com",
                }
            },
        },
        True,
        {
            "sub": "x1",
            "name": "Alice",
            "user_name": "ali",
            "profile": "https://x.com/ali",
            "website": "https://a.example.com",
        },
    ),
    "zoom": (
        {
            "/oauth/token": TOKEN,
            "/v2/users/me": {
                "id": "z",
                "first_name": "Alice",
                "last_name": "A",
                "email": EMAIL,
                "verified": 0,
                "login_type": "100",
                "pic_url": PICTURE,
            },
        },
        False,
        {"sub": "z", "name": "Alice A", "picture": PICTURE},
    ),
}


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

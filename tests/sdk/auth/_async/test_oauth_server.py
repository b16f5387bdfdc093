"""The consent page through the client: an app asks, the user answers and looks after what was granted."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from isobase.auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient
from isobase.auth.errors import AuthApiError, AuthSessionMissingError
from isobase.auth.helpers import generate_pkce_challenge, generate_pkce_verifier
from isobase.auth.types import CreateOAuthClientParams, OAuthAuthorizationDetails, OAuthClient, OAuthRedirect
from tests.sdk.auth._async.conftest import MakeClient
from tests.sdk.auth.conftest import AuthService

CALLBACK = "https://app.example.com/callback"
VERIFIER = generate_pkce_verifier()


def fields_of(url: str) -> dict[str, str]:
    """Give the query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
async def app(admin: AsyncGoTrueAdminAPI) -> OAuthClient:
    """A registered app."""
    made = await admin.oauth.create_client(CreateOAuthClientParams(client_name="Planets", redirect_uris=[CALLBACK]))
    assert made.client is not None
    return made.client


def asks(service: AuthService, app: OAuthClient, scope: str = "email profile") -> str:
    """Send a browser to the server for the app, and give the id that the consent page gets."""
    answer = httpx.get(
        f"{service.url}/oauth/authorize",
        params={
            "client_id": app.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": scope,
            "code_challenge": generate_pkce_challenge(VERIFIER),
            "code_challenge_method": "s256",
        },
    )
    assert answer.status_code == 302, answer.text
    return fields_of(answer.headers["location"])["authorization_id"]


def tokens_of(service: AuthService, app: OAuthClient, code: str) -> dict[str, Any]:
    """Exchange a code as the app does."""
    answer = httpx.post(
        f"{service.url}/oauth/token",
        data={"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER},
        auth=(app.client_id, app.client_secret or ""),
    )
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


@pytest.mark.capability("auth.oauth_server.get_authorization_details", "auth.oauth_server.approve_authorization")
async def test_an_approved_app_gets_a_code_that_is_worth_tokens(
    client: AsyncGoTrueClient, app: OAuthClient, auth_service: AuthService
) -> None:
    session = await client.get_session()
    assert session is not None
    authorization_id = asks(auth_service, app)
    details = await client.oauth.get_authorization_details(authorization_id)
    assert isinstance(details, OAuthAuthorizationDetails)
    assert (details.authorization_id, details.redirect_uri, details.scope) == (
        authorization_id,
        CALLBACK,
        "email profile",
    )
    assert (details.client.id, details.client.name) == (app.client_id, "Planets")
    assert (details.user.id, details.user.email) == (session.user.id, session.user.email)
    redirect = await client.oauth.approve_authorization(authorization_id)
    assert redirect.redirect_url.startswith(CALLBACK)
    code = fields_of(redirect.redirect_url)["code"]
    assert code not in repr(redirect)
    tokens = tokens_of(auth_service, app, code)
    user = await client.get_user(tokens["access_token"])
    assert user is not None
    assert user.user.id == session.user.id


@pytest.mark.capability("auth.oauth_server.get_authorization_details")
async def test_who_has_consented_before_is_sent_on_at_once(
    client: AsyncGoTrueClient, app: OAuthClient, auth_service: AuthService
) -> None:
    first = asks(auth_service, app)
    await client.oauth.get_authorization_details(first)
    await client.oauth.approve_authorization(first)
    again = await client.oauth.get_authorization_details(asks(auth_service, app))
    assert isinstance(again, OAuthRedirect)
    assert "code" in fields_of(again.redirect_url)


@pytest.mark.capability("auth.oauth_server.deny_authorization")
async def test_a_denied_app_is_told_so(client: AsyncGoTrueClient, app: OAuthClient, auth_service: AuthService) -> None:
    authorization_id = asks(auth_service, app)
    await client.oauth.get_authorization_details(authorization_id)
    redirect = await client.oauth.deny_authorization(authorization_id)
    assert fields_of(redirect.redirect_url)["error"] == "access_denied"
    assert await client.oauth.list_grants() == []
    with pytest.raises(AuthApiError) as answered:
        await client.oauth.approve_authorization(authorization_id)
    assert answered.value.code == "validation_failed"


@pytest.mark.capability("auth.oauth_server.list_grants", "auth.oauth_server.revoke_grant")
async def test_a_revoked_grant_ends_the_apps_session(
    client: AsyncGoTrueClient, app: OAuthClient, auth_service: AuthService
) -> None:
    authorization_id = asks(auth_service, app)
    await client.oauth.get_authorization_details(authorization_id)
    redirect = await client.oauth.approve_authorization(authorization_id)
    tokens = tokens_of(auth_service, app, fields_of(redirect.redirect_url)["code"])
    (grant,) = await client.oauth.list_grants()
    assert (grant.client.id, grant.client.name, grant.scopes) == (app.client_id, "Planets", ["email", "profile"])
    await client.oauth.revoke_grant({"client_id": app.client_id})
    assert await client.oauth.list_grants() == []
    with pytest.raises(AuthApiError) as ended:
        await client.get_user(tokens["access_token"])
    assert ended.value.code == "session_not_found"
    with pytest.raises(AuthApiError) as nothing:
        await client.oauth.revoke_grant({"client_id": app.client_id})
    assert (nothing.value.status, nothing.value.code) == (404, "oauth_consent_not_found")


async def test_an_unknown_request_is_refused(client: AsyncGoTrueClient) -> None:
    with pytest.raises(AuthApiError) as unknown:
        await client.oauth.get_authorization_details("unknown")
    assert (unknown.value.status, unknown.value.code) == (404, "oauth_authorization_not_found")


async def test_consent_needs_a_session(make_client: MakeClient) -> None:
    client = await make_client(sign_up=False)
    for call in (
        lambda: client.oauth.get_authorization_details("x"),
        lambda: client.oauth.approve_authorization("x"),
        lambda: client.oauth.deny_authorization("x"),
        lambda: client.oauth.list_grants(),
        lambda: client.oauth.revoke_grant({"client_id": str(uuid4())}),
    ):
        with pytest.raises(AuthSessionMissingError):
            await call()

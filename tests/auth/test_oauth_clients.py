"""The administration of OAuth clients, programs that register themselves, and what answers while the server is off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from isobase_platform.config_auth.oauth_server import OAuthServerSettings
from tests.auth.conftest import AuthServer, StartAuth, bearer

CALLBACK = "https://app.example.com/callback"
CURRENT = {"x-supabase-api-version": "2024-01-01"}
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def server(start_auth: StartAuth) -> AsyncIterator[AuthServer]:
    """Auth as an OAuth server without clients."""
    async with start_auth(oauth_server=OAuthServerSettings(enabled=True, allow_dynamic_registration=True)) as auth:
        await auth.database.execute("delete from auth.oauth_clients")
        yield auth


async def create(auth: AuthServer, **fields: Any) -> dict[str, Any]:
    """Register a client and return it."""
    content = {"client_name": "App", "redirect_uris": [CALLBACK], **fields}
    answer = await auth.client.post("/admin/oauth/clients", json=content, headers=auth.service_headers)
    assert answer.status_code == 201, answer.text
    client: dict[str, Any] = answer.json()
    return client


async def test_client_is_created_listed_changed_and_deleted(server: AuthServer) -> None:
    created = await create(server, client_uri="https://app.example.com", logo_uri="https://app.example.com/logo.png")
    client_id = created["client_id"]
    secret = created.pop("client_secret")
    assert len(secret) == 43
    assert {name: created[name] for name in created if not name.endswith("_at")} == {
        "client_id": client_id,
        "client_type": "confidential",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "App",
        "client_uri": "https://app.example.com",
        "logo_uri": "https://app.example.com/logo.png",
        "registration_type": "manual",
    }
    path, headers = f"/admin/oauth/clients/{client_id}", server.service_headers
    listed = await server.client.get("/admin/oauth/clients", headers=headers)
    assert listed.json() == {"clients": [created]}
    assert (await server.client.get(path, headers=headers)).json() == created
    changed = await server.client.put(path, json={"client_name": "Renamed", "logo_uri": None}, headers=headers)
    assert changed.status_code == 200
    assert changed.json() == {**created, "client_name": "Renamed", "updated_at": changed.json()["updated_at"]}
    deleted = await server.client.delete(path, headers=headers)
    assert (deleted.status_code, deleted.content) == (204, b"")
    missing = await server.client.get(path, headers={**headers, **CURRENT})
    assert (missing.status_code, missing.json()["code"]) == (404, "oauth_client_not_found")
    assert (await server.client.get("/admin/oauth/clients", headers=headers)).json() == {}


async def test_secret_is_kept_as_a_hash_and_another_takes_its_place(server: AuthServer) -> None:
    created = await create(server)
    path = f"/admin/oauth/clients/{created['client_id']}/regenerate_secret"
    first = await server.database.fetchval("select client_secret_hash from auth.oauth_clients")
    assert created["client_secret"] not in first
    answer = await server.client.post(path, headers=server.service_headers)
    assert answer.status_code == 200
    assert answer.json()["client_secret"] != created["client_secret"]
    assert await server.database.fetchval("select client_secret_hash from auth.oauth_clients") != first


async def test_public_client_has_no_secret(server: AuthServer) -> None:
    created = await create(server, token_endpoint_auth_method="none")
    assert (created["client_type"], "client_secret" in created) == ("public", False)
    path = f"/admin/oauth/clients/{created['client_id']}/regenerate_secret"
    answer = await server.client.post(path, headers=server.service_headers)
    assert (answer.status_code, answer.json()["msg"]) == (400, "Cannot regenerate secret for public client")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"redirect_uris": []}, "400: redirect_uris is required"),
        ({"redirect_uris": None}, "400: redirect_uris is required"),
        ({"redirect_uris": [CALLBACK] * 11}, "400: redirect_uris cannot exceed 10 items"),
        ({"redirect_uris": ["callback"]}, "400: invalid redirect_uri 'callback': must have scheme and host"),
        (
            {"redirect_uris": ["http://app.example.com/"]},
            "400: invalid redirect_uri 'http://app.example.com/': HTTP scheme only allowed for localhost",
        ),
        (
            {"redirect_uris": ["javascript://alert"]},
            "400: invalid redirect_uri 'javascript://alert': scheme 'javascript' is not allowed for security reasons",
        ),
        (
            {"redirect_uris": [f"{CALLBACK}#x"]},
            f"400: invalid redirect_uri '{CALLBACK}#x': fragment not allowed in redirect URI",
        ),
        (
            {"redirect_uris": [f"{CALLBACK},https://other.example.com"]},
            f"400: invalid redirect_uri '{CALLBACK},https://other.example.com': invalid URL format",
        ),
        (
            {"grant_types": ["password"]},
            "400: grant_types must only contain 'authorization_code' and/or 'refresh_token'",
        ),
        ({"client_name": "x" * 1025}, "400: client_name cannot exceed 1024 characters"),
        ({"client_uri": "app"}, "400: client_uri must be a valid URL"),
        ({"client_type": "secret"}, "400: client_type must be 'public' or 'confidential'"),
        (
            {"client_type": "public", "token_endpoint_auth_method": "client_secret_post"},
            "400: 400: client_type 'public' is inconsistent with token_endpoint_auth_method 'client_secret_post' "
            "(expected client_type 'confidential')",
        ),
    ],
)
async def test_client_that_breaks_a_rule_is_refused(server: AuthServer, fields: dict[str, Any], message: str) -> None:
    content = {"redirect_uris": [CALLBACK], **fields}
    answer = await server.client.post("/admin/oauth/clients", json=content, headers=server.service_headers)
    assert answer.status_code == 400
    assert answer.json() == {"code": 400, "error_code": "validation_failed", "msg": message}
    assert await server.count("oauth_clients") == 0


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, "No fields provided for update"),
        ({"redirect_uris": []}, "redirect_uris cannot be empty"),
        (
            {"token_endpoint_auth_method": "none"},
            "token_endpoint_auth_method 'none' is not valid for client_type 'confidential'; "
            "valid methods: [client_secret_basic client_secret_post]",
        ),
    ],
)
async def test_change_that_breaks_a_rule_is_refused(server: AuthServer, fields: dict[str, Any], message: str) -> None:
    path = f"/admin/oauth/clients/{(await create(server))['client_id']}"
    answer = await server.client.put(path, json=fields, headers=server.service_headers)
    assert (answer.status_code, answer.json()["msg"]) == (400, message)


async def test_id_that_is_no_uuid_is_400_and_an_unknown_one_404(server: AuthServer) -> None:
    for client_id, status, code in (("x", 400, "validation_failed"), (NOBODY, 404, "oauth_client_not_found")):
        answer = await server.client.get(f"/admin/oauth/clients/{client_id}", headers=server.service_headers)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def test_users_may_not_administer_clients(server: AuthServer) -> None:
    session = await server.sign_up()
    for method in ("GET", "POST"):
        answer = await server.client.request(method, "/admin/oauth/clients", headers=bearer(session), json={})
        assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")
    assert (await server.client.get("/admin/oauth/clients")).status_code == 401


async def test_program_registers_itself_where_the_settings_allow_it(server: AuthServer, start_auth: StartAuth) -> None:
    content = {"redirect_uris": ["http://localhost:3000/callback"], "token_endpoint_auth_method": "none"}
    answer = await server.client.post("/oauth/clients/register", json=content)
    assert (answer.status_code, answer.json()["registration_type"]) == (201, "dynamic")
    async with start_auth(oauth_server=OAuthServerSettings(enabled=True)) as closed:
        answer = await closed.client.post("/oauth/clients/register", json=content)
        assert answer.status_code == 403
        assert answer.json()["error_code"] == "oauth_dynamic_client_registration_disabled"


@pytest.mark.parametrize(
    "method, path, status, code, message",
    [
        ("GET", "/admin/oauth/clients", 404, "feature_disabled", "OAuth server is disabled"),
        ("POST", "/oauth/clients/register", 404, "feature_disabled", "OAuth server is disabled"),
        ("POST", "/oauth/token", 404, "feature_disabled", "OAuth server is disabled"),
        ("GET", "/oauth/authorize", 404, "feature_disabled", "OAuth server is disabled"),
        ("GET", "/oauth/userinfo", 404, "feature_disabled", "OAuth server is disabled"),
        ("GET", "/oauth/authorizations/x", 404, "feature_disabled", "OAuth server is disabled"),
        ("GET", "/.well-known/oauth-authorization-server", 404, "feature_disabled", "OAuth server is disabled"),
        ("POST", "/sso", 404, "saml_provider_disabled", "SAML 2.0 is disabled"),
        ("GET", "/sso/saml/metadata", 404, "saml_provider_disabled", "SAML 2.0 is disabled"),
        ("POST", "/sso/saml/acs", 404, "saml_provider_disabled", "SAML 2.0 is disabled"),
        ("GET", "/admin/custom-providers", 404, "feature_disabled", "Custom OAuth providers are disabled"),
        ("DELETE", "/admin/custom-providers/custom:x", 404, "feature_disabled", "Custom OAuth providers are disabled"),
        ("POST", "/token?grant_type=web3", 422, "web3_provider_disabled", "Web3 provider is disabled"),
    ],
)
async def test_what_is_switched_off_says_so_in_upstreams_words(
    auth: AuthServer, method: str, path: str, status: int, code: str, message: str
) -> None:
    headers = auth.service_headers if "/admin/" in path else {}
    answer = await auth.client.request(method, path, headers={**headers, **CURRENT}, content=b"not json")
    assert (answer.status_code, answer.json()) == (status, {"code": code, "message": message})


async def test_grants_of_a_user_are_off_with_the_server(auth: AuthServer) -> None:
    session = await auth.sign_up()
    answer = await auth.client.get("/user/oauth/grants", headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (404, "feature_disabled")
    assert (await auth.client.get("/user/oauth/grants")).status_code == 401


async def test_discovery_document_names_this_issuer(auth: AuthServer, server: AuthServer) -> None:
    plain = (await auth.client.get("/.well-known/openid-configuration")).json()
    issuer = auth.settings.auth_url
    assert plain["issuer"] == issuer
    assert plain["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert "registration_endpoint" not in plain
    answer = await server.client.get("/.well-known/oauth-authorization-server")
    assert answer.json()["registration_endpoint"] == f"{issuer}/oauth/clients/register"
    assert answer.headers["cache-control"] == "public, max-age=600"

"""The client at a running Isobase: who each of its calls is, by the rows that come back."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import httpx
import pytest

from isobase import AsyncClient, AsyncClientOptions, AuthApiError, SupabaseException, create_async_client
from isobase.auth import AsyncMemoryStorage
from isobase.types import SessionInUrl
from tests.plugins.stack import Stack
from tests.sdk.core.conftest import PASSWORD


async def signed_in(client: AsyncClient, email: str) -> str:
    """Sign a user in; gives its access token."""
    response = await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert response.session is not None
    return response.session.access_token


async def sees_profiles(client: AsyncClient) -> bool:
    """Whether a client sees the profiles, which only signed-in users and the service role do."""
    return bool((await client.table("profiles").select("id").limit(1).execute()).data)


@pytest.mark.capability("client.authentication_integration.cross_client_token_sync")
async def test_every_part_follows_the_user_and_goes_back_to_the_key(stack: Stack, email: str) -> None:
    async with await create_async_client(stack.url, stack.anon_key) as client:
        query, storage = client.table("profiles").select("id").limit(1), client.storage
        realtime, functions = client.realtime, client.functions
        assert not await sees_profiles(client)
        token = await signed_in(client, email)
        assert await sees_profiles(client)
        assert (await query.execute()).data  # begun before the sign-in
        for headers in (storage._headers, storage.session.headers, client.functions.headers, functions.headers):
            assert headers["Authorization"] == f"Bearer {token}"
        assert client.options.headers["Authorization"] == f"Bearer {token}"
        assert realtime is client.realtime
        await client.auth.sign_out({"scope": "local"})
        assert not await sees_profiles(client)
        assert storage._headers["Authorization"] == f"Bearer {stack.anon_key}"


@pytest.mark.parametrize("key", ["service_role_key", "secret_key"])
async def test_a_service_client_stays_one_when_a_user_signs_in_with_it(stack: Stack, email: str, key: str) -> None:
    async with AsyncClient(stack.url, getattr(stack, key)) as client:
        await signed_in(client, email)
        assert len(await client.auth.admin.list_users()) > 0
        rows = (await client.table("projects").select("id").execute()).data
        assert client.options.headers["Authorization"] == f"Bearer {getattr(stack, key)}"
        user = await client.auth.get_user()
        assert user is not None
        assert user.user.email == email
        await client.auth.sign_out({"scope": "local"})
        assert (await client.table("projects").select("id").execute()).data == rows


async def test_a_service_client_follows_the_user_where_the_app_says_so(stack: Stack, email: str) -> None:
    options = AsyncClientOptions(session_authorization=True)
    async with AsyncClient(stack.url, stack.service_role_key, options) as client:
        token = await signed_in(client, email)
        assert client.options.headers["Authorization"] == f"Bearer {token}"
        assert len(await client.auth.admin.list_users()) > 0


@pytest.mark.capability("client.authentication_integration.third_party_auth")
async def test_tokens_may_come_from_elsewhere(stack: Stack, email: str) -> None:
    async with AsyncClient(stack.url, stack.anon_key) as other:
        tokens: list[str | None] = [await signed_in(other, email)]

        async def access_token() -> str | None:
            return tokens[0]

        async with await create_async_client(
            stack.url, stack.anon_key, AsyncClientOptions(access_token=access_token)
        ) as client:
            assert await sees_profiles(client)
            tokens[0] = None
            assert not await sees_profiles(client)
            with pytest.raises(SupabaseException, match="access_token"):
                _ = client.auth


@pytest.mark.capability("client.authentication_integration.oauth_flow_type")
@pytest.mark.parametrize(("flow", "has_challenge"), [("pkce", True), ("implicit", False)])
async def test_the_oauth_flow_is_the_options(stack: Stack, flow: Any, has_challenge: bool) -> None:
    async with await create_async_client(stack.url, stack.anon_key, AsyncClientOptions(flow_type=flow)) as client:
        response = await client.auth.sign_in_with_oauth({"provider": "github"})
        assert ("code_challenge=" in response.url) is has_challenge


@pytest.mark.capability("client.authentication_integration.session_url_detection")
@pytest.mark.parametrize(
    ("detect", "is_taken"),
    [
        pytest.param(True, True, id="yes"),
        pytest.param(False, False, id="no"),
        pytest.param(lambda url, parameters: "access_token" in parameters and "/ours" in url, True, id="ours"),
        pytest.param(lambda url, _parameters: "/another" in url, False, id="another's"),
    ],
)
async def test_a_redirects_session_is_taken_where_the_options_say(
    stack: Stack, email: str, detect: SessionInUrl, is_taken: bool
) -> None:
    async with AsyncClient(stack.url, stack.anon_key) as other:
        response = await other.auth.sign_in_with_password({"email": email, "password": PASSWORD})
        session = response.session
        assert session is not None
        url = (
            f"https://app.example.com/ours#access_token={session.access_token}&refresh_token={session.refresh_token}"
            f"&expires_in=3600&expires_at={session.expires_at}&token_type=bearer"
        )
        options = AsyncClientOptions(detect_session_in_url=detect, flow_type="implicit")
        async with AsyncClient(stack.url, stack.anon_key, options) as client:
            await client.auth.initialize(url=url)
            assert (await client.auth.get_session() is not None) is is_taken
            assert await sees_profiles(client) is is_taken


@pytest.mark.capability("client.session_management.custom_storage")
async def test_a_session_is_kept_in_the_apps_storage_and_found_there(stack: Stack, email: str) -> None:
    storage = AsyncMemoryStorage()
    options = AsyncClientOptions(storage=storage, storage_key="mine")
    async with await create_async_client(stack.url, stack.anon_key, options) as first:
        await signed_in(first, email)
    assert await storage.get_item("mine") is not None
    async with await create_async_client(stack.url, stack.anon_key, options) as second:
        assert await sees_profiles(second)


@pytest.mark.capability("client.session_management.persist_session")
async def test_a_session_that_is_not_kept_ends_with_its_client(stack: Stack, email: str) -> None:
    storage = AsyncMemoryStorage()
    options = AsyncClientOptions(storage=storage, persist_session=False)
    async with await create_async_client(stack.url, stack.anon_key, options) as first:
        await signed_in(first, email)
        assert await sees_profiles(first)
    assert not storage.storage
    async with await create_async_client(stack.url, stack.anon_key, options) as second:
        assert not await sees_profiles(second)


@pytest.mark.capability(
    "client.request_configuration.custom_http_client", "client.request_configuration.global_headers"
)
async def test_every_part_sends_through_the_apps_http_client_with_the_apps_headers(stack: Stack, email: str) -> None:
    sent: list[httpx.Request] = []

    async def hook(request: httpx.Request) -> None:
        sent.append(request)

    async with httpx.AsyncClient(event_hooks={"request": [hook]}, headers={"x-from": "client"}) as given:
        options = AsyncClientOptions(httpx_client=given, headers={"x-app": "notes"})
        async with await create_async_client(stack.url, stack.anon_key, options) as client:
            await sees_profiles(client)
            await client.storage.list_buckets()
            await signed_in(client, email)
            assert await sees_profiles(client)
        assert not given.is_closed
    services = {request.url.path.split("/")[1] for request in sent}
    assert services == {"rest", "storage", "auth"}
    assert all(request.headers["x-app"] == "notes" and request.headers["x-from"] == "client" for request in sent)
    assert all(request.headers["apikey"] == stack.anon_key for request in sent)


async def test_a_view_acts_as_its_user_and_leaves_the_client_what_it_is(stack: Stack, email: str) -> None:
    async with AsyncClient(stack.url, stack.anon_key) as other, AsyncClient(stack.url, stack.anon_key) as client:
        token = await signed_in(other, email)
        view = client.as_user(token)
        assert await sees_profiles(view)
        assert not await sees_profiles(client)
        user = await view.auth.get_user(token)
        assert user is not None
        assert view._pool() is client._pool()


async def test_a_views_auth_speaks_of_its_user_without_a_session(stack: Stack, email: str) -> None:
    async with AsyncClient(stack.url, stack.anon_key) as other, AsyncClient(stack.url, stack.anon_key) as client:
        token = await signed_in(other, email)
        view = client.as_user(token)
        user = await view.auth.get_user()
        assert user is not None
        assert user.user.email == email
        claims = await view.auth.get_claims()
        assert claims is not None
        assert claims["claims"]["sub"] == user.user.id
        changed = await view.auth.update_user({"data": {"colour": "green"}})
        assert changed.user.user_metadata["colour"] == "green"
        assert (await view.auth.mfa.list_factors()).all == []
        assert (await view.auth.mfa.get_authenticator_assurance_level()).current_level == "aal1"
        assert len((await view.auth.get_user_identities()).identities) == 1
        assert await view.auth.get_session() is None
        assert await client.auth.get_user() is None
        await view.auth.sign_out()
        with pytest.raises(AuthApiError):
            await client.as_user(token).auth.get_user()


async def test_a_view_with_other_options_keeps_the_rights(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.service_role_key) as client:
        view = client.with_options(timeout=30.0, headers={"x-app": "notes"})
        assert view.options.timeout == 30.0
        assert view.options.headers["Authorization"] == f"Bearer {stack.service_role_key}"
        await view.table("profiles").select("id").limit(1).execute()


async def test_a_session_that_has_ended_is_renewed_before_a_call(stack: Stack, email: str) -> None:
    storage = AsyncMemoryStorage()
    options = AsyncClientOptions(storage=storage, storage_key="mine", auto_refresh_token=False)
    async with AsyncClient(stack.url, stack.anon_key, options) as client:
        await signed_in(client, email)
        kept = json.loads(await storage.get_item("mine") or "")
        kept["expires_at"] = int(time.time()) - 60
        await storage.set_item("mine", json.dumps(kept))
        client._session_ends_at = kept["expires_at"]  # as if the hour had passed
        assert await sees_profiles(client)
        renewed = json.loads(await storage.get_item("mine") or "")
        assert renewed["refresh_token"] != kept["refresh_token"]
        assert client.options.headers["Authorization"] == f"Bearer {renewed['access_token']}"


async def test_closing_a_client_ends_its_calls(stack: Stack) -> None:
    client = AsyncClient(stack.url, stack.anon_key)
    await sees_profiles(client)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await sees_profiles(client)


async def test_a_key_of_an_unknown_kind_is_sent_as_it_is_and_told_of_once(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "isobase"):
        for _ in range(2):
            AsyncClient(stack.url, "sb_novel_abcdef")
    assert len([record for record in caplog.records if "sb_novel_" in record.getMessage()]) <= 1
    assert "abcdef" not in caplog.text


@pytest.mark.parametrize("key", ["publishable_key", "secret_key"])
async def test_keys_of_the_new_kind_work(stack: Stack, key: str) -> None:
    async with AsyncClient(stack.url, getattr(stack, key)) as client:
        await client.table("profiles").select("id").limit(1).execute()
        await client.storage.list_buckets()
        assert "Authorization" not in client.functions.headers


async def test_a_view_with_other_options_follows_its_client(stack: Stack, email: str) -> None:
    async with AsyncClient(stack.url, stack.anon_key) as client:
        view = client.with_options(timeout=30.0)
        assert not await sees_profiles(view)
        await signed_in(client, email)
        assert await sees_profiles(view)
        assert view.auth is client.auth
        await view.aclose()
        assert await sees_profiles(client)
        await client.auth.sign_out({"scope": "local"})
        assert not await sees_profiles(view)


async def test_a_token_never_reaches_the_apps_own_http_client(stack: Stack, email: str) -> None:
    async with httpx.AsyncClient() as given:
        async with AsyncClient(stack.url, stack.anon_key, AsyncClientOptions(httpx_client=given)) as client:
            assert client.functions.headers["Authorization"]
            await signed_in(client, email)
            assert await sees_profiles(client)
        assert "Authorization" not in given.headers
        assert "apikey" not in given.headers

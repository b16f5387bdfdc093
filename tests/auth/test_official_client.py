"""The official Python client (supabase_auth), unmodified, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from supabase_auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient, AsyncMemoryStorage
from supabase_auth.errors import AuthApiError, AuthSessionMissingError, AuthWeakPasswordError

from tests.auth.conftest import PASSWORD, AuthServer, StartAuth
from tests.plugins.listening import listening


@pytest_asyncio.fixture
async def served(start_auth: StartAuth) -> AsyncIterator[tuple[AuthServer, str]]:
    """Auth listening on a port, with its URL."""
    async with start_auth(enable_anonymous_sign_ins=True) as auth, listening(auth.app) as url:
        yield auth, f"{url}/auth/v1"


@pytest_asyncio.fixture
async def client(served: tuple[AuthServer, str]) -> AsyncIterator[AsyncGoTrueClient]:
    """A client as an app makes it."""
    async with httpx.AsyncClient(follow_redirects=True, timeout=60) as http:
        yield AsyncGoTrueClient(
            url=served[1],
            headers={"apikey": served[0].settings.anon_token},
            auto_refresh_token=False,
            storage=AsyncMemoryStorage(),
            http_client=http,
        )


@pytest_asyncio.fixture
async def admin(served: tuple[AuthServer, str]) -> AsyncIterator[AsyncGoTrueAdminAPI]:
    """The client's administration, with the service_role key."""
    async with httpx.AsyncClient(follow_redirects=True, timeout=60) as http:
        # The client replaces the header by this name when it acts for a user.
        headers = {"Authorization": served[0].service_headers["authorization"]}
        yield AsyncGoTrueAdminAPI(url=served[1], headers=headers, http_client=http)


async def test_sign_up_in_refresh_and_out(client: AsyncGoTrueClient) -> None:
    up = await client.sign_up(
        {"email": "alice@example.com", "password": PASSWORD, "options": {"data": {"name": "Alice"}}}
    )
    assert up.user is not None
    assert up.session is not None
    assert up.user.user_metadata["name"] == "Alice"
    assert up.user.identities is not None
    assert up.user.identities[0].identity_data["email"] == "alice@example.com"
    signed_in = await client.sign_in_with_password({"email": "alice@example.com", "password": PASSWORD})
    assert signed_in.session is not None
    refreshed = await client.refresh_session()
    assert refreshed.session is not None
    assert refreshed.session.refresh_token != signed_in.session.refresh_token
    user = await client.get_user()
    assert user is not None
    assert user.user.id == up.user.id
    claims = await client.get_claims()
    assert claims is not None
    assert claims["claims"]["sub"] == up.user.id
    await client.sign_out()
    assert await client.get_session() is None
    with pytest.raises(AuthApiError) as refused:
        await client.get_user(refreshed.session.access_token)
    assert refused.value.code == "session_not_found"


async def test_update_user(client: AsyncGoTrueClient) -> None:
    await client.sign_up({"email": "alice@example.com", "password": PASSWORD})
    updated = await client.update_user({"data": {"hello": "world"}, "password": "a new password"})
    assert updated.user.user_metadata["hello"] == "world"
    again = await client.sign_in_with_password({"email": "alice@example.com", "password": "a new password"})
    assert again.user is not None
    with pytest.raises(AuthApiError) as same:
        await client.update_user({"password": "a new password"})
    assert same.value.code == "same_password"


async def test_anonymous_sign_in(client: AsyncGoTrueClient) -> None:
    answer = await client.sign_in_anonymously()
    assert answer.user is not None
    assert answer.user.is_anonymous is True


async def test_errors_reach_the_client_with_their_codes(client: AsyncGoTrueClient) -> None:
    with pytest.raises(AuthWeakPasswordError) as weak:
        await client.sign_up({"email": "alice@example.com", "password": "123"})
    assert weak.value.reasons == ["length"]
    with pytest.raises(AuthApiError) as wrong:
        await client.sign_in_with_password({"email": "alice@example.com", "password": PASSWORD})
    assert (wrong.value.status, wrong.value.code) == (400, "invalid_credentials")
    await client.sign_up({"email": "alice@example.com", "password": PASSWORD})
    with pytest.raises(AuthApiError) as taken:
        await client.sign_up({"email": "alice@example.com", "password": PASSWORD})
    assert taken.value.code == "user_already_exists"
    with pytest.raises(AuthApiError) as stale:
        await client.refresh_session("abcdefghij23")
    assert str(stale.value.code) == "refresh_token_not_found"
    await client.sign_out()
    with pytest.raises(AuthSessionMissingError):
        await client.refresh_session()


async def test_administration(client: AsyncGoTrueClient, admin: AsyncGoTrueAdminAPI) -> None:
    created = await admin.create_user(
        {"email": "alice@example.com", "password": PASSWORD, "email_confirm": True, "user_metadata": {"a": 1}}
    )
    user_id = created.user.id
    assert [user.id for user in await admin.list_users()] == [user_id]
    assert (await admin.get_user_by_id(user_id)).user.email == "alice@example.com"
    updated = await admin.update_user_by_id(user_id, {"app_metadata": {"plan": "pro"}})
    assert updated.user.app_metadata["plan"] == "pro"
    session = (await client.sign_in_with_password({"email": "alice@example.com", "password": PASSWORD})).session
    assert session is not None
    await admin.sign_out(session.access_token)
    with pytest.raises(AuthApiError):
        await client.get_user(session.access_token)
    await admin.delete_user(user_id)
    assert await admin.list_users() == []
    with pytest.raises(AuthApiError) as gone:
        await admin.get_user_by_id(user_id)
    assert gone.value.code == "user_not_found"

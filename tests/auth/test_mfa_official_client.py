"""Second factors through the official Python client (supabase_auth), unmodified, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from supabase_auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient, AsyncMemoryStorage
from supabase_auth.errors import AuthApiError

from tests.auth.conftest import PASSWORD, AuthServer
from tests.auth.mfa import code_now
from tests.plugins.listening import listening


@pytest_asyncio.fixture
async def url(auth: AuthServer) -> AsyncIterator[str]:
    """Where auth listens."""
    async with listening(auth.app) as root:
        yield f"{root}/auth/v1"


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[AsyncGoTrueClient]:
    """A client as an app makes it, signed up."""
    async with httpx.AsyncClient(timeout=60) as http:
        client = AsyncGoTrueClient(
            url=url, auto_refresh_token=False, storage=AsyncMemoryStorage(), http_client=http, headers={}
        )
        await client.sign_up({"email": "alice@example.com", "password": PASSWORD})
        yield client


async def test_client_enrols_verifies_and_gives_up_a_factor(client: AsyncGoTrueClient) -> None:
    enrolled = await client.mfa.enroll({"factor_type": "totp", "friendly_name": "app", "issuer": "Tests"})
    assert enrolled.type == "totp"
    assert enrolled.totp is not None
    assert enrolled.totp.qr_code is not None
    assert enrolled.totp.qr_code.startswith("data:image/svg+xml;utf-8,<svg ")
    levels = await client.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal1", "aal1")
    opened = await client.mfa.challenge({"factor_id": enrolled.id})
    with pytest.raises(AuthApiError) as refused:
        await client.mfa.verify({"factor_id": enrolled.id, "challenge_id": opened.id, "code": "wrong"})
    assert refused.value.code == "mfa_verification_failed"
    code = code_now(str(enrolled.totp.secret))
    raised = await client.mfa.verify({"factor_id": enrolled.id, "challenge_id": opened.id, "code": code})
    assert raised.user.factors is not None
    levels = await client.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal2", "aal2")
    assert [method.method for method in levels.current_authentication_methods] == ["totp", "password"]
    listed = await client.mfa.list_factors()
    assert [(factor.id, factor.status) for factor in listed.totp] == [(enrolled.id, "verified")]
    refreshed = await client.refresh_session()
    assert refreshed.session is not None
    await client.mfa.unenroll({"factor_id": enrolled.id})
    await client.refresh_session()
    levels = await client.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal1", "aal1")


async def test_next_sign_in_is_told_to_step_up(client: AsyncGoTrueClient) -> None:
    enrolled = await client.mfa.enroll({"factor_type": "totp", "friendly_name": "app"})
    assert enrolled.totp is not None
    secret = str(enrolled.totp.secret)
    await client.mfa.challenge_and_verify({"factor_id": enrolled.id, "code": code_now(secret)})
    await client.sign_in_with_password({"email": "alice@example.com", "password": PASSWORD})
    levels = await client.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal1", "aal2")
    await client.mfa.challenge_and_verify({"factor_id": enrolled.id, "code": code_now(secret, steps=1)})
    levels = await client.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal2", "aal2")


async def test_administrator_lists_and_deletes_factors(auth: AuthServer, client: AsyncGoTrueClient, url: str) -> None:
    enrolled = await client.mfa.enroll({"factor_type": "totp", "friendly_name": "lost"})
    user = await client.get_user()
    assert user is not None
    async with httpx.AsyncClient(timeout=60) as http:
        headers = {"Authorization": auth.service_headers["authorization"]}
        admin = AsyncGoTrueAdminAPI(url=url, headers=headers, http_client=http)
        listed = await admin._list_factors({"user_id": user.user.id})
        assert [factor.id for factor in listed] == [enrolled.id]
        deleted = await admin._delete_factor({"user_id": user.user.id, "id": enrolled.id})
        assert deleted.id == enrolled.id
    assert (await client.mfa.list_factors()).all == []

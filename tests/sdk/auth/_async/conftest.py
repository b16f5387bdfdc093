"""The auth clients under test, at the shared server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from isobase.auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient
from tests.sdk.auth._async.tools import PASSWORD, new_address
from tests.sdk.auth.conftest import AuthService


class MakeClient(Protocol):
    """Makes a client; with ``sign_up`` its user is new and signed in."""

    async def __call__(self, *, sign_up: bool = True) -> AsyncGoTrueClient: ...


@pytest.fixture
async def make_client(auth_service: AuthService) -> AsyncIterator[MakeClient]:
    """Clients as an app makes them, closed at the end."""
    async with AsyncExitStack() as opened:

        async def make(*, sign_up: bool = True) -> AsyncGoTrueClient:
            client = AsyncGoTrueClient(
                url=auth_service.url, headers=auth_service.anon_headers, auto_refresh_token=False
            )
            await opened.enter_async_context(client)
            if sign_up:
                signed_up = await client.sign_up({"email": new_address(), "password": PASSWORD})
                assert signed_up.session is not None
            return client

        yield make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncGoTrueClient:
    """A client whose user is new and signed in."""
    return await make_client()


@pytest.fixture
async def admin(auth_service: AuthService) -> AsyncIterator[AsyncGoTrueAdminAPI]:
    """The administration, with the service_role key."""
    async with AsyncGoTrueAdminAPI(url=auth_service.url, headers=auth_service.admin_headers) as api:
        yield api

"""What an app finds at a migration client before it sends anything is what the official client has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from supabase import AsyncClient as OfficialClient
from supabase import create_async_client
from supabase.lib.client_options import AsyncClientOptions

from isobase_adapter import AsyncMigrationClient, MigrationSettings, create_async_migration_client
from isobase_adapter.core import OPEN

URL, KEY = "http://127.0.0.1:10", "sb_publishable_key"
SETTINGS = MigrationSettings(isobase_url="http://127.0.0.1:9", isobase_key="another", is_shared=False)


@pytest.fixture
async def moving() -> AsyncIterator[AsyncMigrationClient]:
    made = await create_async_migration_client(URL, KEY, migration=SETTINGS)
    yield made
    await made.migration.aclose()


async def raised_by(make: Any, *given: Any, **more: Any) -> tuple[type[Exception], str]:
    with pytest.raises(Exception) as caught:
        await make(*given, **more)
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    "given", [("", KEY), (None, KEY), ("no url", KEY), (139, KEY), (URL, ""), (URL, None), (URL, 5)]
)
async def test_a_url_or_key_of_the_wrong_form_is_refused_as_the_official_client_does(given: Any) -> None:
    expected = await raised_by(create_async_client, *given)
    assert await raised_by(create_async_migration_client, *given, migration=SETTINGS) == expected
    assert await raised_by(create_async_migration_client, *given) == expected  # before settings are looked for


@pytest.mark.filterwarnings("ignore")  # the official packages' own
async def test_the_http_clients_of_its_parts_have_the_official_ones_headers_and_urls(
    moving: AsyncMigrationClient,
) -> None:
    official: OfficialClient = await create_async_client(URL, KEY)
    shown = [
        [
            (http.headers, http.base_url, http.timeout, http.follow_redirects)
            for http in (
                client.postgrest.session,
                client.schema("other").session,
                client.storage.session,
                client.auth._http_client,
                client.functions._client,
            )
        ]
        for client in (official, moving)
    ]
    assert shown[1] == shown[0]


async def test_a_change_of_the_session_reaches_the_http_clients_of_its_parts(moving: AsyncMigrationClient) -> None:
    assert moving.postgrest.session.headers["authorization"] == f"Bearer {KEY}"
    moving._listen_to_auth_events("SIGNED_IN", type("Session", (), {"access_token": "a user's"})())
    assert moving.postgrest.session.headers["authorization"] == "Bearer a user's"
    assert moving.storage.session.headers["authorization"] == "Bearer a user's"
    moving._listen_to_auth_events("SIGNED_OUT", None)
    assert moving.postgrest.session.headers["authorization"] == f"Bearer {KEY}"


async def test_a_client_that_cannot_be_made_leaves_nothing_running() -> None:
    before = set(OPEN)
    options = AsyncClientOptions(realtime=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await create_async_migration_client(URL, KEY, options, migration=SETTINGS)
    assert set(OPEN) == before

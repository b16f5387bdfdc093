"""Apps of the project as an OAuth server, through the admin API, against a running auth server."""

from __future__ import annotations

import pytest

from isobase.auth import AsyncGoTrueAdminAPI
from isobase.auth.errors import AuthApiError
from isobase.auth.types import CreateOAuthClientParams, OAuthClient, PageParams, UpdateOAuthClientParams

CALLBACK = "https://app.example.com/callback"


async def register(admin: AsyncGoTrueAdminAPI, name: str = "App") -> OAuthClient:
    """Register an app."""
    made = await admin.oauth.create_client(CreateOAuthClientParams(client_name=name, redirect_uris=[CALLBACK]))
    assert made.client is not None
    return made.client


@pytest.mark.capability("auth.oauth_admin.create_client", "auth.oauth_admin.get_client")
async def test_an_app_is_registered_and_read_without_its_secret(admin: AsyncGoTrueAdminAPI) -> None:
    made = await register(admin)
    assert made.client_secret
    assert made.client_secret not in repr(made)
    assert (made.client_type, made.registration_type, made.redirect_uris) == ("confidential", "manual", [CALLBACK])
    read = (await admin.oauth.get_client(made.client_id)).client
    assert read is not None
    changing = {"client_secret", "created_at", "updated_at"}  # GoTrue's times have more digits at first
    assert read.client_secret is None
    assert read.model_dump(exclude=changing) == made.model_dump(exclude=changing)


@pytest.mark.capability("auth.oauth_admin.update_client")
async def test_what_is_not_named_of_an_app_stays(admin: AsyncGoTrueAdminAPI) -> None:
    made = await register(admin, "Before")
    changed = (await admin.oauth.update_client(made.client_id, UpdateOAuthClientParams(client_name="After"))).client
    assert changed is not None
    assert (changed.client_name, changed.redirect_uris) == ("After", [CALLBACK])


@pytest.mark.capability("auth.oauth_admin.delete_client")
async def test_a_deleted_app_is_gone(admin: AsyncGoTrueAdminAPI) -> None:
    made = await register(admin)
    assert (await admin.oauth.delete_client(made.client_id)).client is None
    with pytest.raises(AuthApiError) as gone:
        await admin.oauth.get_client(made.client_id)
    assert (gone.value.status, gone.value.code) == (404, "oauth_client_not_found")


@pytest.mark.capability("auth.oauth_admin.regenerate_client_secret")
async def test_an_app_gets_a_new_secret(admin: AsyncGoTrueAdminAPI) -> None:
    made = await register(admin)
    renewed = (await admin.oauth.regenerate_client_secret(made.client_id)).client
    assert renewed is not None
    assert renewed.client_id == made.client_id
    assert renewed.client_secret not in (None, made.client_secret)


@pytest.mark.capability("auth.oauth_admin.list_clients")
async def test_apps_are_listed_with_what_the_server_says_of_their_pages(admin: AsyncGoTrueAdminAPI) -> None:
    made = [(await register(admin)).client_id for _ in range(2)]
    page = await admin.oauth.list_clients(PageParams(page=1, per_page=2))
    assert set(made) <= {one.client_id for one in page.clients}
    assert (page.next_page, page.last_page, page.total) == (None, 0, 0), "GoTrue lists apps on one page"

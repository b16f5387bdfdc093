"""Providers of the project's own, through the admin API, against the real GoTrue: Isobase has its providers from settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from isobase.auth import AsyncGoTrueAdminAPI
from isobase.auth.errors import AuthApiError
from isobase.auth.types import CustomOAuthProvider
from tests.sdk.auth.upstream.conftest import Upstream

PLACE = "https://203.0.113.10"
"""An address of nobody's (RFC 5737): GoTrue refuses private ones, and asks an OAuth 2.0 provider nothing beforehand."""


@pytest.fixture
async def upstream_admin(upstream: Upstream) -> AsyncIterator[AsyncGoTrueAdminAPI]:
    """The administration of the real GoTrue."""
    async with AsyncGoTrueAdminAPI(url=upstream.url, headers=upstream.admin_headers) as api:
        yield api


async def create(admin: AsyncGoTrueAdminAPI) -> CustomOAuthProvider:
    """Add a provider."""
    made = await admin.custom_providers.create_provider(
        {
            "provider_type": "oauth2",
            "identifier": f"custom:{uuid4().hex[:12]}",
            "name": "Company",
            "client_id": "isobase",
            "client_secret": "a secret of the company",
            "scopes": ["email"],
            "authorization_url": f"{PLACE}/authorize",
            "token_url": f"{PLACE}/token",
            "userinfo_url": f"{PLACE}/userinfo",
            "authorization_params": {"prompt": "consent"},
        }
    )
    return made.provider


@pytest.mark.capability("auth.admin.create_provider", "auth.admin.get_provider")
async def test_a_provider_is_added_and_read_without_its_secret(upstream_admin: AsyncGoTrueAdminAPI) -> None:
    made = await create(upstream_admin)
    assert (made.provider_type, made.name, made.client_id, made.scopes) == ("oauth2", "Company", "isobase", ["email"])
    assert (made.enabled, made.authorization_params) == (True, {"prompt": "consent"})
    read = (await upstream_admin.custom_providers.get_provider(made.identifier)).provider
    assert read.model_dump(exclude={"created_at", "updated_at"}) == made.model_dump(
        exclude={"created_at", "updated_at"}
    )
    assert "secret" not in read.model_dump_json()


@pytest.mark.capability("auth.admin.list_providers")
async def test_providers_are_listed_all_or_by_type(upstream_admin: AsyncGoTrueAdminAPI) -> None:
    made = await create(upstream_admin)
    for params in (None, {"type": "oauth2"}):
        found = await upstream_admin.custom_providers.list_providers(params)  # type: ignore[arg-type]  # of each form one
        assert made.identifier in [one.identifier for one in found.providers]
    assert (await upstream_admin.custom_providers.list_providers({"type": "oidc"})).providers == []


@pytest.mark.capability("auth.admin.update_provider")
async def test_what_is_not_named_of_a_provider_stays(upstream_admin: AsyncGoTrueAdminAPI) -> None:
    made = await create(upstream_admin)
    changed = await upstream_admin.custom_providers.update_provider(made.identifier, {"name": "New", "enabled": False})
    assert (changed.provider.name, changed.provider.enabled) == ("New", False)
    assert changed.provider.authorization_url == made.authorization_url


@pytest.mark.capability("auth.admin.delete_provider")
async def test_a_deleted_provider_is_gone(upstream_admin: AsyncGoTrueAdminAPI) -> None:
    made = await create(upstream_admin)
    await upstream_admin.custom_providers.delete_provider(made.identifier)
    with pytest.raises(AuthApiError) as gone:
        await upstream_admin.custom_providers.get_provider(made.identifier)
    assert (gone.value.status, gone.value.code) == (404, "custom_provider_not_found")

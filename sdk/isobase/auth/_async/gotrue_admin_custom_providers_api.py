"""Providers of the project's own, which users can sign in with: ``client.auth.admin.custom_providers``."""

from __future__ import annotations

from httpx import QueryParams, Response

from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth.admin_requests import provider_path
from isobase.auth.types import (
    CreateCustomProviderParams,
    CustomOAuthProvider,
    CustomProviderListResponse,
    CustomProviderResponse,
    ListCustomProvidersParams,
    UpdateCustomProviderParams,
)

__all__ = ["AsyncGoTrueAdminCustomProvidersAPI"]


class AsyncGoTrueAdminCustomProvidersAPI:
    """Look after OpenID (``oidc``) and OAuth 2.0 (``oauth2``) providers.

    Errors are those of ``AsyncGoTrueAdminAPI``; 404 where a server has no custom providers, ``validation_failed`` when the
    provider's discovery document cannot be read or names another issuer.
    Source: auth-js, ``GoTrueAdminApi.customProviders``; supabase-py has none of this.
    """

    def __init__(self, api: AsyncGoTrueBaseAPI) -> None:
        self._api = api

    async def list_providers(self, params: ListCustomProvidersParams | None = None) -> CustomProviderListResponse:
        """Give the custom providers, all or those of one type."""
        kind = (params or {}).get("type")
        query = QueryParams(type=kind) if kind else None
        response = await self._api._request("GET", "admin/custom-providers", query=query)
        return CustomProviderListResponse.model_validate_json(response.content)

    async def create_provider(self, params: CreateCustomProviderParams) -> CustomProviderResponse:
        """Add a provider; users then sign in with ``provider=params["identifier"]``."""
        return _provider(await self._api._request("POST", "admin/custom-providers", body=params))

    async def get_provider(self, identifier: str) -> CustomProviderResponse:
        """Give one provider by its identifier, ``custom:<name>``."""
        return _provider(await self._api._request("GET", provider_path(identifier)))

    async def update_provider(self, identifier: str, params: UpdateCustomProviderParams) -> CustomProviderResponse:
        """Change a provider; what is not named stays."""
        return _provider(await self._api._request("PUT", provider_path(identifier), body=params))

    async def delete_provider(self, identifier: str) -> None:
        """Remove a provider."""
        await self._api._request("DELETE", provider_path(identifier))


def _provider(response: Response) -> CustomProviderResponse:
    return CustomProviderResponse(provider=CustomOAuthProvider.model_validate_json(response.content))

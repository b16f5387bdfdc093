"""The apps that are registered with the project as an OAuth server: ``client.auth.admin.oauth``."""

from __future__ import annotations

from httpx import Response

from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth.admin_requests import oauth_client_body, oauth_client_path
from isobase.auth.paging import page_query, place_of
from isobase.auth.types import (
    CreateOAuthClientParams,
    OAuthClient,
    OAuthClientListResponse,
    OAuthClientResponse,
    PageParams,
    UpdateOAuthClientParams,
)

__all__ = ["AsyncGoTrueAdminOAuthAPI"]


class AsyncGoTrueAdminOAuthAPI:
    """Register and look after apps. Errors are those of ``AsyncGoTrueAdminAPI``; 404 where the OAuth server is off."""

    def __init__(self, api: AsyncGoTrueBaseAPI) -> None:
        self._api = api

    async def list_clients(self, params: PageParams | None = None) -> OAuthClientListResponse:
        """Give a page of the apps, with its place among all of them."""
        wanted = params or PageParams()
        response = await self._api._request(
            "GET", "admin/oauth/clients", query=page_query(wanted.page, wanted.per_page)
        )
        place = place_of(response)
        page = OAuthClientListResponse.model_validate_json(response.content)
        page.next_page, page.last_page, page.total = place.next_page, place.last_page, place.total
        return page

    async def create_client(self, params: CreateOAuthClientParams) -> OAuthClientResponse:
        """Register an app; the answer alone holds its secret."""
        return _app(await self._api._request("POST", "admin/oauth/clients", body=oauth_client_body(params)))

    async def get_client(self, client_id: str) -> OAuthClientResponse:
        """Give one app."""
        return _app(await self._api._request("GET", oauth_client_path(client_id)))

    async def update_client(self, client_id: str, params: UpdateOAuthClientParams) -> OAuthClientResponse:
        """Change an app; what is None stays."""
        return _app(await self._api._request("PUT", oauth_client_path(client_id), body=oauth_client_body(params)))

    async def delete_client(self, client_id: str) -> OAuthClientResponse:
        """Remove an app; the answer's ``client`` is None."""
        await self._api._request("DELETE", oauth_client_path(client_id))
        return OAuthClientResponse()

    async def regenerate_client_secret(self, client_id: str) -> OAuthClientResponse:
        """Give an app a new secret; the old one no longer holds."""
        return _app(await self._api._request("POST", oauth_client_path(client_id, "/regenerate_secret")))


def _app(response: Response) -> OAuthClientResponse:
    return OAuthClientResponse(client=OAuthClient.model_validate_json(response.content))

"""The consent page of the project as an OAuth server: ``client.auth.oauth``."""

from __future__ import annotations

from httpx import QueryParams, Response
from pydantic import ConfigDict, TypeAdapter

from isobase._segments import quoted_segment
from isobase.auth._async.signed_in import AsyncSignedIn, token_of
from isobase.auth.helpers import validate_uuid
from isobase.auth.types import (
    AuthOAuthAuthorizationDetailsResponse,
    AuthOAuthConsentResponse,
    OAuthAuthorizationDetails,
    OAuthGrant,
    OAuthRedirect,
    OAuthRevokeGrantParams,
)

__all__ = ["AsyncGoTrueOAuthAPI"]

Details: TypeAdapter[AuthOAuthAuthorizationDetailsResponse] = TypeAdapter(
    OAuthAuthorizationDetails | OAuthRedirect, config=ConfigDict(defer_build=True, hide_input_in_errors=True)
)
Grants: TypeAdapter[list[OAuthGrant]] = TypeAdapter(list[OAuthGrant], config=ConfigDict(defer_build=True))


class AsyncGoTrueOAuthAPI:
    """Answer apps that ask the signed-in user for access, and look after what they were granted.

    Every method needs a session (AuthSessionMissingError without one) and raises AuthApiError for what the server refuses;
    a server that is no OAuth server answers 404. Source: auth-js, ``GoTrueClient.oauth``; supabase-py has none of this.
    """

    def __init__(self, client: AsyncSignedIn) -> None:
        self._client = client

    async def get_authorization_details(self, authorization_id: str) -> AuthOAuthAuthorizationDetailsResponse:
        """Give what the consent page shows, or where to go at once when the user has consented before.

        ``authorization_id`` stands in the page's address. Tell the two apart with ``isinstance(x, OAuthRedirect)``.
        """
        response = await self._client._request("GET", _path(authorization_id), jwt=await token_of(self._client))
        return Details.validate_json(response.content)

    async def approve_authorization(self, authorization_id: str) -> AuthOAuthConsentResponse:
        """Grant the app what it asks for; gives where the user's browser has to go."""
        return _redirect(await self._consent(authorization_id, "approve"))

    async def deny_authorization(self, authorization_id: str) -> AuthOAuthConsentResponse:
        """Refuse the app; gives where the user's browser has to go."""
        return _redirect(await self._consent(authorization_id, "deny"))

    async def list_grants(self) -> list[OAuthGrant]:
        """Give the apps that have access to the user's account."""
        response = await self._client._request("GET", "user/oauth/grants", jwt=await token_of(self._client))
        return Grants.validate_json(response.content)

    async def revoke_grant(self, params: OAuthRevokeGrantParams) -> None:
        """Take an app's access away: its sessions end, its refresh tokens are spent."""
        validate_uuid(params["client_id"])
        query = QueryParams(client_id=params["client_id"])
        await self._client._request("DELETE", "user/oauth/grants", query=query, jwt=await token_of(self._client))

    async def _consent(self, authorization_id: str, action: str) -> Response:
        return await self._client._request(
            "POST", f"{_path(authorization_id)}/consent", body={"action": action}, jwt=await token_of(self._client)
        )


def _path(authorization_id: str) -> str:
    return f"oauth/authorizations/{quoted_segment(authorization_id)}"


def _redirect(response: Response) -> OAuthRedirect:
    return OAuthRedirect.model_validate_json(response.content)

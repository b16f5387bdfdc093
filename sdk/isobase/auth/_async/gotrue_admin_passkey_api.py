"""Passkeys of any user: ``client.auth.admin.passkey``."""

from __future__ import annotations

from pydantic import ConfigDict, TypeAdapter

from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth.admin_requests import passkey_path, user_path
from isobase.auth.types import AuthPasskeyAdminDeleteParams, AuthPasskeyAdminListParams, AuthPasskeyListResponse

__all__ = ["AsyncGoTrueAdminPasskeyAPI"]

Passkeys: TypeAdapter[AuthPasskeyListResponse] = TypeAdapter(
    AuthPasskeyListResponse, config=ConfigDict(defer_build=True)
)


class AsyncGoTrueAdminPasskeyAPI:
    """List and delete passkeys. Errors are those of ``AsyncGoTrueAdminAPI``.

    Source: auth-js, ``GoTrueAdminApi.passkey``; supabase-py has none of this.
    """

    def __init__(self, api: AsyncGoTrueBaseAPI) -> None:
        self._api = api

    async def list_passkeys(self, params: AuthPasskeyAdminListParams) -> AuthPasskeyListResponse:
        """Give a user's passkeys."""
        response = await self._api._request("GET", user_path(params["user_id"], "/passkeys"))
        return Passkeys.validate_json(response.content)

    async def delete_passkey(self, params: AuthPasskeyAdminDeleteParams) -> None:
        """Delete a user's passkey, such as a lost device's."""
        await self._api._request("DELETE", passkey_path(params["user_id"], params["passkey_id"]))

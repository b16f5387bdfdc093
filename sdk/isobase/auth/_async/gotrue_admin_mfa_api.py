"""Second factors of any user: ``client.auth.admin.mfa``."""

from __future__ import annotations

from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth.admin_requests import user_path
from isobase.auth.helpers import validate_uuid
from isobase.auth.types import (
    AuthMFAAdminDeleteFactorParams,
    AuthMFAAdminDeleteFactorResponse,
    AuthMFAAdminListFactorsParams,
    AuthMFAAdminListFactorsResponse,
    AuthMFAAdminListFactorsResponseParser,
)

__all__ = ["AsyncGoTrueAdminMFAAPI"]


class AsyncGoTrueAdminMFAAPI:
    """List and take away second factors. Errors are those of ``AsyncGoTrueAdminAPI``."""

    def __init__(self, api: AsyncGoTrueBaseAPI) -> None:
        self._api = api

    async def list_factors(self, params: AuthMFAAdminListFactorsParams) -> AuthMFAAdminListFactorsResponse:
        """Give a user's factors, verified or not."""
        response = await self._api._request("GET", user_path(params.get("user_id"), "/factors"))
        return AuthMFAAdminListFactorsResponseParser.validate_json(response.content)

    async def delete_factor(self, params: AuthMFAAdminDeleteFactorParams) -> AuthMFAAdminDeleteFactorResponse:
        """Take a factor away, such as a lost phone's; sessions that it raised fall back to ``aal1``."""
        validate_uuid(params.get("id"))
        path = user_path(params.get("user_id"), f"/factors/{params.get('id')}")
        return AuthMFAAdminDeleteFactorResponse.model_validate_json((await self._api._request("DELETE", path)).content)

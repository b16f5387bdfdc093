"""The admin API of the auth server: ``client.auth.admin``, for programs that hold a secret key.

Every call is made with the headers that this object was made with: who signs in through the client beside it changes
nothing here. Its parts stand in modules of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx import AsyncClient, QueryParams

from isobase.auth._async.gotrue_admin_custom_providers_api import AsyncGoTrueAdminCustomProvidersAPI
from isobase.auth._async.gotrue_admin_mfa_api import AsyncGoTrueAdminMFAAPI
from isobase.auth._async.gotrue_admin_oauth_api import AsyncGoTrueAdminOAuthAPI
from isobase.auth._async.gotrue_admin_passkey_api import AsyncGoTrueAdminPasskeyAPI
from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth.admin_requests import link_body, user_path
from isobase.auth.helpers import parse_link_response, parse_user_response
from isobase.auth.paging import MAX_PER_PAGE, page_query, place_of
from isobase.auth.types import (
    AdminUserAttributes,
    GenerateLinkParams,
    GenerateLinkResponse,
    InviteUserByEmailOptions,
    SignOutScope,
    User,
    UserList,
    UserPage,
    UserResponse,
)

__all__ = ["AsyncGoTrueAdminAPI"]


class AsyncGoTrueAdminAPI(AsyncGoTrueBaseAPI):
    """Look after users, and after what signs them in.

    Parts: ``mfa`` and ``passkey`` (of any user), ``oauth`` (apps), ``custom_providers``.

    Every method raises AuthApiError for what the server refuses (``not_admin`` without an admin's key), AuthRetryableError
    when it is not reached, and ValueError for an id that is no UUID. Source: ``supabase_auth``'s class of this name.
    """

    def __init__(
        self,
        *,
        url: str = "",
        headers: dict[str, str] | None = None,
        http_client: AsyncClient | None = None,
        verify: bool = True,
        proxy: str | None = None,
    ) -> None:
        super().__init__(url=url, headers=headers or {}, http_client=http_client, verify=verify, proxy=proxy)
        self.mfa: AsyncGoTrueAdminMFAAPI = AsyncGoTrueAdminMFAAPI(self)
        self.oauth: AsyncGoTrueAdminOAuthAPI = AsyncGoTrueAdminOAuthAPI(self)
        self.custom_providers: AsyncGoTrueAdminCustomProvidersAPI = AsyncGoTrueAdminCustomProvidersAPI(self)
        self.passkey: AsyncGoTrueAdminPasskeyAPI = AsyncGoTrueAdminPasskeyAPI(self)

    async def sign_out(self, jwt: str, scope: SignOutScope = "global") -> None:
        """End sessions of a user whose access token ``jwt`` is: this one, the others, or all of them."""
        await self._request("POST", "logout", query=QueryParams(scope=scope), jwt=jwt)

    async def invite_user_by_email(self, email: str, options: InviteUserByEmailOptions | None = None) -> UserResponse:
        """Make a user and send them an invitation; ``options["data"]`` become their metadata."""
        given = options or {}
        response = await self._request(
            "POST",
            "invite",
            body={"email": email, "data": given.get("data")},
            redirect_to=given.get("redirect_to"),
        )
        return parse_user_response(response)

    async def generate_link(self, params: GenerateLinkParams) -> GenerateLinkResponse:
        """Give the link (and the code) that a mail would carry, for a mail that you send yourself."""
        redirect_to = params.get("options", {}).get("redirect_to")
        response = await self._request("POST", "admin/generate_link", body=link_body(params), redirect_to=redirect_to)
        return parse_link_response(response)

    async def create_user(self, attributes: AdminUserAttributes) -> UserResponse:
        """Make a user, without a mail; ``email_confirm`` or ``phone_confirm`` lets them sign in at once."""
        return parse_user_response(await self._request("POST", "admin/users", body=attributes))

    async def list_users(self, page: int | None = None, per_page: int | None = None) -> UserPage:
        """Give a page of the users, newest first: a list, which also knows ``total``, ``next_page`` and ``last_page``.

        page: counted from 1, default 1. per_page: default 50.
        """
        response = await self._request("GET", "admin/users", query=page_query(page, per_page))
        place = place_of(response)
        users = UserPage(UserList.model_validate_json(response.content).users)
        users.next_page, users.last_page, users.total = place.next_page, place.last_page, place.total
        return users

    async def iter_users(self, *, per_page: int = MAX_PER_PAGE) -> AsyncIterator[User]:
        """Walk over all users, ``per_page`` at a time. Users who come or go meanwhile may be met twice or not at all."""
        page: int | None = 1
        while page is not None:
            users = await self.list_users(page, per_page)
            # [async]
            for user in users:
                yield user
            # [/async]
            # [sync] yield from users
            page = users.next_page

    async def get_user_by_id(self, uid: str) -> UserResponse:
        """Give one user; AuthApiError ``user_not_found`` when there is none."""
        return parse_user_response(await self._request("GET", user_path(uid)))

    async def update_user_by_id(self, uid: str, attributes: AdminUserAttributes) -> UserResponse:
        """Change a user; what is not named stays. No mail is sent: a new address holds at once."""
        return parse_user_response(await self._request("PUT", user_path(uid), body=attributes))

    async def delete_user(self, id: str, should_soft_delete: bool = False) -> None:
        """Delete a user; softly, their row stays, with the personal data made unreadable."""
        await self._request("DELETE", user_path(id), body={"should_soft_delete": should_soft_delete})

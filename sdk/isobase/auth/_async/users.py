"""The user who is signed in: read, changed, signed out, and their identities at providers.

Source: ``supabase_auth`` for names, arguments, events and the three scopes of a sign-out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast, overload

from httpx import Response

from isobase.auth._async.sign_in import AsyncSignIn
from isobase.auth.calls import Call, id_token_call, oauth_params
from isobase.auth.errors import AuthApiError, AuthError, AuthSessionMissingError, UserDoesntExist
from isobase.auth.helpers import (
    decode_jwt,
    parse_auth_response,
    parse_link_identity_response,
    parse_user_response,
)
from isobase.auth.session_rules import is_signed_out_answer, session_of_tokens, token_end
from isobase.auth.types import (
    AuthResponse,
    IdentitiesResponse,
    OAuthResponse,
    SignInWithIdTokenCredentials,
    SignInWithOAuthCredentials,
    SignOutOptions,
    UpdateUserOptions,
    UserAttributes,
    UserIdentity,
    UserResponse,
)

if TYPE_CHECKING:
    from isobase.auth._async.gotrue_admin_api import AsyncGoTrueAdminAPI

__all__ = ["AsyncUsers"]


class AsyncUsers(AsyncSignIn):
    """The signed-in user's calls of ``AsyncGoTrueClient``.

    What needs a user raises ``AuthSessionMissingError`` when nobody is signed in; what the server refuses is
    ``AuthApiError``.
    """

    admin: AsyncGoTrueAdminAPI

    async def get_user(self, jwt: str | None = None) -> UserResponse | None:
        """Ask the server who the user is: of ``jwt``, else of the session. None without either.

        The server checks the token, so the answer may be trusted. A session that the server does not know any more is
        removed (``SIGNED_OUT``, reason ``session_expired``), and the refusal raised.
        """
        if jwt:
            return parse_user_response(await self._request("GET", "user", jwt=jwt))
        session = await self.get_session()
        token = session.access_token if session is not None else self._given_token
        if token is None:
            return None
        try:
            return parse_user_response(await self._request("GET", "user", jwt=token))
        except AuthApiError as error:
            if session is not None and error.code == "session_not_found" and await self._remove_if_current(session):
                self._notify_signed_out("session_expired")
            raise

    async def update_user(self, attributes: UserAttributes, options: UpdateUserOptions | None = None) -> UserResponse:
        """Change the user's address, number, password or metadata (``data``); tells ``USER_UPDATED``.

        A new address or number counts once it is confirmed; until then the user shows it as ``new_email`` or
        ``new_phone``.
        """
        token = await self._token_needed()
        response = await self._send(
            Call(
                "user",
                dict(attributes),
                redirect_to=(options or {}).get("email_redirect_to"),
                with_pkce=attributes.get("email") is not None,
                method="PUT",
            ),
            jwt=token,
        )
        changed = parse_user_response(response)
        self._notify_all_subscribers("USER_UPDATED", await self._save_user(changed.user))
        return changed

    async def reauthenticate(self) -> AuthResponse:
        """Send the user a code, which ``update_user({"password": ..., "nonce": code})`` may need. The answer is
        empty.
        """
        token = await self._token_needed()
        await self._request("GET", "reauthenticate", jwt=token)
        return AuthResponse(user=None, session=None)

    # The session

    async def set_session(self, access_token: str, refresh_token: str) -> AuthResponse:
        """Sign in with tokens that came from elsewhere (a cookie, another client).

        While the access token is good, the server is asked for its user (``SIGNED_IN``); else it is refreshed
        (``TOKEN_REFRESHED``). Raises ``AuthInvalidJwtError`` for what is no token, ``AuthSessionMissingError`` for an
        ended one without a refresh token.
        """
        ends_at = token_end(decode_jwt(access_token)["payload"]) if access_token else None
        if ends_at is None or ends_at <= time.time():
            session = await self._call_refresh_token(refresh_token, may_adopt=False)
            return AuthResponse(session=session, user=session.user)
        found = await self.get_user(access_token)
        if found is None:
            raise UserDoesntExist()
        session = session_of_tokens(access_token, refresh_token, ends_at, found.user, time.time())
        await self._save_session(session)
        self._notify_all_subscribers("SIGNED_IN", session)
        return AuthResponse(session=session, user=session.user)

    async def refresh_session(self, refresh_token: str | None = None) -> AuthResponse:
        """Refresh the session now, due or not; or sign in with another session's refresh token."""
        if refresh_token:
            session = await self._call_refresh_token(refresh_token, may_adopt=False)
        else:
            current = await self._load_session()
            session = await self._call_refresh_token(current.refresh_token if current else "")
        return AuthResponse(session=session, user=session.user)

    async def sign_out(self, options: SignOutOptions | None = None) -> None:
        """End sessions of the user; ``scope`` says which. ``SIGNED_OUT`` is told with the reason ``user_initiated``.

        - ``global`` (default): all of them. The session here is removed once the server has said so; when it cannot be
          reached the error is raised and the session stays.
        - ``local``: this one. It is removed here first, whatever the server says then.
        - ``others``: all but this one, which stays.

        An answer of 401, 403 or 404 counts as signed out already. Access tokens stay good until they end.
        """
        scope = (options or {}).get("scope", "global")
        access_token: str | None = None
        try:
            access_token = await self._user_token()
        except AuthApiError:  # the session has been refused, so there is nothing to revoke here; the others live on
            if scope == "others":
                raise
        except AuthError:  # ended, and no server to refresh it: nothing to revoke with
            if scope == "local":
                await self._forget_user()
            raise
        if scope == "local":
            await self._forget_user()
        if access_token:
            try:
                await self.admin.sign_out(access_token, scope)
            except AuthError as error:
                if not is_signed_out_answer(error):
                    raise
        if scope == "global":
            await self._forget_user()

    async def _forget_user(self) -> None:
        await self._remove_session()
        self._notify_signed_out("user_initiated")

    # Identities

    async def get_user_identities(self) -> IdentitiesResponse:
        """Give the identities of the user, as the server knows them now."""
        found = await self.get_user()
        if found is None:
            raise AuthSessionMissingError()
        return IdentitiesResponse(identities=found.user.identities or [])

    @overload
    async def link_identity(self, credentials: SignInWithOAuthCredentials) -> OAuthResponse: ...

    @overload
    async def link_identity(self, credentials: SignInWithIdTokenCredentials) -> AuthResponse: ...

    async def link_identity(
        self, credentials: SignInWithOAuthCredentials | SignInWithIdTokenCredentials
    ) -> OAuthResponse | AuthResponse:
        """Add an identity to the user: by a provider's page, whose address is the answer, or by an ID token (``token``)
        at once.

        An ID token gives a new session (``USER_UPDATED``). The server must allow manual linking. Source: supabase_auth;
        supabase-js for ID tokens.
        """
        if "token" in credentials:
            token = await self._token_needed()
            call = id_token_call(cast("SignInWithIdTokenCredentials", credentials), links=True)
            response = await self._send(call, jwt=token)
            return await self._signed_in(parse_auth_response(response), "USER_UPDATED")
        token = await self._token_needed()
        path, flow = "user/identities/authorize", await self._begin_flow()
        params = {**oauth_params(credentials), "skip_http_redirect": "true"}
        _, query = await self._get_url_for_provider(path, credentials["provider"], params, flow=flow)
        try:
            response = await self._request("GET", path, query=query, jwt=token)
        except AuthError:
            if flow is not None:
                await self._end_flow(flow.flow_id, flow.stored)
            raise
        url = parse_link_identity_response(response).url
        return OAuthResponse(provider=credentials["provider"], url=url, flow_id=flow.flow_id if flow else None)

    async def unlink_identity(self, identity: UserIdentity) -> Response:
        """Take an identity from the user, who must have another one; gives the server's answer."""
        token = await self._token_needed()
        return await self._request("DELETE", f"user/identities/{identity.identity_id}", jwt=token)

"""The auth client: what is to be said when one is made, and where its first session comes from.

Its methods, by topic, each module on the one before: ``sessions`` (kept, refreshed, told of), ``pkce_flows``,
``sign_in``, ``users``, ``claims``. Second factors, passkeys, consent and administration are parts: ``mfa``,
``passkey``, ``oauth``, ``admin``.

Source: ``supabase_auth``, ``AsyncGoTrueClient``.
"""

from __future__ import annotations

import logging
import time

from httpx import AsyncClient

from isobase._identity import client_info
from isobase.auth._async.claims import JWKS_TTL_S, AsyncClaims
from isobase.auth._async.gotrue_admin_api import AsyncGoTrueAdminAPI
from isobase.auth._async.gotrue_mfa_api import AsyncGoTrueMFAAPI
from isobase.auth._async.gotrue_oauth_api import AsyncGoTrueOAuthAPI
from isobase.auth._async.gotrue_passkey_api import AsyncGoTruePasskeyAPI
from isobase.auth._async.storage import AsyncSupportedStorage
from isobase.auth._sync.storage import SyncSupportedStorage
from isobase.auth.constants import GOTRUE_URL
from isobase.auth.errors import AuthError, UserDoesntExist
from isobase.auth.redirects import is_implicit_grant, leaves_session, pkce_code, redirect_session
from isobase.auth.session_rules import is_refresh_due
from isobase.auth.types import *  # noqa: F403 - upstream's module has these names too
from isobase.auth.types import (
    AsyncPasskeyAuthenticator,
    AuthFlowType,
    AuthMFAListFactorsResponse,
    AuthResponse,
    JWKSet,
    PasskeyMetadata,
    Session,
    StartPasskeyAuthenticationParams,
)
from isobase.auth.version import __version__

__all__ = ["AsyncGoTrueClient"]

logger = logging.getLogger("isobase.auth")


class AsyncGoTrueClient(AsyncClaims):
    """Signs users in, keeps the session of one of them, and refreshes it.

    Parts: ``mfa``, ``passkey``, ``oauth`` (the user's own), ``admin`` (with the key this client was made with).
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        headers: dict[str, str] | None = None,
        storage_key: str | None = None,
        auto_refresh_token: bool = True,
        persist_session: bool = True,
        # [async]
        storage: AsyncSupportedStorage | SyncSupportedStorage | None = None,
        # [/async]
        # [sync] storage: SyncSupportedStorage | None = None,
        http_client: AsyncClient | None = None,
        flow_type: AuthFlowType = "implicit",
        verify: bool = True,
        proxy: str | None = None,
        append_flow_id_to_redirects: bool = False,
    ) -> None:
        """Make a client; nothing is sent.

        url: the auth server's address (``https://…/auth/v1``). headers: sent with every request (``apikey``).
        storage_key: the session's name in the storage. auto_refresh_token: refresh the session in the background.
        persist_session: keep the session in ``storage`` (memory by default), else in this object alone.
        http_client: sends the requests and stays yours to close; verify and proxy are for the one that is made
        otherwise. flow_type: what links and providers come back with: the session itself (``implicit``), or a code
        (``pkce``). append_flow_id_to_redirects: add ``sb_flow_id`` to ``redirect_to`` addresses, so that
        ``initialize(url=...)`` finds which of several PKCE flows came back; the server's list of allowed redirects must
        allow for it.
        """
        super().__init__(
            url=url or GOTRUE_URL,
            headers={"X-Client-Info": client_info(f"isobase-py/auth v{__version__}"), **(headers or {})},
            storage_key=storage_key,
            auto_refresh_token=auto_refresh_token,
            persist_session=persist_session,
            storage=storage,
            http_client=http_client,
            verify=verify,
            proxy=proxy,
        )
        self._flow_type: AuthFlowType = flow_type
        self._append_flow_id = append_flow_id_to_redirects
        self._jwks: JWKSet = {"keys": []}
        self._jwks_ttl = JWKS_TTL_S
        self._jwks_cached_at: float | None = None
        self.admin: AsyncGoTrueAdminAPI = AsyncGoTrueAdminAPI(
            url=self._url, headers=self._headers, http_client=self._http_client
        )
        self.mfa: AsyncGoTrueMFAAPI = AsyncGoTrueMFAAPI(self)
        self.passkey: AsyncGoTruePasskeyAPI = AsyncGoTruePasskeyAPI(self)
        self.oauth: AsyncGoTrueOAuthAPI = AsyncGoTrueOAuthAPI(self)

    # Passkeys in one step

    async def register_passkey(self, authenticator: AsyncPasskeyAuthenticator) -> PasskeyMetadata:
        """Make a passkey for the signed-in user; see ``passkey.register``."""
        return await self.passkey.register(authenticator)

    async def sign_in_with_passkey(
        self,
        authenticator: AsyncPasskeyAuthenticator,
        credentials: StartPasskeyAuthenticationParams | None = None,
    ) -> AuthResponse:
        """Sign in with a passkey, which tells who the user is; see ``passkey.authenticate``."""
        return await self.passkey.authenticate(authenticator, credentials)

    # Where the first session comes from

    async def initialize(self, *, url: str | None = None) -> None:
        """Take up a session: that of ``url``, the address a sign-in came back to; else the stored one.

        A code in the address (``?code=``) is exchanged when the client uses the PKCE flow and holds its verifier.
        Raises what ``initialize_from_url`` and ``exchange_code_for_session`` raise.
        """
        if url and is_implicit_grant(url):
            await self.initialize_from_url(url)
        elif url and self._flow_type == "pkce" and (found := pkce_code(url)) and await self._verifier_of(found[1]):
            code, flow_id = found
            await self.exchange_code_for_session(
                {"auth_code": code} if flow_id is None else {"auth_code": code, "flow_id": flow_id}
            )
        else:
            await self.initialize_from_storage()

    async def initialize_from_storage(self) -> None:
        """Take up the stored session, refreshed when it is due; tells ``SIGNED_IN`` or ``TOKEN_REFRESHED``."""
        await self._recover_and_refresh()

    async def initialize_from_url(self, url: str) -> None:
        """Take up the session in an address (implicit flow); tells ``SIGNED_IN``, then ``PASSWORD_RECOVERY`` for such a
        link.

        Raises ``AuthImplicitGrantRedirectError`` when the address carries an error, or not all of a session. A session
        that was there before is removed then (``SIGNED_OUT``), as nobody knows any more who sits there; it stays when
        no server was reached, and when the error is about linking an identity to its user. An address that carries
        neither is left alone.
        """
        if not is_implicit_grant(url):
            return
        try:
            session, redirect_type = await self._get_session_from_url(url)
        except (AuthError, ValueError) as error:
            if not leaves_session(error) and await self._load_session() is not None:
                await self._remove_session()
                self._notify_signed_out("session_missing")
            raise
        await self._save_session(session, is_fresh=True)
        self._notify_all_subscribers("SIGNED_IN", session)
        if redirect_type == "recovery":
            self._notify_all_subscribers("PASSWORD_RECOVERY", session)

    async def _get_session_from_url(self, url: str) -> tuple[Session, str | None]:
        found = redirect_session(url)
        user = await self.get_user(found.access_token)
        if user is None:
            raise UserDoesntExist()
        session = Session(
            provider_token=found.provider_token,
            provider_refresh_token=found.provider_refresh_token,
            access_token=found.access_token,
            expires_in=found.expires_in,
            expires_at=found.expires_at,
            refresh_token=found.refresh_token,
            token_type=found.token_type,
            user=user.user,
        )
        return session, found.redirect_type

    async def _recover_and_refresh(self) -> None:
        session = await self._load_session()
        if session is None:
            return
        if not is_refresh_due(session, time.time(), self._skew_s):
            self._arm(session)
            self._notify_all_subscribers("SIGNED_IN", session)
        elif not session.refresh_token:
            await self._remove_session()
            self._notify_signed_out("session_missing")
        elif self._auto_refresh_token:
            try:
                await self._call_refresh_token(session.refresh_token)
            except AuthError as error:  # a refusal has ended the session; after anything else it is tried again later
                logger.info("the stored session could not be refreshed: %s", error)

    async def _list_factors(self) -> AuthMFAListFactorsResponse:
        return await self.mfa.list_factors()

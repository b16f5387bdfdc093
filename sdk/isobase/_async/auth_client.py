"""The composed client's auth client: the auth client, with the arguments that the composed client gives it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from httpx import AsyncClient

from isobase.auth import AsyncGoTrueClient, AsyncSupportedStorage, AuthFlowType, SyncSupportedStorage
from isobase.auth.types import JWK, JWKSet
from isobase.types import SessionInUrl

__all__ = ["AsyncSupabaseAuthClient"]


def _parameters(url: str) -> Mapping[str, str]:
    """Give the parameters of a URL's query and fragment; those of the fragment win."""
    parts = urlsplit(url)
    return dict(parse_qsl(parts.query)) | dict(parse_qsl(parts.fragment))


class AsyncSupabaseAuthClient(AsyncGoTrueClient):
    """The auth client of ``AsyncClient``; its methods are those of ``AsyncGoTrueClient``."""

    def __init__(
        self,
        *,
        url: str,
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
        detect_session_in_url: SessionInUrl = True,
        append_flow_id_to_redirects: bool = False,
    ) -> None:
        """Arguments are those of ``AsyncGoTrueClient``.

        detect_session_in_url: whether ``initialize(url=...)`` looks for a session in the URL, or a function of
        the URL and its parameters that says.
        """
        super().__init__(
            url=url,
            headers=headers or {},
            storage_key=storage_key,
            auto_refresh_token=auto_refresh_token,
            persist_session=persist_session,
            storage=storage,
            http_client=http_client,
            flow_type=flow_type,
            verify=verify,
            proxy=proxy,
            append_flow_id_to_redirects=append_flow_id_to_redirects,
        )
        self._session_in_url = detect_session_in_url
        self._keys_of: AsyncSupabaseAuthClient | None = None

    def _act_for(self, access_token: str, *, keys_of: AsyncSupabaseAuthClient) -> None:
        """Speak of the user of a token while nobody signs in here; the server's public keys are those that ``keys_of``
        keeps.
        """
        self._given_token = access_token
        self._keys_of = keys_of

    async def _fetch_jwks(self, kid: str, jwks: JWKSet) -> JWK:
        if self._keys_of is not None:
            return await self._keys_of._fetch_jwks(kid, jwks)
        return await super()._fetch_jwks(kid, jwks)

    async def initialize(self, *, url: str | None = None) -> None:
        """Load the session of a redirect's URL, where the options allow it, or else the stored one; errors are the
        auth client's.
        """
        detect = self._session_in_url
        if url is not None and not (detect(url, _parameters(url)) if callable(detect) else detect):
            url = None
        await super().initialize(url=url)

"""Providers with an API of their own, by OAuth 2: the profile is asked for with the access token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from isobase_platform.outbound import OutboundError, OutboundHttp
from isobase_services.auth.providers.base import (
    Begun,
    Callback,
    Client,
    ProviderError,
    SignedInAt,
    authorize_url,
    exchange_code,
)
from isobase_services.auth.providers.profile import ProviderTokens
from isobase_services.auth.providers.profiles_api import READERS
from isobase_services.auth.providers.specs import OAuth2Spec

__all__ = ["OAuth2Provider", "pkce_pair"]

NOTION_VERSION = "2021-08-16"
VERIFIER_BYTES = 48


class OAuth2Provider:
    """A provider of ``specs.OAUTH2_SPECS``. ``url``: its address where it is not the public one."""

    answers_by_form = False
    needs_code = True

    def __init__(self, http: OutboundHttp, client: Client, spec: OAuth2Spec, url: str) -> None:
        self.name = client.name
        self._http = http
        self._client = client
        self._spec = spec
        place = url.rstrip("/")
        self._auth = place or spec.auth
        self._api = (f"{place}{spec.api_path_elsewhere}" if place else spec.api) + spec.api_path
        self._exchange_url = (self._auth if spec.exchange_host == "auth" else place or spec.api) + spec.exchange_path

    async def begin(self, state: str, extra: Mapping[str, str]) -> Begun:
        """Where to send the browser."""
        parameters, verifier = dict(extra), ""
        if self._spec.needs_pkce:
            verifier, challenge = pkce_pair()
            parameters |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return Begun(authorize_url(self._auth + self._spec.authorize_path, self._client, state, parameters), verifier)

    async def finish(self, callback: Callback) -> SignedInAt:
        """Who came back. Raises ``ProviderError``."""
        tokens = await exchange_code(
            self._http,
            self._client,
            self._exchange_url,
            callback,
            client_auth=self._spec.client_auth,
            verifier=callback.secret,
        )
        answers = [await self._ask(path, tokens) for path in self._spec.user_paths] or [tokens.answer]
        profile = READERS[self.name](self._issuer, answers)
        if not profile.subject:
            raise ProviderError(f"{self.name} did not say who the user is")
        return SignedInAt(profile, tokens.access_token, tokens.refresh_token)

    @property
    def _issuer(self) -> str:
        # Facebook's is the whole address of the profile, as upstream has it.
        return self._api + self._spec.user_paths[0] if self.name == "facebook" else self._api

    async def _ask(self, path: str, tokens: ProviderTokens) -> Any:
        headers = {"authorization": f"Bearer {tokens.access_token}", "accept": "application/json"}
        url = self._api + path
        if self.name == "notion":
            headers["notion-version"] = NOTION_VERSION
        elif self.name == "twitch":
            headers["client-id"] = self._client.client_id
        elif self.name == "facebook":
            # Shows that who asks knows the app's secret, not only a user's token.
            proof = hmac.new(self._client.secret.encode(), tokens.access_token.encode(), hashlib.sha256).hexdigest()
            url += f"&appsecret_proof={proof}"
        try:
            return await self._http.get_json(url, headers=headers)
        except OutboundError as error:
            raise ProviderError(f"{self.name}: {error.message}") from error


def pkce_pair() -> tuple[str, str]:
    """A fresh (verifier, S256 challenge). RFC 7636."""
    verifier = secrets.token_urlsafe(VERIFIER_BYTES)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

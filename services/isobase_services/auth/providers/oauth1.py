"""Twitter's first API, by OAuth 1.0a: a request token is fetched before the browser goes, and proven when it is back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from isobase_platform.outbound import OutboundError, OutboundHttp
from isobase_services.auth.providers.base import Begun, Callback, Client, CodeExchangeError, ProviderError, SignedInAt
from isobase_services.auth.providers.profiles_api import READERS

__all__ = ["TwitterProvider"]

TWITTER = "https://api.twitter.com"
PROFILE_PATH = "/1.1/account/verify_credentials.json"
PROFILE_QUERY = "?include_email=true&include_entities=false&skip_status=true"


class TwitterProvider:
    """Twitter as ``twitter``; its OAuth 2 is the provider ``x``."""

    answers_by_form = False
    needs_code = False

    def __init__(self, http: OutboundHttp, client: Client, url: str) -> None:
        self.name = client.name
        self._http = http
        self._client = client
        self._place = url.rstrip("/") or TWITTER

    async def begin(self, state: str, extra: Mapping[str, str]) -> Begun:
        """Where to send the browser; ``extra`` has no place in it. Raises ``ProviderError``."""
        callback = f"{self._client.redirect_uri}?{urlencode({'state': state})}"
        found = dict(parse_qsl(await self._send("POST", "/oauth/request_token", redirect_uri=callback)))
        token, secret = found.get("oauth_token", ""), found.get("oauth_token_secret", "")
        if not token:
            raise ProviderError("twitter gave no request token")
        return Begun(f"{self._place}/oauth/authenticate?{urlencode({'oauth_token': token})}", f"{token} {secret}")

    async def finish(self, callback: Callback) -> SignedInAt:
        """Who came back. Raises ``ProviderError``, also for another request token than the one that was kept."""
        token, _, secret = callback.secret.partition(" ")
        if not token or callback.text("oauth_token") != token:
            raise CodeExchangeError("twitter: the request token is another one")
        answer = await self._send(
            "POST",
            "/oauth/access_token",
            token=token,
            token_secret=secret,
            verifier=callback.text("oauth_verifier"),
        )
        access = dict(parse_qsl(answer))
        token, secret = access.get("oauth_token", ""), access.get("oauth_token_secret", "")
        shown = await self._send("GET", PROFILE_PATH + PROFILE_QUERY, token=token, token_secret=secret)
        try:
            user = json.loads(shown)
        except (ValueError, RecursionError) as error:
            raise ProviderError("twitter did not say who the user is") from error
        profile = READERS["twitter"](self._place + PROFILE_PATH, [user])
        if not profile.subject:
            raise ProviderError("twitter did not say who the user is")
        return SignedInAt(profile, token)

    async def _send(self, method: str, path: str, **fields: Any) -> str:
        """One signed request; the answer's text. Raises ``CodeExchangeError``."""
        # Imported on first use: a process without this provider does without the library's memory.
        from authlib.oauth1.rfc5849.client_auth import ClientAuth

        signer = ClientAuth(self._client.client_id, self._client.secret, **fields)
        url, headers, body = signer.prepare(method, self._place + path, {}, "")
        try:
            status, content = await self._http.send(method, url, headers=headers, content=body or b"")
        except OutboundError as error:
            raise CodeExchangeError(f"twitter: {error.message}") from error
        if status != 200:
            raise CodeExchangeError(f"twitter answered {status}")
        return content.decode("utf-8", "replace")

"""Providers that are OpenID Connect issuers: endpoints by discovery, the profile from the ID token."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from isobase_platform.oidc import Discovery, Issuer
from isobase_platform.outbound import OutboundError, OutboundHttp
from isobase_services.auth.models import JsonObject
from isobase_services.auth.providers.base import (
    Begun,
    Callback,
    Client,
    ProviderError,
    SignedInAt,
    authorize_url,
    exchange_code,
)
from isobase_services.auth.providers.id_tokens import (
    APPLE_ISSUERS,
    audiences_of,
    azure_tenant_issuer,
    token_issuer,
    verified_id_token,
)
from isobase_services.auth.providers.oauth2 import pkce_pair
from isobase_services.auth.providers.profile import Profile, ProviderTokens, as_object, as_text
from isobase_services.auth.providers.profiles_oidc import ID_TOKEN_READERS, generic
from isobase_services.auth.providers.specs import OidcSpec

__all__ = ["AzureProvider", "OidcProvider"]

AZURE_COMMON = "https://login.microsoftonline.com/common"


class OidcProvider:
    """A provider of ``specs.OIDC_SPECS``, or any issuer. ``uses_pkce``: as any that is found by discovery alone."""

    needs_code = True

    def __init__(
        self, http: OutboundHttp, client: Client, issuer: Issuer, spec: OidcSpec | None, *, uses_pkce: bool
    ) -> None:
        self.name = client.name
        self._http = http
        self._client = client
        self._issuer = issuer
        self._spec = spec
        self._uses_pkce = uses_pkce

    @property
    def answers_by_form(self) -> bool:
        """Apple's way."""
        return self._spec is not None and self._spec.response_mode == "form_post"

    async def begin(self, state: str, extra: Mapping[str, str]) -> Begun:
        """Where to send the browser. Raises ``ProviderError`` where the issuer cannot be found out about."""
        document = await self._document()
        # Apple takes no other parameters.
        parameters = {"response_mode": "form_post"} if self.answers_by_form else dict(extra)
        verifier = ""
        if self._uses_pkce:
            verifier, challenge = pkce_pair()
            parameters |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        base = (self._spec.authorize_url if self._spec else "") or document.authorization_endpoint
        if not base:
            raise ProviderError(f"{self.name} has no authorization endpoint")
        return Begun(authorize_url(base, self._client, state, parameters), verifier)

    async def finish(self, callback: Callback) -> SignedInAt:
        """Who came back. Raises ``ProviderError``."""
        document = await self._document()
        # RFC 9207: an answer that says whose it is must be this issuer's, or another provider's code would be spent here.
        if callback.text("iss") and callback.text("iss").rstrip("/") != document.issuer.rstrip("/"):
            raise ProviderError(f"{self.name}: the answer is another issuer's")
        url = (self._spec.exchange_url if self._spec else "") or document.token_endpoint
        if not url:
            raise ProviderError(f"{self.name} has no token endpoint")
        tokens = await exchange_code(
            self._http,
            self._client,
            url,
            callback,
            client_auth=document.client_auth,
            verifier=callback.secret,
        )
        profile = await self._profile(tokens, document)
        if self.answers_by_form:
            profile = profile.with_name(_name_in_form(callback.text("user")))
        if not profile.subject:
            raise ProviderError(f"{self.name} did not say who the user is")
        return SignedInAt(profile, tokens.access_token, tokens.refresh_token)

    async def _profile(self, tokens: ProviderTokens, document: Discovery) -> Profile:
        read = ID_TOKEN_READERS.get(self.name, generic)
        if tokens.id_token:
            issuers = (*APPLE_ISSUERS, document.issuer) if self.name == "apple" else (document.issuer,)
            claims = await verified_id_token(
                self._issuer, tokens.id_token, issuers=issuers, access_token=tokens.access_token
            )
            _check_audience(claims, self._client)
            return read(claims)
        if not document.userinfo_endpoint:
            raise ProviderError(f"{self.name} gave no ID token")
        headers = {"authorization": f"Bearer {tokens.access_token}"}
        try:
            user = as_object(await self._http.get_json(document.userinfo_endpoint, headers=headers))
        except OutboundError as error:
            raise ProviderError(f"{self.name}: {error.message}") from error
        return read({**user, "iss": document.issuer})

    async def _document(self) -> Discovery:
        try:
            return await self._issuer.discovery()
        except OutboundError as error:
            raise ProviderError(f"{self.name}: {error.message}") from error


class AzureProvider:
    """Microsoft: addresses below one place, ID tokens by the issuer of the user's tenant.

    With a tenant's own ``url`` only that tenant's tokens are good. ``issuer_of`` gives an issuer by its URL.
    """

    answers_by_form = False
    needs_code = True

    def __init__(self, http: OutboundHttp, client: Client, url: str, issuer_of: Callable[[str], Issuer]) -> None:
        self.name = client.name
        self._http = http
        self._client = client
        self._place = url.rstrip("/") or AZURE_COMMON
        self._issuer_of = issuer_of

    async def begin(self, state: str, extra: Mapping[str, str]) -> Begun:
        """Where to send the browser."""
        return Begun(authorize_url(f"{self._place}/oauth2/v2.0/authorize", self._client, state, extra))

    async def finish(self, callback: Callback) -> SignedInAt:
        """Who came back. Raises ``ProviderError``; the profile is in the ID token, which must be there."""
        tokens = await exchange_code(
            self._http,
            self._client,
            f"{self._place}/oauth2/v2.0/token",
            callback,
            client_auth="client_secret_post",
        )
        named = token_issuer(tokens.id_token)
        if not azure_accepts(self._place, named):
            raise ProviderError("azure: the ID token is missing, or another issuer's")
        claims = await verified_id_token(
            self._issuer_of(named), tokens.id_token, issuers=(named,), access_token=tokens.access_token
        )
        _check_audience(claims, self._client)
        return SignedInAt(ID_TOKEN_READERS["azure"](claims), tokens.access_token, tokens.refresh_token)


def azure_accepts(url: str, issuer: str) -> bool:
    """Whether ``issuer`` may vouch for users where the settings say ``url``: that tenant's, or else any of Microsoft's."""
    own = f"{url.rstrip('/')}/v2.0" if url.rstrip("/") else ""
    is_shared = not own or own.rsplit("/", 2)[1] in ("common", "organizations", "consumers")
    return azure_tenant_issuer(issuer) if is_shared else issuer.rstrip("/") == own


def _check_audience(claims: JsonObject, client: Client) -> None:
    audiences = audiences_of(claims)
    if client.client_id not in audiences:
        raise ProviderError(f"{client.name}: the ID token is for another client")
    # A token for several says whom it was given to; that must be us.
    party = claims.get("azp")
    if len(audiences) > 1 and party is not None and party != client.client_id:
        raise ProviderError(f"{client.name}: the ID token was given to another client")


def _name_in_form(user: str) -> str:
    """The name that Apple sends beside the code, the first time only."""
    try:
        name = as_object(as_object(json.loads(user or "{}")).get("name"))
    except (ValueError, RecursionError):
        return ""
    return f"{as_text(name.get('firstName'))} {as_text(name.get('lastName'))}".strip()

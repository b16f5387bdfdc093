"""Sign-in with other providers: which there are, how each is asked, and what it says of a user.

``Providers`` holds those of the settings. Layers below it: ``oauth2``, ``oidc``, ``oauth1`` (one way of asking each),
``specs`` (addresses), ``profiles_api`` and ``profiles_oidc`` (answers to profiles), ``id_tokens``. Who a profile becomes
in the database is the business of ``flows.external_users``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isobase_platform.oidc import Issuer, IssuerTiming
from isobase_platform.outbound import OutboundHttp, hosts_of
from isobase_services.auth.providers.base import Client, Provider, ProviderRefusal, joined_scopes
from isobase_services.auth.providers.id_tokens import APPLE_ISSUERS, azure_tenant_issuer, token_issuer
from isobase_services.auth.providers.oauth1 import TwitterProvider
from isobase_services.auth.providers.oauth2 import OAuth2Provider
from isobase_services.auth.providers.oidc import AzureProvider, OidcProvider, azure_accepts
from isobase_services.auth.providers.profiles_oidc import ID_TOKEN_READERS, IdTokenReader, generic
from isobase_services.auth.providers.specs import OAUTH2_SPECS, OIDC_SPECS, PROVIDER_NAMES

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings
    from isobase_platform.config_auth.external import ExternalProvider

__all__ = ["IdTokenSource", "Providers"]

MAX_ISSUERS = 64
"""Issuers whose keys are kept: Microsoft's tenants are as many as its customers."""
DISCOVERY_MAX_AGE_S = 3600.0

_ID_TOKEN_ISSUERS = {
    "google": "https://accounts.google.com",
    "facebook": "https://www.facebook.com",
    "kakao": "https://kauth.kakao.com",
    "vercel_marketplace": "https://marketplace.vercel.com",
    "snapchat": "https://accounts.snapchat.com/accounts/oauth2/token",
    "linkedin_oidc": "https://www.linkedin.com/oauth",
}
"""Providers whose ID tokens can be handed in, with the only issuer that each is believed to have."""

_NATIVE = frozenset({"apple", "google"})
"""Providers that apps use by ID tokens alone, for which no secret is needed."""

_log = logging.getLogger("isobase.auth.providers")


@dataclass(slots=True, frozen=True)
class IdTokenSource:
    """Who may have signed an ID token that an app hands in, and for whom."""

    name: str
    issuer: Issuer
    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    read: IdTokenReader
    skip_nonce_check: bool
    email_optional: bool


class Providers:
    """The providers of the settings. ``auth_url``: where ``/callback`` is. Close it with ``close``."""

    def __init__(self, settings: AuthSettings, auth_url: str, *, timing: IssuerTiming | None = None) -> None:
        self._settings = settings
        self._external: Mapping[str, ExternalProvider] = settings.external
        self._callback_url = f"{auth_url}/callback"
        self._http = OutboundHttp(hosts_of(given.url for given in settings.external.values() if given.enabled))
        self._timing = timing or IssuerTiming(max_age_s=DISCOVERY_MAX_AGE_S)
        self._issuers: OrderedDict[str, Issuer] = OrderedDict()

    def warn_of_incomplete(self) -> None:
        """Log each provider that is switched on and cannot work, with the reason. Nothing is asked over the network."""
        for name, given in self._external.items():
            if not given.enabled or (name in _NATIVE and given.client_ids):
                continue
            try:
                self.find(name)
            except ProviderRefusal as refusal:
                reason = refusal.message
                if name not in PROVIDER_NAMES and not given.url:
                    reason = "not a name that is known, and without the url of an OpenID Connect issuer"
                _log.warning(
                    "sign-in with a provider cannot work", extra={"key": f"auth.external.{name}", "reason": reason}
                )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def is_enabled(self, name: str) -> bool:
        """Whether users may sign in with the provider."""
        given = self._external.get(name)
        return given is not None and given.enabled

    def settings_of(self, name: str) -> ExternalProvider | None:
        """What is set up for the provider, or None."""
        return self._external.get(name.lower())

    def find(self, name: str, scopes: str = "") -> Provider:
        """The provider, asking for ``scopes`` beside its own. Raises ``ProviderRefusal`` with upstream's words."""
        name = name.lower()
        given = self._external.get(name)
        is_custom = name not in PROVIDER_NAMES
        if is_custom and (given is None or not given.url):
            raise ProviderRefusal(f"Provider {name} could not be found")
        if given is None or not given.enabled:
            raise ProviderRefusal("provider is not enabled")
        if not given.client_ids:
            raise ProviderRefusal("missing OAuth client ID")
        secret = given.secret.get_secret_value()
        if not secret and not is_custom:
            raise ProviderRefusal("missing OAuth secret")
        if name == "keycloak" and not given.url:
            raise ProviderRefusal("unable to find URL for the Keycloak provider")
        client = Client(
            name=name,
            client_ids=given.client_ids,
            secret=secret,
            redirect_uri=given.redirect_uri or self._callback_url,
            scopes=joined_scopes(_own_scopes(name), given.scopes, scopes),
        )
        return self._provider(client, given.url)

    def _provider(self, client: Client, url: str) -> Provider:
        if client.name in OAUTH2_SPECS:
            return OAuth2Provider(self._http, client, OAUTH2_SPECS[client.name], url)
        if client.name == "twitter":
            return TwitterProvider(self._http, client, url)
        if client.name == "azure":
            return AzureProvider(self._http, client, url, self._issuer)
        spec = OIDC_SPECS.get(client.name)
        issuer = self._issuer(url or (spec.issuer if spec is not None else ""))
        return OidcProvider(self._http, client, issuer, spec, uses_pkce=spec is None)

    def id_token_source(self, name: str, issuer: str, client_id: str, id_token: str) -> IdTokenSource | None:
        """Whose ID token it may be: the provider ``name``, else the one that has ``issuer``; None for none that is trusted.

        An issuer outside the known ones is trusted where ``external_allowed_id_token_issuers`` lists it. Raises
        ``ProviderRefusal`` with the whole message where the token is not the provider's, or the provider is off.
        """
        found = name.lower() if self._has_id_tokens(name.lower()) else self._name_of(issuer)
        if found is None:
            if issuer and issuer in self._settings.external_allowed_id_token_issuers:
                # The app says which client it is, so that by itself the token of any client of the issuer would do.
                ours = self._settings.external_allowed_id_token_client_ids
                named = (client_id,) if not ours or client_id in ours else ()
                return IdTokenSource(issuer, self._issuer(issuer), (issuer,), named, generic, False, False)
            return None
        given = self._external.get(found)
        url = given.url if given is not None else ""
        issuers = _issuers_of(found, url, issuer, id_token)
        if given is None or not given.enabled:
            raise ProviderRefusal(f'Provider (issuer "{issuers[0]}") is not enabled', code="provider_disabled")
        audiences = given.client_ids
        if found == "apple" and self._settings.external_ios_bundle_id:
            audiences = (*audiences, self._settings.external_ios_bundle_id)
        return IdTokenSource(
            name=found,
            issuer=self._issuer(issuers[0]),
            issuers=issuers,
            audiences=audiences,
            read=ID_TOKEN_READERS.get(found, generic),
            # Facebook's tokens carry no nonce that could be compared.
            skip_nonce_check=given.skip_nonce_check or found == "facebook",
            email_optional=given.email_optional,
        )

    def _has_id_tokens(self, name: str) -> bool:
        if name in _ID_TOKEN_ISSUERS or name in ("apple", "azure", "keycloak"):
            return True
        given = self._external.get(name)
        return name not in PROVIDER_NAMES and given is not None and bool(given.url)

    def _name_of(self, issuer: str) -> str | None:
        if issuer in APPLE_ISSUERS:
            return "apple"
        if azure_tenant_issuer(issuer):
            return "azure"
        by_settings = {
            given.url: name for name, given in self._external.items() if given.enabled and self._has_id_tokens(name)
        }
        fixed = {url: name for name, url in _ID_TOKEN_ISSUERS.items()}
        return fixed.get(issuer) or (by_settings.get(issuer) if issuer else None)

    def _issuer(self, url: str) -> Issuer:
        found = self._issuers.pop(url, None) or Issuer(self._http, url, timing=self._timing)
        self._issuers[url] = found
        if len(self._issuers) > MAX_ISSUERS:
            self._issuers.popitem(last=False)
        return found


def _own_scopes(name: str) -> tuple[str, ...]:
    if name in OAUTH2_SPECS:
        return OAUTH2_SPECS[name].scopes
    if name in OIDC_SPECS:
        return OIDC_SPECS[name].scopes
    return {"azure": ("openid",), "twitter": ()}.get(name, ("openid", "email", "profile"))


def _issuers_of(name: str, url: str, issuer: str, id_token: str) -> tuple[str, ...]:
    """The issuers that a token of the provider may name, the one to ask for keys first. Raises ``ProviderRefusal``."""
    if name == "apple" and not url:
        return _detected("Apple", "an Apple", issuer, id_token, token_issuer(id_token) in APPLE_ISSUERS)
    if name == "azure":
        return _detected("Azure", "an Azure", issuer, id_token, azure_accepts(url, token_issuer(id_token)))
    return (url or _ID_TOKEN_ISSUERS.get(name, ""),)


def _detected(name: str, article: str, issuer: str, id_token: str, is_theirs: bool) -> tuple[str, ...]:
    named = token_issuer(id_token)
    if not named:
        raise ProviderRefusal(f"Unable to detect issuer in ID token for {name} provider")
    if not is_theirs:
        raise ProviderRefusal(f"Detected ID token issuer is not {article} ID token issuer")
    if issuer and issuer != named:
        raise ProviderRefusal("Provided issuer does not match ID token issuer")
    return (named,)

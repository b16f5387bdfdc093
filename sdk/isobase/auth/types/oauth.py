"""The project as an OAuth 2.1 server: apps that are registered with it, and what users have granted them.

Source: ``supabase_auth.types`` for the apps (clients); authorizations and grants, which supabase-py lacks, after auth-js,
``lib/types.ts``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from isobase.auth.types._model import Model

__all__ = [
    "AuthOAuthAuthorizationDetailsResponse",
    "AuthOAuthConsentResponse",
    "CreateOAuthClientParams",
    "OAuthAuthorizationClient",
    "OAuthAuthorizationDetails",
    "OAuthAuthorizationUser",
    "OAuthClient",
    "OAuthClientGrantType",
    "OAuthClientListResponse",
    "OAuthClientRegistrationType",
    "OAuthClientResponse",
    "OAuthClientResponseType",
    "OAuthClientTokenEndpointAuthMethod",
    "OAuthClientType",
    "OAuthGrant",
    "OAuthRedirect",
    "OAuthRevokeGrantParams",
    "UpdateOAuthClientParams",
]

OAuthClientGrantType = Literal["authorization_code", "refresh_token"]
OAuthClientResponseType = Literal["code"]
OAuthClientType = Literal["public", "confidential"]
"""Whether the app can keep a secret."""
OAuthClientRegistrationType = Literal["dynamic", "manual"]
"""Whether the app registered itself, or an admin did."""
OAuthClientTokenEndpointAuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]


class OAuthClient(Model):
    """An app; ``client_secret`` is there only in the answer that made it."""

    client_id: str
    client_name: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    client_type: OAuthClientType
    token_endpoint_auth_method: OAuthClientTokenEndpointAuthMethod
    registration_type: OAuthClientRegistrationType
    client_uri: str | None = None
    logo_uri: str | None = None
    redirect_uris: list[str]
    grant_types: list[OAuthClientGrantType]
    response_types: list[OAuthClientResponseType]
    scope: str | None = None
    created_at: str
    updated_at: str


class CreateOAuthClientParams(Model):
    """A new app; ``scope`` holds scopes separated by blanks."""

    client_name: str
    client_uri: str | None = None
    logo_uri: str | None = None
    redirect_uris: list[str]
    grant_types: list[OAuthClientGrantType] | None = None
    response_types: list[OAuthClientResponseType] | None = None
    scope: str | None = None
    token_endpoint_auth_method: OAuthClientTokenEndpointAuthMethod | None = None


class UpdateOAuthClientParams(Model):
    """What may be changed about an app; what is None stays."""

    client_name: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    redirect_uris: list[str] | None = None
    grant_types: list[OAuthClientGrantType] | None = None
    token_endpoint_auth_method: OAuthClientTokenEndpointAuthMethod | None = None


class OAuthClientResponse(Model):
    """One app."""

    client: OAuthClient | None = None


class OAuthClientListResponse(Model):
    """A page of apps, with its place among all of them: see ``UserPage``."""

    clients: list[OAuthClient] = Field(default_factory=list)
    aud: str | None = None
    next_page: int | None = None
    last_page: int = 0
    total: int = 0


class OAuthAuthorizationClient(Model):
    """The app that asks a user for access."""

    id: str
    name: str = ""
    uri: str = ""
    logo_uri: str = ""


class OAuthAuthorizationUser(Model):
    """The user who is asked."""

    id: str
    email: str = ""


class OAuthAuthorizationDetails(Model):
    """What a consent page shows: who asks, for which scopes (separated by blanks), and where the user goes afterwards."""

    authorization_id: str
    redirect_uri: str
    client: OAuthAuthorizationClient
    user: OAuthAuthorizationUser
    scope: str = ""


class OAuthRedirect(Model):
    """Where the user's browser has to go now: the app's address, with the code or the error."""

    redirect_url: str = Field(repr=False)


AuthOAuthAuthorizationDetailsResponse = OAuthAuthorizationDetails | OAuthRedirect
"""Details when the user has to be asked; a redirect when they have consented before."""
AuthOAuthConsentResponse = OAuthRedirect


class OAuthGrant(Model):
    """Access that the user has granted to an app."""

    client: OAuthAuthorizationClient
    scopes: list[str] = Field(default_factory=list)
    granted_at: str


class OAuthRevokeGrantParams(TypedDict):
    """The app whose access ends."""

    client_id: str

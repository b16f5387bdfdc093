"""What an admin sends and gets: users in pages, links for mails, custom providers.

Source: ``supabase_auth.types``; custom providers, which supabase-py lacks, after auth-js, ``lib/types.ts``.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from isobase.auth.types._model import Model
from isobase.auth.types.users import User, UserAttributes

__all__ = [
    "AdminUserAttributes",
    "CreateCustomProviderParams",
    "CustomOAuthProvider",
    "CustomProviderListResponse",
    "CustomProviderResponse",
    "CustomProviderType",
    "GenerateEmailChangeLinkParams",
    "GenerateInviteOrMagiclinkParams",
    "GenerateLinkParams",
    "GenerateLinkParamsOptions",
    "GenerateLinkParamsWithDataOptions",
    "GenerateLinkProperties",
    "GenerateLinkResponse",
    "GenerateLinkType",
    "GenerateRecoveryLinkParams",
    "GenerateSignupLinkParams",
    "InviteUserByEmailOptions",
    "ListCustomProvidersParams",
    "OIDCDiscoveryDocument",
    "PageParams",
    "Pagination",
    "UpdateCustomProviderParams",
    "UserList",
    "UserPage",
]


class AdminUserAttributes(UserAttributes, TypedDict):
    """What an admin may set about a user, beside what users may set themselves.

    ``role`` becomes the claim of the user's tokens and the database role of their requests (``authenticated`` when unset;
    ``service_role`` would make them an admin). ``password_hash`` takes a bcrypt or argon2 hash from elsewhere.
    ``ban_duration`` is a duration such as ``24h``, or ``none``. ``id`` is heeded when a user is made.
    """

    user_metadata: NotRequired[Any]
    app_metadata: NotRequired[Any]
    email_confirm: NotRequired[bool]
    phone_confirm: NotRequired[bool]
    ban_duration: NotRequired[str | Literal["none"]]
    role: NotRequired[str]
    password_hash: NotRequired[str]
    id: NotRequired[str]


class UserList(Model):
    """A page of users as the server sends it."""

    users: list[User]


class UserPage(list[User]):
    """A list of users that knows its place among all of them.

    ``total`` counts the users that were asked for, ``last_page`` is the number of the last page (0 when the server does not
    say), ``next_page`` that of the next one (None on the last).
    """

    next_page: int | None = None
    last_page: int = 0
    total: int = 0


class PageParams(Model):
    """Which page (the first is 1), and how many items on each."""

    page: int | None = None
    per_page: int | None = None


class Pagination(Model):
    """The place of a page: see ``UserPage``."""

    next_page: int | None = None
    last_page: int = 0
    total: int = 0


class InviteUserByEmailOptions(TypedDict):
    """Where the invitation leads to, and the new user's metadata."""

    redirect_to: NotRequired[str]
    data: NotRequired[Any]


class GenerateLinkParamsOptions(TypedDict):
    """Where the link leads to."""

    redirect_to: NotRequired[str]


class GenerateLinkParamsWithDataOptions(GenerateLinkParamsOptions, TypedDict):
    """Where the link leads to, and a new user's metadata."""

    data: NotRequired[Any]


class GenerateSignupLinkParams(TypedDict):
    """A link that confirms a new user."""

    type: Literal["signup"]
    email: str
    password: str
    options: NotRequired[GenerateLinkParamsWithDataOptions]


class GenerateInviteOrMagiclinkParams(TypedDict):
    """A link that invites, or that signs in."""

    type: Literal["invite", "magiclink"]
    email: str
    options: NotRequired[GenerateLinkParamsWithDataOptions]


class GenerateRecoveryLinkParams(TypedDict):
    """A link for a forgotten password."""

    type: Literal["recovery"]
    email: str
    options: NotRequired[GenerateLinkParamsOptions]


class GenerateEmailChangeLinkParams(TypedDict):
    """A link that confirms a change of address, for a mail to the old or to the new one."""

    type: Literal["email_change_current", "email_change_new"]
    email: str
    new_email: str
    options: NotRequired[GenerateLinkParamsOptions]


GenerateLinkParams = (
    GenerateSignupLinkParams
    | GenerateInviteOrMagiclinkParams
    | GenerateRecoveryLinkParams
    | GenerateEmailChangeLinkParams
)
GenerateLinkType = Literal["signup", "invite", "magiclink", "recovery", "email_change_current", "email_change_new"]


class GenerateLinkProperties(Model):
    """A link for a mail, and its parts: the code to type instead, the hash in the link, where it leads to."""

    action_link: str = Field(repr=False)
    email_otp: str = Field(repr=False)
    hashed_token: str = Field(repr=False)
    redirect_to: str
    verification_type: GenerateLinkType


class GenerateLinkResponse(Model):
    """A link, and the user it is for."""

    properties: GenerateLinkProperties
    user: User


CustomProviderType = Literal["oauth2", "oidc"]


class OIDCDiscoveryDocument(Model):
    """What an OpenID provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    revocation_endpoint: str | None = None
    supported_scopes: list[str] | None = None
    supported_response_types: list[str] | None = None
    supported_subject_types: list[str] | None = None
    supported_id_token_signing_algs: list[str] | None = None


class CustomOAuthProvider(Model):
    """A provider of the project's own; users sign in with ``identifier`` (``custom:<name>``)."""

    id: str
    provider_type: CustomProviderType
    identifier: str
    name: str
    client_id: str
    acceptable_client_ids: list[str] | None = None
    scopes: list[str] | None = None
    custom_claims_allowlist: list[str] | None = None
    pkce_enabled: bool | None = None
    attribute_mapping: dict[str, Any] | None = None
    authorization_params: dict[str, str] | None = None
    enabled: bool | None = None
    email_optional: bool | None = None
    issuer: str | None = None
    discovery_url: str | None = None
    skip_nonce_check: bool | None = None
    authorization_url: str | None = None
    token_url: str | None = None
    userinfo_url: str | None = None
    jwks_uri: str | None = None
    discovery_document: OIDCDiscoveryDocument | None = None
    created_at: str
    updated_at: str


class UpdateCustomProviderParams(TypedDict, total=False):
    """What may be changed about a custom provider; what is left out stays.

    ``custom_claims_allowlist`` names the provider's claims that are copied to the user's ``custom_claims``.
    ``attribute_mapping`` maps the user's attributes to the provider's. With ``issuer`` or ``discovery_url`` the server reads
    the provider's discovery document anew.
    """

    name: str
    client_id: str
    client_secret: str
    acceptable_client_ids: list[str]
    scopes: list[str]
    custom_claims_allowlist: list[str]
    pkce_enabled: bool
    attribute_mapping: dict[str, Any]
    authorization_params: dict[str, str]
    enabled: bool
    email_optional: bool
    issuer: str
    discovery_url: str
    skip_nonce_check: bool
    authorization_url: str
    token_url: str
    userinfo_url: str
    jwks_uri: str


class CreateCustomProviderParams(TypedDict):
    """A new custom provider; ``identifier`` begins with ``custom:``; the rest as in ``UpdateCustomProviderParams``."""

    provider_type: CustomProviderType
    identifier: str
    name: str
    client_id: str
    client_secret: str
    acceptable_client_ids: NotRequired[list[str]]
    scopes: NotRequired[list[str]]
    custom_claims_allowlist: NotRequired[list[str]]
    pkce_enabled: NotRequired[bool]
    attribute_mapping: NotRequired[dict[str, Any]]
    authorization_params: NotRequired[dict[str, str]]
    enabled: NotRequired[bool]
    email_optional: NotRequired[bool]
    issuer: NotRequired[str]
    discovery_url: NotRequired[str]
    skip_nonce_check: NotRequired[bool]
    authorization_url: NotRequired[str]
    token_url: NotRequired[str]
    userinfo_url: NotRequired[str]
    jwks_uri: NotRequired[str]


class ListCustomProvidersParams(TypedDict):
    """Only providers of one type."""

    type: NotRequired[CustomProviderType]


class CustomProviderResponse(Model):
    """One custom provider."""

    provider: CustomOAuthProvider


class CustomProviderListResponse(Model):
    """Custom providers."""

    providers: list[CustomOAuthProvider] = Field(default_factory=list)

"""Users, their sessions and identities, and what is told about a change of them.

Source: ``supabase_auth.types``; names, fields, their order and defaults are upstream's. Tokens are left out of the
``repr``, so that a logged session gives nobody access.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import time
from typing import Any, Literal, NotRequired, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from isobase.auth.types._model import Model

__all__ = [
    "AMREntry",
    "AMREntryDict",
    "AuthChangeEvent",
    "AuthChangeEventMFA",
    "AuthFlowType",
    "AuthOtpResponse",
    "AuthResponse",
    "EmailOtpType",
    "Factor",
    "IdentitiesResponse",
    "LinkIdentityResponse",
    "OAuthResponse",
    "Options",
    "Provider",
    "SSOResponse",
    "Session",
    "SignOutOptions",
    "SignOutScope",
    "Subscription",
    "UpdateUserOptions",
    "User",
    "UserAttributes",
    "UserIdentity",
    "UserResponse",
]

Provider = (
    Literal[
        "apple",
        "azure",
        "bitbucket",
        "discord",
        "facebook",
        "figma",
        "fly",
        "github",
        "gitlab",
        "google",
        "kakao",
        "keycloak",
        "linkedin",
        "linkedin_oidc",
        "notion",
        "slack",
        "slack_oidc",
        "spotify",
        "twitch",
        "twitter",
        "x",
        "workos",
        "zoom",
    ]
    | str
)
"""Who vouches for a user (``twitter`` speaks OAuth 1.0a, ``x`` 2.0), or ``custom:<name>`` for one of the project's own."""

EmailOtpType = Literal["signup", "invite", "magiclink", "recovery", "email_change", "email"]
AuthChangeEventMFA = Literal["MFA_CHALLENGE_VERIFIED"]
AuthFlowType: TypeAlias = Literal["pkce", "implicit"]
AuthChangeEvent = Literal[
    "PASSWORD_RECOVERY",
    "SIGNED_IN",
    "SIGNED_OUT",
    "TOKEN_REFRESHED",
    "USER_UPDATED",
    "USER_DELETED",
    AuthChangeEventMFA,
]
SignOutScope = Literal["global", "local", "others"]


class AMREntry(Model):
    """One way in which the user of a session has proved who they are, and when (seconds since 1970, UTC)."""

    method: Literal["password", "otp", "oauth", "mfa/totp"] | str
    timestamp: int


class AMREntryDict(TypedDict):
    """``AMREntry`` as it stands in a token."""

    timestamp: int
    method: Literal["password", "otp", "oauth", "mfa/totp"] | str


class UserIdentity(Model):
    """What one provider says about a user."""

    id: str
    identity_id: str
    user_id: str
    identity_data: dict[str, Any] = Field(default_factory=dict)
    provider: str
    created_at: datetime
    last_sign_in_at: datetime | None = None
    updated_at: datetime | None = None


class Factor(Model):
    """A second factor of a user; ``friendly_name`` tells several apart, ``phone`` is set for a phone's."""

    id: str
    friendly_name: str | None = None
    phone: str | None = None
    factor_type: Literal["totp", "phone", "webauthn"] | str
    status: Literal["verified", "unverified"]
    created_at: datetime
    updated_at: datetime


class User(Model):
    """A user as the auth server shows them to themselves and to admins."""

    id: str
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    aud: str
    confirmation_sent_at: datetime | None = None
    recovery_sent_at: datetime | None = None
    email_change_sent_at: datetime | None = None
    new_email: str | None = None
    new_phone: str | None = None
    invited_at: datetime | None = None
    action_link: str | None = None
    email: str | None = None
    phone: str | None = None
    created_at: datetime
    confirmed_at: datetime | None = None
    email_confirmed_at: datetime | None = None
    phone_confirmed_at: datetime | None = None
    last_sign_in_at: datetime | None = None
    role: str | None = None
    updated_at: datetime | None = None
    identities: list[UserIdentity] | None = None
    is_anonymous: bool = False
    is_sso_user: bool = False
    factors: list[Factor] | None = None
    deleted_at: str | None = None
    banned_until: str | None = None


class Session(Model):
    """A signed-in user with the tokens that show it.

    ``expires_in`` is the access token's life in seconds, ``expires_at`` its end in seconds since 1970 (reckoned from this
    machine's clock when the server did not say). ``provider_token`` and ``provider_refresh_token`` are set right after a
    sign-in with a provider, and are for that provider's own API.
    """

    provider_token: str | None = Field(default=None, repr=False)
    provider_refresh_token: str | None = Field(default=None, repr=False)
    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    expires_in: int
    expires_at: int | None = None
    token_type: str
    user: User

    @model_validator(mode="after")
    def validator(self) -> Session:
        if self.expires_in and not self.expires_at:
            self.expires_at = round(time()) + self.expires_in
        return self


class AuthResponse(Model):
    """The answer to a sign-in: ``session`` is None while the user has still to confirm themselves."""

    user: User | None = None
    session: Session | None = None


class AuthOtpResponse(Model):
    """The answer when a message was sent: never a user nor a session; ``message_id`` for an SMS."""

    user: None = None
    session: None = None
    message_id: str | None = None


class UserResponse(Model):
    """A user alone."""

    user: User


class OAuthResponse(Model):
    """Where the user's browser has to go to sign in with a provider; ``flow_id`` names the PKCE flow, when it is one."""

    provider: Provider
    url: str
    flow_id: str | None = None


class SSOResponse(Model):
    """Where the user's browser has to go to sign in with their company."""

    url: str


class LinkIdentityResponse(Model):
    """Where the user's browser has to go to link a provider's identity."""

    url: str


class IdentitiesResponse(Model):
    """The identities of the signed-in user."""

    identities: list[UserIdentity]


class Subscription(Model):
    """A listener to changes of the session; ``unsubscribe()`` ends it."""

    id: str
    callback: Callable[[AuthChangeEvent, Session | None], None]
    unsubscribe: Callable[[], None]


class Options(TypedDict):
    """Where a link of a mail leads to, and the answer to a captcha."""

    redirect_to: NotRequired[str]
    captcha_token: NotRequired[str]


class UpdateUserOptions(TypedDict):
    """Where the link of the confirmation mail leads to."""

    email_redirect_to: NotRequired[str]


class UserAttributes(TypedDict):
    """What users may change about themselves; ``data`` are their metadata, ``nonce`` comes from ``reauthenticate``."""

    email: NotRequired[str]
    phone: NotRequired[str]
    password: NotRequired[str]
    data: NotRequired[Any]
    nonce: NotRequired[str]
    current_password: NotRequired[str]


class SignOutOptions(TypedDict):
    """Which sessions end: this one (``local``), all but this one (``others``) or all (``global``)."""

    scope: NotRequired[SignOutScope]

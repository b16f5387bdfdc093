"""The settings of auth. Names as config.toml's ``[auth]`` and its sections, which are groups here.

A group that belongs to one feature has a module of its own in this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from isobase_platform.config_auth.captcha import CaptchaSettings
from isobase_platform.config_auth.db_encryption import DbEncryptionSettings
from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.external import ExternalProvider
from isobase_platform.config_auth.hook import HookSettings
from isobase_platform.config_auth.mfa import MfaSettings
from isobase_platform.config_auth.oauth_server import OAuthServerSettings
from isobase_platform.config_auth.passkey import PasskeySettings, WebAuthnSettings
from isobase_platform.config_auth.rate_limit import RateLimitSettings
from isobase_platform.config_auth.security import AuditSettings, HousekeepingSettings, SecuritySettings
from isobase_platform.config_auth.sessions import SessionSettings
from isobase_platform.config_auth.sms import SmsSettings
from isobase_platform.config_auth.third_party import ThirdPartyIssuer
from isobase_platform.config_group import SettingsGroup

__all__ = ["AuthSettings"]


class AuthSettings(SettingsGroup):
    """Auth (``/auth/v1``); names as config.toml's [auth]. More of them arrive with the features that read them."""

    enabled: bool = True
    """Whether the service is served at all."""
    site_url: str = "http://127.0.0.1:3000"
    additional_redirect_urls: tuple[str, ...] = ("https://127.0.0.1:3000",)
    external_url: str | None = None
    jwt_expiry_s: int = Field(default=3600, ge=1, le=604_800)
    jwt_issuer: str | None = None
    """The claim ``iss``; default the URL of ``/auth/v1``. Empty: tokens have no issuer, as GoTrue's without one."""
    jwt_audience: str = "authenticated"
    """The audience of users for whom a request names none."""
    jwt_default_role: str = "authenticated"
    """The role of users who are given none."""
    jwt_admin_roles: tuple[str, ...] = ("service_role", "supabase_admin")
    """Whose tokens open the routes of administrators."""
    enable_signup: bool = True
    enable_anonymous_sign_ins: bool = False
    enable_refresh_token_rotation: bool = True
    refresh_token_reuse_interval_s: int = Field(default=10, ge=0)
    minimum_password_length: int = Field(default=6, ge=6)
    password_requirements: Literal[
        "", "letters_digits", "lower_upper_letters_digits", "lower_upper_letters_digits_symbols"
    ] = ""
    password_required_characters: tuple[str, ...] = ()
    """Sets of characters of each of which a password needs one, in the place of ``password_requirements``."""
    email_enable_signup: bool = True
    email_enable_confirmations: bool = False
    phone_enable_signup: bool = False
    phone_enable_confirmations: bool = False
    enable_manual_linking: bool = False
    """Whether signed-in users may link further identities to their account and unlink them."""
    external: Mapping[str, ExternalProvider] = Field(default_factory=dict)
    """Providers that users sign in with, by name: `github`, `google`, ..., or any OpenID Connect issuer by its `url`."""
    external_ios_bundle_id: str = ""
    """A further audience of Apple's ID tokens: the id of a native app."""
    external_allowed_id_token_issuers: tuple[str, ...] = ()
    """Issuers whose ID tokens are taken with the `client_id` and `issuer` that the app names."""
    external_allowed_id_token_client_ids: tuple[str, ...] = ()
    """The clients of those issuers whose ID tokens are taken; none: any client's, so that any app can sign users in."""
    oauth_server: OAuthServerSettings = OAuthServerSettings()
    third_party: Mapping[str, ThirdPartyIssuer] = Field(default_factory=dict)
    """Other issuers whose tokens are accepted, by name: `firebase`, `auth0`, `aws_cognito`, `clerk`, `workos` or any."""
    bcrypt_cost: int = Field(default=12, ge=4, le=16)
    password_hash_workers: int | None = Field(default=None, ge=1)
    """Password hashes computed at once in a process, by threads of low priority; default: as many as it may use cores."""
    simple_access_token_s: int = Field(default=900, ge=1)
    """Life of an access token given by the simple face."""
    simple_signing_algorithm: Literal["RS256", "ES256", "HS256"] = "RS256"
    """What the simple face signs with where the project itself signs with its shared secret: a pair of this kind is made and
    kept in the database when it is first needed. HS256: no pair, the shared secret signs for both faces."""
    simple_otp_s: int = Field(default=900, ge=1)
    """How long a code is good on the simple face, where `auth.email.otp_expiry_s` is not less."""
    simple_otp_per_hour: int = Field(default=3, ge=1)
    """Codes that the simple face sends to one address in an hour."""
    simple_session_s: int = Field(default=7 * 24 * 3600, ge=1)
    """Life of a session opened by the simple face."""
    hook: HookSettings = HookSettings()
    email: EmailSettings = EmailSettings()
    sms: SmsSettings = SmsSettings()
    flow_state_expiry_s: float = Field(default=300.0, gt=0)
    """How long a PKCE or OAuth sign-in that was begun can be finished."""
    mfa: MfaSettings = MfaSettings()
    passkey: PasskeySettings = PasskeySettings()
    webauthn: WebAuthnSettings = WebAuthnSettings()
    db_encryption: DbEncryptionSettings = DbEncryptionSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    captcha: CaptchaSettings = CaptchaSettings()
    sessions: SessionSettings = SessionSettings()
    security: SecuritySettings = SecuritySettings()
    audit: AuditSettings = AuditSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()

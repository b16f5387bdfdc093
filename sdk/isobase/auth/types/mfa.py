"""Second factors: a code generator (``totp``), a phone, or an authenticator (``webauthn``).

Source: ``supabase_auth.types``; ``webauthn``, which supabase-py lacks, after auth-js, ``lib/types.ts``. What the person
alone should see (secret, QR code) and new tokens are left out of the ``repr``.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from typing_extensions import TypedDict

from isobase.auth.types._model import Model
from isobase.auth.types.tokens import AuthenticatorAssuranceLevels
from isobase.auth.types.users import AMREntry, Factor, User

__all__ = [
    "AuthMFAAdminDeleteFactorParams",
    "AuthMFAAdminDeleteFactorResponse",
    "AuthMFAAdminListFactorsParams",
    "AuthMFAAdminListFactorsResponse",
    "AuthMFAAdminListFactorsResponseParser",
    "AuthMFAChallengeResponse",
    "AuthMFAChallengeWebauthn",
    "AuthMFAEnrollResponse",
    "AuthMFAEnrollResponseTotp",
    "AuthMFAGetAuthenticatorAssuranceLevelResponse",
    "AuthMFAListFactorsResponse",
    "AuthMFAUnenrollResponse",
    "AuthMFAVerifyResponse",
    "MFAChallengeAndVerifyParams",
    "MFAChallengeParams",
    "MFAEnrollParams",
    "MFAEnrollPhoneParams",
    "MFAEnrollTOTPParams",
    "MFAEnrollWebauthnParams",
    "MFAUnenrollParams",
    "MFAVerifyParams",
    "MFAVerifyWebauthn",
    "MFAVerifyWebauthnParams",
    "MFAWebauthnOrigin",
    "UpdatableFactorAttributes",
]


class UpdatableFactorAttributes(TypedDict):
    """What may be changed about a factor."""

    friendly_name: str


class MFAEnrollTOTPParams(TypedDict):
    """A code generator; ``issuer`` is the name that its app shows."""

    factor_type: Literal["totp"]
    issuer: NotRequired[str]
    friendly_name: NotRequired[str]


class MFAEnrollPhoneParams(TypedDict):
    """A phone, in E.164 form."""

    factor_type: Literal["phone"]
    friendly_name: NotRequired[str]
    phone: str


class MFAEnrollWebauthnParams(TypedDict):
    """A security key, or what a device has built in."""

    factor_type: Literal["webauthn"]
    friendly_name: NotRequired[str]


MFAEnrollParams = MFAEnrollTOTPParams | MFAEnrollPhoneParams | MFAEnrollWebauthnParams


class MFAUnenrollParams(TypedDict):
    """The factor to give up."""

    factor_id: str


class MFAWebauthnOrigin(TypedDict):
    """Who asks the authenticator: the site's domain, and the origins that its pages are served from."""

    rp_id: str
    rp_origins: NotRequired[list[str]]


class MFAChallengeParams(TypedDict):
    """The factor to use; ``channel`` for a phone (``sms`` by default), ``webauthn`` for an authenticator."""

    factor_id: str
    channel: NotRequired[Literal["sms", "whatsapp"]]
    webauthn: NotRequired[MFAWebauthnOrigin]


class MFAVerifyParams(TypedDict):
    """The code that the person read for a challenge."""

    factor_id: str
    challenge_id: str
    code: str


class MFAVerifyWebauthn(MFAWebauthnOrigin):
    """The authenticator's answer: ``type`` is that of the challenge (``create`` at first, ``request`` later)."""

    type: Literal["create", "request"]
    credential_response: dict[str, Any]


class MFAVerifyWebauthnParams(TypedDict):
    """What the authenticator answered to a challenge."""

    factor_id: str
    challenge_id: str
    webauthn: MFAVerifyWebauthn


class MFAChallengeAndVerifyParams(TypedDict):
    """A factor and the code that its generator shows now."""

    factor_id: str
    code: str


class AuthMFAVerifyResponse(Model):
    """The new tokens of the session, which now has a second factor."""

    access_token: str = Field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str = Field(repr=False)
    user: User


class AuthMFAEnrollResponseTotp(Model):
    """What the person puts into their app: a QR code as SVG, or the secret; ``uri`` is what the code says."""

    qr_code: str = Field(repr=False)
    secret: str = Field(repr=False)
    uri: str = Field(repr=False)


class AuthMFAEnrollResponse(Model):
    """A new factor, which has still to be verified; ``totp`` or ``phone`` is set by its type."""

    id: str
    type: Literal["totp", "phone", "webauthn"]
    totp: AuthMFAEnrollResponseTotp | None = None
    friendly_name: str
    phone: str | None = None

    @model_validator(mode="after")
    def validate_phone_required_for_phone_type(self) -> AuthMFAEnrollResponse:
        if self.type == "phone" and not self.phone:
            raise ValueError("phone is required when type is 'phone'")
        return self


class AuthMFAUnenrollResponse(Model):
    """The factor that was given up."""

    id: str


class AuthMFAChallengeWebauthn(Model):
    """What the authenticator is asked: ``credential_options["publicKey"]`` is what a browser's API takes."""

    type: Literal["create", "request"]
    credential_options: dict[str, Any]


class AuthMFAChallengeResponse(Model):
    """A challenge, to be answered before ``expires_at`` (seconds since 1970)."""

    id: str
    expires_at: int
    factor_type: Literal["totp", "phone", "webauthn"] | None = Field(validation_alias="type", default=None)
    webauthn: AuthMFAChallengeWebauthn | None = None


class AuthMFAListFactorsResponse(Model):
    """All factors of the user; by type, only those that are verified."""

    all: list[Factor]
    totp: list[Factor]
    phone: list[Factor]
    webauthn: list[Factor] = Field(default_factory=list)


class AuthMFAGetAuthenticatorAssuranceLevelResponse(Model):
    """How sure the session is of its user, and how sure it could be.

    When ``next_level`` is above ``current_level``, the user has a second factor and has not used it in this session.
    """

    current_level: AuthenticatorAssuranceLevels | None = None
    next_level: AuthenticatorAssuranceLevels | None = None
    current_authentication_methods: list[AMREntry]


class AuthMFAAdminDeleteFactorResponse(Model):
    """The factor that was taken away."""

    id: str


class AuthMFAAdminDeleteFactorParams(TypedDict):
    """A user's factor (``id``)."""

    id: str
    user_id: str


class AuthMFAAdminListFactorsParams(TypedDict):
    """Whose factors."""

    user_id: str


AuthMFAAdminListFactorsResponse = list[Factor]
AuthMFAAdminListFactorsResponseParser: TypeAdapter[AuthMFAAdminListFactorsResponse] = TypeAdapter(
    AuthMFAAdminListFactorsResponse, config=ConfigDict(defer_build=True, hide_input_in_errors=True)
)

"""POST /factors: a user names a second factor they want to use. It counts once it is verified."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth import totp
from isobase_services.auth.core import AuthCore
from isobase_services.auth.encryption import SecretBox
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, unprocessable
from isobase_services.auth.flows.mfa.holder import PHONE, TOTP, WEBAUTHN, Holder, needs_aal2
from isobase_services.auth.models import User
from isobase_services.auth.rules import normal_phone
from isobase_services.auth.store import audit, factors, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.factors import NewFactor

if TYPE_CHECKING:
    from isobase_platform.config_auth.mfa import MfaSettings
    from isobase_platform.pool import Connection

__all__ = ["EnrollRequest", "Enrolled", "check_name", "enroll_factor"]

MAX_NAME_BYTES = 1024


@dataclass(slots=True, frozen=True)
class EnrollRequest:
    """What the caller wants; absent texts are empty."""

    factor_type: str
    friendly_name: str
    issuer: str
    phone: str


@dataclass(slots=True, frozen=True)
class Enrolled:
    """The new factor. ``qr_code`` (SVG text), ``secret`` and ``uri`` only for TOTP; they are shown this once."""

    factor: NewFactor
    qr_code: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    uri: str = field(default="", repr=False)


async def enroll_factor(core: AuthCore, holder: Holder, request: EnrollRequest) -> Enrolled:
    """Store the factor unverified and return what the user needs to set it up.

    Raises 422 mfa_..._enroll_not_enabled, mfa_factor_name_conflict, too_many_enrolled_mfa_factors,
    mfa_verified_factor_exists; 403 insufficient_aal where a factor is verified and the session is not aal2; 400
    validation_failed for an unknown type, a bad number or too long a name.
    """
    _check_enabled(core.settings.mfa, request.factor_type)
    check_name(request.friendly_name)
    enrolled = _new_factor(core, holder.user, request)
    factor = enrolled.factor
    traits = {"factor_id": str(factor.id)}
    if factor.factor_type != TOTP:
        # Upstream names the type of the younger two only.
        traits["factor_type"] = factor.factor_type
    entry = Entry(user_actor(holder.user), Action.FACTOR_IN_PROGRESS, traits)
    try:
        async with core.transaction() as connection:
            user = await _prepare(core, connection, holder.user, factor)
            _check_room(core.settings.mfa, user, factor, is_aal2=holder.is_aal2)
            await factors.insert_factor(connection, factor)
            await audit.record(connection, entry)
    except DatabaseError as error:
        if error.is_unique_violation and error.table == "mfa_factors":
            raise _name_conflict(factor.friendly_name) from None
        raise
    return enrolled


def check_name(friendly_name: str) -> None:
    """Raise 400 validation_failed for a name that the index of names has no room for; upstream answers 500."""
    if len(friendly_name.encode()) > MAX_NAME_BYTES:
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"friendly_name cannot be longer than {MAX_NAME_BYTES} bytes")


def _check_enabled(settings: MfaSettings, factor_type: str) -> None:
    if factor_type == TOTP:
        if not settings.totp.enroll_enabled:
            raise unprocessable(ErrorCode.MFA_TOTP_ENROLL_NOT_ENABLED, "MFA enroll is disabled for TOTP")
    elif factor_type == PHONE:
        if not settings.phone.enroll_enabled:
            raise unprocessable(ErrorCode.MFA_PHONE_ENROLL_NOT_ENABLED, "MFA enroll is disabled for Phone")
    elif factor_type == WEBAUTHN:
        if not settings.web_authn.enroll_enabled:
            raise unprocessable(ErrorCode.MFA_WEBAUTHN_ENROLL_NOT_ENABLED, "MFA enroll is disabled for WebAuthn")
    else:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "factor_type needs to be totp, phone, or webauthn")


def _new_factor(core: AuthCore, user: User, request: EnrollRequest) -> Enrolled:
    factor_id = uuid4()
    if request.factor_type == PHONE:
        if not request.phone:
            raise bad_request(ErrorCode.VALIDATION_FAILED, "Phone number required to enroll Phone factor")
        phone = normal_phone(request.phone)
        return Enrolled(NewFactor(factor_id, user.id, request.friendly_name, PHONE, phone=phone))
    if request.factor_type == WEBAUTHN:
        return Enrolled(NewFactor(factor_id, user.id, request.friendly_name, WEBAUTHN))
    secret = totp.new_secret()
    # Upstream cannot enrol a user who has no e-mail address; there is always something to call them by.
    account = user.email or user.phone or str(user.id)
    issuer = request.issuer or urlsplit(core.settings.site_url).netloc
    uri = totp.otpauth_uri(secret, issuer=issuer, account=account)
    try:
        qr_code = totp.qr_code_svg(uri)
    except ValueError:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "The issuer is too long for a QR code") from None
    closed = SecretBox(core.settings.db_encryption).close(factor_id, secret)
    stored = NewFactor(factor_id, user.id, request.friendly_name, TOTP, secret=closed)
    return Enrolled(stored, qr_code=qr_code, secret=secret, uri=uri)


async def _prepare(core: AuthCore, connection: Connection, user: User, factor: NewFactor) -> User:
    """Make room: drop what was never finished. Returns the user with the factors that are left, locked against others."""
    await factors.lock_user(connection, user.id)
    if factor.phone is not None:
        await factors.delete_unverified_factors(connection, user.id, PHONE, phone=factor.phone)
    await factors.delete_stale_factors(connection, user.id, older_than_s=core.settings.mfa.factor_expiry_s)
    current = await users.find_by_id(connection, user.id)
    if current is None:
        raise AuthError(403, ErrorCode.USER_NOT_FOUND, "User from sub claim in JWT does not exist")
    return current


def _check_room(settings: MfaSettings, user: User, factor: NewFactor, *, is_aal2: bool) -> None:
    if factor.phone is not None and any(known.phone == factor.phone for known in user.factors):
        raise unprocessable(
            ErrorCode.MFA_VERIFIED_FACTOR_EXISTS,
            "A verified phone factor already exists, unenroll the existing factor to continue",
        )
    if any(known.friendly_name == factor.friendly_name for known in user.factors):
        raise _name_conflict(factor.friendly_name)
    verified = sum(known.is_verified for known in user.factors)
    if len(user.factors) >= settings.max_enrolled_factors or verified >= settings.max_verified_factors:
        raise unprocessable(
            ErrorCode.TOO_MANY_ENROLLED_MFA_FACTORS,
            "Maximum number of verified factors reached, unenroll to continue",
        )
    if verified and not is_aal2:
        raise needs_aal2()


def _name_conflict(name: str) -> AuthError:
    return unprocessable(
        ErrorCode.MFA_FACTOR_NAME_CONFLICT,
        f"A factor with the friendly name {json.dumps(name, ensure_ascii=False)} for this user already exists",
    )

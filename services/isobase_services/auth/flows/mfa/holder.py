"""Who asks about second factors, and which of their factors is meant."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, forbidden, not_found
from isobase_services.auth.flows.access import SignedIn, signed_in_user
from isobase_services.auth.models import Factor, Session, User

__all__ = ["PHONE", "TOTP", "WEBAUTHN", "Holder", "check_may_confirm", "factor_of", "holder_of", "needs_aal2"]

TOTP = "totp"
PHONE = "phone"
WEBAUTHN = "webauthn"


@dataclass(slots=True, frozen=True)
class Holder:
    """A permanent user with the session that their second factors raise. ``is_aal2`` as ``SignedIn`` has it."""

    user: User
    session: Session
    is_aal2: bool


async def holder_of(core: AuthCore, bearer: str | None) -> Holder:
    """The user and session of a bearer token.

    Raises as ``signed_in_user``; 403 no_authorization for an anonymous user; 403 session_not_found for a token without a
    session, where upstream fails with a 500.
    """
    signed_in = await signed_in_user(core, bearer)
    check_not_anonymous(signed_in)
    if signed_in.session is None:
        raise forbidden(ErrorCode.SESSION_NOT_FOUND, "A valid session is required to use factors")
    return Holder(signed_in.user, signed_in.session, signed_in.is_aal2)


def check_not_anonymous(signed_in: SignedIn) -> None:
    """Raise 403 no_authorization where the token is an anonymous user's."""
    if signed_in.claims.raw.get("is_anonymous") is True:
        raise forbidden(ErrorCode.NO_AUTHORIZATION, "Anonymous user not allowed to perform these actions")


def factor_of(user: User, factor_id: str) -> Factor:
    """The user's factor by the id in a path. Raises 404 validation_failed for no UUID, 404 mfa_factor_not_found."""
    try:
        wanted = UUID(factor_id)
    except ValueError:
        raise not_found(ErrorCode.VALIDATION_FAILED, "factor_id must be an UUID") from None
    for factor in user.factors:
        if factor.id == wanted:
            return factor
    raise not_found(ErrorCode.MFA_FACTOR_NOT_FOUND, "Factor not found")


def needs_aal2() -> AuthError:
    """The refusal of a further factor to a session that has not passed the one there is."""
    return forbidden(ErrorCode.INSUFFICIENT_AAL, "AAL2 required to enroll a new factor")


def check_may_confirm(user: User, factor: Factor, *, is_aal2: bool) -> None:
    """Raise 403 insufficient_aal where a factor would become verified that the verified ones do not vouch for.

    Upstream asks for aal2 only when a factor is enrolled. Whoever knows the password could then enrol a factor ahead, before
    the user has any, and use it later to walk past the user's own.
    """
    if not factor.is_verified and user.has_verified_factor and not is_aal2:
        raise needs_aal2()

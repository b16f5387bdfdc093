"""Who may do what with passkeys."""

from __future__ import annotations

from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden, not_found, unprocessable
from isobase_services.auth.flows.access import SignedIn

__all__ = ["challenge_id_of", "check_enabled", "check_may_manage", "check_may_register", "passkey_not_found"]


def check_enabled(core: AuthCore) -> None:
    """Raise 404 passkey_disabled where the project has no passkeys."""
    if not core.settings.passkey.enabled:
        raise not_found(ErrorCode.PASSKEY_DISABLED, "Passkeys are disabled")


def check_may_manage(signed_in: SignedIn) -> None:
    """Raise 403 insufficient_aal for a session below aal2 of a user with a verified factor: a passkey is a way in."""
    if signed_in.user.has_verified_factor and not signed_in.is_aal2:
        raise forbidden(ErrorCode.INSUFFICIENT_AAL, "AAL2 session is required to manage passkeys when MFA is enabled")


def check_may_register(signed_in: SignedIn) -> None:
    """Raise 422 validation_failed for a user of single sign-on, and as ``check_may_manage``."""
    if signed_in.user.is_sso_user:
        raise unprocessable(ErrorCode.VALIDATION_FAILED, "SSO users cannot register passkeys")
    check_may_manage(signed_in)


def challenge_id_of(text: str) -> UUID:
    """The id of a challenge in a body. Raises 400 validation_failed."""
    try:
        return UUID(text)
    except ValueError:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "challenge_id must be a valid UUID") from None


def passkey_not_found() -> AuthError:
    """The 404 for an id that is no passkey of the user's."""
    return not_found(ErrorCode.VALIDATION_FAILED, "Passkey not found")

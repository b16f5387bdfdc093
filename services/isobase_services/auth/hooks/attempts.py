"""The hooks that are told of every try of a password or of a second factor, and may have further tries refused.

Source: supabase/auth internal/api/token.go and mfa.go; contracts auth 2.19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden
from isobase_services.auth.hooks.answers import failed
from isobase_services.auth.models import ClientFacts, JsonObject

if TYPE_CHECKING:
    from isobase_services.auth.hooks import Hooks

__all__ = ["Rejection", "factor_rejection", "password_rejection"]

_PASSWORD_MESSAGE = "Further password verification attempts will be rejected."  # noqa: S105  a sentence
_FACTOR_MESSAGE = "Further MFA verification attempts will be rejected."


@dataclass(slots=True, frozen=True)
class Rejection:
    """A hook's no: the error to answer with, and whether the user's sessions end first."""

    error: AuthError
    ends_sessions: bool


async def password_rejection(hooks: Hooks, user_id: UUID, facts: ClientFacts, *, is_valid: bool) -> Rejection | None:
    """Tell of a password that was tried; returns the hook's rejection (400 invalid_credentials), or None to go on."""
    if not hooks.is_enabled("password_verification_attempt"):
        return None
    given = {"user_id": str(user_id), "valid": is_valid}
    answer = await hooks.run("password_verification_attempt", given, facts)
    if not _rejects(answer):
        return None
    message = _message(answer) or _PASSWORD_MESSAGE
    return Rejection(bad_request(ErrorCode.INVALID_CREDENTIALS, message), answer.get("should_logout_user") is True)


async def factor_rejection(
    hooks: Hooks, user_id: UUID, factor_id: UUID, factor_type: str, facts: ClientFacts, *, is_valid: bool
) -> Rejection | None:
    """Tell of a second factor that was tried; returns the hook's rejection (403 mfa_verification_rejected), or None."""
    if not hooks.is_enabled("mfa_verification_attempt"):
        return None
    given = {
        "user_id": str(user_id),
        "factor_id": str(factor_id),
        "factor_type": factor_type,
        "valid": is_valid,
    }
    answer = await hooks.run("mfa_verification_attempt", given, facts)
    if not _rejects(answer):
        return None
    message = _message(answer) or _FACTOR_MESSAGE
    return Rejection(forbidden(ErrorCode.MFA_VERIFICATION_REJECTED, message), ends_sessions=True)


def _rejects(answer: JsonObject) -> bool:
    decision = answer.get("decision", "")
    if not isinstance(decision, str):
        raise failed("Error unmarshaling JSON output.")
    return decision == "reject"


def _message(answer: JsonObject) -> str:
    message = answer.get("message", "")
    return message if isinstance(message, str) else ""

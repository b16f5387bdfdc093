"""POST /factors/{id}/challenge: open a challenge that a factor can answer once, for a while, from the same address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request, unprocessable
from isobase_services.auth.flows.mfa.holder import PHONE, TOTP, WEBAUTHN, Holder, check_may_confirm
from isobase_services.auth.flows.mfa.phone import send_code
from isobase_services.auth.flows.mfa.web_authn import web_authn_question
from isobase_services.auth.models import ClientFacts, Factor, JsonObject
from isobase_services.auth.store import audit, factors
from isobase_services.auth.store.audit import Action, Entry, user_actor

if TYPE_CHECKING:
    from isobase_platform.config_auth.mfa import MfaSettings

__all__ = ["Challenge", "challenge_factor", "check_verify_enabled", "expiry_of"]


@dataclass(slots=True, frozen=True)
class Challenge:
    """An open challenge; ``web_authn`` is what a browser is asked, for WebAuthn factors only."""

    id: UUID
    factor_type: str
    expires_at: datetime
    web_authn: JsonObject | None = None


async def challenge_factor(
    core: AuthCore, holder: Holder, factor: Factor, facts: ClientFacts, channel: str
) -> Challenge:
    """Open a challenge of the factor, and for a phone factor send its code.

    Raises 422 mfa_..._verify_not_enabled; 403 insufficient_aal for an unverified factor beside verified ones in a session
    below aal2; and as ``send_code`` and ``web_authn_question``.
    """
    check_verify_enabled(core.settings.mfa, factor)
    check_may_confirm(holder.user, factor, is_aal2=holder.is_aal2)
    traits = {"factor_id": str(factor.id), "factor_status": factor.status}
    entry = Entry(user_actor(holder.user), Action.CHALLENGE_CREATED, traits)
    question = kept = None
    if factor.factor_type == PHONE:
        challenge_id, created_at = await send_code(core, holder, factor, facts, channel, entry)
    else:
        challenge_id = uuid4()
        if factor.factor_type == WEBAUTHN:
            question, kept = await web_authn_question(core, holder.user, factor)
        async with core.transaction() as connection:
            created_at = await factors.insert_challenge(
                connection, factor.id, challenge_id, facts.ip, session_data=kept
            )
            await factors.mark_challenged(connection, factor.id, created_at)
            if factor.factor_type == TOTP:
                # Upstream logs no challenge of a WebAuthn factor.
                await audit.record(connection, entry)
    return Challenge(challenge_id, factor.factor_type, expiry_of(core, created_at), question)


def expiry_of(core: AuthCore, created_at: datetime) -> datetime:
    """Until when a challenge can be answered."""
    return created_at + timedelta(seconds=core.settings.mfa.challenge_expiry_s)


def check_verify_enabled(settings: MfaSettings, factor: Factor) -> None:
    """Raise 422 where factors of this type cannot be used."""
    if factor.factor_type == TOTP:
        if not settings.totp.verify_enabled:
            raise unprocessable(ErrorCode.MFA_TOTP_VERIFY_NOT_ENABLED, "MFA verification is disabled for TOTP")
    elif factor.factor_type == PHONE:
        if not settings.phone.verify_enabled:
            raise unprocessable(ErrorCode.MFA_PHONE_VERIFY_NOT_ENABLED, "MFA verification is disabled for Phone")
    elif factor.factor_type == WEBAUTHN:
        if not settings.web_authn.verify_enabled:
            raise unprocessable(ErrorCode.MFA_WEBAUTHN_VERIFY_NOT_ENABLED, "MFA verification is disabled for WebAuthn")
    else:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "factor_type needs to be totp, phone, or webauthn")

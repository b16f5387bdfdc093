"""POST /factors/{id}/verify: answer a challenge, and get a session at aal2."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from isobase_services.auth import totp
from isobase_services.auth.core import AuthCore
from isobase_services.auth.encryption import SecretBox
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.mfa.challenge import check_verify_enabled
from isobase_services.auth.flows.mfa.holder import TOTP, WEBAUTHN, Holder, check_may_confirm
from isobase_services.auth.flows.mfa.phone import is_right_code
from isobase_services.auth.flows.mfa.step_up import Proof, ask_project, invalid_code, step_up
from isobase_services.auth.flows.mfa.tries import open_challenge
from isobase_services.auth.flows.mfa.web_authn import check_web_authn, read_answer
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import ClientFacts, Factor, Grant, JsonObject, SessionTerms

__all__ = ["VerifyRequest", "verify_factor"]


@dataclass(slots=True, frozen=True)
class VerifyRequest:
    """The answer to a challenge: a typed ``code``, or of a WebAuthn factor the object ``web_authn``."""

    challenge_id: UUID
    code: str = field(repr=False)
    web_authn: JsonObject | None = field(default=None, repr=False)


async def verify_factor(
    core: AuthCore, holder: Holder, factor: Factor, request: VerifyRequest, facts: ClientFacts, terms: SessionTerms
) -> Grant:
    """Check the answer and raise the session.

    Raises 400 validation_failed without a code; 422 mfa_..._verify_not_enabled, mfa_verification_failed; and as
    ``open_challenge``, ``ask_project`` and ``step_up``.
    """
    if not request.code and factor.factor_type != WEBAUTHN:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Code needs to be non-empty")
    check_verify_enabled(core.settings.mfa, factor)
    check_may_confirm(holder.user, factor, is_aal2=holder.is_aal2)
    answer = read_answer(request.web_authn) if factor.factor_type == WEBAUTHN else None
    is_guessable = answer is None
    challenge = await open_challenge(core, holder, factor, request.challenge_id, facts, is_guessable=is_guessable)
    if answer is not None:
        proof = await check_web_authn(core, holder.user, factor, challenge, answer)
        return await _raise(core, holder, factor, proof, facts, terms)
    if factor.factor_type == TOTP:
        box, stored = SecretBox(core.settings.db_encryption), challenge.secret or ""
        secret = box.open(factor.id, stored)
        step = totp.matching_step(secret, request.code, core.now())
        closed = None if box.is_current(stored) else box.close(factor.id, secret)
        is_valid, proof = step is not None, Proof(challenge.id, totp_step=step, closed_secret=closed)
    else:
        is_valid = await is_right_code(core, challenge.id, factor, challenge.otp_code, request.code)
        proof = Proof(challenge.id)
    await ask_project(core, holder, factor, facts, is_valid=is_valid)
    if not is_valid:
        raise invalid_code(factor)
    return await _raise(core, holder, factor, proof, facts, terms)


async def _raise(
    core: AuthCore, holder: Holder, factor: Factor, proof: Proof, facts: ClientFacts, terms: SessionTerms
) -> Grant:
    raised = await step_up(core, holder, factor, proof, facts, terms)
    if raised.is_new_factor:
        core.messages.notice(EmailKind.FACTOR_ENROLLED, raised.grant.user, factor_type=factor.factor_type)
    return raised.grant

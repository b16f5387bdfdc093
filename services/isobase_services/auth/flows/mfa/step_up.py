"""What a proven factor changes: the factor counts, the session is aal2, weaker sessions end. Contracts auth 2.16."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, forbidden, unprocessable
from isobase_services.auth.flows.grants import issue_grant
from isobase_services.auth.flows.mfa.holder import Holder, check_may_confirm
from isobase_services.auth.hooks.attempts import factor_rejection
from isobase_services.auth.models import AAL2, ClientFacts, Factor, Grant, JsonObject, OpenSession, SessionTerms
from isobase_services.auth.store import assurance, audit, factors, sessions
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.tokens import new_refresh_token
from isobase_services.auth.totp import CODE_LIFE_S

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["Proof", "StepUp", "ask_project", "invalid_code", "step_up"]

_METHODS = {"totp": "totp", "phone": "mfa/phone", "webauthn": "mfa/webauthn"}
_INVALID = {"totp": "Invalid TOTP code entered", "phone": "Invalid MFA Phone code entered"}


@dataclass(slots=True, frozen=True)
class Proof:
    """What answered the challenge: ``totp_step`` the time step of a code, ``credential`` a WebAuthn one's new state.

    ``closed_secret``: the TOTP secret as it should be stored from now on, where that has changed.
    """

    challenge_id: UUID
    totp_step: int | None = None
    closed_secret: str | None = field(default=None, repr=False)
    credential: JsonObject | None = None
    aaguid: str = ""
    challenge_data: JsonObject | None = None


@dataclass(slots=True, frozen=True)
class StepUp:
    """The grant of the raised session, and whether the factor is newly verified."""

    grant: Grant
    is_new_factor: bool


def invalid_code(factor: Factor) -> AuthError:
    """The refusal of a wrong, an old or a used code."""
    return unprocessable(ErrorCode.MFA_VERIFICATION_FAILED, _INVALID.get(factor.factor_type, "Invalid credential"))


async def ask_project(core: AuthCore, holder: Holder, factor: Factor, facts: ClientFacts, *, is_valid: bool) -> None:
    """Tell the project's hook of the try. Where it says no the user is signed out: 403 mfa_verification_rejected."""
    rejection = await factor_rejection(
        core.hooks, holder.user.id, factor.id, factor.factor_type, facts, is_valid=is_valid
    )
    if rejection is None:
        return
    async with core.connection() as connection:
        await sessions.delete_sessions(connection, holder.user.id)
    raise rejection.error


async def step_up(
    core: AuthCore, holder: Holder, factor: Factor, proof: Proof, facts: ClientFacts, terms: SessionTerms
) -> StepUp:
    """Close the challenge and raise the session, in one transaction, and return the grant.

    Raises 422 mfa_verification_failed where the challenge or the TOTP code was used meanwhile; 403 session_not_found where
    the session ended or its refresh tokens were revoked; 403 insufficient_aal as ``check_may_confirm``.
    """
    token = new_refresh_token()
    actor = user_actor(holder.user)
    traits = {
        "factor_id": str(factor.id),
        "challenge_id": str(proof.challenge_id),
        "factor_type": factor.factor_type,
    }
    session_id, user_id = holder.session.id, holder.user.id
    async with core.transaction() as connection:
        await factors.lock_user(connection, user_id)
        await _check_still_allowed(connection, holder, factor)
        if not await _close(core, connection, factor, proof):
            raise invalid_code(factor)
        is_new_factor = await factors.mark_verified(connection, factor.id)
        if proof.closed_secret is not None:
            await factors.replace_secret(connection, factor.id, proof.closed_secret)
        is_raised = await assurance.raise_session(
            connection,
            session_id=session_id,
            user_id=user_id,
            factor_id=factor.id,
            method=_METHODS[factor.factor_type],
        )
        if not is_raised or not await assurance.swap_token(
            connection, session_id=session_id, user_id=user_id, token=token
        ):
            raise _session_gone()
        await assurance.end_weaker_sessions(connection, user_id)
        await factors.delete_unverified_factors(connection, user_id, factor.factor_type)
        await audit.record(
            connection, Entry(actor, Action.VERIFICATION_ATTEMPTED, traits), Entry(actor, Action.TOKEN_REVOKED)
        )
        user, session = await sessions.find_user_and_session(connection, user_id, session_id)
    if user is None or session is None:
        raise _session_gone()
    opened = OpenSession(
        user=user,
        session_id=session.id,
        created_at=session.created_at,
        not_after=session.not_after,
        methods=session.methods,
        method=_METHODS[factor.factor_type],
        refresh_token=token,
        facts=facts,
        terms=terms,
        is_new=False,
        oauth=session.oauth,
    )
    return StepUp(await issue_grant(core, opened), is_new_factor)


async def _check_still_allowed(connection: Connection, holder: Holder, factor: Factor) -> None:
    """As when the request came in, but with nobody else at the user's factors."""
    if factor.is_verified:
        return
    user, session = await sessions.find_user_and_session(connection, holder.user.id, holder.session.id)
    if user is None or session is None:
        raise _session_gone()
    check_may_confirm(user, factor, is_aal2=session.aal == AAL2)


async def _close(core: AuthCore, connection: Connection, factor: Factor, proof: Proof) -> bool:
    if proof.credential is not None:
        if not await factors.delete_challenge(connection, proof.challenge_id):
            return False
        await factors.save_credential(connection, factor.id, proof.credential, proof.aaguid, proof.challenge_data or {})
        return True
    if proof.totp_step is not None:
        # A code that is still good was first used in a challenge not older than a challenge and a code can be.
        window_s = core.settings.mfa.challenge_expiry_s + CODE_LIFE_S
        if proof.totp_step <= await factors.last_totp_step(connection, factor.id, window_s=window_s):
            return False
    return await factors.close_challenge(connection, proof.challenge_id, totp_step=proof.totp_step)


def _session_gone() -> AuthError:
    return forbidden(ErrorCode.SESSION_NOT_FOUND, "Session from session_id claim in JWT does not exist")

"""Password recovery: POST /recover. Unknown addresses get the same answer in about the same time.

Source: supabase/auth internal/api/recover.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.codes import issue_email_code, post_code, refuse_haste_of_stranger
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import ClientFacts
from isobase_services.auth.rules import check_pkce_pair, normal_email
from isobase_services.auth.store import audit, flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow

__all__ = ["RecoverRequest", "request_recovery"]


@dataclass(slots=True, frozen=True)
class RecoverRequest:
    """Whose password was forgotten."""

    email: str
    code_challenge: str
    code_challenge_method: str
    audience: str
    redirect_to: str


async def request_recovery(core: AuthCore, request: RecoverRequest, facts: ClientFacts) -> None:
    """Mail a link that lets the user in to set a new password. Raises 400 validation_failed, 429."""
    if not request.email:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Password recovery requires an email")
    email = normal_email(request.email)
    challenge_method = check_pkce_pair(request.code_challenge, request.code_challenge_method)
    async with core.connection() as connection:
        user = await users.find_by_email(connection, email, request.audience)
    if user is None:
        await refuse_haste_of_stranger(
            core, "recovery", email, core.settings.email.max_frequency_s, ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT
        )
        return
    async with core.transaction() as connection:
        if challenge_method is not None:
            flow = NewFlow(
                provider_type="recovery",
                method="recovery",
                user_id=user.id,
                challenge=request.code_challenge,
                challenge_method=challenge_method,
            )
            await flow_state.start_flow(connection, flow)
        await audit.record(connection, Entry(user_actor(user), Action.USER_RECOVERY_REQUESTED))
        issued = await issue_email_code(
            core, connection, user, EmailKind.RECOVERY,
            redirect_to=request.redirect_to, is_pkce=challenge_method is not None,
        )  # fmt: skip
    post_code(core, issued, facts)

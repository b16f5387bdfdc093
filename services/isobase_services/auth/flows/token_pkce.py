"""The PKCE grant: an auth code and the verifier behind its challenge for a session.

Source: contracts auth 2.10; supabase/auth internal/api/token.go PKCE.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden, not_found, unprocessable
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.models import ClientFacts, Grant, SessionTerms
from isobase_services.auth.store import flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor

__all__ = ["Exchange", "exchange_code"]


@dataclass(slots=True, frozen=True)
class Exchange:
    """The grant, and the tokens of the provider that vouched for the user, empty where there was none."""

    grant: Grant
    provider_token: str = field(repr=False)
    provider_refresh_token: str = field(repr=False)


async def exchange_code(
    core: AuthCore, auth_code: str, verifier: str, facts: ClientFacts, terms: SessionTerms
) -> Exchange:
    """Open a session for the user of a finished flow; the flow is good for this once.

    Raises 400 validation_failed, bad_code_verifier (the flow stays); 404 flow_state_not_found; 422 flow_state_expired; 403
    user_banned.
    """
    if not auth_code or not verifier:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "invalid request: both auth code and code verifier should be non-empty"
        )
    async with core.connection() as connection:
        flow = await flow_state.find_flow_by_code(connection, auth_code)
    if flow is None or flow.user_id is None:
        raise _no_flow()
    if flow.is_expired(core.now(), core.settings.flow_state_expiry_s):
        raise unprocessable(ErrorCode.FLOW_STATE_EXPIRED, "invalid flow state, flow state has expired")
    if not flow.accepts(verifier):
        raise bad_request(ErrorCode.BAD_CODE_VERIFIER, "code challenge does not match previously saved code verifier")
    async with core.transaction() as connection:
        if not await flow_state.take_flow(connection, flow.id):
            raise _no_flow()
        user = await users.find_by_id(connection, flow.user_id)
        if user is None:
            raise _no_flow()
        if user.is_banned(core.now()):
            raise forbidden(ErrorCode.USER_BANNED, "User is banned")
        entry = Entry(user_actor(user), Action.LOGIN, {"provider_type": flow.provider_type})
        session = await start_session(
            core, connection, user, method=flow.method, facts=facts, terms=terms, entries=[entry]
        )
    if session is None:
        raise _no_flow()
    return Exchange(await issue_grant(core, session), flow.provider_access_token, flow.provider_refresh_token)


def _no_flow() -> AuthError:
    return not_found(ErrorCode.FLOW_STATE_NOT_FOUND, "invalid flow state, no valid flow state found")

"""A browser is back from another provider. Source: supabase/auth internal/api/external.go and external_oauth.go.

Three steps with no connection held between them: which flow it is (``find_flow``), who came back (asking the provider), and
what becomes of them (one transaction, which also uses up the flow).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    OAuthRefusal,
    bad_request,
    unprocessable,
)
from isobase_services.auth.flows.authorize import KeptSecret
from isobase_services.auth.flows.codes import post_code
from isobase_services.auth.flows.external_users import (
    ExternalUser,
    Settled,
    ask_before_creation,
    settle,
    with_second_look,
)
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.identities import accept_invitation, link_to_user, tell_of_link
from isobase_services.auth.hooks.new_users import was_created
from isobase_services.auth.models import ClientFacts, Grant, OpenSession, SessionTerms
from isobase_services.auth.providers.base import (
    Callback,
    CodeExchangeError,
    Provider,
    ProviderError,
    ProviderRefusal,
    SignedInAt,
)
from isobase_services.auth.store import flow_state, identities, users
from isobase_services.auth.store.flow_state import FlowState

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["CallbackRequest", "Landed", "find_flow", "finish_sign_in"]

CLIENT_STATE_LIFE_S = 300


@dataclass(slots=True, frozen=True)
class CallbackRequest:
    """What came back: the provider's parameters, and the mark that the browser carries for this flow."""

    params: Mapping[str, str] = field(repr=False)
    mark: str = field(repr=False)
    audience: str
    facts: ClientFacts
    terms: SessionTerms


@dataclass(slots=True, frozen=True)
class Landed:
    """How it ends: with an auth code to be exchanged (PKCE), or with a grant and the provider's tokens."""

    auth_code: str = field(default="", repr=False)
    grant: Grant | None = None
    provider_token: str = field(default="", repr=False)
    provider_refresh_token: str = field(default="", repr=False)


async def find_flow(core: AuthCore, state: str) -> FlowState:
    """The flow of a ``state``.

    Raises 400 bad_oauth_callback, bad_oauth_state, flow_state_already_used; 422 user_not_found.
    """
    if not state:
        raise bad_request(ErrorCode.BAD_OAUTH_CALLBACK, "OAuth state parameter missing")
    try:
        flow_id = UUID(state)
    except ValueError:
        raise bad_request(ErrorCode.BAD_OAUTH_STATE, "OAuth state parameter is invalid") from None
    async with core.connection() as connection:
        flow = await flow_state.find_flow(connection, flow_id)
        target = flow.linking_target_id if flow is not None else None
        if target is not None and await users.find_by_id(connection, target) is None:
            raise unprocessable(ErrorCode.USER_NOT_FOUND, "Linking target user not found")
    # A mail's flow is no provider's: its id never leaves the database, and would not be taken here either.
    if flow is None or flow.method != "oauth":
        raise bad_request(ErrorCode.BAD_OAUTH_STATE, "OAuth state not found or expired")
    if flow.is_expired(core.now(), core.settings.flow_state_expiry_s):
        raise bad_request(ErrorCode.BAD_OAUTH_STATE, "OAuth state has expired")
    if flow.is_pkce and flow.user_id is not None:
        raise _already_used()
    return flow


async def finish_sign_in(core: AuthCore, flow: FlowState, request: CallbackRequest) -> Landed:
    """Ask the provider who came back, and sign them in, link them, or let them accept an invitation.

    Raises ``OAuthRefusal`` with the provider's own error, else what contracts auth §1 lists for /callback.
    """
    if request.params.get("error"):
        raise OAuthRefusal(request.params["error"], request.params.get("error_description", ""))
    provider = _provider(core, flow)
    if provider.needs_code and not request.params.get("code"):
        raise bad_request(ErrorCode.BAD_OAUTH_CALLBACK, "OAuth callback with missing authorization code missing")
    kept = await _kept_secret(core, flow, request.mark)
    signed_in = await _ask(core, provider, Callback(request.params, kept.secret))
    if not signed_in.profile.emails and not flow.email_optional:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Error getting user email from external provider")
    external = ExternalUser(flow.provider_type, signed_in.profile, flow.email_optional, request.audience)
    if flow.linking_target_id is None and not flow.invite_token:
        await ask_before_creation(core, external, request.facts)
    settled, session = await with_second_look(
        core, lambda connection: _use_up(core, connection, flow, request, external, signed_in)
    )
    if settled.mail is not None:
        post_code(core, settled.mail, request.facts)
    if settled.refusal is not None:
        raise settled.refusal
    if flow.linking_target_id is not None:
        tell_of_link(core, settled.user, flow.provider_type)
    if settled.is_new:
        await was_created(core.hooks, settled.user, request.facts)
    if session is None:
        return Landed(auth_code=flow.auth_code)
    grant = await issue_grant(core, session)
    return Landed("", grant, signed_in.access_token, signed_in.refresh_token)


def _provider(core: AuthCore, flow: FlowState) -> Provider:
    try:
        return core.providers.find(flow.provider_type)
    except ProviderRefusal as refusal:
        raise bad_request(ErrorCode.OAUTH_PROVIDER_NOT_SUPPORTED, f"Unsupported provider: {refusal.message}") from None


async def _kept_secret(core: AuthCore, flow: FlowState, mark: str) -> KeptSecret:
    """What was kept for the flow, which is used up by it. Raises where it is gone, too old, or not this browser's."""
    if flow.oauth_client_state_id is None:
        return KeptSecret("")
    async with core.connection() as connection:
        state = await identities.take_client_state(connection, flow.oauth_client_state_id)
    if state is None:
        raise unprocessable(ErrorCode.OAUTH_CLIENT_STATE_NOT_FOUND, "OAuth state not found")
    if state.provider != flow.provider_type:
        raise bad_request(ErrorCode.OAUTH_INVALID_STATE, "OAuth provider mismatch")
    if core.now() > state.created_at + timedelta(seconds=CLIENT_STATE_LIFE_S):
        raise unprocessable(ErrorCode.OAUTH_CLIENT_STATE_EXPIRED, "OAuth state expired")
    kept = KeptSecret.parse(state.secret)
    if not kept.accepts(mark):
        raise bad_request(ErrorCode.BAD_OAUTH_STATE, "OAuth state was started in another browser")
    return kept


async def _ask(core: AuthCore, provider: Provider, callback: Callback) -> SignedInAt:
    try:
        return await provider.finish(callback)
    except CodeExchangeError as error:
        core.log_provider_failure(provider.name, error)
        message = f"Unable to exchange external code: {callback.text('code')[:4]}"
        if not provider.needs_code:
            message = "Unable to retrieve access token"
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, message) from None
    except ProviderError as error:
        core.log_provider_failure(provider.name, error)
        raise AuthError(
            500, ErrorCode.UNEXPECTED_FAILURE, "Error getting user profile from external provider"
        ) from None


async def _use_up(
    core: AuthCore,
    connection: Connection,
    flow: FlowState,
    request: CallbackRequest,
    external: ExternalUser,
    signed_in: SignedInAt,
) -> tuple[Settled, OpenSession | None]:
    # Locked first: of two callbacks with one state only one gets any further.
    locked = await flow_state.lock_flow(connection, flow.id)
    if locked is None or locked.user_id is not None:
        raise _already_used()
    if flow.linking_target_id is not None:
        settled = await link_to_user(core, connection, flow.linking_target_id, external)
    elif flow.invite_token:
        settled = await accept_invitation(core, connection, flow.invite_token, external)
    else:
        settled = await settle(core, connection, external)
    if settled.refusal is not None:
        await flow_state.delete_flow(connection, flow.id)
        return settled, None
    if flow.is_pkce:
        await flow_state.complete_flow(
            connection,
            flow.id,
            settled.user.id,
            access_token=signed_in.access_token,
            refresh_token=signed_in.refresh_token,
        )
        return settled, None
    await flow_state.delete_flow(connection, flow.id)
    session = await start_session(
        core, connection, settled.user, method="oauth", facts=request.facts, terms=request.terms
    )
    if session is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error granting user")
    return settled, session


def _already_used() -> AuthError:
    return bad_request(ErrorCode.FLOW_STATE_ALREADY_USED, "State has already been used")

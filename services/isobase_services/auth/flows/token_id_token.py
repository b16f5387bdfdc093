"""The id_token grant: an app hands in what a provider's own library gave it.

Source: supabase/auth internal/api/token_oidc.go.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows.codes import post_code
from isobase_services.auth.flows.external_users import (
    ExternalUser,
    Settled,
    ask_before_creation,
    settle,
    with_second_look,
)
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.identities import link_to_user, tell_of_link
from isobase_services.auth.hooks.new_users import was_created
from isobase_services.auth.models import ClientFacts, Grant, JsonObject, OpenSession, SessionTerms
from isobase_services.auth.providers import IdTokenSource
from isobase_services.auth.providers.base import ProviderError, ProviderRefusal
from isobase_services.auth.providers.id_tokens import audiences_of, verified_id_token

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["IdTokenRequest", "check_id_token_request", "sign_in_with_id_token"]

INVALID = "invalid request"


@dataclass(slots=True, frozen=True)
class IdTokenRequest:
    """An ID token and what belongs to it; absent texts are empty. ``linking_target``: the user to add the identity to."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    nonce: str = field(repr=False)
    provider: str
    client_id: str
    issuer: str
    audience: str
    linking_target: UUID | None = None


def check_id_token_request(request: IdTokenRequest) -> None:
    """Raise ``OAuthRefusal`` where something is missing."""
    if not request.id_token:
        raise OAuthRefusal(INVALID, "id_token required")
    if not request.provider and not (request.client_id and request.issuer):
        raise OAuthRefusal(INVALID, "provider or client_id and issuer required")


async def sign_in_with_id_token(
    core: AuthCore, request: IdTokenRequest, facts: ClientFacts, terms: SessionTerms
) -> Grant:
    """Sign in, or link, who the token names.

    The issuer is pinned to the provider; the caller's word for it is compared and never asked for keys. Raises
    ``OAuthRefusal`` for a token that is not good, 400 validation_failed and provider_disabled, and what ``settle`` raises.
    """
    check_id_token_request(request)
    source = _source(core, request)
    claims = await _verified(core, source, request)
    profile = source.read(claims)
    if not profile.subject:
        raise OAuthRefusal(INVALID, "Missing sub claim in id_token")
    _check_audience(source, claims)
    if not source.skip_nonce_check:
        _check_nonce(claims, request.nonce)
    external = ExternalUser(source.name, profile, source.email_optional, request.audience)
    if request.linking_target is None:
        await ask_before_creation(core, external, facts)
    settled, session = await with_second_look(
        core, lambda connection: _sign_in(core, connection, request, external, facts, terms)
    )
    if settled.mail is not None:
        post_code(core, settled.mail, facts)
    if settled.refusal is not None:
        raise settled.refusal
    if request.linking_target is not None:
        tell_of_link(core, settled.user, source.name)
    if settled.is_new:
        await was_created(core.hooks, settled.user, facts)
    assert session is not None
    return await issue_grant(core, session)


def _source(core: AuthCore, request: IdTokenRequest) -> IdTokenSource:
    try:
        source = core.providers.id_token_source(request.provider, request.issuer, request.client_id, request.id_token)
    except ProviderRefusal as refusal:
        is_off = refusal.code == ErrorCode.PROVIDER_DISABLED
        code = ErrorCode.PROVIDER_DISABLED if is_off else ErrorCode.VALIDATION_FAILED
        raise bad_request(code, refusal.message) from None
    if source is None:
        raise bad_request(ErrorCode.VALIDATION_FAILED, f'Custom OIDC provider "{request.provider}" not allowed')
    return source


async def _verified(core: AuthCore, source: IdTokenSource, request: IdTokenRequest) -> JsonObject:
    try:
        return await verified_id_token(
            source.issuer, request.id_token, issuers=source.issuers, access_token=request.access_token
        )
    except ProviderError as error:
        core.log_provider_failure(source.name, error)
        raise OAuthRefusal(INVALID, "Bad ID token") from None


def _check_audience(source: IdTokenSource, claims: JsonObject) -> None:
    audiences = audiences_of(claims)
    if not any(client_id and client_id in audiences for client_id in source.audiences):
        raise OAuthRefusal(INVALID, f"Unacceptable audience in id_token: [{' '.join(audiences)}]")


def _check_nonce(claims: JsonObject, nonce: str) -> None:
    named = claims.get("nonce")
    expected = named if isinstance(named, str) else ""
    if bool(expected) != bool(nonce):
        raise OAuthRefusal(INVALID, "Passed nonce and nonce in id_token should either both exist or not.")
    digest = hashlib.sha256(nonce.encode("utf-8", "surrogatepass")).hexdigest()
    if expected and not hmac.compare_digest(digest.encode(), expected.encode("utf-8", "surrogatepass")):
        raise OAuthRefusal("invalid nonce", "Nonces mismatch")


async def _sign_in(
    core: AuthCore,
    connection: Connection,
    request: IdTokenRequest,
    external: ExternalUser,
    facts: ClientFacts,
    terms: SessionTerms,
) -> tuple[Settled, OpenSession | None]:
    if request.linking_target is not None:
        settled = await link_to_user(core, connection, request.linking_target, external)
    else:
        settled = await settle(core, connection, external)
    if settled.refusal is not None:
        return settled, None
    session = await start_session(core, connection, settled.user, method="oauth", facts=facts, terms=terms)
    if session is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error granting user")
    return settled, session

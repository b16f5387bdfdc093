"""A program asks for a user's consent: the request, what the consent page shows, the user's answer, what was granted.

Source: supabase/auth internal/api/oauthserver (authorize.go, handlers.go); OAuth 2.1; RFC 7636, RFC 8707.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden, not_found
from isobase_services.auth.flows.access import SignedIn
from isobase_services.auth.models import User
from isobase_services.auth.store import oauth_authorizations, oauth_clients, oauth_consents
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.oauth_authorizations import Authorization, NewAuthorization
from isobase_services.auth.store.oauth_clients import OAuthClient
from isobase_services.auth.store.oauth_consents import Consent

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "SCOPES",
    "AuthorizeRequest",
    "Details",
    "answer_authorization",
    "begin_authorization",
    "list_grants",
    "revoke_grant",
    "show_authorization",
]

SCOPES = ("openid", "profile", "email", "phone", "offline_access")
CHALLENGE_METHODS = ("s256", "plain")
MIN_CHALLENGE_CHARS, MAX_CHALLENGE_CHARS = 43, 128
MAX_STATE_CHARS, MAX_NONCE_CHARS, MAX_RESOURCE_CHARS, MAX_SCOPE_CHARS = 4096, 255, 2048, 2048


@dataclass(slots=True, frozen=True)
class AuthorizeRequest:
    """What stands in the query of ``/oauth/authorize``; absent texts are empty."""

    client_id: str
    redirect_uri: str
    response_type: str
    scope: str
    state: str
    resource: str
    code_challenge: str
    code_challenge_method: str
    nonce: str


@dataclass(slots=True, frozen=True)
class Details:
    """What the consent page shows."""

    authorization: Authorization
    client: OAuthClient
    user: User


async def begin_authorization(core: AuthCore, request: AuthorizeRequest) -> str:
    """Keep the request and return where the browser goes: the consent page, or back to the program with an error.

    Raises 400 validation_failed, oauth_client_not_found where the program or its redirect URI cannot be trusted.
    """
    if not request.client_id:
        raise _invalid("client_id is required")
    if not request.redirect_uri:
        raise _invalid("redirect_uri is required")
    client = await _client(core, request.client_id)
    if request.redirect_uri not in client.redirect_uris:
        raise _invalid("invalid redirect_uri")
    settings = core.settings.oauth_server
    request = replace(request, scope=request.scope or settings.default_scope)
    fault = _fault_of(request)
    if fault:
        return _error_url(request.redirect_uri, "invalid_request", fault, request.state)
    wanted = NewAuthorization(
        client_id=client.id,
        redirect_uri=request.redirect_uri,
        scope=request.scope,
        state=request.state,
        resource=request.resource,
        code_challenge=request.code_challenge,
        code_challenge_method=request.code_challenge_method.lower(),
        nonce=request.nonce,
    )
    async with core.connection() as connection:
        authorization_id = await oauth_authorizations.insert_authorization(
            connection, wanted, core.now() + timedelta(seconds=settings.authorization_ttl_s)
        )
    page = f"{core.settings.site_url.rstrip('/')}/{settings.authorization_url_path.lstrip('/')}"
    return f"{page}?authorization_id={authorization_id}"


async def show_authorization(core: AuthCore, signed_in: SignedIn, authorization_id: str) -> Details | str:
    """What the consent page shows; where the user has granted as much before, the URL back to the program.

    Raises 404 oauth_authorization_not_found; 400 validation_failed for one that was answered; 403 for a program's token.
    """
    _check_own_session(signed_in)
    async with core.transaction() as connection:
        outcome = await _look(core, connection, signed_in.user, authorization_id)
    if isinstance(outcome, AuthError):
        # Raised only here, after the transaction: that the request is too old stays noted.
        raise outcome
    return outcome


async def _look(core: AuthCore, connection: Connection, user: User, authorization_id: str) -> Details | str | AuthError:
    authorization = await _lock_live(core, connection, authorization_id)
    if isinstance(authorization, AuthError):
        return authorization
    if not authorization.is_pending:
        return _invalid("authorization request cannot be processed")
    if authorization.user_id is None:
        await oauth_authorizations.assign_user(connection, authorization.id, user.id)
        granted = await oauth_consents.consented_scopes(connection, user.id, authorization.client_id)
        if granted is not None and granted.issuperset(authorization.scopes):
            return _success_url(authorization, await oauth_authorizations.approve(connection, authorization.id))
    elif authorization.user_id != user.id:
        return _gone()
    client = await oauth_clients.find_client(connection, authorization.client_id)
    return _gone() if client is None else Details(authorization, client, user)


async def answer_authorization(
    core: AuthCore, signed_in: SignedIn, authorization_id: str, action: Literal["approve", "deny"]
) -> str:
    """Note the user's answer and return the URL back to the program, with a code or an error.

    Raises as ``show_authorization``, and 404 where the user has not looked at the request.
    """
    _check_own_session(signed_in)
    async with core.transaction() as connection:
        outcome = await _answer(core, connection, signed_in.user, authorization_id, action)
    if isinstance(outcome, AuthError):
        raise outcome
    return outcome


async def _answer(
    core: AuthCore, connection: Connection, user: User, authorization_id: str, action: Literal["approve", "deny"]
) -> str | AuthError:
    authorization = await _lock_live(core, connection, authorization_id)
    if isinstance(authorization, AuthError):
        return authorization
    if not authorization.is_pending:
        return _invalid("authorization request is no longer pending")
    if authorization.user_id != user.id:
        return _gone()
    if action == "deny":
        await oauth_authorizations.deny(connection, authorization.id)
        return _error_url(authorization.redirect_uri, "access_denied", "User denied the request", authorization.state)
    code = await oauth_authorizations.approve(connection, authorization.id)
    await oauth_consents.store_consent(connection, user.id, authorization.client_id, " ".join(authorization.scopes))
    return _success_url(authorization, code)


async def list_grants(core: AuthCore, user: User) -> list[Consent]:
    """What the user has granted."""
    async with core.connection() as connection:
        return await oauth_consents.list_consents(connection, user.id)


async def revoke_grant(core: AuthCore, signed_in: SignedIn, client_id: str) -> None:
    """Revoke what the user granted a program; its sessions end. Raises 404 oauth_consent_not_found."""
    _check_own_session(signed_in)
    if not client_id:
        raise _invalid("client_id query parameter is required")
    parsed = _uuid(client_id)
    if parsed is None:
        raise _invalid("invalid client_id format")
    entry = Entry(
        user_actor(signed_in.user),
        Action.TOKEN_REVOKED,
        {"oauth_client_id": str(parsed), "action": "revoke_oauth_grant"},
    )
    async with core.connection() as connection:
        if not await oauth_consents.revoke_consent(connection, signed_in.user.id, parsed, entry):
            raise not_found(ErrorCode.OAUTH_CONSENT_NOT_FOUND, "No active grant found for this client")


async def _lock_live(core: AuthCore, connection: Connection, authorization_id: str) -> Authorization | AuthError:
    authorization = await oauth_authorizations.lock_authorization(connection, authorization_id)
    if authorization is None:
        return _gone()
    if core.now() > authorization.expires_at:
        if authorization.is_pending:
            await oauth_authorizations.expire(connection, authorization.id)
        return _gone()
    return authorization


def _check_own_session(signed_in: SignedIn) -> None:
    """Refuse a program's token: it would grant itself, or another program, what the user has not.

    Stricter than upstream, which takes any token of the user.
    """
    if signed_in.session is not None and signed_in.session.oauth is not None:
        raise forbidden(ErrorCode.NO_AUTHORIZATION, "OAuth clients cannot answer for the user")


async def _client(core: AuthCore, client_id: str) -> OAuthClient:
    parsed = _uuid(client_id)
    if parsed is None:
        raise bad_request(ErrorCode.OAUTH_CLIENT_NOT_FOUND, "invalid client_id format")
    async with core.connection() as connection:
        client = await oauth_clients.find_client(connection, parsed)
    if client is None:
        raise bad_request(ErrorCode.OAUTH_CLIENT_NOT_FOUND, "invalid client_id")
    return client


def _fault_of(request: AuthorizeRequest) -> str:
    """What is wrong with the request of a program that can be trusted, empty for nothing."""
    scopes = request.scope.split()
    if request.response_type not in ("", "code"):
        return "only response_type=code is supported"
    if not scopes:
        return "scope parameter cannot be empty"
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None:
        return f"unsupported scope: {unknown}"
    return _resource_fault(request.resource) or _challenge_fault(request) or _length_fault(request)


def _resource_fault(resource: str) -> str:
    if not resource:
        return ""
    try:
        parts = urlsplit(resource)
    except ValueError:
        return "resource must be a valid URI"
    if not parts.scheme:
        return "resource must be an absolute URI"
    if parts.fragment:
        return "resource must not include a fragment component"
    return "resource must not include a query component" if parts.query else ""


def _challenge_fault(request: AuthorizeRequest) -> str:
    if not request.code_challenge or not request.code_challenge_method:
        return "PKCE flow requires both code_challenge and code_challenge_method"
    if request.code_challenge_method.lower() not in CHALLENGE_METHODS:
        return "code_challenge_method must be 'S256' or 'plain'"
    if not MIN_CHALLENGE_CHARS <= len(request.code_challenge) <= MAX_CHALLENGE_CHARS:
        return f"code_challenge must be between {MIN_CHALLENGE_CHARS} and {MAX_CHALLENGE_CHARS} characters"
    return ""


def _length_fault(request: AuthorizeRequest) -> str:
    """Say what the columns cannot hold; upstream answers server_error."""
    limits = {
        "state": MAX_STATE_CHARS,
        "nonce": MAX_NONCE_CHARS,
        "resource": MAX_RESOURCE_CHARS,
        "scope": MAX_SCOPE_CHARS,
    }
    for name, limit in limits.items():
        if len(getattr(request, name)) > limit:
            return f"{name} cannot exceed {limit} characters"
    return ""


def _success_url(authorization: Authorization, code: str) -> str:
    return _with_query(authorization.redirect_uri, {"code": code, "state": authorization.state})


def _error_url(redirect_uri: str, error: str, description: str, state: str) -> str:
    return _with_query(redirect_uri, {"error": error, "error_description": description, "state": state})


def _with_query(url: str, fields: dict[str, str]) -> str:
    """Set fields in a URL's query, which is sorted by name as Go's is; empty ones are left out."""
    parts = urlsplit(url)
    given = {name: value for name, value in fields.items() if value}
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in given]
    return urlunsplit(parts._replace(query=urlencode(sorted([*query, *given.items()], key=lambda item: item[0]))))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _invalid(message: str) -> AuthError:
    return bad_request(ErrorCode.VALIDATION_FAILED, message)


def _gone() -> AuthError:
    return not_found(ErrorCode.OAUTH_AUTHORIZATION_NOT_FOUND, "authorization not found")

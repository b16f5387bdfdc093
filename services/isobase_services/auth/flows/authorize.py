"""Sending a browser to another provider. Source: supabase/auth internal/api/external.go; contracts auth 2.18.

What is kept until it is back: a row of ``auth.flow_state``, whose id is the ``state``; and, where there is something to keep,
a row of ``auth.oauth_client_states`` with our PKCE verifier (or a request token) and the browser's mark.

The mark is ours: an implicit flow ends with tokens in the browser that follows the callback, whoever began it. Without
it somebody could begin a sign-in and have another's browser end it, which is then signed in to the wrong account. Upstream
leaves that to PKCE.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, not_found
from isobase_services.auth.providers.base import Provider, ProviderError, ProviderRefusal
from isobase_services.auth.rules import check_pkce_pair
from isobase_services.auth.store import flow_state, identities
from isobase_services.auth.store.flow_state import NewFlow

__all__ = ["AuthorizeRequest", "KeptSecret", "Started", "start_sign_in"]

MARK_BYTES = 24


@dataclass(slots=True, frozen=True)
class AuthorizeRequest:
    """Where a browser wants to sign in. Absent texts are empty; ``extra`` are further parameters for the provider."""

    provider: str
    scopes: str
    invite_token: str = field(repr=False)
    code_challenge: str
    code_challenge_method: str
    redirect_to: str
    extra: Mapping[str, str]
    linking_target: UUID | None = None
    """The signed-in user to whom the identity shall be added."""
    is_browser: bool = False
    """Whether the answer goes to the browser that will come back, and to the host that it comes back to."""


@dataclass(slots=True, frozen=True)
class Started:
    """Where to send the browser; ``mark`` is a cookie for it, empty where none is wanted."""

    url: str
    flow_id: UUID
    mark: str = field(default="", repr=False)


@dataclass(slots=True, frozen=True)
class KeptSecret:
    """What ``auth.oauth_client_states`` holds for us."""

    secret: str = field(repr=False)
    mark_hash: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """As it is stored."""
        return json.dumps({"secret": self.secret, "mark": self.mark_hash})

    @classmethod
    def parse(cls, text: str) -> KeptSecret:
        """Read it; a bare verifier, as upstream stores it, is one without a mark."""
        try:
            value = json.loads(text)
        except ValueError:
            return cls(text)
        return cls(str(value.get("secret", "")), str(value.get("mark", ""))) if isinstance(value, dict) else cls(text)

    def accepts(self, mark: str) -> bool:
        """Whether the browser carries the mark, where one was set."""
        return not self.mark_hash or hmac.compare_digest(self.mark_hash, _digest(mark))


async def start_sign_in(core: AuthCore, request: AuthorizeRequest) -> Started:
    """Begin a sign-in, or the linking of an identity, at a provider.

    Raises 400 validation_failed for a provider that is not there or a wrong PKCE pair, 404 user_not_found for an unknown
    invitation, 500 where the provider cannot be asked.
    """
    name = request.provider.lower()
    provider = _find(core, request)
    if request.invite_token:
        async with core.connection() as connection:
            if await identities.find_invited_user(connection, request.invite_token) is None:
                raise not_found(ErrorCode.USER_NOT_FOUND, "User identified by token not found")
    challenge_method = check_pkce_pair(request.code_challenge, request.code_challenge_method)
    flow_id, state_id = uuid4(), uuid4()
    try:
        begun = await provider.begin(str(flow_id), request.extra)
    except ProviderError as error:
        core.log_provider_failure(name, error)
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Error connecting to external provider") from None
    is_marked = (
        request.is_browser and not challenge_method and not provider.answers_by_form and not request.linking_target
    )
    mark = secrets.token_urlsafe(MARK_BYTES) if is_marked else ""
    given = core.providers.settings_of(name)
    flow = NewFlow(
        id=flow_id,
        provider_type=name,
        method="oauth",
        challenge=request.code_challenge,
        challenge_method=challenge_method,
        invite_token=request.invite_token,
        referrer=request.redirect_to,
        oauth_client_state_id=state_id if begun.secret or mark else None,
        linking_target_id=request.linking_target,
        email_optional=given is not None and given.email_optional,
    )
    async with core.transaction() as connection:
        if flow.oauth_client_state_id is not None:
            kept = KeptSecret(begun.secret, _digest(mark) if mark else "")
            await identities.put_client_state(connection, state_id, name, kept.text)
        await flow_state.start_flow(connection, flow)
    return Started(begun.url, flow_id, mark)


def _find(core: AuthCore, request: AuthorizeRequest) -> Provider:
    try:
        return core.providers.find(request.provider, request.scopes)
    except ProviderRefusal as refusal:
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"Unsupported provider: {refusal.message}") from None


def _digest(mark: str) -> str:
    return hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()

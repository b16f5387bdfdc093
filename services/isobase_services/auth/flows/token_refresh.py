"""The refresh grant: rotation, tolerated reuse, and what happens to a family whose token was stolen.

Source: contracts auth 2.5; supabase/auth internal/tokens/service.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.counted_tokens import CountedToken
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows.grants import issue_grant
from isobase_services.auth.flows.session_locks import refreshed_in_turn
from isobase_services.auth.flows.token_counted import refresh_counted
from isobase_services.auth.models import ClientFacts, Grant, OpenSession, Session, SessionTerms
from isobase_services.auth.session_ends import SessionEnd, end_of, is_replaced
from isobase_services.auth.store import sessions
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.sessions import PresentedToken
from isobase_services.auth.tokens import is_refresh_token_shaped, new_refresh_token

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["refresh_session"]


@dataclass(slots=True, frozen=True)
class _Rotate:
    """Revoke the presented token and hand out a new child of it."""


@dataclass(slots=True, frozen=True)
class _GiveAgain:
    """Hand out the live token once more: the client did not get to keep it the first time."""

    token: str


@dataclass(slots=True, frozen=True)
class _Refuse:
    """Refuse, and first revoke the whole family where ``revokes_family``."""

    error: AuthError
    revokes_family: bool = False


_Decision: TypeAlias = _Rotate | _GiveAgain | _Refuse


async def refresh_session(
    core: AuthCore, token: str, facts: ClientFacts, terms: SessionTerms, *, client_id: UUID | None = None
) -> Grant:
    """Exchange a refresh token for a new grant of the same session.

    ``client_id``: the program that asks, which must be the one the session belongs to (else OAuth's invalid_client).

    Raises 400 validation_failed (not the shape of a token), refresh_token_not_found, refresh_token_already_used,
    session_not_found, session_expired, user_banned; 409 conflict when the session stays locked for
    ``session_locks.RETRY_LIMIT_S``.
    """
    counted = CountedToken.parse(token)
    if counted is not None:
        return await refresh_counted(core, counted, facts, terms, client_id)
    if not is_refresh_token_shaped(token):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Refresh token is not valid")
    session = await _rotate_live(core, token, facts, terms, client_id)
    if session is not None:
        return await issue_grant(core, session)
    return await issue_grant(core, await refreshed_in_turn(lambda: _attempt(core, token, facts, terms, client_id)))


async def _rotate_live(
    core: AuthCore, token: str, facts: ClientFacts, terms: SessionTerms, client_id: UUID | None
) -> OpenSession | None:
    """What nearly every refresh is: a live token of a session that may go on. Two round trips, and no lock between them.

    None for everything else, and where another request came first: then ``_attempt`` decides under a lock.
    """
    if core.settings.sessions.single_per_user:
        return None
    async with core.connection() as connection:
        presented = await sessions.find_presented_token(connection, token)
        if presented is None or not isinstance(_decide(core, presented, None, [], core.now(), client_id), _Rotate):
            return None
        issued = new_refresh_token()
        if not await sessions.rotate_live_token(connection, presented, issued, facts, _rotation_entries(presented)):
            return None
    return _refreshed(presented, issued, facts, terms)


def _rotation_entries(presented: PresentedToken) -> list[Entry]:
    actor = user_actor(presented.user)
    return [Entry(actor, Action.TOKEN_REFRESHED), Entry(actor, Action.TOKEN_REVOKED)]


def _refreshed(
    presented: PresentedToken, issued: str, facts: ClientFacts, terms: SessionTerms, *, is_reuse: bool = False
) -> OpenSession:
    return OpenSession(
        user=presented.user,
        session_id=presented.session.id,
        created_at=presented.session.created_at,
        not_after=presented.session.not_after,
        methods=presented.session.methods,
        method="token_refresh",
        refresh_token=issued,
        facts=facts,
        terms=terms,
        is_new=False,
        is_reuse=is_reuse,
        oauth=presented.session.oauth,
    )


async def _attempt(
    core: AuthCore, token: str, facts: ClientFacts, terms: SessionTerms, client_id: UUID | None
) -> OpenSession | AuthError | None:
    """One try in one transaction; None when somebody else is refreshing the session right now."""
    async with core.transaction() as connection:
        presented = await sessions.lock_presented_token(connection, token)
        if presented is None:
            return await _explain_absence(connection, token)
        live = await sessions.active_token(connection, presented.session.id) if presented.is_revoked else None
        others = await _rivals(core, connection, presented)
        decision = _decide(core, presented, live, others, core.now(), client_id)
        match decision:
            case _Refuse(error, revokes_family):
                if revokes_family:
                    await sessions.revoke_family(connection, presented.session.id)
                return error
            case _GiveAgain(live_token):
                issued, is_reuse = live_token, True
                refreshed = Entry(user_actor(presented.user), Action.TOKEN_REFRESHED)
                await sessions.touch_session(connection, presented.session.id, facts, [refreshed])
            case _Rotate():
                issued, is_reuse = new_refresh_token(), False
                await sessions.rotate_token(connection, presented, issued, facts, _rotation_entries(presented))
    return _refreshed(presented, issued, facts, terms, is_reuse=is_reuse)


async def _rivals(core: AuthCore, connection: Connection, presented: PresentedToken) -> list[Session]:
    """The user's other sessions where only one of them may go on."""
    if not core.settings.sessions.single_per_user:
        return []
    return await sessions.other_sessions(connection, presented.user.id, presented.session.id)


def _decide(
    core: AuthCore,
    presented: PresentedToken,
    live: tuple[str, str] | None,
    others: list[Session],
    now: datetime,
    client_id: UUID | None,
) -> _Decision:
    """What to do with a token whose session is locked. ``live``: (token, parent) of the newest unrevoked one."""
    if presented.user.is_banned(now):
        return _Refuse(bad_request(ErrorCode.USER_BANNED, "Invalid Refresh Token: User Banned"))
    if refusal := _other_client(presented.session, client_id):
        return _Refuse(refusal)
    if end := _end(core, presented, others, now):
        return _Refuse(bad_request(ErrorCode.SESSION_EXPIRED, end))
    if not presented.is_revoked:
        return _Rotate()
    if live is not None and live[1] == presented.token:
        return _GiveAgain(live[0])
    reusable_until = presented.updated_at + timedelta(seconds=core.settings.refresh_token_reuse_interval_s)
    # A family without a live token was revoked for reuse. Upstream would let its last token be used for another
    # interval, because the revocation itself counts as "revoked just now"; that would hand the session back to the thief.
    if live is not None and now <= reusable_until:
        return _Rotate()
    return _Refuse(
        bad_request(ErrorCode.REFRESH_TOKEN_ALREADY_USED, "Invalid Refresh Token: Already Used"),
        revokes_family=core.settings.enable_refresh_token_rotation,
    )


def _other_client(session: Session, client_id: UUID | None) -> OAuthRefusal | None:
    """Refuse a token that is not the caller's: of a program's session by nobody else, of a user's own by no program."""
    if session.oauth is None:
        if client_id is None:
            return None
        return OAuthRefusal("invalid_client", "Client authentication not allowed for non-OAuth session")
    if client_id is None:
        return OAuthRefusal("invalid_client", "Client authentication required for OAuth session")
    if client_id != session.oauth.client_id:
        return OAuthRefusal("invalid_client", "Client does not match the session's OAuth client")
    return None


def _end(core: AuthCore, presented: PresentedToken, others: list[Session], now: datetime) -> SessionEnd | None:
    settings, session = core.settings.sessions, presented.session
    has_factor, used_at = presented.user.has_verified_factor, presented.updated_at
    end = end_of(session, settings, now, has_verified_factor=has_factor, token_used_at=used_at)
    if end is None and is_replaced(
        session, others, settings, now, has_verified_factor=has_factor, token_used_at=used_at
    ):
        end = SessionEnd.REPLACED
    return end


async def _explain_absence(connection: Connection, token: str) -> AuthError | None:
    exists, is_whole = await sessions.token_standing(connection, token)
    if not exists:
        return bad_request(ErrorCode.REFRESH_TOKEN_NOT_FOUND, "Invalid Refresh Token: Refresh Token Not Found")
    if not is_whole:
        await sessions.drop_orphan_token(connection, token)
        return bad_request(ErrorCode.SESSION_NOT_FOUND, "Invalid Refresh Token: No Valid Session Found")
    return None

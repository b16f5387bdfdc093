"""The refresh grant for sessions that count their refresh tokens (``counted_tokens``); they were carried from GoTrue.

Source: supabase/auth internal/tokens/service.go. A session's newest token is good and gives the next one; the one before it,
or any of a moment ago, gives the newest again; an older one is a stolen one.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.counted_tokens import CountedToken
from isobase_services.auth.encryption import SecretBox
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows.grants import issue_grant
from isobase_services.auth.flows.session_locks import refreshed_in_turn
from isobase_services.auth.models import ClientFacts, Grant, OpenSession, Session, SessionTerms
from isobase_services.auth.session_ends import SessionEnd, end_of, is_replaced
from isobase_services.auth.store import counted_sessions, sessions
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.counted_sessions import CountingSession

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["refresh_counted"]

MIN_KEY_BYTES = 16


async def refresh_counted(
    core: AuthCore, token: CountedToken, facts: ClientFacts, terms: SessionTerms, client_id: UUID | None
) -> Grant:
    """Exchange a counted token for a new grant of its session.

    Raises as ``token_refresh.refresh_session``; 400 validation_failed for a counter that is ahead of the session's.
    """
    return await issue_grant(core, await refreshed_in_turn(lambda: _attempt(core, token, facts, terms, client_id)))


async def _attempt(
    core: AuthCore, token: CountedToken, facts: ClientFacts, terms: SessionTerms, client_id: UUID | None
) -> OpenSession | AuthError | OAuthRefusal | None:
    """One try in one transaction; None when somebody else is refreshing the session right now."""
    async with core.transaction() as connection:
        found = await counted_sessions.lock(connection, token.session_id)
        if found is None:
            return None if await counted_sessions.exists(connection, token.session_id) else _not_found()
        key = _key(core, found)
        if key is None or not token.is_signed_with(key):
            return _not_found()
        others = await _rivals(core, connection, found)
        if refusal := _refusal(core, found, others, core.now(), client_id):
            return refusal
        behind = found.counter - token.counter
        if behind < 0:
            return bad_request(ErrorCode.VALIDATION_FAILED, "Invalid Refresh Token: Not Issued By This Server")
        if behind > 1 and not _is_just_refreshed(core, found):
            if core.settings.enable_refresh_token_rotation:
                await sessions.delete_session(connection, found.session.id)
            return bad_request(ErrorCode.REFRESH_TOKEN_ALREADY_USED, "Invalid Refresh Token: Already Used")
        counter = found.counter + (1 if behind == 0 else 0)
        entry = Entry(user_actor(found.user), Action.TOKEN_REFRESHED)
        await counted_sessions.advance(connection, found.session.id, counter, facts, [entry])
    return OpenSession(
        user=found.user,
        session_id=found.session.id,
        created_at=found.session.created_at,
        not_after=found.session.not_after,
        methods=found.session.methods,
        method="token_refresh",
        refresh_token=CountedToken.encode(found.session.id, counter, key),
        facts=facts,
        terms=terms,
        is_new=False,
        is_reuse=behind > 0,
        oauth=found.session.oauth,
    )


def _key(core: AuthCore, found: CountingSession) -> bytes | None:
    opened = SecretBox(core.settings.db_encryption).open(found.session.id, found.stored_key)
    try:
        key = base64.urlsafe_b64decode(opened + "=" * (-len(opened) % 4))
    except (binascii.Error, ValueError):
        return None
    # Anybody could sign with an empty one.
    return key if len(key) >= MIN_KEY_BYTES else None


async def _rivals(core: AuthCore, connection: Connection, found: CountingSession) -> list[Session]:
    if not core.settings.sessions.single_per_user:
        return []
    return await sessions.other_sessions(connection, found.user.id, found.session.id)


def _refusal(
    core: AuthCore, found: CountingSession, others: list[Session], now: datetime, client_id: UUID | None
) -> AuthError | OAuthRefusal | None:
    if found.user.is_banned(now):
        return bad_request(ErrorCode.USER_BANNED, "Invalid Refresh Token: User Banned")
    owner = found.session.oauth.client_id if found.session.oauth is not None else None
    if owner != client_id:
        return OAuthRefusal("invalid_client", "Client does not match the session's OAuth client")
    settings, has_factor = core.settings.sessions, found.user.has_verified_factor
    end = end_of(found.session, settings, now, has_verified_factor=has_factor)
    opened_at = found.session.created_at
    if end is None and is_replaced(
        found.session, others, settings, now, has_verified_factor=has_factor, token_used_at=opened_at
    ):
        end = SessionEnd.REPLACED
    return None if end is None else bad_request(ErrorCode.SESSION_EXPIRED, end)


def _is_just_refreshed(core: AuthCore, found: CountingSession) -> bool:
    last = found.session.refreshed_at or found.session.created_at
    return core.now() <= last + timedelta(seconds=core.settings.refresh_token_reuse_interval_s)


def _not_found() -> AuthError:
    return bad_request(ErrorCode.REFRESH_TOKEN_NOT_FOUND, "Invalid Refresh Token: Refresh Token Not Found")

"""Opening a session and making the grant that both faces render. Source: contracts auth 2.3 to 2.5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.models import ClientFacts, Grant, MethodUse, SessionTerms, User
from isobase_services.auth.store import sessions
from isobase_services.auth.store.audit import Entry
from isobase_services.auth.tokens import access_token_claims, new_refresh_token, session_end

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["make_grant", "start_session"]


async def start_session(
    core: AuthCore,
    connection: Connection,
    user: User,
    *,
    method: str,
    facts: ClientFacts,
    terms: SessionTerms,
    entries: Sequence[Entry] = (),
    seen_hash: str | None = None,
    new_hash: str | None = None,
) -> Grant | None:
    """Open a session for ``user`` by ``method``, with ``entries`` for the log, and return its grant. One round trip.

    None where ``seen_hash`` is no longer the user's password hash or the user is gone; nothing was opened then.
    """
    session_id, token = uuid4(), new_refresh_token()
    not_after = session_end(core.now(), terms.session_s)
    opened_at = await sessions.open_session(
        connection,
        user_id=user.id,
        session_id=session_id,
        token=token,
        method=method,
        facts=facts,
        not_after=not_after,
        entries=entries,
        seen_hash=seen_hash,
        new_hash=new_hash,
    )
    if opened_at is None:
        return None
    signed_in = replace(user, last_sign_in_at=opened_at, updated_at=opened_at)
    return make_grant(
        core,
        signed_in,
        session_id=session_id,
        methods=[MethodUse(method, opened_at)],
        refresh_token=token,
        terms=terms,
        not_after=not_after,
    )


def make_grant(
    core: AuthCore,
    user: User,
    *,
    session_id: UUID,
    methods: Iterable[MethodUse],
    refresh_token: str,
    terms: SessionTerms,
    not_after: datetime | None,
    is_reuse: bool = False,
) -> Grant:
    """Sign an access token for the session. It never outlives a session that has an end."""
    issued_at_s = int(core.now().timestamp())
    expires_at_s = issued_at_s + terms.access_token_s
    if not_after is not None:
        expires_at_s = min(expires_at_s, int(not_after.timestamp()))
    claims = access_token_claims(
        user,
        session_id=session_id,
        methods=methods,
        issuer=core.settings.jwt_issuer or core.platform.settings.auth_url,
        issued_at_s=issued_at_s,
        expires_at_s=expires_at_s,
    )
    return Grant(
        access_token=core.platform.issuer.sign(claims),
        refresh_token=refresh_token,
        expires_in_s=expires_at_s - issued_at_s,
        expires_at_s=expires_at_s,
        user=user,
        session_id=session_id,
        is_reuse=is_reuse,
    )

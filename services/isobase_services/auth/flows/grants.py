"""Opening a session and making the grant that both faces render. Source: contracts auth 2.3 to 2.5.

A grant is made in two steps: the session's rows in the caller's transaction (``start_session``), the access token after it
(``issue_grant``). Between them a project's hook may want to see those rows, and no connection may wait for a hook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from isobase_platform.errors import IsobaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.hooks.access_token import customised_claims
from isobase_services.auth.models import (
    AAL2,
    ClientFacts,
    Grant,
    MethodUse,
    OAuthTerms,
    OpenSession,
    SessionTerms,
    User,
)
from isobase_services.auth.session_ends import token_end
from isobase_services.auth.store import sessions
from isobase_services.auth.store.audit import Entry
from isobase_services.auth.tokens import aal_of, access_token_claims, new_refresh_token, session_end

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["issue_grant", "start_session"]


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
    oauth: OAuthTerms | None = None,
) -> OpenSession | None:
    """Open a session for ``user`` by ``method``, with ``entries`` for the log. One round trip.

    When the transaction is over, ``issue_grant`` makes the grant. None where ``seen_hash`` is no longer the user's password
    hash or the user is gone; nothing was opened then.
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
        oauth=oauth,
    )
    if opened_at is None:
        return None
    return OpenSession(
        user=replace(user, last_sign_in_at=opened_at, updated_at=opened_at),
        session_id=session_id,
        created_at=opened_at,
        not_after=not_after,
        methods=(MethodUse(method, opened_at),),
        method=method,
        refresh_token=token,
        facts=facts,
        terms=terms,
        is_new=True,
        oauth=oauth,
    )


async def issue_grant(core: AuthCore, session: OpenSession) -> Grant:
    """Sign an access token for the session, with the claims as the project's hook wants them.

    It never outlives a session that has an end. Call it outside of any transaction. Where the hook refuses, its error is
    raised and a session that was opened for this grant is closed again.
    """
    now = core.now()
    issued_at_s = int(now.timestamp())
    expires_at_s = issued_at_s + session.terms.access_token_s
    end = token_end(
        core.settings.sessions,
        created_at=session.created_at,
        not_after=session.not_after,
        now=now,
        needs_second_factor=session.user.has_verified_factor and aal_of(session.methods) != AAL2,
    )
    if end is not None:
        expires_at_s = min(expires_at_s, int(end.timestamp()))
    claims = access_token_claims(
        session.user,
        session_id=session.session_id,
        methods=session.methods,
        issuer=core.token_issuer,
        issued_at_s=issued_at_s,
        expires_at_s=expires_at_s,
        oauth=session.oauth,
    )
    if core.hooks.is_enabled("custom_access_token"):
        try:
            claims = await customised_claims(core.hooks, session, claims)
        except IsobaseError:
            if session.is_new:
                async with core.connection() as connection:
                    await sessions.delete_session(connection, session.session_id)
            raise
        expires_at_s = claims["exp"]
    issuer = core.platform.issuer
    return Grant(
        access_token=issuer.sign_for_simple_face(claims) if session.terms.of_simple_face else issuer.sign(claims),
        refresh_token=session.refresh_token,
        expires_in_s=expires_at_s - issued_at_s,
        expires_at_s=expires_at_s,
        user=session.user,
        session_id=session.session_id,
        is_reuse=session.is_reuse,
    )

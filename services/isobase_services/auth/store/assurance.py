"""How sure auth is of who holds a session: raising a session to aal2 and taking it back. Contracts auth 2.16."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import NIL_UUID

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["SECOND_FACTOR_METHODS", "drop_sessions_of_factor", "end_weaker_sessions", "raise_session", "swap_token"]

SECOND_FACTOR_METHODS = ("totp", "mfa/phone", "mfa/webauthn")


async def raise_session(
    connection: Connection, *, session_id: UUID, user_id: UUID, factor_id: UUID, method: str
) -> bool:
    """Note the use of a factor by ``method`` and make the session aal2; False where the session is gone.

    The row is locked first, so that a refresh in flight is over before the token is swapped.
    """
    row = await connection.fetchrow(
        """
        with raised as (
          update auth.sessions set aal = 'aal2', factor_id = $3, updated_at = statement_timestamp()
           where id = $1 and user_id = $2 returning id)
        insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
        select gen_random_uuid(), id, statement_timestamp(), statement_timestamp(), $4 from raised
        on conflict (session_id, authentication_method) do update set updated_at = excluded.updated_at
        returning session_id
        """,
        session_id,
        user_id,
        factor_id,
        method,
    )
    return row is not None


async def swap_token(connection: Connection, *, session_id: UUID, user_id: UUID, token: str) -> bool:
    """Revoke the session's live refresh token and put ``token`` in its place; False where none is live.

    The new token names no parent. A parent that comes back is answered with its child (contracts auth 2.5), and the token
    from before the second factor must not be worth a session that has passed it.
    """
    row = await connection.fetchrow(
        """
        with revoked as (
          update auth.refresh_tokens set revoked = true, updated_at = statement_timestamp()
           where session_id = $1 and revoked is false returning id)
        insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
        select $2, $3, $4, false, statement_timestamp(), statement_timestamp(), $1
         where exists (select from revoked)
        returning id
        """,
        session_id,
        NIL_UUID,
        token,
        str(user_id),
    )
    return row is not None


async def end_weaker_sessions(connection: Connection, user_id: UUID) -> None:
    """End every session of the user that has not passed a second factor."""
    await connection.execute("delete from auth.sessions where user_id = $1 and coalesce(aal, 'aal1') < 'aal2'", user_id)


async def drop_sessions_of_factor(connection: Connection, user_id: UUID, factor_id: UUID) -> None:
    """Take the sessions that the factor raised back to aal1, and with it every second factor used in them."""
    await connection.execute(
        """
        with dropped as (
          update auth.sessions set aal = 'aal1', factor_id = null where user_id = $1 and factor_id = $2 returning id)
        delete from auth.mfa_amr_claims
         where session_id in (select id from dropped) and authentication_method = any($3::text[])
        """,
        user_id,
        factor_id,
        list(SECOND_FACTOR_METHODS),
    )

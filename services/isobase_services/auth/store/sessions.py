"""Rows of ``auth.sessions``, ``auth.refresh_tokens`` and ``auth.mfa_amr_claims``. Contracts auth 2.5 and section 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import (
    NIL_UUID,
    ClientFacts,
    OAuthTerms,
    Session,
    User,
    session_from_row,
    user_from_row,
)
from isobase_services.auth.store.audit import APPEND_ENTRIES, Entry, stored_payloads
from isobase_services.auth.store.users import IDENTITIES_AND_FACTORS, USER_COLUMNS

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "PresentedToken",
    "active_token",
    "delete_other_sessions",
    "delete_session",
    "delete_sessions",
    "drop_orphan_token",
    "find_presented_token",
    "find_user_and_session",
    "lock_presented_token",
    "open_session",
    "other_sessions",
    "revoke_family",
    "rotate_live_token",
    "rotate_token",
    "token_standing",
    "touch_session",
]

SESSION_COLUMNS = """s.id as session_id, s.user_id as session_user_id, s.created_at as session_created_at,
  s.not_after as session_not_after, s.refreshed_at at time zone 'utc' as session_refreshed_at, s.aal::text as session_aal,
  s.tag as session_tag, s.oauth_client_id as session_oauth_client_id, s.scopes as session_scopes,
  (select coalesce(json_agg(json_build_object('method', m.authentication_method, 'used_at',
    m.updated_at at time zone 'utc') order by m.updated_at desc), '[]')
    from auth.mfa_amr_claims m where m.session_id = s.id) as session_methods"""

_OPEN_SESSION = f"""
with signed_in as (
  update auth.users set last_sign_in_at = statement_timestamp(), updated_at = statement_timestamp(),
         encrypted_password = coalesce($10::text, encrypted_password)
   where id = $2 and ($9::text is null or encrypted_password = $9::text)
  returning id),
opened as (
  insert into auth.sessions (id, user_id, created_at, updated_at, aal, not_after, user_agent, ip, oauth_client_id, scopes)
  select $3::uuid, id, statement_timestamp(), statement_timestamp(), 'aal1', $6::timestamptz, $7::text, $8::text::inet,
         $12::uuid, $13::text
    from signed_in
  returning id, created_at),
granted as (
  insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
  select $1::uuid, $4::text, $2::uuid::text, false, created_at, created_at, id from opened),
claimed as (
  insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
  select gen_random_uuid(), id, created_at, created_at, $5::text from opened),
logged as ({APPEND_ENTRIES.format(payloads="(select $11::text[] from opened)")})
select created_at from opened"""  # noqa: S608  constants

_ROTATE = f"""
with revoked as (
  update auth.refresh_tokens
     set revoked = true, updated_at = case when revoked then updated_at else statement_timestamp() end where id = $1),
touched as (
  update auth.sessions set refreshed_at = statement_timestamp() at time zone 'utc', updated_at = statement_timestamp(),
         user_agent = $7, ip = $8::text::inet
   where id = $6),
logged as ({APPEND_ENTRIES.format(payloads="$9")})
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
values ($2, $3, $4, false, statement_timestamp(), statement_timestamp(), $5, $6)"""  # noqa: S608  constants

# As _ROTATE, in a transaction of its own: it locks what was read without a lock, and does nothing where that has changed.
_ROTATE_LIVE = f"""
with locked as (
  select r.id, r.session_id
    from auth.refresh_tokens r
    join auth.sessions s on s.id = r.session_id
   where r.id = $1 and r.revoked is not true and s.id = $6 and coalesce(s.aal::text, 'aal1') = $10
     for update of r, s skip locked),
revoked as (
  update auth.refresh_tokens t set revoked = true, updated_at = statement_timestamp() from locked where t.id = locked.id),
touched as (
  update auth.sessions t set refreshed_at = statement_timestamp() at time zone 'utc', updated_at = statement_timestamp(),
         user_agent = $7, ip = $8::text::inet
    from locked where t.id = locked.session_id),
logged as ({APPEND_ENTRIES.format(payloads="(select $9::text[] from locked)")})
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
select $2, $3, $4, false, statement_timestamp(), statement_timestamp(), $5, session_id from locked
returning true"""  # noqa: S608  constants

_PRESENTED = f"""
select r.id as token_id, r.token, coalesce(r.revoked, false) as revoked,
       coalesce(r.updated_at, r.created_at, 'epoch') as token_updated_at,
       {USER_COLUMNS}, {IDENTITIES_AND_FACTORS}, {SESSION_COLUMNS}
  from auth.refresh_tokens r
  join auth.sessions s on s.id = r.session_id
  join auth.users u on u.id = s.user_id and u.instance_id = $2
 where r.token = $1"""  # noqa: S608  constants
_LOCK_PRESENTED = f"{_PRESENTED} for update of r, s skip locked"

_TOUCH = f"""
with logged as ({APPEND_ENTRIES.format(payloads="$4")})
update auth.sessions set refreshed_at = statement_timestamp() at time zone 'utc', updated_at = statement_timestamp(),
       user_agent = $2, ip = $3::text::inet
 where id = $1"""  # noqa: S608  constants

_DELETE_OF_LOCKED_USER = """
delete from auth.sessions s using (select id from auth.users where id = $1 for no key update) u
 where s.user_id = u.id"""
"""Two that end sessions of one user (signing out, stepping up) would wait for each other's rows: first the user's row."""


@dataclass(slots=True, frozen=True)
class PresentedToken:
    """A refresh token that came in, with the session and the user it belongs to."""

    id: int
    token: str = field(repr=False)
    is_revoked: bool
    updated_at: datetime
    session: Session
    user: User


async def find_user_and_session(
    connection: Connection, user_id: UUID, session_id: UUID | None
) -> tuple[User | None, Session | None]:
    """Both by id in one round trip; a session that is another user's counts as none."""
    row = await connection.fetchrow(
        f"""select {USER_COLUMNS}, {IDENTITIES_AND_FACTORS}, {SESSION_COLUMNS}
              from auth.users u left join auth.sessions s on s.id = $3 and s.user_id = u.id
             where u.instance_id = $1 and u.id = $2""",  # noqa: S608  constants
        NIL_UUID,
        user_id,
        session_id,
    )
    return (None, None) if row is None else (user_from_row(row), session_from_row(row))


async def open_session(
    connection: Connection,
    *,
    user_id: UUID,
    session_id: UUID,
    token: str,
    method: str,
    facts: ClientFacts,
    not_after: datetime | None,
    entries: Sequence[Entry],
    seen_hash: str | None = None,
    new_hash: str | None = None,
    oauth: OAuthTerms | None = None,
) -> datetime | None:
    """Open a session with its first refresh token, note the sign-in and the log's ``entries``; returns the time of it.

    All in one statement. With ``seen_hash`` it happens only while that is still the user's password hash (``new_hash``
    then may replace it): a password that was changed after it was verified opens nothing. None when nothing was opened.
    """
    opened_at: datetime | None = await connection.fetchval(
        _OPEN_SESSION,
        NIL_UUID,
        user_id,
        session_id,
        token,
        method,
        not_after,
        facts.user_agent,
        facts.ip,
        seen_hash,
        new_hash,
        stored_payloads(entries),
        oauth and oauth.client_id,
        oauth and oauth.scope,
    )
    return opened_at


async def lock_presented_token(connection: Connection, token: str) -> PresentedToken | None:
    """Lock the token's row and its session and return them with the user.

    None when there is no such token or somebody else holds the lock: waiting is the caller's business, because a
    connection that waits in the database is one that nobody else can use.
    """
    return _presented(await connection.fetchrow(_LOCK_PRESENTED, token, NIL_UUID))


async def find_presented_token(connection: Connection, token: str) -> PresentedToken | None:
    """The same without a lock: what is found may have changed by the time that it is used."""
    return _presented(await connection.fetchrow(_PRESENTED, token, NIL_UUID))


def _presented(row: asyncpg.Record | None) -> PresentedToken | None:
    if row is None:
        return None
    session = session_from_row(row)
    assert session is not None  # an inner join
    return PresentedToken(
        row["token_id"], row["token"], row["revoked"], row["token_updated_at"], session, user_from_row(row)
    )


async def token_standing(connection: Connection, token: str) -> tuple[bool, bool]:
    """Without a lock: (the token exists, its session and user exist)."""
    row = await connection.fetchrow(
        """
        select s.id is not null and u.id is not null as is_whole
          from auth.refresh_tokens r
          left join auth.sessions s on s.id = r.session_id
          left join auth.users u on u.id = s.user_id and u.instance_id = $2
         where r.token = $1
        """,
        token,
        NIL_UUID,
    )
    return (False, False) if row is None else (True, row["is_whole"])


async def drop_orphan_token(connection: Connection, token: str) -> None:
    """Delete a token that has no session: it stems from before sessions existed and can never be used again."""
    await connection.execute("delete from auth.refresh_tokens where token = $1 and session_id is null", token)


async def active_token(connection: Connection, session_id: UUID) -> tuple[str, str] | None:
    """(token, its parent) of the newest token of the session that is not revoked, or None."""
    row = await connection.fetchrow(
        """
        select token, coalesce(parent, '') as parent from auth.refresh_tokens
         where session_id = $1 and revoked is false order by id desc limit 1
        """,
        session_id,
    )
    return (row["token"], row["parent"]) if row is not None else None


async def rotate_token(
    connection: Connection, presented: PresentedToken, new_token: str, facts: ClientFacts, entries: Sequence[Entry]
) -> None:
    """Revoke the presented token, insert its child, and note the refresh, in one statement.

    A token that is used again keeps the time of its first revocation: reuse must not prolong the reuse interval.
    """
    await connection.execute(
        _ROTATE,
        presented.id,
        NIL_UUID,
        new_token,
        str(presented.user.id),
        presented.token,
        presented.session.id,
        facts.user_agent,
        facts.ip,
        stored_payloads(entries),
    )


async def rotate_live_token(
    connection: Connection, presented: PresentedToken, new_token: str, facts: ClientFacts, entries: Sequence[Entry]
) -> bool:
    """As ``rotate_token`` for a token that ``find_presented_token`` found live, with its own lock, in one statement.

    False, and nothing was done, where the token was used meanwhile, the session changed its level or is gone, or another
    request has them locked.
    """
    is_done: bool | None = await connection.fetchval(
        _ROTATE_LIVE,
        presented.id,
        NIL_UUID,
        new_token,
        str(presented.user.id),
        presented.token,
        presented.session.id,
        facts.user_agent,
        facts.ip,
        stored_payloads(entries),
        presented.session.aal,
    )
    return bool(is_done)


async def revoke_family(connection: Connection, session_id: UUID) -> None:
    """Revoke every token of the session."""
    await connection.execute(
        """
        update auth.refresh_tokens set revoked = true, updated_at = statement_timestamp()
         where session_id = $1 and revoked is false
        """,
        session_id,
    )


async def touch_session(connection: Connection, session_id: UUID, facts: ClientFacts, entries: Sequence[Entry]) -> None:
    """Note a refresh that gave no new token: when (UTC, the column has no zone), and from where."""
    await connection.execute(_TOUCH, session_id, facts.user_agent, facts.ip, stored_payloads(entries))


async def other_sessions(connection: Connection, user_id: UUID, session_id: UUID) -> list[Session]:
    """The user's sessions apart from ``session_id``."""
    rows = await connection.fetch(
        f"select {SESSION_COLUMNS} from auth.sessions s where s.user_id = $1 and s.id <> $2",  # noqa: S608  constants
        user_id,
        session_id,
    )
    return [session for row in rows if (session := session_from_row(row)) is not None]


async def delete_session(connection: Connection, session_id: UUID) -> None:
    """End one session; its refresh tokens go with it."""
    await connection.execute("delete from auth.sessions where id = $1", session_id)


async def delete_other_sessions(connection: Connection, user_id: UUID, session_id: UUID) -> None:
    """End every session of the user but this one."""
    await connection.execute(f"{_DELETE_OF_LOCKED_USER} and s.id <> $2", user_id, session_id)


async def delete_sessions(connection: Connection, user_id: UUID) -> None:
    """End every session of the user."""
    await connection.execute(_DELETE_OF_LOCKED_USER, user_id)

"""Rows of ``auth.sessions`` that hold a key and a counter of refresh tokens (``counted_tokens``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import NIL_UUID, ClientFacts, Session, User, session_from_row, user_from_row
from isobase_services.auth.store.audit import APPEND_ENTRIES, Entry, stored_payloads
from isobase_services.auth.store.sessions import SESSION_COLUMNS
from isobase_services.auth.store.users import IDENTITIES_AND_FACTORS, USER_COLUMNS

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["CountingSession", "advance", "exists", "lock"]

_HAS_COUNTER = "s.refresh_token_hmac_key is not null and s.refresh_token_counter is not null"
_LOCK = f"""
select s.refresh_token_hmac_key, s.refresh_token_counter, {USER_COLUMNS}, {IDENTITIES_AND_FACTORS}, {SESSION_COLUMNS}
  from auth.sessions s
  join auth.users u on u.id = s.user_id and u.instance_id = $2
 where s.id = $1 and {_HAS_COUNTER} for update of s skip locked"""  # noqa: S608  constants
_ADVANCE = f"""
with logged as ({APPEND_ENTRIES.format(payloads="$5")})
update auth.sessions set refresh_token_counter = $2, refreshed_at = statement_timestamp() at time zone 'utc',
       updated_at = statement_timestamp(), user_agent = $3, ip = $4::text::inet
 where id = $1"""  # noqa: S608  constants


@dataclass(slots=True, frozen=True)
class CountingSession:
    """A session with its user, the number of its newest token, and the key of its tokens as it is stored."""

    session: Session
    user: User
    counter: int
    stored_key: str = field(repr=False)


async def lock(connection: Connection, session_id: UUID) -> CountingSession | None:
    """Lock a session that counts; None where there is none, or somebody else holds the lock."""
    row = await connection.fetchrow(_LOCK, session_id, NIL_UUID)
    if row is None:
        return None
    session = session_from_row(row)
    assert session is not None  # it is the row that was asked for
    return CountingSession(session, user_from_row(row), row["refresh_token_counter"], row["refresh_token_hmac_key"])


async def exists(connection: Connection, session_id: UUID) -> bool:
    """Whether there is one, without a lock."""
    return bool(
        await connection.fetchval(
            f"select true from auth.sessions s join auth.users u on u.id = s.user_id where s.id = $1 and {_HAS_COUNTER}",  # noqa: S608
            session_id,
        )
    )


async def advance(
    connection: Connection, session_id: UUID, counter: int, facts: ClientFacts, entries: Sequence[Entry]
) -> None:
    """Keep the number of the newest token and note the refresh."""
    await connection.execute(_ADVANCE, session_id, counter, facts.user_agent, facts.ip, stored_payloads(entries))

"""One-time tokens: ``auth.one_time_tokens``, the columns of ``auth.users`` that repeat them, ``isobase.one_time_codes``.

The rows of one_time_tokens are the truth; the columns of users are written too because projects and other servers read
them. Contracts auth 2.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

from isobase_services.auth.models import NIL_UUID
from isobase_services.auth.tokens import OneTimeCode

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "MAX_TRIES",
    "OneTimeTokenType",
    "StoredCode",
    "claim_try",
    "drop_code",
    "find_by_hash",
    "flush_like_a_write",
    "forget_sending",
    "put_code",
    "take_all",
    "take_code",
]

MAX_TRIES = 5
"""How often a code may be guessed at, by whoever and from wherever."""

OneTimeTokenType: TypeAlias = Literal[
    "confirmation_token",
    "recovery_token",
    "email_change_token_new",
    "email_change_token_current",
    "phone_change_token",
    "reauthentication_token",
]

_SENT_AT = """case t.token_type::text when 'confirmation_token' then u.confirmation_sent_at
    when 'recovery_token' then u.recovery_sent_at when 'phone_change_token' then u.phone_change_sent_at
    when 'reauthentication_token' then u.reauthentication_sent_at else u.email_change_sent_at end"""
_BELONGS = """case t.token_type::text when 'email_change_token_new' then lower(u.email_change) = t.relates_to
    when 'phone_change_token' then u.phone_change = t.relates_to else t.relates_to in (lower(u.email), u.phone) end"""
"""Whether the address that a code was sent to is still the one that it is about."""

# One statement, committed by itself: a guess is counted before it is compared and stays counted whatever becomes of the
# request. Of parallel guesses each waits for the one before at the counter's row, so that exactly MAX_TRIES get through.
# A guess that looked before the code was replaced finds another token_id there, and gets nothing.
_CLAIM = f"""
with codes as (
  select t.id, t.user_id, t.token_type::text as token_type, t.token_hash, {_SENT_AT} as sent_at
    from auth.one_time_tokens t join auth.users u on u.id = t.user_id
   where t.relates_to = $1 and t.token_type::text = any($2::text[]) and u.instance_id = $3 and u.aud = $4
     and not u.is_sso_user and {_BELONGS}),
counted as (
  insert into isobase.one_time_codes as c (user_id, token_type, token_id, salt, tries)
  select user_id, token_type, id, ''::bytea, 1 from codes order by user_id, token_type
  on conflict (user_id, token_type) do update set tries = c.tries + 1
    where c.token_id = excluded.token_id and c.tries < {MAX_TRIES}
  returning user_id, token_type, salt, resets_password)
select codes.*, counted.salt, counted.resets_password from codes join counted using (user_id, token_type)"""  # noqa: S608  constants

_FIND = f"""
select t.id, t.user_id, t.token_type::text as token_type, t.token_hash, {_SENT_AT} as sent_at, ''::bytea as salt,
       coalesce(c.resets_password, false) as resets_password
  from auth.one_time_tokens t join auth.users u on u.id = t.user_id
  left join isobase.one_time_codes c on c.user_id = t.user_id and c.token_type = t.token_type::text
 where t.token_hash = $1 and t.token_type::text = any($2::text[]) and u.instance_id = $3 and {_BELONGS}"""  # noqa: S608  constants

_PUT = """
with stored as (
  insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)
  values (gen_random_uuid(), $1, $2::text::auth.one_time_token_type, $3, $4, now() at time zone 'utc',
    now() at time zone 'utc')
  on conflict (user_id, token_type) do update
    set id = excluded.id, token_hash = excluded.token_hash, relates_to = excluded.relates_to,
        created_at = excluded.created_at, updated_at = excluded.updated_at
  returning id)
insert into isobase.one_time_codes as c (user_id, token_type, token_id, salt, resets_password)
select $1, $2, id, $5, $6 from stored
on conflict (user_id, token_type) do update
  set token_id = excluded.token_id, salt = excluded.salt, tries = 0,
      resets_password = c.resets_password or excluded.resets_password"""

_TAKE_ALL = """
with spent as (delete from auth.one_time_tokens where id = $1 and token_hash = $2 returning user_id),
others as (delete from auth.one_time_tokens t using spent where t.user_id = spent.user_id and t.id <> $1),
beside as (delete from isobase.one_time_codes c using spent where c.user_id = spent.user_id)
select exists (select from spent)"""

_FORGET_SENDING: dict[OneTimeTokenType, str] = {
    "confirmation_token": "update auth.users set confirmation_sent_at = null where id = $1 and confirmation_token = $2",
    "recovery_token": "update auth.users set recovery_sent_at = null where id = $1 and recovery_token = $2",
    "email_change_token_new": (
        "update auth.users set email_change_sent_at = null where id = $1 and email_change_token_new = $2"
    ),
    "email_change_token_current": (
        "update auth.users set email_change_sent_at = null where id = $1 and email_change_token_current = $2"
    ),
    "phone_change_token": "update auth.users set phone_change_sent_at = null where id = $1 and phone_change_token = $2",
    "reauthentication_token": (
        "update auth.users set reauthentication_sent_at = null where id = $1 and reauthentication_token = $2"
    ),
}


@dataclass(slots=True, frozen=True)
class StoredCode:
    """A code that is out. ``sent_at`` is None where its sending failed; ``salt`` is empty unless a typed code is checked.

    ``resets_password``: using it takes the account's password away, see ``flows.codes``.
    """

    id: UUID
    user_id: UUID
    token_type: OneTimeTokenType
    token_hash: str = field(repr=False)
    sent_at: datetime | None
    salt: bytes = field(repr=False)
    resets_password: bool

    def is_fresh(self, now: datetime, life_s: float) -> bool:
        """Whether it was sent, and less than ``life_s`` seconds ago."""
        return self.sent_at is not None and now <= self.sent_at + timedelta(seconds=life_s)


async def put_code(
    connection: Connection,
    user_id: UUID,
    token_type: OneTimeTokenType,
    code: OneTimeCode,
    address: str,
    *,
    resets_password: bool = False,
) -> None:
    """Store a code for ``address``; it takes the place of an earlier one of the same type, and has all its tries.

    ``resets_password`` stays with the user's codes of this type until one of them is used.
    """
    await connection.execute(_PUT, user_id, token_type, code.token_hash, address.lower(), code.salt, resets_password)


async def claim_try(
    connection: Connection, address: str, token_types: Sequence[OneTimeTokenType], audience: str
) -> list[StoredCode]:
    """The codes that a code typed for ``address`` may be compared with, each having one try less from now on.

    Those without tries left are not among them. To be called outside a transaction: the count must stay.
    """
    rows = await connection.fetch(_CLAIM, address, list(token_types), NIL_UUID, audience)
    return [_stored(row) for row in rows]


async def find_by_hash(
    connection: Connection, token_hash: str, token_types: Sequence[OneTimeTokenType]
) -> list[StoredCode]:
    """The codes with the hash that a link carries; more than one only where somebody wrote rows by hand."""
    return [_stored(row) for row in await connection.fetch(_FIND, token_hash, list(token_types), NIL_UUID)]


async def take_code(connection: Connection, code: StoredCode) -> bool:
    """Remove the code; of several callers at once only one is told True, and may act on it."""
    status = await connection.execute(
        "delete from auth.one_time_tokens where id = $1 and token_hash = $2", code.id, code.token_hash
    )
    return status != "DELETE 0"


async def take_all(connection: Connection, code: StoredCode) -> bool:
    """As ``take_code``, and with it goes every other code that is out for the user."""
    taken: bool = await connection.fetchval(_TAKE_ALL, code.id, code.token_hash)
    return taken


async def drop_code(connection: Connection, user_id: UUID, token_type: OneTimeTokenType) -> None:
    """Delete the user's code of one type, where there is one."""
    await connection.execute(
        "delete from auth.one_time_tokens where user_id = $1 and token_type = $2::text::auth.one_time_token_type",
        user_id,
        token_type,
    )


async def forget_sending(connection: Connection, user_id: UUID, token_type: OneTimeTokenType, token_hash: str) -> None:
    """Note that a code was not sent after all, so that a new one may be asked for at once; nothing if it was replaced."""
    await connection.execute(_FORGET_SENDING[token_type], user_id, token_hash)


async def flush_like_a_write(connection: Connection) -> None:
    """Make the transaction wait for the disk as one that wrote rows does, though it writes none.

    For requests about unknown addresses, so that they take as long as those about known ones.
    """
    await connection.execute("select pg_catalog.pg_logical_emit_message(true, 'isobase', '')")


def _stored(row: asyncpg.Record) -> StoredCode:
    return StoredCode(
        id=row["id"],
        user_id=row["user_id"],
        token_type=row["token_type"],
        token_hash=row["token_hash"],
        sent_at=row["sent_at"],
        salt=row["salt"],
        resets_password=row["resets_password"],
    )

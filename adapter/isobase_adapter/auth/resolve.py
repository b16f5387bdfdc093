"""Which users a thing means, where it does not say their id: by address, by phone, by when they changed.

The key of a ``USER`` thing is ``(id,)``, or ``("email", address)``, ``("phone", number)``, ``("changed_since", time)``
where nobody knew the id before the call was made. No secret is ever a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from isobase_adapter.auth.rows import Fetches
from isobase_adapter.things import Thing, ThingKind

__all__ = [
    "CLOCK_MARGIN",
    "Claims",
    "changed_since",
    "claims_of",
    "holders_of",
    "page_of_users",
    "user_by_email",
    "user_by_phone",
    "user_thing",
    "users_changed",
    "users_named",
]

RESOURCE = "auth"
CLOCK_MARGIN = timedelta(minutes=2)
"""How far this machine's clock and a database's may be apart."""

_BY_EMAIL = """
select u.id::text from auth.users u where u.email = lower($1)
union select t.user_id::text from auth.one_time_tokens t where t.relates_to = lower($1)
union select i.user_id::text from auth.identities i where i.email = lower($1)"""
_BY_PHONE = """
select u.id::text from auth.users u where u.phone = ltrim($1, '+')
union select t.user_id::text from auth.one_time_tokens t where t.relates_to = ltrim($1, '+')"""
_CHANGED: tuple[LiteralString, ...] = (
    "select u.id::text from auth.users u where u.updated_at >= $1 or u.created_at >= $1",
    "select i.user_id::text from auth.identities i where i.updated_at >= $1",
    "select s.user_id::text from auth.sessions s where s.updated_at >= $1 or s.created_at >= $1",
    "select t.user_id::text from auth.refresh_tokens t where t.updated_at >= $1",
    "select f.user_id::text from auth.mfa_factors f where f.updated_at >= $1 or f.last_challenged_at >= $1",
)
_CLAIMS = """
select array(select lower(u.email) from auth.users u where u.id = any($1::uuid[]) and u.email is not null) as emails,
       array(select u.phone from auth.users u where u.id = any($1::uuid[]) and u.phone is not null) as phones,
       array(select i.provider || ' ' || i.provider_id from auth.identities i
              where i.user_id = any($1::uuid[])) as identities"""
_HOLDERS = """
select u.id::text from auth.users u where lower(u.email) = any($1::text[]) or u.phone = any($2::text[])
union
select i.user_id::text from auth.identities i where i.provider || ' ' || i.provider_id = any($3::text[])"""
_PAGE = "select u.id::text from auth.users u where u.id > $1::uuid order by u.id limit $2"


@dataclass(slots=True, frozen=True)
class Claims:
    """What only one user of a side can have."""

    emails: tuple[str, ...]
    phones: tuple[str, ...]
    identities: tuple[str, ...]


def user_thing(user: str) -> Thing:
    """A user by id."""
    return Thing(ThingKind.USER, RESOURCE, (user,))


def user_by_email(address: str) -> Thing:
    """The user of an e-mail address, whoever that is when it is carried."""
    return Thing(ThingKind.USER, RESOURCE, ("email", address.strip().lower()))


def user_by_phone(number: str) -> Thing:
    """The user of a phone number."""
    return Thing(ThingKind.USER, RESOURCE, ("phone", number.strip().lstrip("+")))


def changed_since(moment: datetime) -> Thing:
    """Whoever changed at the source since ``moment`` by this machine's clock."""
    return Thing(ThingKind.USER, RESOURCE, ("changed_since", (moment - CLOCK_MARGIN).astimezone(UTC).isoformat()))


async def users_named(connection: Fetches, thing: Thing, *, is_source: bool) -> set[str]:
    """Give the ids that a thing names at one side. Raises ``ValueError`` for a key that is none of the above."""
    match thing.key:
        case ("email", str(address)):
            found = await connection.fetch(_BY_EMAIL, address)
        case ("phone", str(number)):
            found = await connection.fetch(_BY_PHONE, number)
        case ("changed_since", str(text)):
            return await users_changed(connection, datetime.fromisoformat(text)) if is_source else set()
        case _:
            raise ValueError("a user's key is (id,), (email, address), (phone, number) or (changed_since, time)")
    return {row[0] for row in found}


async def users_changed(connection: Fetches, moment: datetime) -> set[str]:
    """Give the ids of the users of whom a row changed since ``moment``."""
    found: set[str] = set()
    for statement in _CHANGED:
        found |= {row[0] for row in await connection.fetch(statement, moment) if row[0]}
    return found


async def claims_of(connection: Fetches, users: Sequence[str]) -> Claims:
    """Give the addresses, numbers and identities of users at a side."""
    (row,) = await connection.fetch(_CLAIMS, users)
    return Claims(tuple(row["emails"]), tuple(row["phones"]), tuple(row["identities"]))


async def holders_of(connection: Fetches, claims: Sequence[Claims]) -> set[str]:
    """Give the ids of the users at a side who have one of these."""
    found = await connection.fetch(
        _HOLDERS,
        [email for each in claims for email in each.emails],
        [phone for each in claims for phone in each.phones],
        [identity for each in claims for identity in each.identities],
    )
    return {row[0] for row in found}


async def page_of_users(connection: Fetches, after: str, size: int) -> list[str]:
    """Give the next ``size`` ids after ``after``, in order."""
    return [row[0] for row in await connection.fetch(_PAGE, after, size)]

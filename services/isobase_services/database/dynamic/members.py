"""Execute: who is in a database and as what, in ``isobase.members``.

Every statement runs as the caller at the RLS door: the policies of that table decide who sees, names and removes members, and
its trigger keeps the last owner. Here their refusals become answers. Neighbours: ``store`` (databases), ``schema.sql``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from isobase_platform.config import DynamicSettings
from isobase_platform.errors import Conflict, DatabaseError, Forbidden, NotFound
from isobase_platform.rls import DoorConnection
from isobase_platform.runtime import Platform
from isobase_services.database.dynamic.access import Act, Actor, decide, require, standing_of
from isobase_services.database.dynamic.models import DatabaseRole, Member

__all__ = ["MemberStore"]

_LAST_OWNER = "database_keeps_an_owner"
_USER_KEY = "members_user_id_fkey"


class MemberStore:
    """Members: listed, added, changed, removed."""

    def __init__(self, platform: Platform, limits: DynamicSettings) -> None:
        self._platform = platform
        self._limits = limits

    async def list_members(self, actor: Actor, database_id: UUID) -> list[Member]:
        """Who belongs to a database, its owners too, by the time they came. Raises ``NotFound``, to a stranger too."""
        async with self._inside(actor, database_id, read_only=True) as connection:
            rows = await connection.fetch(
                "select user_id, role, created_at from isobase.members where database_id = $1 order by created_at, user_id",
                database_id,
            )
        return [_member(row) for row in rows]

    async def add(self, actor: Actor, database_id: UUID, user_id: UUID, role: DatabaseRole) -> Member:
        """Make a user a member.

        Raises ``NotFound`` for an unknown user, ``Conflict`` (``is_member``) for one who is in the database already,
        ``Forbidden`` for who is no owner and (``quota_reached``) beyond the limit.
        """
        async with self._inside(actor, database_id) as connection:
            await self._check_room(connection, database_id, user_id)
            row = await connection.fetchrow(
                "insert into isobase.members (database_id, user_id, role) values ($1, $2, $3)"
                " on conflict (database_id, user_id) do nothing returning user_id, role, created_at",
                database_id,
                user_id,
                role.value,
            )
            if row is None:
                raise Conflict("The user is a member already", code="is_member")
        return _member(row)

    async def change(self, actor: Actor, database_id: UUID, user_id: UUID, role: DatabaseRole) -> Member:
        """Give a member another role. Raises ``NotFound`` for who is none, ``Conflict`` (``last_owner``), ``Forbidden``."""
        async with self._inside(actor, database_id) as connection:
            rows = await connection.fetch(
                "update isobase.members set role = $3 where database_id = $1 and user_id = $2"
                " returning user_id, role, created_at",
                database_id,
                user_id,
                role.value,
            )
            if not rows:
                raise await _why_not(connection, database_id, user_id)
        return _member(rows[0])

    async def put(self, actor: Actor, database_id: UUID, user_id: UUID, role: DatabaseRole) -> Member:
        """Give a user a role, instead of the one they may have. Raises as ``add`` and ``change``."""
        async with self._inside(actor, database_id) as connection:
            await self._check_room(connection, database_id, user_id)
            row = await connection.fetchrow(
                "insert into isobase.members (database_id, user_id, role) values ($1, $2, $3)"
                " on conflict (database_id, user_id) do update set role = excluded.role"
                " returning user_id, role, created_at",
                database_id,
                user_id,
                role.value,
            )
        assert row is not None  # RETURNING of one upserted row
        return _member(row)

    async def remove(self, actor: Actor, database_id: UUID, user_id: UUID) -> None:
        """Take a user's role. Members may leave by themselves, but for the last owner (``Conflict``, ``last_owner``)."""
        async with self._inside(actor, database_id) as connection:
            gone = await connection.fetch(
                "delete from isobase.members where database_id = $1 and user_id = $2 returning user_id",
                database_id,
                user_id,
            )
            if not gone:
                raise await _why_not(connection, database_id, user_id)

    async def _check_room(self, connection: DoorConnection, database_id: UUID, user_id: UUID) -> None:
        # One at a time per database: two requests at once must not both see room for the last one.
        await connection.execute(
            "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('isobase.members ' || $1::text, 0))",
            str(database_id),
        )
        others = await connection.fetchval(
            "select count(*) from isobase.members where database_id = $1 and user_id <> $2", database_id, user_id
        )
        if others >= self._limits.members_per_database:
            raise Forbidden(f"A database has at most {self._limits.members_per_database} members", code="quota_reached")

    @asynccontextmanager
    async def _inside(
        self, actor: Actor, database_id: UUID, *, read_only: bool = False
    ) -> AsyncIterator[DoorConnection]:
        """A transaction of the caller's, who must be somebody in the database; its refusals as answers."""
        require(decide(standing_of(actor, None), Act.CREATE_DATABASE), "database")  # anon learns of no id
        try:
            async with self._platform.door.transaction(actor.caller, read_only=read_only) as connection:
                if not await connection.fetchval(
                    "select exists (select from isobase.databases where id = $1)", database_id
                ):
                    raise NotFound("There is no such database", code="database_not_found")
                yield connection
        except DatabaseError as error:
            raise _answer(error) from error


def _answer(error: DatabaseError) -> Exception:
    if error.is_insufficient_privilege:
        return _not_owner()
    if error.constraint == _LAST_OWNER:
        return Conflict(
            "A database keeps at least one owner", code="last_owner", hint="Make another member an owner first"
        )
    if error.constraint == _USER_KEY:
        return NotFound("There is no such user", code="user_not_found")
    return error


async def _why_not(connection: DoorConnection, database_id: UUID, user_id: UUID) -> NotFound | Forbidden:
    """A member whom the caller sees and yet did not change or remove is one whom an owner alone may."""
    found: Sequence[asyncpg.Record] = await connection.fetch(
        "select from isobase.members where database_id = $1 and user_id = $2", database_id, user_id
    )
    return _not_owner() if found else NotFound("There is no such member", code="member_not_found")


def _not_owner() -> Forbidden:
    return Forbidden("Your role in this database does not allow this")


def _member(row: asyncpg.Record) -> Member:
    return Member(row["user_id"], DatabaseRole(row["role"]), row["created_at"])

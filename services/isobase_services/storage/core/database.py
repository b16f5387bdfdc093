"""Storage's transactions: the RLS door with the settings that storage policies read, and its errors in storage's words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from isobase_platform.caller import ANON_ROLE, SERVICE_ROLE, Caller, Claims
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import DoorConnection, RlsDoor
from isobase_platform.wire_messages import Parameter, Row, Step
from isobase_services.storage.errors import from_database

__all__ = ["Actor", "StorageDatabase", "StorageTransaction", "role_of"]

SEARCH_PATH = ("storage", "public", "extensions")
"""As upstream's connections: a policy's functions may name tables without their schema."""
_SERVICE_CLAIMS = Caller.service().claims
LOCK_TIMEOUT = "5000ms"
"""How long a write waits for another writer of the same row before it is refused."""


def role_of(claims: Claims) -> str:
    """The database role that a verified token asks for; ``anon`` where it names none.

    A claim that is no text (a list, a number) becomes a text that names no role, so that PostgreSQL refuses it wherever a
    statement would run under it, as it does upstream.
    """
    role = claims.raw.get("role")
    if isinstance(role, str):
        return role or ANON_ROLE
    if role is None or role is False or role == 0:
        return ANON_ROLE
    return json.dumps(role)


@dataclass(slots=True, frozen=True)
class Actor:
    """Who asks, and what for.

    ``operation`` is what ``storage.operation()`` tells policies, such as ``storage.object.upload``. ``token`` is the bearer
    token as sent (``request.jwt``). ``is_authenticated`` is False where no token verified and the route allows that.
    """

    caller: Caller
    operation: str
    token: str = field(default="", repr=False)
    is_authenticated: bool = True

    @property
    def owner_id(self) -> str | None:
        """The user's id: the owner of what he stores."""
        return self.caller.user_id

    def as_service(self) -> Actor:
        """The same request with the service's rights."""
        service = Caller(SERVICE_ROLE, _SERVICE_CLAIMS, self.caller.request)
        return Actor(service, self.operation, is_authenticated=self.is_authenticated)

    def settings(self) -> Mapping[str, str]:
        """What policies and the delete guard read beside the claims (contracts/storage.md 1.7)."""
        return {
            "request.jwt": self.token,
            "request.jwt.claim.role": self.caller.role,
            "request.jwt.claim.sub": self.caller.user_id or "",
            "storage.operation": self.operation,
            "storage.allow_delete_query": "true",
            "lock_timeout": LOCK_TIMEOUT,
        }


class StorageTransaction:
    """Statements of one transaction, as the caller or as the service."""

    __slots__ = ("_actor", "_connection")

    def __init__(self, connection: DoorConnection, actor: Actor) -> None:
        self._connection = connection
        self._actor = actor

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows."""
        return await self._connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None."""
        return await self._connection.fetchrow(sql, *args)

    async def fetchtext(self, sql: str, *args: object) -> str:
        """Run one statement that returns one text, such as JSON built by PostgreSQL."""
        return str(await self._connection.fetchval(sql, *args))

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it changed."""
        tag = await self._connection.execute(sql, *args)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def become_service(self) -> None:
        """What follows runs with the service's rights."""
        service = self._actor.as_service()
        await self._connection.switch(service.caller, settings=service.settings())

    async def become_caller(self) -> None:
        """What follows runs with the caller's rights."""
        await self._connection.switch(self._actor.caller, settings=self._actor.settings())

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[None]:
        """A part of the transaction that leaves no trace."""
        async with self._connection.rolled_back():
            yield


class StorageDatabase:
    """Opens storage's transactions."""

    def __init__(self, door: RlsDoor) -> None:
        self._door = door

    async def once(
        self, actor: Actor, sql: str, values: Sequence[Parameter], *, as_service: bool = False, read_only: bool = False
    ) -> list[Row]:
        """Run one statement as a transaction of its own in one round trip; its rows, columns as bytes in binary format.

        ``values`` travel as text of types that PostgreSQL infers. ``read_only`` spares some work after a statement that
        runs no function of a user's (policies may call any). Errors as ``transaction``.
        """
        effective = actor.as_service() if as_service else actor
        [rows] = await self._once(effective, ((sql, values),), effective.settings(), read_only=read_only)
        return rows

    async def ask(self, actor: Actor, step: Step, service_step: Step) -> tuple[list[Row], list[Row]]:
        """As ``once``, for two statements that leave nothing behind: one as the actor, one with the service's rights."""
        # A try that was taken back inside the transaction makes its end a COMMIT, for which nobody has to wait.
        settings = {**actor.settings(), "synchronous_commit": "off"}
        steps = (step, self._door.role_step(SERVICE_ROLE), service_step)
        rows, _, service_rows = await self._once(actor, steps, settings)
        return rows, service_rows

    async def attempt(self, actor: Actor, step: Step) -> list[Row]:
        """As ``once``, for a statement that leaves nothing behind."""
        [rows] = await self._once(actor, (step,), {**actor.settings(), "synchronous_commit": "off"})
        return rows

    async def _once(
        self, actor: Actor, steps: Sequence[Step], settings: Mapping[str, str], *, read_only: bool = False
    ) -> list[list[Row]]:
        try:
            return await self._door.once(
                actor.caller, steps, read_only=read_only, search_path=SEARCH_PATH, settings=settings
            )
        except DatabaseError as error:
            raise from_database(error) from error

    @asynccontextmanager
    async def transaction(
        self, actor: Actor, *, as_service: bool = False, rollback: bool = False
    ) -> AsyncIterator[StorageTransaction]:
        """A transaction of the actor, or of the service on the actor's request.

        ``rollback`` ends it with ROLLBACK whatever happened. What PostgreSQL refuses leaves as ``StorageError``; a database
        out of reach as ``Unavailable``, and then it is not known whether a COMMIT went through.
        """
        effective = actor.as_service() if as_service else actor
        try:
            async with self._door.transaction(
                effective.caller, rollback=rollback, search_path=SEARCH_PATH, settings=effective.settings()
            ) as connection:
                yield StorageTransaction(connection, actor)
        except DatabaseError as error:
            raise from_database(error) from error

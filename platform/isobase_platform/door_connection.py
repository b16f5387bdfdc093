"""What a caller's transaction offers to the code that serves the caller. ``rls`` makes it and ends the transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from isobase_platform.caller import Caller
from isobase_platform.errors import IsobaseError, database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.set_config import set_configs
from isobase_platform.sql import quote_identifier
from isobase_platform.wire import WireConnection
from isobase_platform.wire_messages import Packed, Parameter, Row

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.rls import RlsDoor

__all__ = ["DoorConnection"]


class DoorConnection:
    """The statements that a caller's transaction offers. Errors are ``DatabaseError`` or ``Unavailable``.

    Obtained from ``RlsDoor.transaction`` only; it is of no use after its block has ended. After a ``DatabaseError`` outside
    a savepoint PostgreSQL takes no further statement: the block must let the error out.
    """

    __slots__ = ("_caller", "_connection", "_depth", "_door", "is_aborted")

    def __init__(self, connection: WireConnection, door: RlsDoor, caller: Caller) -> None:
        self._connection = connection
        self._door = door
        self._caller = caller
        self._depth = 0
        self.is_aborted = False
        """True after a statement failed and until the savepoint around it was rolled back."""

    async def run(self, sql: str, values: Sequence[Parameter] | Packed = ()) -> list[Row]:
        """Run one statement whose values travel as text of types that PostgreSQL infers; its rows, columns as bytes."""
        try:
            return (await self._connection.pipeline([(sql, values)], group=self._caller.role))[0]
        except DATABASE_FAILURES as error:
            raise self._aborted(error) from error

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows."""
        try:
            return await self._connection.fetch(sql, *args)
        except DATABASE_FAILURES as error:
            raise self._aborted(error) from error

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None."""
        try:
            return await self._connection.fetchrow(sql, *args)
        except DATABASE_FAILURES as error:
            raise self._aborted(error) from error

    async def fetchval(self, sql: str, *args: object) -> Any:
        """Run one statement and return the first column of its first row, or None."""
        try:
            return await self._connection.fetchval(sql, *args)
        except DATABASE_FAILURES as error:
            raise self._aborted(error) from error

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement and return its command tag, such as ``DELETE 2``."""
        try:
            return await self._connection.execute(sql, *args)
        except DATABASE_FAILURES as error:
            raise self._aborted(error) from error

    async def switch(self, caller: Caller, *, settings: Mapping[str, str] | None = None) -> None:
        """Run what follows in this transaction as another caller, in one round trip.

        For a service that must look at a row with its own rights and then act with the user's (or the other way round)
        as one unit. Claims, request facts, role settings and role are those of ``caller``; ``settings`` as in
        ``RlsDoor.transaction``. Errors as there for a role that cannot be taken.
        """
        await self.execute(self._door.identity_change(self._caller, caller, settings or {}))
        self._caller = caller

    async def set_local(self, settings: Mapping[str, str]) -> None:
        """Set further settings, local to the transaction, in one round trip."""
        if settings:
            await self.execute(set_configs(list(settings.items())))

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[None]:
        """A savepoint that is always rolled back: what is done inside leaves no trace (a dry run under policies)."""
        name = await self._set_savepoint()
        try:
            yield
        finally:
            await self._roll_back_to(name)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A savepoint that is kept when the block ends and rolled back when it raises, leaving the transaction usable."""
        name = await self._set_savepoint()
        try:
            yield
        except Exception:
            await self._roll_back_to(name)
            raise
        await self.execute(f"RELEASE SAVEPOINT {name}")
        self._depth -= 1

    async def _set_savepoint(self) -> str:
        name = quote_identifier(f"isobase_{self._depth + 1}")
        await self.execute(f"SAVEPOINT {name}")
        self._depth += 1
        return name

    async def _roll_back_to(self, name: str) -> None:
        await self.execute(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
        self._depth -= 1
        self.is_aborted = False

    def _aborted(self, error: Exception) -> IsobaseError:
        self.is_aborted = True
        return database_error(error)

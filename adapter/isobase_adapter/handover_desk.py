"""What a handover asks of the place that holds writers and outbox, and how PostgreSQL answers.

``Handover`` is the protocol; a *desk* does its steps, one transaction each: this one on PostgreSQL, ``handover_file`` in
the SQLite file of a host.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from uuid import UUID

import asyncpg

from isobase_adapter.contracts import OutboxAway, Writer
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.handover_statements import BACKLOG, CLIENTS, FLIP, FORGET, HOLDERS, MARK, UNMARK, UNPARK
from isobase_adapter.outbox.ending import IsLongWell, end_doubtful
from isobase_adapter.outbox.entries import ADMISSION_LOCK_NUMBER, END_IF_LEFT_OPEN, FENCE_LOCK_NUMBER
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.outbox.statements import HAS_RECORDS, RECORDS, UNRECORD
from isobase_adapter.sides import Side

__all__ = [
    "OVERDUE_S",
    "Backlog",
    "Desk",
    "Desks",
    "HandoverLimits",
    "HandoverRefused",
    "HandoverTaken",
    "LateClient",
    "PostgresDesks",
    "fenced",
    "lock_of",
    "still_held",
]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

MOST_NAMED = 5
OVERDUE_S = 40.0
"""No coordinator that runs holds writes up for so long (``fence_s`` and ``lock_s``): it was stopped, or cannot be heard."""


class HandoverRefused(Exception):
    """The writer stays where it is, and writes go on; the text says why."""


class HandoverTaken(HandoverRefused):
    """Somebody else is handing the pattern over."""


@dataclass(slots=True, frozen=True)
class HandoverLimits:
    """Times in seconds.

    calm_s: how long to wait, before writes are held up, for items to be carried and for calls to end whose end nobody
    heard; longer than the longest lease. fence_s: how long writes may be held up from the mark to the flip; then
    the handover is given up and the writer stays. lock_s: how long the flip waits for carriers to end their
    transactions. unfenced_s: the wait instead of that lock where a side's database cannot be reached (REST
    carriers).
    """

    calm_s: float = 200.0
    fence_s: float = 25.0
    lock_s: float = 10.0
    unfenced_s: float = 5.0
    forget_after_s: float = 150.0


@dataclass(slots=True, frozen=True)
class Backlog:
    """What the outbox holds of a pattern."""

    intents: int = 0
    pending: int = 0
    dead: int = 0
    slow: int = 0
    """Intents that are older than two seconds: most are of calls whose end nobody heard."""
    parked: int = 0
    """Items that wait for the next handover."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not (self.intents or self.pending)


@dataclass(slots=True, frozen=True)
class LateClient:
    """A client that has not said that it knows of a change, or holds writes of its own."""

    id: UUID
    name: str
    host: str
    silent_s: float

    def __str__(self) -> str:
        """Give it as operators name it."""
        return f"{self.name} on {self.host} ({self.id})"


class Desk(Protocol):
    """The steps of one handover. Each raises ``OutboxAway`` where the place does not answer."""

    async def writer(self, pattern: str) -> Writer | None:
        """Give the pattern's own writer."""
        ...

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        ...

    async def recent(self, clients: Collection[UUID], within_s: float) -> list[str]:
        """Name those of ``clients`` that were heard within ``within_s`` seconds."""
        ...

    async def forget(self, clients: Collection[UUID]) -> None:
        """Forget clients, whatever they left."""
        ...

    async def unmerged(self, to: Side, forgotten: Collection[UUID]) -> set[str]:
        """Name clients that wrote at Supabase alone and have not brought their writes; without ``forgotten`` ones."""
        ...

    async def end_doubtful(self) -> None:
        """End the leases of writes of unknown end that cannot go on any more."""
        ...

    async def mark(self, pattern: str, to: Side, by: str, mark: str) -> int | None:
        """Let no write in; gives the number of the change, None where the writer has just changed."""
        ...

    async def unmark(self, pattern: str, mark: str) -> None:
        """Let writes in again, where ``mark`` still holds."""
        ...

    async def late(self, version: int) -> list[LateClient]:
        """Give clients that do not act upon that change yet, or hold writes of their own."""
        ...

    async def unpark(self, pattern: str) -> None:
        """Have carried what waited for a moment without writes."""
        ...

    async def carriers(self, to: Side) -> str:
        """Name who is carrying to a side, as far as can be told; empty where nobody is, or nobody can tell."""
        ...

    async def flip(self, pattern: str, to: Side, mark: str) -> int | None:
        """Make ``to`` the writer, under its fence, where nothing is on its way; gives the epoch, else None."""
        ...


class Desks(Protocol):
    """Gives desks."""

    def coordinating(self, pattern: str) -> AbstractAsyncContextManager[Desk]:
        """Be the one who hands ``pattern`` over, while the block lasts. Raises ``HandoverRefused`` and ``OutboxAway``."""
        ...

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        ...


class PostgresDesks:
    """Desks at PostgreSQL. control: connections to the outbox's database; supabase: see ``Handover``."""

    def __init__(
        self, control: Pool, supabase: Pool | None, limits: HandoverLimits, is_long_well: IsLongWell = None
    ) -> None:
        """Take the parts."""
        self._control, self._supabase, self._limits = control, supabase, limits
        self._is_long_well = is_long_well

    @asynccontextmanager
    async def coordinating(self, pattern: str) -> AsyncIterator[Desk]:
        """Hold the pattern's lock in a session: it ends with the coordinator's process."""
        async with asking(self._control) as coordinator:
            if not await coordinator.fetchval("select pg_try_advisory_lock($1)", lock_of(pattern)):
                raise HandoverTaken(f"{pattern}: somebody else is handing it over")
            try:
                yield PostgresDesk(self._control, coordinator, self._supabase, self._limits, self._is_long_well)
            finally:
                try:
                    await coordinator.execute("select pg_advisory_unlock($1)", lock_of(pattern))
                except BaseException:
                    coordinator.terminate()  # the lock ends with its session
                    raise

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        async with asking(self._control) as connection:
            return await PostgresDesk(self._control, connection, self._supabase, self._limits).backlog(pattern)


class PostgresDesk:
    """A desk at a connection of the coordinator's own."""

    def __init__(
        self,
        control: Pool,
        connection: Connection,
        supabase: Pool | None,
        limits: HandoverLimits,
        is_long_well: IsLongWell = None,
    ) -> None:
        """Take the parts."""
        self._control = control
        self._is_long_well = is_long_well
        self._connection, self._supabase, self._limits = connection, supabase, limits

    async def writer(self, pattern: str) -> Writer | None:
        """Give the pattern's own writer."""
        row = await self._connection.fetchrow("select side, epoch from isobase.writers where pattern = $1", pattern)
        return None if row is None else Writer(pattern, Side(row["side"]), row["epoch"])

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        row = await self._connection.fetchrow(BACKLOG, pattern)
        if row is None:
            return Backlog()
        return Backlog(row["intents"], row["pending"], row["dead"], row["slow"], row["parked"])

    async def recent(self, clients: Collection[UUID], within_s: float) -> list[str]:
        """Name those that were heard within ``within_s`` seconds."""
        rows = await self._connection.fetch(
            "select name, id from isobase.migration_clients where id = any($1::uuid[])"
            " and seen_at > now() - make_interval(secs => $2)",
            list(clients),
            within_s,
        )
        return [f"{client['name']} ({client['id']})" for client in rows]

    async def forget(self, clients: Collection[UUID]) -> None:
        """Forget clients."""
        await self._connection.execute(FORGET, list(clients))

    async def unmerged(self, to: Side, forgotten: Collection[UUID]) -> set[str]:
        """Read the records in Supabase's database."""
        if to is Side.SUPABASE or self._supabase is None:
            return set()
        async with asking(self._supabase) as supabase:
            if not await supabase.fetchval(HAS_RECORDS):
                return set()
            for client in forgotten:
                await supabase.execute(UNRECORD, client)
            return {str(row["client"]) for row in await supabase.fetch(RECORDS)}

    async def end_doubtful(self) -> None:
        """Look at both databases and APIs."""
        await end_doubtful(self._control, self._supabase, is_long_well=self._is_long_well)

    async def mark(self, pattern: str, to: Side, by: str, mark: str) -> int | None:
        """Let no write in."""
        if await self._connection.fetchval(MARK, pattern, str(to), by or None, mark) is None:
            return None
        version: int = await self._connection.fetchval("select version from isobase.migration_state")
        return version

    async def unmark(self, pattern: str, mark: str) -> None:
        """Let writes in again."""
        await self._connection.execute(UNMARK, pattern, mark)

    async def late(self, version: int) -> list[LateClient]:
        """Give clients that do not act upon that change yet."""
        rows = await self._connection.fetch(CLIENTS, version)
        return [LateClient(row["id"], row["name"], row["host"], row["silent_s"]) for row in rows]

    async def unpark(self, pattern: str) -> None:
        """Have carried what waited."""
        await self._connection.execute(UNPARK, pattern)

    async def carriers(self, to: Side) -> str:
        """Look at the holders of the fence in the side's database."""
        if to is Side.ISOBASE:
            return await _holders(self._connection)
        if self._supabase is None:
            return ""
        try:
            async with self._supabase.acquire(timeout=self._limits.lock_s) as supabase:
                return await _holders(supabase)
        except DATABASE_FAILURES:
            return ""

    async def flip(self, pattern: str, to: Side, mark: str) -> int | None:
        """Make ``to`` the writer."""
        held = fenced(self._connection, self._supabase, to, self._limits)
        async with held as fence, self._connection.transaction():
            # A statement of its own: what the next one sees is then all that was decided under this lock before.
            await self._connection.execute(END_IF_LEFT_OPEN)
            await self._connection.execute("select pg_advisory_xact_lock($1)", ADMISSION_LOCK_NUMBER)
            epoch: int | None = await self._connection.fetchval(FLIP, pattern, mark)
            await still_held(fence)
        return epoch


@asynccontextmanager
async def fenced(
    control: Connection, supabase: Pool | None, to: Side, limits: HandoverLimits
) -> AsyncIterator[Connection | None]:
    """Hold the fence at the side that becomes the writer: no carrier to it is in the middle, and none can begin.

    Gives the connection that holds it, for ``still_held``; None where there is none.
    """
    async with AsyncExitStack() as held:
        if to is Side.ISOBASE:
            await held.enter_async_context(control.transaction())
            fencing: Connection = control
        elif supabase is not None:
            try:
                fencing = await held.enter_async_context(supabase.acquire(timeout=limits.lock_s))
                await held.enter_async_context(fencing.transaction())
            except DATABASE_FAILURES as error:
                raise HandoverRefused(f"Supabase's database does not answer ({type(error).__name__})") from error
        else:
            await asyncio.sleep(limits.unfenced_s)
            yield None
            return
        try:
            await fencing.execute(f"{END_IF_LEFT_OPEN}; set local lock_timeout = '{limits.lock_s:g}s'")
            async with fencing.transaction():  # so that the holders can be asked for where it cannot be had
                await fencing.execute("select pg_advisory_xact_lock($1)", FENCE_LOCK_NUMBER)
        except asyncpg.LockNotAvailableError as error:
            named = await _holders(fencing)
            raise HandoverRefused(
                f"carriers to {to} have not ended within {limits.lock_s:g} s{f': {named}' if named else ''}"
            ) from error
        except DATABASE_FAILURES as error:
            raise OutboxAway(f"{to}'s database does not answer ({type(error).__name__})") from error
        yield fencing


async def _holders(fencing: Connection) -> str:
    """Name who holds the fence, the oldest first."""
    try:
        rows = await fencing.fetch(HOLDERS, FENCE_LOCK_NUMBER)
    except DATABASE_FAILURES:
        return ""
    named = (f"{row['name']} (from {row['place']}, since {row['since']} UTC)" for row in rows[:MOST_NAMED])
    return ", ".join(named)


async def still_held(fence: Connection | None) -> None:
    """Make sure of the fence just before what relies on it is committed; raises where its connection was lost.

    It is asked last, so of two transactions that are left open the server ends the other one first.
    """
    if fence is not None:
        await fence.execute("select")


def lock_of(pattern: str) -> int:
    """The number of the lock that a pattern's coordinator holds for as long as it lives."""
    digest = hashlib.blake2b(f"handover {pattern}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)

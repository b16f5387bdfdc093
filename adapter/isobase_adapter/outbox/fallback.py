"""Writes at Supabase while Isobase, which is the writer and holds the outbox, is out of reach.

That the writer is Supabase again cannot be recorded where writers are recorded. So it is recorded where the writes
go: in Supabase's database, under the fence, before the first of them. From then on nobody carries anything to
Supabase for these capabilities, until this client has brought its writes into the outbox; then the failover is
recorded in its own place, and what both sides were told about one key becomes a dead letter with both versions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from isobase_adapter.capabilities import Capability, fits_written
from isobase_adapter.contracts import Event, OutboxAway, Writer
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.handover_statements import CONVERT, FAIL_OVER, WRITER_OF
from isobase_adapter.outbox.entries import ADMISSION_LOCK_NUMBER, END_IF_LEFT_OPEN, FENCE_LOCK_NUMBER
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.outbox.statements import MAKE_RECORDS, RECORD, UNRECORD
from isobase_adapter.sides import Side

__all__ = ["Fallback", "Fencing", "fence_at"]

logger = logging.getLogger("isobase.migration.spool")

Fencing: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Begins a transaction at Supabase's database that holds ``FENCE_LOCK_NUMBER`` exclusively; gives its connection."""


LOCK_TIMEOUT_S = 10.0


@asynccontextmanager
async def fence_at(supabase: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[Any]:
    """Hold the fence at Supabase's database: no carrier is in the middle there, and none can begin."""
    async with supabase.acquire(timeout=LOCK_TIMEOUT_S) as connection, connection.transaction():
        await connection.execute(f"{END_IF_LEFT_OPEN}; set local lock_timeout = '{LOCK_TIMEOUT_S:g}s'")
        await connection.execute("select pg_advisory_xact_lock($1)", FENCE_LOCK_NUMBER)
        yield connection


class Fallback:
    """Lets a client write at Supabase alone.

    fencing: see ``Fencing``. control: connections to the outbox's database. client: this client's number.
    writer_of: the writer of a capability as this client has heard of it, None where it has heard of none or was
    never registered.
    """

    def __init__(
        self,
        fencing: Fencing,
        control: asyncpg.Pool[asyncpg.Record],
        client: UUID,
        *,
        writer_of: Callable[[Capability], Writer | None],
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        """Take the parts; nothing is asked yet."""
        self._fencing = fencing
        self._control = control
        self._client = client
        self._writer_of = writer_of
        self._tell = tell or (lambda event: None)
        self._recorded: set[tuple[str, int]] = set()
        self._untold: set[tuple[str, int]] = set()
        """Of ``_recorded`` what was not recorded where writers are."""
        self._lock = asyncio.Lock()

    async def allows(self, capability: Capability, epoch: int) -> bool:
        """Record that Supabase is written alone; False where that is not this client's to say, or cannot be
        recorded.
        """
        writer = self._writer_of(capability)
        if writer is None or writer.epoch != epoch or writer.is_handing_over:
            return False
        async with self._lock:
            if (writer.pattern, epoch) in self._recorded:
                return True
            try:
                async with self._fencing() as supabase:
                    await supabase.execute(MAKE_RECORDS)
                    await supabase.execute(RECORD, writer.pattern, epoch, self._client)
            except DATABASE_FAILURES as error:
                logger.warning("a failover cannot be recorded at Supabase: %s", type(error).__name__)
                return False
            self._recorded.add((writer.pattern, epoch))
            self._untold.add((writer.pattern, epoch))
        logger.warning("%s: Isobase is out of reach; writes go to Supabase alone", writer.pattern)
        self._tell(Event("fallback", writer.pattern, {"to": str(Side.SUPABASE), "epoch": epoch}))
        return True

    async def take_over(self, written: Iterable[tuple[str, int]]) -> None:
        """Record the failover where writers are, for capabilities that were written in these epochs.

        Raises ``OutboxAway``, also where Supabase's database does not answer.
        """
        for capability, epoch in sorted(set(written)):
            async with asking(self._control) as connection:
                row = await connection.fetchrow(WRITER_OF, capability)
            if row is not None and row["side"] == Side.ISOBASE and row["epoch"] == epoch:
                await self._fail_over(row["pattern"], epoch)
            self._untold -= set(self._untold_of(capability, epoch))  # also where somebody else was first

    async def _fail_over(self, pattern: str, epoch: int) -> None:
        async with self._fenced() as supabase, asking(self._control) as connection, connection.transaction():
            await connection.execute(END_IF_LEFT_OPEN)
            await connection.execute("select pg_advisory_xact_lock($1)", ADMISSION_LOCK_NUMBER)
            moved = await connection.fetchval(FAIL_OVER, pattern, epoch)
            if moved is not None:
                await connection.execute(CONVERT, pattern, moved)
                self._tell(Event("failover", pattern, {"to": str(Side.SUPABASE), "epoch": moved}))
            await supabase.execute("select")  # the fence is held until here

    async def tell_first(self, capability: Capability, epoch: int) -> None:
        """Record the failover where writers are, if this client wrote at Supabase alone in this epoch and did not yet.

        Raises ``OutboxAway``. Else a write that is let in at Isobase would not know of those before it.
        """
        if self._untold_of(str(capability), epoch):
            await self.take_over([(str(capability), epoch)])

    def _untold_of(self, capability: str, epoch: int) -> list[tuple[str, int]]:
        return [one for one in self._untold if one[1] == epoch and fits_written(one[0], capability)]

    async def end(self, client: UUID, *, where: Callable[[], bool] = lambda: True) -> bool:
        """Let others carry again, as all that ``client`` wrote at Supabase alone is in the outbox.

        where: asked while no write can be allowed; False leaves the record, and this gives False. Raises ``OutboxAway``.
        """
        async with self._lock:
            if not where():
                return False
            if client == self._client:
                # Before it is asked for: the record may be gone though the answer is lost.
                self._recorded.clear()
                self._untold.clear()
            async with self._fenced() as supabase:
                if await supabase.fetchval("select to_regclass('isobase_move.failovers') is not null"):
                    await supabase.execute(UNRECORD, client)
        return True

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[Any]:
        try:
            async with self._fencing() as supabase:
                yield supabase
        except DATABASE_FAILURES as error:
            raise OutboxAway(f"Supabase's database does not answer ({type(error).__name__})") from error

"""Keeps both sides' tables equal until cutover, whoever writes at the side that is written first.

Both sides' logs are followed all the time, each for the tables that its side is the writer of. So when a table's writer
moves nothing has to be switched: the other log has been read up to that moment already. Neighbours: ``following`` reads
one log, ``polling`` is for databases that allow no slot, ``capture`` keeps publication and slot, ``sync_book`` what the
control store has to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from isobase_adapter.bulk.capture import read_published
from isobase_adapter.bulk.connections import Connection, close
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.following import Follower, Round
from isobase_adapter.bulk.owing import Owed
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.sweeping import Carrying, FenceOf, RowCarriers, is_about_rows
from isobase_adapter.bulk.sync_book import SideState, SyncBook, SyncState
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import WriterMoved
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.reasons import reason_of
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["Sync"]

logger = logging.getLogger("isobase.migration.sync")

IDLE_S = 0.25
TABLES_AGAIN_S = 30.0
"""How often new tables are looked for."""
IDLE_PATIENCE_S = 5.0
"""So long a moment is waited for in which nothing is left, once all is read that there was at the beginning."""
AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after a lost connection."""
UNPUBLISHED_AGAIN_S = 300.0
"""How often tables are compared that the log says nothing of."""


class Beside(Protocol):
    """Follows something else than rows: users, objects."""

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set."""
        ...

    async def round(self) -> int:
        """Look once."""
        ...


class Sync:
    """Follows both sides' logs until it is stopped.

    databases: both sides'. carrier: of rows and whole tables. control: a connection to the Isobase side's database for
    writers, events and the state. connect: opens a connection to a side's database for following it.
    fence_of: what keeps a table's rows from being carried once
    another side is its writer, by capability, target and epoch; None only where no writer can move.
    """

    def __init__(
        self,
        databases: Mapping[Side, SideDatabase],
        carrier: RowCarriers,
        control: Connection,
        connect: Callable[[Side], Awaitable[Connection]],
        *,
        progress: Progress = NO_PROGRESS,
        fence_of: FenceOf | None = None,
    ) -> None:
        self.state = SyncState()
        self._databases = databases
        self._book = SyncBook(control, connect)
        self._connect = connect
        self._beside: list[Beside] = []
        self._progress = progress
        self._stopping = asyncio.Event()
        self._carrying = Carrying(carrier, self._book, self.state, self._stopping, progress=progress, fence_of=fence_of)
        self._unseen_swept_s = 0.0
        self._is_after_copy = False

    def stop(self) -> None:
        """Have ``run`` end after the rounds that are under way."""
        self._stopping.set()

    def also(self, beside: Beside) -> None:
        """Follow something else as well."""
        self._beside.append(beside)

    async def round_beside(self) -> None:
        """Look once at everything that is no row."""
        await self.reload_writers()
        for beside in self._beside:
            await beside.round()

    def writer_of(self, capability: Capability) -> Side:
        """Give the side that is written first, as read last."""
        return self._book.writer_of(capability)[0]

    def epoch_of(self, capability: Capability) -> int:
        """Give the epoch of its writer, as read last."""
        return self._book.writer_of(capability)[1]

    async def is_stopped(self, *, within_s: float) -> bool:
        """Wait until ``stop`` is called, at most ``within_s`` seconds; gives whether it was."""
        await self._pause(within_s)
        return self._stopping.is_set()

    async def clock(self) -> float:
        """Give the time of Isobase's database, in seconds."""
        return await self._book.clock()

    async def is_handing_over(self) -> bool:
        """Whether some writer is being handed over: writes wait until all was carried."""
        return await self._book.is_handing_over()

    async def prepare(self, sides: Iterable[Side] = tuple(Side)) -> list[Side]:
        """Make publications and slots; gives the sides of which nothing was compared since their log began.

        Raises ``Refused``.
        """
        new: list[Side] = []
        for side in sides:
            connection = await self._connect(side)
            try:
                follower = Follower(
                    side, connection, carry=self._carrying.carry_or_set_aside, differing=self._carrying.differing
                )
                await follower.start(partial(self._book.owe, side))
            finally:
                await close(connection)
            if (await self._book.owed(side)).is_all:
                new.append(side)
        return new

    async def owed(self, side: Side) -> Owed:
        """Give what has to be compared because ``side``'s log knows nothing of it."""
        return await self._book.owed(side)

    async def settle_copied(self, side: Side, copied: Iterable[str], failed: Iterable[str]) -> None:
        """Tables were copied since ``side``'s log began, or left out on purpose; ``failed`` were not, and are owed still."""
        owed = await self._book.owed(side)
        left = frozenset(failed) if owed.is_all else owed.tables - frozenset(copied)
        await self._book.owe_only(side, left)

    async def sweep(self, tables: Iterable[str] | None = None) -> int:
        """Compare tables as a whole and carry what differs from each one's writer; gives their number.

        tables: ``schema.table``, default all that both sides have.
        """
        if tables is None:
            views = [await self._databases[side].catalog.reload() for side in Side]
            tables = sorted(views[0].tables.keys() & views[1].tables.keys())
        return await self._carrying.sweep(tables)

    async def carry(self, things: Sequence[Thing], target: Side) -> None:
        """Carry rows and whole tables behind their writers' fences. Raises ``WriterMoved`` and the databases' errors."""
        await self._carrying.carry(things, target)

    async def _pay(self, side: Side) -> None:
        """Compare the tables that ``side`` is the writer of and of which its log does not know enough."""
        if self._is_after_copy:
            return
        await self.reload_writers()
        for one in Side:
            await self._databases[one].catalog.reload()
        view = await self._databases[side].catalog.view()
        owed = await self._book.owed(side)
        named = view.tables.keys() if owed.is_all else owed.tables & view.tables.keys()
        # Of the others the log of their own writer knows. From here on it is known by name what is left, so that whoever
        # goes on does not begin again.
        mine = frozenset(name for name in named if self.writer_of_table(name) is side)
        if owed != Owed(tables=mine):
            await self._book.owe_only(side, mine)
        if owed.is_all and mine:
            self._progress.say(f"The log of {side} begins only now: comparing what is written there")
        shared = await self._shared(side)
        # What one side alone has stays owed until the other has it.
        await self._carrying.sweep_leniently(sorted(mine & shared.keys()))

    async def run(self, *, until_caught_up: bool = False, is_after_copy: bool = False) -> SyncState:
        """Follow both logs until ``stop``, or until both are read to their end.

        A log that begins only now is preceded by a comparison of everything, but ``is_after_copy``, which knows what is
        left. Lost connections are made again; raises ``Refused`` where a slot is not allowed.
        """
        self._is_after_copy = is_after_copy
        try:
            if await self._begin(until_caught_up):
                await self._follow_all(until_caught_up)
        finally:
            await self.close()
        return self.state

    async def _follow_all(self, until_caught_up: bool) -> None:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._follow(side, until_caught_up)) for side in Side]
        if until_caught_up:
            tasks += [asyncio.create_task(beside.round()) for beside in self._beside]
        else:
            tasks += [asyncio.create_task(beside.run(self._stopping)) for beside in self._beside]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, until_caught_up: bool) -> bool:
        """See to publications and slots, and compare what the logs do not know of; gives False where it was stopped.

        Whatever is lost on the way is waited for: what was not done yet is noted, and done then.
        """
        failures = 0
        is_prepared = False
        while not self._stopping.is_set():
            try:
                await self.reload_writers()
                if not is_prepared:
                    self.state.set_aside = await self._book.set_aside()
                    await self.tell_state(at_once=True)
                    await self.prepare()
                    is_prepared = True
                for side in Side:
                    if not self._stopping.is_set():
                        await self._pay(side)
                if self._stopping.is_set():
                    return False
                await self._sweep_unseen()
                await self._carrying.take_up_again()
            except Refused:
                raise
            except DATABASE_FAILURES as error:
                if is_about_rows(error) or (until_caught_up and failures >= len(AGAIN_S) - 1):
                    raise
                await self._wait_for_sides(error, failures)
                failures += 1
            else:
                return True
        return False

    async def _wait_for_sides(self, error: Exception, failures: int) -> None:
        """Say that a side is away, wait, and connect to the control store again where that was lost."""
        reason = reason_of(error)
        self._progress.say(f"A side is away, waiting for it: {reason}")
        for state in self.state.sides.values():
            state.error = reason
        await self._pause(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
        await self.open_again()
        with contextlib.suppress(*DATABASE_FAILURES):
            await self.tell_state(at_once=True)

    async def open_again(self) -> None:
        """Connect to the control store again, where that connection was lost."""
        await self._book.open_again()

    async def close(self) -> None:
        """Tell the state for the last time, where the control store can be told, and close what was opened here."""
        with contextlib.suppress(*DATABASE_FAILURES):
            await self.tell_state(is_last=True)
        await self._book.close()

    async def _follow(self, side: Side, until_caught_up: bool) -> None:
        state = self.state.sides[str(side)]
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._follow_connected(side, state, until_caught_up)
                return
            except Refused:
                raise
            except DATABASE_FAILURES as error:
                # Either side may be away for a while: the slot keeps what is missed.
                failures = 0 if state.error is None else failures
                state.error = reason_of(error)
                logger.warning("following is interrupted", extra={"side": str(side), "reason": state.error})
                if until_caught_up and failures >= len(AGAIN_S) - 1:
                    raise
                await self._pause(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
                failures += 1
                await self._book.open_again()
                with contextlib.suppress(*DATABASE_FAILURES):
                    await self.tell_state()

    async def _follow_connected(self, side: Side, state: SideState, until_caught_up: bool) -> None:
        connection = await self._connect(side)
        try:
            follower = Follower(
                side, connection, carry=self._carrying.carry_or_set_aside, differing=self._carrying.differing
            )
            # The slot may have been lost meanwhile: what it held is not known any more.
            await follower.start(partial(self._book.owe, side))
            await self._pay(side)
            end_lsn = await follower.flush() if until_caught_up else 0
            reached_s: float | None = None
            tables_s = time.monotonic()
            while not self._stopping.is_set():
                await self.reload_writers()
                try:
                    done = await follower.round(self.writer_of_table, await self._shared(side))
                except WriterMoved:
                    # The slot stays where it was: the round is done again with what is known by then.
                    await self._pause(IDLE_S)
                    continue
                await self._account(side, state, done, follower)
                if until_caught_up and done.read_lsn >= end_lsn:
                    # An app that writes without pause leaves no moment in which nothing waits.
                    reached_s = reached_s or time.monotonic()
                    if done.is_idle or time.monotonic() - reached_s > IDLE_PATIENCE_S:
                        return
                if time.monotonic() - tables_s > TABLES_AGAIN_S:
                    tables_s = time.monotonic()
                    await self._take_in_new_tables(side, follower)
                if done.is_idle:
                    await self._pause(IDLE_S)
        finally:
            await close(connection)

    async def _shared(self, side: Side) -> dict[str, Table]:
        views = {one: await self._databases[one].catalog.view() for one in Side}
        return {name: table for name, table in views[side].tables.items() if name in views[side.other].tables}

    async def _take_in_new_tables(self, side: Side, follower: Follower) -> None:
        """Publish tables that were made meanwhile, and compare those that both sides have by now."""
        await follower.include_new_tables(partial(self._book.owe, side))
        await self._pay(side)
        shared = await self._shared(side)
        await self._carrying.sweep_leniently(sorted(shared.keys() & self.state.one_sided))
        self.state.one_sided = sorted(set(self.state.one_sided) - shared.keys())
        if side is Side.SUPABASE:
            await self._carrying.take_up_again()
            if time.monotonic() - self._unseen_swept_s > UNPUBLISHED_AGAIN_S:
                await self._sweep_unseen()

    async def _account(self, side: Side, state: SideState, done: Round, follower: Follower) -> None:
        state.error = None
        state.changes += done.changes
        state.carried += done.carried
        self.state.swept += len(done.swept)
        self.state.one_sided = sorted(done.one_sided.union(self.state.one_sided))
        for stray in done.strays:
            state.strays += max(len(stray.things), 1)
            await self._book.tell_stray(side, stray)
        slot = await follower.slot()
        if slot is not None:
            state.lag_bytes, state.wal_status = slot.held_bytes, slot.wal_status
            if slot.is_lost:
                raise ConnectionError("the server dropped log that was not read yet")
        at = done.last_commit_at
        state.lag_s = 0.0 if done.is_idle or at is None else max((datetime.now(UTC) - at).total_seconds(), 0.0)
        await self.tell_state()

    async def _sweep_unseen(self) -> None:
        """Compare the tables that the log says nothing of: without a key, of other owners."""
        view = await self._databases[Side.SUPABASE].catalog.reload()
        other = await self._databases[Side.ISOBASE].catalog.reload()
        await self.reload_writers()
        shared = view.tables.keys() & other.tables.keys()
        published = {side: await read_published(self._databases[side]) for side in Side}
        silent = {name for name in shared if name not in published[self.writer_of_table(name)]}
        await self._carrying.sweep_leniently(sorted(silent))
        self._unseen_swept_s = time.monotonic()

    async def reload_writers(self) -> None:
        """Read who is written first."""
        await self._book.reload_writers()

    def writer_of_table(self, resource: str) -> Side:
        """Give the side that is written first for a table (``schema.table``), as read last."""
        return self._book.writer_of(Capability(Kind.TABLE, resource))[0]

    async def tell_state(self, *, is_last: bool = False, at_once: bool = False) -> None:
        """Keep the state for ``status``, not more often than every two seconds. is_last: the sync ends."""
        await self._book.tell_state(self.state, is_last=is_last, at_once=at_once)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

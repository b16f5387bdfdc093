"""Copies all tables by COPY in parallel ranges; it can be ended anywhere and goes on where it was.

Each range is one transaction at the target, with the mark that it is done. A row that is at the target already is left
as it is: a write that goes to both sides carried it. What changed at the source while its range was on the way, deletes
above all, is set right by what follows every copy: the changes since its beginning, or a comparison of the whole
(``isobase_adapter.bulk.settle``). Where Isobase became the writer meanwhile nothing more is taken over: it would be older
than what is there, or be there again after it was deleted. Neighbours: ``copied`` cuts, ``streaming`` moves one range,
``jobs`` keeps the marks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg

from isobase_adapter.bulk.connections import Connection, connect, connected
from isobase_adapter.bulk.copied import CopiedTable, RangeCut, copied_tables, cut
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.jobs import Jobs
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.streaming import copy_range, copy_range_beside
from isobase_adapter.failures import AWAY
from isobase_adapter.outbox.entries import FENCE_LOCK_NUMBER
from isobase_adapter.outbox.statements import WRITER
from isobase_adapter.reasons import reason_of
from isobase_adapter.rows.database import CARRIED_MARK, COPIED
from isobase_adapter.sides import Side

__all__ = ["CopyReport", "TableCopy", "copy_tables", "require_writer"]

logger = logging.getLogger("isobase.migration.bulk")

JOB = "copy"
TRIES = 3
"""How often a range is tried whose connection was lost."""
TRY_AGAIN_S = 1.0


@dataclass(slots=True)
class TableCopy:
    """What came of one table. ``resumed``: ranges that were done before; ``beside``: those with rows there already."""

    name: str
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    ranges: int = 0
    resumed: int = 0
    beside: int = 0
    method: str = ""
    error: str | None = None
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class CopyReport:
    """What came of a copy. ``missing``: tables that the target has not."""

    tables: list[TableCopy] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every table is at the target."""
        return not self.missing and all(one.error is None for one in self.tables)

    @property
    def bytes(self) -> int:
        """Bytes that were sent."""
        return sum(one.bytes for one in self.tables)

    @property
    def rows(self) -> int:
        """Rows that were sent."""
        return sum(one.rows for one in self.tables)


@dataclass(slots=True)
class _Work:
    """One table under way: its ranges, what is done, and the snapshot that they share."""

    table: CopiedTable
    cut: RangeCut
    done: set[int]
    report: TableCopy
    left: int
    share_bytes: int
    holder: Connection | None = None
    snapshot: str | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


async def copy_tables(
    dsns: Mapping[Side, str],
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    parallel: int = 4,
    range_bytes: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> CopyReport:
    """Copy the tables' rows from Supabase to Isobase.

    only, without: ``schema.table`` names, default all of the project's. parallel: ranges at a time, each with a connection
    to either side. range_bytes: about so much is one range. Errors of single tables are in the report; raises ``Refused``
    where the target's role may not load rows, and what the servers raise when they are lost for longer than some seconds.
    """
    started_s = time.monotonic()
    report = CopyReport()
    async with AsyncExitStack() as opened:
        source = await opened.enter_async_context(connected(dsns[Side.SUPABASE], "copy"))
        target = await opened.enter_async_context(connected(dsns[Side.ISOBASE], "copy"))
        await _require_replica_role(target)
        tables, report.missing = await copied_tables(source, target)
        chosen = [one for one in tables if (not only or one.name in only) and one.name not in without and one.columns]
        report.missing = [one for one in report.missing if (not only or one in only) and one not in without]
        jobs = Jobs(target, JOB)
        marks = await jobs.read()
        queue: asyncio.Queue[tuple[_Work, int]] = asyncio.Queue()
        for table in chosen:
            work = await _prepare(source, target, jobs, marks, table, range_bytes)
            report.tables.append(work.report)
            if work.report.error is None and work.left:
                progress.begin(table.name, table.size_bytes, "bytes")
                for number in range(len(work.cut.conditions)):
                    if number in work.done:
                        progress.advance(table.name, work.share_bytes)
                    else:
                        queue.put_nowait((work, number))
        copier = _Copier(dsns, queue, progress)
        try:
            await copier.run(min(parallel, queue.qsize()))
        finally:
            await copier.close()
    report.seconds = time.monotonic() - started_s
    return report


async def require_writer(target: Connection, table: str) -> None:
    """Hold the fence until the transaction ends, with Supabase being the table's writer until then. Raises ``Refused``.

    Late in a transaction: a handover waits for it, and for as long as it waits all carriers wait, too.
    """
    await target.execute("select pg_advisory_xact_lock_shared($1)", FENCE_LOCK_NUMBER)
    writer = await target.fetchrow(WRITER, f"table:{table}")
    if writer is not None and writer["side"] != Side.SUPABASE:
        raise Refused(
            f"{table}: Isobase is written first by now: a copy would bring older rows",
            hint="sync keeps both sides equal in either direction; verify --repair carries what differs",
        )


async def _require_replica_role(target: Connection) -> None:
    try:
        async with target.transaction():
            await target.execute("set local session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(
            "the role of the Isobase side's database may not set session_replication_role: triggers would run again",
            hint="grant set on parameter session_replication_role to that role (PostgreSQL 15 and later)",
        ) from error


async def _prepare(
    source: Connection,
    target: Connection,
    jobs: Jobs,
    marks: dict[str, dict[str, object]],
    table: CopiedTable,
    range_bytes: int | None,
) -> _Work:
    """Cut the table, or take up the cut and the marks of the run before."""
    before = marks.get(table.name)
    done = {int(part.rpartition("#")[2]) for part in marks if part.startswith(f"{table.name} #")}
    if before is not None and (before["method"] != "blocks" or before["file_number"] == table.file_number):
        conditions = before["conditions"]
        assert isinstance(conditions, list)
        ranges = RangeCut(str(before["method"]), tuple(conditions))
    else:
        # Blocks of a file that was rewritten meanwhile are other rows: all again, beside what is there.
        await jobs.forget(part for part in marks if part == table.name or part.startswith(f"{table.name} #"))
        done = set()
        ranges = await (cut(source, table) if range_bytes is None else cut(source, table, range_bytes))
        state = {"method": ranges.method, "conditions": ranges.conditions, "file_number": table.file_number}
        await jobs.set(table.name, state)
    report = TableCopy(
        table.name, ranges=len(ranges.conditions), resumed=len(done), method=ranges.method, left_out=table.left_out
    )
    if not table.key and not done and await target.fetchval(f"select exists (select from only {table.quoted})"):  # noqa: S608
        report.error = "the target has rows already, and without a primary key they cannot be told from those to come"
    return _Work(
        table,
        ranges,
        done,
        report,
        left=len(ranges.conditions) - len(done),
        share_bytes=table.size_bytes // len(ranges.conditions),
    )


class _Copier:
    """Workers that take ranges from one queue, each with a connection to either side."""

    def __init__(self, dsns: Mapping[Side, str], queue: asyncio.Queue[tuple[_Work, int]], progress: Progress) -> None:
        self._dsns = dsns
        self._queue = queue
        self._progress = progress
        self._held: list[_Work] = []

    async def run(self, workers: int) -> None:
        """Copy until nothing is left. The first error that is not one table's own ends all workers."""
        tasks = [asyncio.create_task(self._work()) for _ in range(workers)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Let go of snapshots that tables under way still have."""
        for work in list(self._held):
            await self._release(work)

    async def _work(self) -> None:
        async with AsyncExitStack() as opened:
            source, target = await self._connect(opened)
            tries = 0
            while not self._queue.empty():
                work, number = self._queue.get_nowait()
                if work.report.error is not None:
                    continue
                while True:
                    try:
                        await self._copy(source, target, work, number)
                        tries = 0
                        break
                    except AWAY:
                        # A server that restarts, a pooler that moves: the range's transaction is undone; again.
                        tries += 1
                        if tries >= TRIES:
                            raise
                        await asyncio.sleep(TRY_AGAIN_S * tries)
                        await opened.aclose()
                        source, target = await self._connect(opened)
                        await self._release(work)
                    except asyncpg.PostgresError as error:
                        # The table's own: a value that the target's column does not take, a check.
                        work.report.error = reason_of(error)
                        await self._release(work)
                        self._progress.end(work.table.name, work.report.error)
                        break

    async def _connect(self, opened: AsyncExitStack) -> tuple[Connection, Connection]:
        source = await opened.enter_async_context(connected(self._dsns[Side.SUPABASE], "copy"))
        target = await opened.enter_async_context(connected(self._dsns[Side.ISOBASE], "copy", synchronous_commit="off"))
        return source, target

    async def _copy(self, source: Connection, target: Connection, work: _Work, number: int) -> None:
        started_s = time.monotonic()
        counted = _Counter(work, self._progress)
        snapshot = await self._snapshot(work)
        async with source.transaction(isolation="repeatable_read", readonly=True):
            if snapshot is not None:
                await source.execute(f"set transaction snapshot '{snapshot}'")
            condition = work.cut.conditions[number]
            try:
                rows = await self._fill(source, target, work, number, condition, counted, is_beside=False)
            except (asyncpg.UniqueViolationError, asyncpg.ExclusionViolationError):
                rows = await self._fill(source, target, work, number, condition, counted, is_beside=True)
                work.report.beside += 1
        work.report.rows += rows
        work.report.bytes += counted.bytes
        work.report.seconds += time.monotonic() - started_s
        work.left -= 1
        counted.fill()
        if not work.left:
            await self._release(work)
            self._progress.end(work.table.name, f"{work.report.rows} rows")

    async def _fill(
        self,
        source: Connection,
        target: Connection,
        work: _Work,
        number: int,
        condition: str,
        counted: _Counter,
        *,
        is_beside: bool,
    ) -> int:
        async with target.transaction():
            await target.execute("set local session_replication_role = replica")
            # Where the target's log is followed already, these rows are nobody's writes, and no news to an app.
            await target.execute("select pg_logical_emit_message(true, $1, $2::text)", CARRIED_MARK, COPIED)
            move = copy_range_beside if is_beside else copy_range
            rows = await move(source, target, work.table, condition, counted)
            await require_writer(target, work.table.name)
            mark = {"rows": rows, "is_beside": is_beside}
            await Jobs(target, JOB).set(f"{work.table.name} #{number}", mark)
        return rows

    async def _snapshot(self, work: _Work) -> str | None:
        """Give the snapshot that a table's ranges share, so that together they are the table at one moment."""
        if len(work.cut.conditions) < 2:
            return None
        async with work.lock:
            if work.holder is None:
                holder = await connect(self._dsns[Side.SUPABASE], "copy, snapshot")
                try:
                    await holder.execute("begin isolation level repeatable read read only")
                    work.snapshot = await holder.fetchval("select pg_export_snapshot()")
                except BaseException:
                    holder.terminate()
                    raise
                work.holder = holder
                self._held.append(work)
            return work.snapshot

    async def _release(self, work: _Work) -> None:
        holder, work.holder, work.snapshot = work.holder, None, None
        if holder is not None:
            self._held.remove(work)
            holder.terminate()


class _Counter:
    """Counts a range's bytes, and shows no more of it than the range's share of the table."""

    def __init__(self, work: _Work, progress: Progress) -> None:
        self.bytes = 0
        self._shown = 0
        self._work = work
        self._progress = progress

    def __call__(self, size_bytes: int) -> None:
        self.bytes += size_bytes
        shown = min(self.bytes, self._work.share_bytes)
        if shown > self._shown:
            self._progress.advance(self._work.table.name, shown - self._shown)
            self._shown = shown

    def fill(self) -> None:
        self._progress.advance(self._work.table.name, self._work.share_bytes - self._shown)

"""Copies all objects from one blob store to another while a server goes on serving, and verifies what is there.

A blob is never changed once it is stored: an overwrite is a new version. So copying needs no lock, a blob that is at the
target stays right, and what changed meanwhile is simply another version that is not at the target yet. Each pass lists the
target, compares it with the rows, and copies what is missing; passes go on until one finds nothing to copy. A run that was
ended by whatever needs no memory of its own: the next one finds at the target what was copied, and compares it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from isobase_services.storage.blob import BlobEntry, BlobKey, BlobMissing, BlobStore, BlobStoreFull, BlobUnavailable
from isobase_services.storage.upkeep.copying import Comparison, ObjectCopier, Verify
from isobase_services.storage.upkeep.inventory import Inventory
from isobase_services.storage.upkeep.move_report import MoveReport, Problem, ProblemKind
from isobase_services.storage.upkeep.rows import StoredRow, UpkeepRows

__all__ = ["MoveOptions", "MoveProgress", "Mover"]

MAX_PASSES = 5
"""A server that goes on writing to the source would keep a run busy for ever."""
COPY_ATTEMPTS = 3
RETRY_DELAY_S = 0.5
"""Before the second attempt; doubled before the third."""
MAX_FAILURES_IN_A_ROW = 50
"""So many objects one after the other that cannot be copied are no objects' fault."""
DELETE_BATCH = 1000

_log = logging.getLogger("isobase.storage.move")


class MoveProgress(Protocol):
    """Who is told how far it is. Called on the event loop, often: be quick."""

    def pass_begins(self, number: int) -> None:
        """The target is listed and the rows are read."""
        ...

    def to_copy(self, objects: int, size_bytes: int) -> None:
        """The pass knows its rows: how many there are, and how many bytes they say."""
        ...

    def read(self, size_bytes: int) -> None:
        """Bytes were read from the source."""
        ...

    def done(self, objects: int) -> None:
        """Objects were copied, compared or given up."""
        ...


@dataclass(slots=True, frozen=True)
class MoveOptions:
    """How a move runs. ``parallel``: objects in flight at once. ``follow_interval_s``: with it, go on until ``stop``."""

    verify: Verify = Verify.CHECKSUM
    parallel: int = 8
    bucket: str | None = None
    follow_interval_s: float | None = None
    is_dry_run: bool = False


class Mover:
    """One move. ``run`` it once; the stores are started, and closed by who made them."""

    def __init__(
        self,
        rows: UpkeepRows,
        source: BlobStore,
        target: BlobStore,
        options: MoveOptions,
        progress: MoveProgress,
        report: MoveReport,
    ) -> None:
        """``report`` is filled as the move goes on, so that an interrupted one can be told about too."""
        self._rows = rows
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._report = report
        self._copier = ObjectCopier(source, target, options.verify, progress.read)
        self._odd_versions: set[str] = set()
        """Copied, but in another size than their rows say."""
        self._failures_in_a_row = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End a move that follows: it goes on as one that does not, until a pass finds nothing to copy."""
        self._stopping.set()

    async def run(self) -> MoveReport:
        """Copy and verify until a pass finds nothing to copy, or ``MAX_PASSES`` have run.

        Single objects that cannot be copied are in the report. Raises ``BlobUnavailable`` where a store is out of reach,
        ``BlobStoreFull``, ``Unavailable``, ``DatabaseError``.
        """
        report = self._report
        last_passes = 0
        while True:
            report.passes += 1
            last_passes += self._is_last_stretch
            self._progress.pass_begins(report.passes)
            to_copy = await self._run_pass(is_first=report.passes == 1)
            report.is_settled = to_copy == 0
            if self._options.is_dry_run or (last_passes and (report.is_settled or last_passes >= MAX_PASSES)):
                break
            if not last_passes and self._options.follow_interval_s is not None:
                await self._pause(self._options.follow_interval_s)
        async for _ in self._source.scan_uploads():
            report.unfinished_uploads += 1
        if self._source.appends is not None:
            async for _ in self._source.appends.scan():
                report.unfinished_uploads += 1
        report.finished_at = datetime.now(UTC).isoformat(timespec="seconds")
        return report

    @property
    def _is_last_stretch(self) -> bool:
        """Whether the next pass may be the last."""
        return self._options.follow_interval_s is None or self._stopping.is_set()

    async def _pause(self, interval_s: float) -> None:
        try:
            async with asyncio.timeout(interval_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _run_pass(self, *, is_first: bool) -> int:
        """One look at everything; returns how many objects were missing at the target, of those that the source has."""
        report = self._report
        staying = await self._staying_problems()
        inventory = Inventory(self._rows, self._target)
        found_missing = 0
        try:
            await inventory.take(self._options.bucket)
            report.objects, report.bytes = inventory.rows, inventory.row_bytes
            self._progress.to_copy(inventory.rows, inventory.row_bytes)
            report.forget_problems()
            for problem in staying:
                report.add_problem(problem)
            report.to_copy = report.to_copy_bytes = 0
            for numbers in report.buckets.values():
                numbers.objects = numbers.bytes = 0
            async for partition in inventory.partitions():
                whole: list[StoredRow] = []
                missing = list(partition.rows_without_blob)
                for row, entry in partition.pairs:
                    # Another size than the row's is another object, unless the source has it in that size too.
                    is_done = _is_whole(row, entry) or row.version in self._odd_versions
                    (whole if is_done else missing).append(row)
                for row in (*whole, *missing):
                    numbers = report.bucket(row.bucket)
                    numbers.objects += 1
                    numbers.bytes += row.size_bytes or 0
                if is_first:
                    await self._verify_all(whole)
                else:
                    self._progress.done(len(whole))
                found_missing += await self._copy_all(missing)
        finally:
            inventory.close()
        return found_missing

    async def _staying_problems(self) -> list[Problem]:
        """Problems that a later pass would not find again, as it copies only what is not there; of rows that still are."""
        problems = [one for one in self._report.problems if one.kind in _STAYING]
        still = await self._rows.still_named([BlobKey(one.bucket, one.key, one.version) for one in problems])
        return [one for one in problems if BlobKey(one.bucket, one.key, one.version) in still]

    async def _verify_all(self, rows: Sequence[StoredRow]) -> None:
        """Compare what was at the target before this run."""

        async def verify(row: StoredRow) -> None:
            try:
                compared = await self._attempt(row, is_copy=False)
            except BlobMissing:
                # Removed from one of the stores since the target was listed; the next pass sees what is right.
                return
            if compared is None:
                return
            if compared.problem is ProblemKind.MISMATCH and not self._options.is_dry_run:
                # Wrong bytes under the right name: the source's take their place.
                await self._copy_all([row], is_repair=True)
                return
            numbers = self._report.bucket(row.bucket)
            numbers.already_there += 1
            self._report.already_there += 1
            self._count(row, compared)

        await self._in_parallel(rows, verify)

    async def _copy_all(self, rows: Sequence[StoredRow], *, is_repair: bool = False) -> int:
        """Copy rows' blobs; returns how many the source had. Rows that changed meanwhile are no problem."""
        self._report.to_copy += len(rows)
        self._report.to_copy_bytes += sum(row.size_bytes or 0 for row in rows)
        if self._options.is_dry_run:
            self._progress.done(len(rows))
            return len(rows)
        lost: list[StoredRow] = []
        copied: list[StoredRow] = []

        async def copy(row: StoredRow) -> None:
            if not row.has_version:
                lost.append(row)
                return
            try:
                compared = await self._attempt(row, is_copy=True)
            except BlobMissing:
                lost.append(row)
                return
            if compared is None:
                return
            copied.append(row)
            numbers = self._report.bucket(row.bucket)
            numbers.copied += 1
            numbers.copied_bytes += compared.size_bytes
            self._report.copied += 1
            self._report.copied_bytes += compared.size_bytes
            self._count(row, compared)

        if is_repair:
            await copy(rows[0])
        else:
            await self._in_parallel(rows, copy)
        await self._settle(copied, lost)
        return len(rows) - len(lost)

    async def _settle(self, copied: Sequence[StoredRow], lost: Sequence[StoredRow]) -> None:
        """Look at the rows again: copies that no row names any more are dropped, lost blobs that none names are none."""
        still = await self._rows.still_named([row.key for row in (*copied, *lost) if row.has_version])
        stale = [row for row in copied if row.key not in still]
        if stale:
            await self._target.delete([row.key for row in stale])
        for row in (*stale, *lost):
            if row.has_version and row.key not in still:
                self._report.bucket(row.bucket).changed += 1
                self._report.changed += 1
            elif not row.has_version and await _has(self._source, row):
                # A bucket that upstream wrote to long ago may hold such; a copy by the API gives it a version.
                reason = "its row has no version: copy or upload it again over the API, then move it"
                self._add_problem(row, ProblemKind.FAILED, reason)
            # A server that writes to the target already may have stored it since the target was listed.
            elif not await _has(self._target, row):
                self._add_problem(row, ProblemKind.MISSING, "neither store has its bytes")

    async def _attempt(self, row: StoredRow, *, is_copy: bool) -> Comparison | None:
        """Copy or compare, again after a failure; None where it failed for good, which is in the report then."""
        delay_s = RETRY_DELAY_S
        for attempt in range(COPY_ATTEMPTS):
            try:
                compared = await (self._copier.copy(row) if is_copy else self._copier.compare(row))
            except BlobStoreFull:
                raise
            except BlobUnavailable as error:
                if attempt + 1 < COPY_ATTEMPTS:
                    await asyncio.sleep(delay_s)
                    delay_s *= 2
                    continue
                self._failures_in_a_row += 1
                if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                    raise
                self._add_problem(row, ProblemKind.FAILED, error.message)
                return None
            self._failures_in_a_row = 0
            return compared
        raise AssertionError("the last attempt returns or raises")

    def _count(self, row: StoredRow, compared: Comparison) -> None:
        if compared.is_by_checksum:
            self._report.by_checksum += 1
        else:
            self._report.by_size += 1
        self._report.read_back += compared.was_read_back
        if compared.problem is ProblemKind.SOURCE_CHANGED and compared.size_bytes != row.size_bytes:
            self._odd_versions.add(row.version)
        if compared.problem is not None:
            self._add_problem(row, compared.problem, compared.reason)

    def _add_problem(self, row: StoredRow, kind: ProblemKind, reason: str) -> None:
        self._report.add_problem(Problem(kind, row.bucket, row.name, row.version, reason))
        _log.warning("an object needs a look", extra={"bucket": row.bucket, "object": row.name, "problem": kind.value})

    async def _in_parallel(self, rows: Sequence[StoredRow], work: _Work) -> None:
        """Run ``work`` for every row, ``parallel`` at a time. The first exception ends all of them."""
        remaining = iter(rows)

        async def run_some() -> None:
            for row in remaining:
                await work(row)
                self._progress.done(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._options.parallel, len(rows))):
                    group.create_task(run_some())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def delete_source(self) -> int:
        """Remove from the source what the target has; call it after a complete ``run`` only. Returns how many.

        The target is listed once more, so a blob goes only when the target shows it in the row's size.
        """
        inventory = Inventory(self._rows, self._target)
        try:
            await inventory.take(self._options.bucket)
            async for partition in inventory.partitions():
                keys = [row.key for row, entry in partition.pairs if _is_whole(row, entry)]
                for start in range(0, len(keys), DELETE_BATCH):
                    await self._source.delete(keys[start : start + DELETE_BATCH])
                self._report.source_removed += len(keys)
        finally:
            inventory.close()
        return self._report.source_removed


class _Work(Protocol):
    async def __call__(self, row: StoredRow, /) -> None: ...


_STAYING = frozenset({ProblemKind.SOURCE_CHANGED, ProblemKind.MISMATCH})


async def _has(store: BlobStore, row: StoredRow) -> bool:
    try:
        await store.stat(row.key)
    except BlobMissing:
        return False
    return True


def _is_whole(row: StoredRow, entry: BlobEntry) -> bool:
    """Whether the target's blob has the size that the row says."""
    return row.size_bytes is None or row.size_bytes == entry.size_bytes

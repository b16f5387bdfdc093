"""Fills the target with all buckets and objects of the source, side by side, and again from where it stopped.

What is there already and equal is skipped by its facts, so a copy that was killed goes on when it is run again, and one
that runs twice does nothing. It never removes anything, and writes under the same locks as every other carrier: an
object that an app writes meanwhile is never replaced by an older one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum

from isobase_adapter.contracts import Fence
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.facts import ObjectFacts
from isobase_adapter.storage.report import BucketReport, Progress, StorageReport, Trouble
from isobase_adapter.storage.walk import difference_of, walked
from isobase_adapter.things import Thing, ThingKind

__all__ = ["CopyOrder", "copy_storage"]

WINDOW_OBJECTS = 20_000
"""So many objects are put in order at a time; memory is bounded by it."""
PARALLEL_OBJECTS = 8


class CopyOrder(StrEnum):
    """What comes first, within each window of ``WINDOW_OBJECTS`` keys."""

    NAME = "name"
    NEWEST = "newest"
    SMALLEST = "smallest"
    LARGEST = "largest"


async def copy_storage(
    carrier: ObjectCarrier,
    target: Side,
    *,
    buckets: Sequence[str] | None = None,
    order: CopyOrder = CopyOrder.NEWEST,
    parallel: int = PARALLEL_OBJECTS,
    fence: Fence | None = None,
    progress: Progress = lambda report: None,
) -> StorageReport:
    """Copy buckets and objects to ``target``.

    buckets: ids, None: all. parallel: how many objects are on their way at a time (the carrier's own bound holds too).
    Objects that fail are named in the report, and the copy goes on; errors of listing end it.
    """
    source = carrier.store(target.other)
    report = StorageReport()
    for found in await source.buckets():
        if buckets is not None and found.id not in buckets:
            continue
        one = BucketReport(found.id)
        report.buckets.append(one)
        if (size := await source.size(found.id)) is not None:
            one.total_objects, one.total_bytes = size
        await carrier.carry([Thing(ThingKind.BUCKET, found.id)], target, fence=fence)
        await _BucketCopy(carrier, target, report, one, order, parallel, fence, progress).run()
    return report


class _BucketCopy:
    """One bucket's copy."""

    def __init__(
        self,
        carrier: ObjectCarrier,
        target: Side,
        report: StorageReport,
        one: BucketReport,
        order: CopyOrder,
        parallel: int,
        fence: Fence | None,
        progress: Progress,
    ) -> None:
        self._carrier = carrier
        self._target = target
        self._report = report
        self._one = one
        self._order = order
        self._parallel = parallel
        self._fence = fence
        self._progress = progress

    async def run(self) -> None:
        """Go through the bucket."""
        source, target = self._carrier.store(self._target.other), self._carrier.store(self._target)
        window: list[ObjectFacts] = []
        async for there, here in walked(source, target, self._one.bucket):
            if there is None:
                continue
            self._one.seen_objects += 1
            self._one.seen_bytes += there.size_bytes or 0
            if difference_of(there, here) is not None:
                window.append(there)
                if len(window) >= WINDOW_OBJECTS:
                    await self._carry(window)
                    window = []
            elif self._one.seen_objects % 500 == 0:
                self._progress(self._one)
        await self._carry(window)
        self._progress(self._one)

    async def _carry(self, window: list[ObjectFacts]) -> None:
        ordered = iter(_ordered(window, self._order))

        async def work() -> None:
            for facts in ordered:
                await self._carry_one(facts)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._parallel):
                group.create_task(work())

    async def _carry_one(self, facts: ObjectFacts) -> None:
        try:
            thing = Thing(ThingKind.OBJECT, facts.bucket, (facts.key,))
            await self._carrier.carry([thing], self._target, fence=self._fence)
        except Exception as error:  # noqa: BLE001 - one object's failure is reported, and the others go on
            self._one.failed_objects += 1
            self._report.add(Trouble(facts.bucket, facts.key, reason_of(error)))
        else:
            self._one.carried_objects += 1
            self._one.carried_bytes += facts.size_bytes or 0
        self._progress(self._one)


def _ordered(window: list[ObjectFacts], order: CopyOrder) -> list[ObjectFacts]:
    match order:
        case CopyOrder.NAME:
            return window
        case CopyOrder.NEWEST:
            return sorted(window, key=lambda facts: str(facts.columns.get("created_at") or ""), reverse=True)
        case CopyOrder.SMALLEST:
            return sorted(window, key=lambda facts: facts.size_bytes or 0)
        case CopyOrder.LARGEST:
            return sorted(window, key=lambda facts: facts.size_bytes or 0, reverse=True)

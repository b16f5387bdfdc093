"""Tells a ``Progress`` how far comparisons are: tables by what both sides have read, buckets by objects or bytes."""

from __future__ import annotations

from isobase_adapter.bulk.progress import Progress
from isobase_adapter.sides import Side
from isobase_adapter.storage.report import BucketReport
from isobase_adapter.storage.verify import Depth

__all__ = ["BucketProgress", "TableProgress"]

PAGE_BYTES = 8192


class TableProgress:
    """Tells a ``Progress`` of the pages that both sides have read."""

    def __init__(self, progress: Progress, table: str) -> None:
        self._progress, self._table = progress, table
        self._totals: dict[Side, int] = {}
        self._done: dict[Side, int] = {}
        self._has_begun = False
        self._is_judging = False

    def __call__(self, side: Side, done: int, pages: int) -> None:
        self._totals[side] = pages
        if not self._has_begun:
            # The other side's is as large, as far as is known by now.
            self._has_begun = True
            self._progress.begin(self._table, 2 * pages * PAGE_BYTES, "bytes")
        self._progress.advance(self._table, (done - self._done.get(side, 0)) * PAGE_BYTES)
        self._done[side] = done

    def judged(self, rows: int) -> None:
        """Tell that so many more rows that differed at first were looked at again, and repaired where that was asked for."""
        if not self._is_judging:
            self._is_judging = True
            self._progress.begin(f"{self._table}, rows that differ", 0, "rows")
        self._progress.advance(f"{self._table}, rows that differ", rows)

    def end(self, text: str) -> None:
        """Say what came of it."""
        if self._is_judging:
            self._progress.end(f"{self._table}, rows that differ", "looked at")
        self._progress.end(self._table, text)


class BucketProgress:
    """Tells a ``Progress`` of the objects that were looked at; of their bytes where those are read."""

    def __init__(self, progress: Progress, bucket: str, depth: Depth) -> None:
        self._progress, self._part = progress, f"bucket {bucket}"
        self._is_of_bytes = depth is Depth.BYTES
        self._done = 0
        self._has_begun = False

    def __call__(self, report: BucketReport) -> None:
        if not self._has_begun:
            self._has_begun = True
            total = report.total_bytes if self._is_of_bytes else report.total_objects
            self._progress.begin(self._part, total or 0, "bytes" if self._is_of_bytes else "objects")
        done = report.seen_bytes if self._is_of_bytes else report.seen_objects
        self._progress.advance(self._part, done - self._done)
        self._done = done

    def end(self, text: str) -> None:
        """Say what came of it."""
        self._progress.end(self._part, text)

"""Finds blobs without a row and rows without a blob, and removes such blobs where it is asked to.

A blob without a row costs space and nothing else: a process ended between storing it and writing the row, or between the
row's commit and the removal of the version that it replaced. A row without a blob is an object that answers NoSuchKey: made
by SQL, or its blob was lost. Rows are reported and never removed.

A blob is removed only when it is older than the grace period and no row and no unfinished upload names its version, asked
once more right before. A version is made for one write and never used again, so a version that is not named by then will not
be: the write that made it is long over. A lock on the key, which a write holds while its row changes, would add nothing to
that, and from the name of a blob on the disk its key cannot be known.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobEntry, BlobMissing, BlobStore
from isobase_services.storage.upkeep.inventory import Inventory, Partition
from isobase_services.storage.upkeep.rows import StoredRow, UpkeepRows

__all__ = ["CheckReport", "Checker", "version_of"]

MAX_LISTED = 1000
"""How many of a kind a report names; it counts them all."""
MIN_REMOVAL_GRACE_S = 600.0
"""A blob that is removed sooner may be that of an upload whose row is about to be written."""
REMOVAL_BATCH = 1000
STATS_AT_ONCE = 16
SUSPICIOUS_SHARE = 0.5
"""More orphans than this share of all blobs look like the wrong database or the wrong store, not like crashes."""
SUSPICIOUS_BLOBS = 100
"""Below so many orphans the share is not asked."""

_VERSION = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


@dataclass(slots=True)
class CheckReport:
    """What a check found. Counts are complete, lists end at ``MAX_LISTED``; sizes are bytes.

    ``young_blobs`` have no row and are not old enough to judge; ``foreign_blobs`` are not of this server's making.
    ``is_refused``: there were so many orphans that none was removed.
    """

    checked_at: str
    grace_s: float
    blobs: int = 0
    blob_bytes: int = 0
    rows: int = 0
    orphan_blobs: int = 0
    orphan_bytes: int = 0
    young_blobs: int = 0
    foreign_blobs: int = 0
    rows_without_blob: int = 0
    removed_blobs: int = 0
    removed_bytes: int = 0
    unfinished_uploads: int = 0
    is_refused: bool = False
    orphans: list[dict[str, object]] = field(default_factory=list)
    missing: list[dict[str, object]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every row has its blob and every blob that is left its row."""
        return self.rows_without_blob == 0 and self.removed_blobs >= self.orphan_blobs


def version_of(handle: str) -> uuid.UUID | None:
    """The version at the end of a store's name of a blob; None where this server gave no such name."""
    match = _VERSION.search(handle)
    return uuid.UUID(match[0]) if match else None


class Checker:
    """One check of a store against the rows."""

    def __init__(self, rows: UpkeepRows, store: BlobStore, *, grace_s: float) -> None:
        self._rows = rows
        self._store = store
        self._grace_s = grace_s

    async def run(
        self,
        *,
        removes: bool = False,
        is_forced: bool = False,
        told: Callable[[str, int], None] | None = None,
    ) -> CheckReport:
        """Compare everything; ``removes`` also removes orphans, ``is_forced`` however many they are.

        ``told`` hears of progress as ``Inventory`` tells it. Raises ``ConfigurationError`` for a removal with a grace period
        under ``MIN_REMOVAL_GRACE_S`` that is not forced, ``BlobUnavailable``, ``Unavailable``,
        ``DatabaseError`` and ``OSError`` (temporary directory full); what was removed before stays removed.
        """
        if removes and not is_forced and self._grace_s < MIN_REMOVAL_GRACE_S:
            raise ConfigurationError(
                f"a grace period of {self._grace_s:.0f} s is too short to remove blobs: uploads may be under way",
                hint=f"take {MIN_REMOVAL_GRACE_S:.0f} s or more, or --force while no server runs",
            )
        report = CheckReport(checked_at=datetime.now(UTC).isoformat(timespec="seconds"), grace_s=self._grace_s)
        inventory = Inventory(self._rows, self._store, told)
        try:
            await inventory.take()
            report.blobs, report.blob_bytes, report.rows = inventory.blobs, inventory.blob_bytes, inventory.rows
            async for partition in inventory.partitions():
                await self._look(partition, report)
            if removes and report.orphan_blobs:
                report.is_refused = _is_suspicious(report) and not is_forced
                if not report.is_refused:
                    async for partition in inventory.partitions():
                        await self._remove(partition, report)
        finally:
            inventory.close()
        async for _ in self._store.scan_uploads():
            report.unfinished_uploads += 1
        return report

    async def _look(self, partition: Partition, report: CheckReport) -> None:
        orphans, foreign = self._old_enough(partition.blobs_without_row)
        report.young_blobs += len(partition.blobs_without_row) - len(orphans) - len(foreign)
        report.foreign_blobs += len(foreign)
        report.foreign += [entry.handle for entry in foreign][: MAX_LISTED - len(report.foreign)]
        unnamed = await self._unnamed(orphans)
        report.young_blobs += len(orphans) - len(unnamed)
        report.orphan_blobs += len(unnamed)
        report.orphan_bytes += sum(entry.size_bytes for entry in unnamed)
        for entry in unnamed[: MAX_LISTED - len(report.orphans)]:
            report.orphans.append(
                {
                    "blob": entry.handle,
                    "size_bytes": entry.size_bytes,
                    "stored_at": entry.stored_at.isoformat(timespec="seconds"),
                }
            )
        for row in await self._truly_missing(partition.rows_without_blob):
            report.rows_without_blob += 1
            if len(report.missing) < MAX_LISTED:
                report.missing.append({"bucket": row.bucket, "key": row.name, "version": row.version})

    def _old_enough(self, entries: list[BlobEntry]) -> tuple[list[BlobEntry], list[BlobEntry]]:
        """Those that may be orphans, and those that are not ours."""
        oldest = datetime.now(UTC) - timedelta(seconds=self._grace_s)
        foreign = [entry for entry in entries if version_of(entry.handle) is None]
        ours = [entry for entry in entries if version_of(entry.handle) is not None and entry.stored_at <= oldest]
        return ours, foreign

    async def _unnamed(self, entries: list[BlobEntry]) -> list[BlobEntry]:
        """Those whose version nothing names now."""
        versions = [version for entry in entries if (version := version_of(entry.handle)) is not None]
        named = await self._rows.named_versions(versions)
        return [entry for entry in entries if version_of(entry.handle) not in named]

    async def _truly_missing(self, rows: list[StoredRow]) -> list[StoredRow]:
        """Those that still name a version of which there is no blob: the list was older than the rows."""
        missing = [row for row in rows if not row.has_version]
        asked = [row for row in rows if row.has_version]
        for start in range(0, len(asked), STATS_AT_ONCE):
            some = asked[start : start + STATS_AT_ONCE]
            are_there = await asyncio.gather(*(self._is_there(row) for row in some))
            missing += [row for row, is_there in zip(some, are_there, strict=True) if not is_there]
        still = await self._rows.still_named([row.key for row in missing if row.has_version])
        return [row for row in missing if not row.has_version or row.key in still]

    async def _is_there(self, row: StoredRow) -> bool:
        try:
            await self._store.stat(row.key)
        except BlobMissing:
            return False
        return True

    async def _remove(self, partition: Partition, report: CheckReport) -> None:
        orphans, _ = self._old_enough(partition.blobs_without_row)
        for start in range(0, len(orphans), REMOVAL_BATCH):
            batch = await self._unnamed(orphans[start : start + REMOVAL_BATCH])
            await self._store.delete_handles([entry.handle for entry in batch])
            report.removed_blobs += len(batch)
            report.removed_bytes += sum(entry.size_bytes for entry in batch)


def _is_suspicious(report: CheckReport) -> bool:
    return report.orphan_blobs >= SUSPICIOUS_BLOBS and report.orphan_blobs > SUSPICIOUS_SHARE * report.blobs

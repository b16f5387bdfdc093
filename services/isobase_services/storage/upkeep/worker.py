"""The regular work of a storage server: expired uploads, left-over files, the comparison of blobs with rows.

Every process has a worker; of all processes one does a piece of work at a time, by an entry in the key-value store that is
gone when the work is due again. The entry saves work and nothing more: each piece may run twice at once without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from isobase_platform.config_storage.worker import WorkerSettings
from isobase_platform.errors import IsobaseError, Unavailable
from isobase_platform.observe import Metrics
from isobase_platform.pool import Pools
from isobase_platform.recurring import Recurring
from isobase_platform.runtime import Platform
from isobase_platform.store import KeyValueStore
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.core import StorageCore
from isobase_services.storage.upkeep.multipart import MultipartWork

if TYPE_CHECKING:
    from isobase_services.storage.upkeep.check import CheckReport

__all__ = ["OrphanWork", "StorageWorker", "SweepsItself", "Work", "storage_worker"]

DUE_EARLY = 0.5
"""The part of a round by which an entry ends before its work is due again, so that no round finds it by a hair."""
RELEASE_TIMEOUT_S = 2.0

_log = logging.getLogger("isobase.storage.worker")


@runtime_checkable
class SweepsItself(Protocol):
    """A store that may keep what a killed process left, outside of blobs and parts."""

    async def remove_stale(self) -> int:
        """Remove it; returns how much there was."""
        ...


@dataclass(slots=True, frozen=True)
class Work:
    """One kind of regular work. ``run`` returns how many things it removed; ``is_long``: it may take hours."""

    name: str
    interval_s: float
    run: Callable[[], Awaitable[int]]
    is_long: bool = False


class StorageWorker:
    """Does its pieces of work one after the other, the first time after one wait; long ones beside the others."""

    def __init__(
        self, settings: WorkerSettings, store: KeyValueStore, metrics: Metrics, pieces: Sequence[Work]
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._pieces = pieces
        self._loops: list[Recurring] = []

    def start(self) -> None:
        """Begin to wait; nothing where the worker is switched off."""
        if not self._settings.enabled or self._loops:
            return
        for is_long in (False, True):
            pieces = [piece for piece in self._pieces if piece.is_long is is_long]
            if pieces:
                run = functools.partial(self._run_all, pieces)
                self._loops.append(Recurring("storage worker", self._settings.interval_s, run))
        for loop in self._loops:
            loop.start()

    async def stop(self) -> None:
        """End the tasks; a piece of work that was cut is done by whoever comes next."""
        await asyncio.gather(*(loop.stop() for loop in self._loops))
        self._loops = []

    async def run_round(self) -> dict[str, int]:
        """Do what is due and no other process has begun; how many things went, by kind of work that was done."""
        return await self._run_all(self._pieces)

    async def _run_all(self, pieces: Sequence[Work]) -> dict[str, int]:
        removed: dict[str, int] = {}
        for piece in pieces:
            outcome = await self._run(piece)
            if outcome is not None:
                removed[piece.name] = outcome
        return removed

    async def _run(self, piece: Work) -> int | None:
        """How many things the piece removed; None where it is not due, is done elsewhere, or failed."""
        entry = f"isobase.storage.worker.{piece.name}"
        is_done = False
        try:
            rest_s = piece.interval_s - min(piece.interval_s, self._settings.interval_s) * DUE_EARLY
            if not await self._store.add(entry, str(os.getpid()).encode(), rest_s):
                # Somebody else has it, or had it: nothing to give back.
                is_done = True
                return None
            removed = await piece.run()
            is_done = True
        except (IsobaseError, OSError) as error:
            reason = error.message if isinstance(error, IsobaseError) else str(error)
            _log.warning("regular work of storage failed", extra={"work": piece.name, "reason": reason})
            self._metrics.storage_work_failures.labels(piece.name).inc()
            return None
        finally:
            if not is_done:
                await self._release(entry)
        if removed:
            self._metrics.storage_removed.labels(piece.name).inc(removed)
            _log.info("regular work of storage removed something", extra={"work": piece.name, "count": removed})
        return removed

    async def _release(self, entry: str) -> None:
        """Let the next round try again; where the store is gone the entry ends by itself."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._store.delete(entry)


class OrphanWork:
    """The comparison of blobs with rows as regular work, with its metrics and log lines."""

    def __init__(self, settings: WorkerSettings, pools: Pools, blobs: BlobStore, metrics: Metrics) -> None:
        self._settings = settings
        self._pools = pools
        self._blobs = blobs
        self._metrics = metrics

    async def run(self) -> int:
        """Compare, report, and remove orphans where the settings say so; returns how many were removed."""
        # Late: most processes never do this, and a start is to be light.
        from isobase_services.storage.upkeep.check import Checker
        from isobase_services.storage.upkeep.rows import UpkeepRows

        checker = Checker(UpkeepRows(self._pools), self._blobs, grace_s=self._settings.orphan_grace_s)
        report = await checker.run(removes=self._settings.removes_orphans)
        self._tell(report)
        return report.removed_blobs

    def _tell(self, report: CheckReport) -> None:
        metrics = self._metrics
        metrics.storage_orphan_blobs.set(max(report.orphan_blobs - report.removed_blobs, 0))
        metrics.storage_orphan_bytes.set(max(report.orphan_bytes - report.removed_bytes, 0))
        metrics.storage_rows_without_blob.set(report.rows_without_blob)
        metrics.storage_checked_at.set(time.time())
        if report.is_clean:
            return
        counts = {
            "orphan_blobs": report.orphan_blobs,
            "orphan_bytes": report.orphan_bytes,
            "rows_without_blob": report.rows_without_blob,
            "removed": report.removed_blobs,
        }
        _log.warning("blobs and rows do not match: isobase storage check lists them", extra=counts)
        if report.is_refused:
            _log.error("orphans are so many that none was removed: is this the right database and the right store?")


def storage_worker(platform: Platform, core: StorageCore, blobs: BlobStore) -> StorageWorker:
    """The worker of a server, not started yet."""
    settings = platform.settings.storage.worker
    pieces = [
        Work("resumable_uploads", settings.interval_s, lambda: core.resumable.remove_expired(datetime.now(UTC))),
        Work("direct_uploads", settings.interval_s, lambda: core.direct.remove_expired(datetime.now(UTC))),
    ]
    if settings.multipart_ttl_s:
        unknown_after_s = max(settings.multipart_ttl_s, platform.settings.storage.tus.upload_ttl_s)
        parts = MultipartWork(platform.pools, blobs, ttl_s=settings.multipart_ttl_s, unknown_after_s=unknown_after_s)
        pieces.append(Work("multipart_uploads", settings.interval_s, parts.run))
    if isinstance(blobs, SweepsItself):
        pieces.append(Work("temporary_files", settings.interval_s, blobs.remove_stale))
    if settings.orphan_interval_s:
        orphans = OrphanWork(settings, platform.pools, blobs, platform.metrics)
        pieces.append(Work("orphan_blobs", settings.orphan_interval_s, orphans.run, is_long=True))
    return StorageWorker(settings, platform.store, platform.metrics, pieces)

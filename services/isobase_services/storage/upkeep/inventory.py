"""Compares the rows of objects with the blobs of a store: which belong together, which stand alone.

The store is listed first and the rows are read after it. A blob that the list shows and no later row names is an orphan, or
its upload was not finished when the rows were read: the caller looks at its age. A row whose blob the list does not show may
be newer than the list: the caller looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, cast

from isobase_services.storage.blob import BlobEntry, BlobMissing, BlobStore
from isobase_services.storage.upkeep.rows import StoredRow, UpkeepRows
from isobase_services.storage.upkeep.spill import PARTITIONS, Spill

__all__ = ["Inventory", "Partition"]

BATCH_RECORDS = 2000

_RowFields: TypeAlias = tuple[str, str, str, int | None, str | None, str, str]
"""The fields of a ``StoredRow`` as ``_add_rows`` writes them."""


@dataclass(slots=True, frozen=True)
class Partition:
    """A part of the comparison. Every row and every blob is in exactly one partition, in exactly one of the lists."""

    pairs: list[tuple[StoredRow, BlobEntry]]
    rows_without_blob: list[StoredRow]
    blobs_without_row: list[BlobEntry]


class Inventory:
    """One comparison. ``take`` reads both sides, ``partitions`` then gives the outcome; close it at the end."""

    def __init__(self, rows: UpkeepRows, store: BlobStore, told: Callable[[str, int], None] | None = None) -> None:
        """``told`` hears what was read so far: ``blobs`` or ``rows``, and how many since the last time."""
        self._rows = rows
        self._store = store
        self._told = told or (lambda what, count: None)
        self._blobs_spill = Spill()
        self._rows_spill = Spill()
        self.blobs = 0
        self.blob_bytes = 0
        self.rows = 0
        self.row_bytes = 0

    async def take(self, bucket: str | None = None) -> None:
        """List the store, then read the rows (of ``bucket`` alone where it is given; the blobs are listed all the same).

        Raises ``BlobUnavailable``, ``Unavailable``, ``DatabaseError``, and ``OSError`` where the temporary directory is full.
        """
        batch: list[BlobEntry] = []
        async for entry in self._store.scan():
            batch.append(entry)
            if len(batch) >= BATCH_RECORDS:
                await self._add_blobs(batch)
                batch = []
        await self._add_blobs(batch)
        async for page in self._rows.pages(bucket):
            await self._add_rows(page)

    async def _add_blobs(self, entries: list[BlobEntry]) -> None:
        self.blobs += len(entries)
        self.blob_bytes += sum(entry.size_bytes for entry in entries)
        records: list[tuple[str, list[object]]] = [
            (entry.handle, [entry.size_bytes, entry.stored_at.timestamp()]) for entry in entries
        ]
        await asyncio.to_thread(self._blobs_spill.add, records)
        self._told("blobs", len(entries))

    async def _add_rows(self, rows: list[StoredRow]) -> None:
        self.rows += len(rows)
        self.row_bytes += sum(row.size_bytes or 0 for row in rows)
        records: list[tuple[str, list[object]]] = [
            (
                self._handle(row),
                [row.bucket, row.name, row.version, row.size_bytes, row.etag, row.mime_type, row.cache_control],
            )
            for row in rows
        ]
        await asyncio.to_thread(self._rows_spill.add, records)
        self._told("rows", len(rows))

    def _handle(self, row: StoredRow) -> str:
        try:
            return self._store.handle_of(row.key)
        except BlobMissing:
            # A row made by SQL; no blob has such a handle.
            return f"\n{row.bucket}/{row.name}"

    async def partitions(self) -> AsyncIterator[Partition]:
        """The outcome, a part at a time."""
        for number in range(PARTITIONS):
            yield await asyncio.to_thread(self._compare, number)

    def _compare(self, number: int) -> Partition:
        blobs: dict[str, BlobEntry] = {}
        for handle, (size_bytes, stored_s) in self._blobs_spill.partition(number):
            assert isinstance(size_bytes, int)
            assert isinstance(stored_s, float)
            blobs[handle] = BlobEntry(handle, size_bytes, datetime.fromtimestamp(stored_s, UTC))
        pairs: list[tuple[StoredRow, BlobEntry]] = []
        alone: list[StoredRow] = []
        for handle, record in self._rows_spill.partition(number):
            row = StoredRow(*cast("_RowFields", tuple(record)))
            entry = blobs.pop(handle, None)
            if entry is None:
                alone.append(row)
            else:
                pairs.append((row, entry))
        return Partition(pairs, alone, list(blobs.values()))

    def close(self) -> None:
        """Drop what was read."""
        self._blobs_spill.close()
        self._rows_spill.close()

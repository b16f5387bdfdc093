"""Blobs that grow: what a backend offers where it can add bytes behind those that are there (the local disk).

A resumable upload grows by requests of any size, perhaps of several processes one after the other. Where a backend has
no such thing (S3), ``BlobStore.appends`` is None and the upload is cut into parts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from isobase_services.storage.blob import BlobKey, StoredBlob

__all__ = ["AppendBusy", "AppendEntry", "AppendStore", "Appender"]


class AppendBusy(Exception):
    """Another writer has the blob open."""


@dataclass(slots=True, frozen=True)
class AppendEntry:
    """A blob that is not finished. ``changed_at``: the last write (UTC)."""

    version: str
    handle: str
    size_bytes: int
    changed_at: datetime


class Appender(Protocol):
    """A blob open for growing, by this writer alone. Close it, whatever happens."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Add bytes. They are durable after ``sync``."""
        ...

    async def sync(self) -> None:
        """Make durable what was written."""
        ...

    async def finish(self) -> StoredBlob:
        """Make it a blob as ``BlobStore.put`` does, durably; nothing can be added any more."""
        ...

    async def close(self) -> None:
        """Let other writers have it."""
        ...


class AppendStore(Protocol):
    """Keeps blobs that grow. Survives a crash at any moment: what was synced is there."""

    async def open(self, key: BlobKey, offset_bytes: int) -> Appender:
        """Open for adding bytes behind the first ``offset_bytes``; what stands behind them is dropped.

        A blob without bytes is made. One that was finished already takes its bytes again without a look at them. Raises
        ``BlobMissing`` where fewer than ``offset_bytes`` are there, and ``AppendBusy``.
        """
        ...

    async def discard(self, key: BlobKey) -> None:
        """Remove a blob that is not finished; one that is not there is no error."""
        ...

    def scan(self) -> AsyncIterator[AppendEntry]:
        """All blobs that are not finished."""
        ...

    async def discard_entry(self, entry: AppendEntry) -> None:
        """Remove what ``scan`` found, unless somebody has it open."""
        ...

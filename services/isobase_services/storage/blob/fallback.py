"""Two blob stores as one, while objects move from the one to the other.

Everything new goes to ``main``. A blob that it does not have is read from ``fallback``, and a removed blob is removed from
both. As a blob never changes once it is stored, it does not matter which of the two is asked: either has the right bytes or
none. See docs/decisions/0017.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from isobase_services.storage.blob import (
    NO_FACTS,
    BlobEntry,
    BlobFacts,
    BlobKey,
    BlobMissing,
    BlobReader,
    BlobStat,
    BlobStore,
    BlobUnavailable,
    ByteRange,
    PresignedRequest,
    StoredBlob,
    StoredPart,
    UploadEntry,
)
from isobase_services.storage.blob.appending import AppendStore
from isobase_services.storage.blob.file import FileBlobStore

__all__ = ["FallbackBlobStore"]

_log = logging.getLogger("isobase.storage")


class FallbackBlobStore:
    """A ``BlobStore`` over two. Lists and handles are those of ``main``."""

    def __init__(self, main: BlobStore, fallback: BlobStore) -> None:
        self.main = main
        self.fallback = fallback

    @property
    def min_part_bytes(self) -> int:
        """As ``main``'s."""
        return self.main.min_part_bytes

    @property
    def appends(self) -> AppendStore | None:
        """As ``main``'s: an upload that was begun on the fallback begins again."""
        return self.main.appends

    async def start(self) -> None:
        """Make both ready."""
        await self.main.start()
        await self.fallback.start()

    async def put(
        self, key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts = NO_FACTS, is_unnamed: bool = False
    ) -> StoredBlob:
        """Store in ``main``; see ``BlobStore.put``."""
        return await self.main.put(key, chunks, facts=facts, is_unnamed=is_unnamed)

    async def stat(self, key: BlobKey) -> BlobStat:
        """Of the one that has it; see ``BlobStore.stat``."""
        try:
            return await self.main.stat(key)
        except BlobMissing:
            pass
        try:
            return await self.fallback.stat(key)
        except BlobMissing:
            # It may have been moved between the two questions.
            return await self.main.stat(key)

    async def open(self, key: BlobKey, byte_range: ByteRange | None = None) -> BlobReader:
        """Open the one that is there; see ``BlobStore.open``."""
        try:
            return await self.main.open(key, byte_range)
        except BlobMissing:
            pass
        try:
            return await self.fallback.open(key, byte_range)
        except BlobMissing:
            return await self.main.open(key, byte_range)

    async def copy(self, source: BlobKey, target: BlobKey, *, facts: BlobFacts | None = None) -> None:
        """Copy within ``main``, or from the fallback to it; see ``BlobStore.copy``."""
        try:
            await self.main.copy(source, target, facts=facts)
        except BlobMissing:
            stat = await self.stat(source)
            reader = await self.open(source)
            try:
                kept = facts or BlobFacts(content_type=stat.content_type or "")
                await self.main.put(target, reader.chunks(), facts=kept)
            finally:
                await reader.close()

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove from both; see ``BlobStore.delete``."""
        await self.main.delete(keys)
        try:
            await self.fallback.delete(keys)
        except BlobUnavailable:
            # The store that is on its way out: what stays there is an orphan of a store that will be given up.
            _log.warning("blobs stay in the fallback store", extra={"count": len(keys)}, exc_info=True)

    async def begin_parts(self, key: BlobKey, facts: BlobFacts = NO_FACTS) -> str:
        """In ``main``; see ``BlobStore.begin_parts``."""
        return await self.main.begin_parts(key, facts)

    async def put_part(self, key: BlobKey, upload: str, number: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """In ``main``; see ``BlobStore.put_part``."""
        return await self.main.put_part(key, upload, number, chunks)

    async def copy_part(
        self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None = None
    ) -> StoredPart:
        """Within ``main``, or from the fallback to it; see ``BlobStore.copy_part``."""
        try:
            return await self.main.copy_part(key, upload, number, source, byte_range)
        except BlobMissing:
            reader = await self.open(source, byte_range)
            try:
                return await self.main.put_part(key, upload, number, reader.chunks())
            finally:
                await reader.close()

    async def list_parts(self, key: BlobKey, upload: str) -> Sequence[StoredPart]:
        """In ``main``; see ``BlobStore.list_parts``."""
        return await self.main.list_parts(key, upload)

    async def finish_parts(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """In ``main``; see ``BlobStore.finish_parts``."""
        return await self.main.finish_parts(key, upload, parts)

    async def abort_parts(self, key: BlobKey, upload: str) -> None:
        """In ``main``; see ``BlobStore.abort_parts``."""
        await self.main.abort_parts(key, upload)

    def handle_of(self, key: BlobKey) -> str:
        """The name that ``main`` gives; see ``BlobStore.handle_of``."""
        return self.main.handle_of(key)

    def scan(self) -> AsyncIterator[BlobEntry]:
        """The blobs of ``main``; see ``BlobStore.scan``."""
        return self.main.scan()

    async def delete_handles(self, handles: Sequence[str]) -> None:
        """In ``main``; see ``BlobStore.delete_handles``."""
        await self.main.delete_handles(handles)

    def scan_uploads(self) -> AsyncIterator[UploadEntry]:
        """Those of ``main``; see ``BlobStore.scan_uploads``."""
        return self.main.scan_uploads()

    async def abort_uploads(self, entries: Sequence[UploadEntry]) -> None:
        """In ``main``; see ``BlobStore.abort_uploads``."""
        await self.main.abort_uploads(entries)

    async def presign_put(
        self, key: BlobKey, facts: BlobFacts, size_bytes: int, expires_in_s: int
    ) -> PresignedRequest | None:
        """To ``main``; see ``BlobStore.presign_put``."""
        return await self.main.presign_put(key, facts, size_bytes, expires_in_s)

    async def presign_get(
        self, key: BlobKey, expires_in_s: int, *, disposition: str | None = None
    ) -> PresignedRequest | None:
        """To the one that has it; None where that one has none. See ``BlobStore.presign_get``."""
        try:
            await self.main.stat(key)
        except BlobMissing:
            return await self.fallback.presign_get(key, expires_in_s, disposition=disposition)
        return await self.main.presign_get(key, expires_in_s, disposition=disposition)

    async def remove_stale(self) -> int:
        """What killed processes left in either, where it can be left at all."""
        removed = 0
        for store in (self.main, self.fallback):
            if isinstance(store, FileBlobStore):
                removed += await store.remove_stale()
        return removed

    async def close(self) -> None:
        """Close both."""
        await self.main.close()
        await self.fallback.close()

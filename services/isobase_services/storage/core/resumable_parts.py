"""The bytes of a resumable upload on their way to a blob store that takes parts (S3).

A request's bytes are cut into parts; what is left at its end and is too small for a part waits in the database, in the
transaction that counts it, and goes in front of the next request's bytes. So any chunk size works, nothing acknowledged
is ever only in memory, and the usual chunk of 6 MiB goes to the store as one part. (tusd and upstream's S3 store keep such
bytes in an object of their own and rewrite it with every request.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Sequence

from isobase_services.storage.blob import (
    BlobFacts,
    BlobKey,
    BlobMissing,
    BlobStore,
    BlobUnavailable,
    PartInvalid,
    StoredBlob,
    StoredPart,
    UploadMissing,
)
from isobase_services.storage.core.resumable_bytes import Background, Ledger, Mark, StoredPiece
from isobase_services.storage.core.resumable_state import UploadState

__all__ = ["PartSink", "open_part_sink"]

MAX_PARTS = 9000
"""How many full parts an upload is cut into; S3 takes 10,000, and those at the ends of requests may be smaller."""
MAX_TAIL_ROWS = 32
"""So many small pieces become one: a client that sends byte by byte must not make each request read all those before."""


async def open_part_sink(
    blobs: BlobStore, state: UploadState, ledger: Ledger, *, part_bytes: int, limit_bytes: int
) -> PartSink:
    """A sink that goes on where the upload is. ``limit_bytes``: the most that it may become.

    Raises ``BlobMissing`` where what was kept of it does not reach up to its offset.
    """
    largest = state.size_bytes if state.size_bytes is not None else limit_bytes
    recorded_bytes, kept = (0, ()) if state.offset_bytes == 0 else await ledger.tail()
    kept_bytes = sum(map(len, kept))
    if recorded_bytes != state.offset_bytes:
        raise BlobMissing
    return PartSink(blobs, state, ledger, kept, kept_bytes, max(part_bytes, math.ceil(largest / MAX_PARTS)), part_bytes)


class PartSink:
    """See ``Sink``. Make it with ``open_part_sink``."""

    def __init__(
        self,
        blobs: BlobStore,
        state: UploadState,
        ledger: Ledger,
        kept: Sequence[bytes],
        kept_bytes: int,
        part_bytes: int,
        usual_part_bytes: int,
    ) -> None:
        self._blobs = blobs
        self._key: BlobKey = state.key
        facts = state.description.facts(None)
        self._facts = BlobFacts(facts.mime_type, facts.cache_control)
        self._ledger = ledger
        self._upload = state.parts_upload
        self._next_number = state.last_part + 1
        self._buffer = deque(kept)
        self._buffered = kept_bytes
        self._kept = kept_bytes
        """How many of the buffered bytes are in the database already, ..."""
        self._kept_rows = len(kept)
        """... in how many pieces."""
        self._first = state.offset_bytes - kept_bytes
        self._part_bytes = part_bytes
        # An upload of very many parts makes full ones only.
        self._min_bytes = max(1, blobs.min_part_bytes) if part_bytes == usual_part_bytes else part_bytes
        self._background = Background()

    async def write(self, chunk: bytes) -> None:
        """See ``Sink.write``."""
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        # Only where more bytes follow: the last part of all belongs to the end of the upload.
        while self._buffered > self._part_bytes:
            await self._background.wait()
            await self._background.start(self._store_and_record(*self._cut(self._part_bytes)))

    def _cut(self, size: int) -> tuple[int, deque[bytes], int, bool]:
        """Take the first ``size`` bytes: their place, the bytes, the size, and whether some were in the database."""
        taken: deque[bytes] = deque()
        missing = size
        while missing:
            chunk = self._buffer.popleft()
            if len(chunk) > missing:
                self._buffer.appendleft(chunk[missing:])
                chunk = chunk[:missing]
            taken.append(chunk)
            missing -= len(chunk)
        first, had_kept = self._first, self._kept > 0
        self._first += size
        self._buffered -= size
        self._kept = self._kept_rows = 0
        return first, taken, size, had_kept

    async def _store_and_record(self, first: int, chunks: deque[bytes], size: int, had_kept: bool) -> None:
        try:
            part = await self._store(chunks)
        except UploadMissing as error:
            raise BlobMissing from error
        piece = StoredPiece(first, size, part.number, part.etag)
        await self._ledger.record(Mark(first + size, piece, drops_tail=had_kept))

    async def _store(self, chunks: deque[bytes]) -> StoredPart:
        if self._upload is None:
            upload = await self._blobs.begin_parts(self._key, self._facts)
            await self._ledger.keep_upload(upload)
            self._upload = upload
        number = self._next_number
        self._next_number += 1
        return await self._blobs.put_part(self._key, self._upload, number, _drain(chunks))

    async def settle(self) -> Mark:
        """See ``Sink.settle``."""
        await self._background.wait()
        offset = self._first + self._buffered
        if self._buffered >= self._min_bytes:
            try:
                first, chunks, size, had_kept = self._cut(self._buffered)
                part = await self._store(chunks)
            except UploadMissing as error:
                raise BlobMissing from error
            return Mark(offset, StoredPiece(first, size, part.number, part.etag), drops_tail=had_kept)
        if self._kept_rows >= MAX_TAIL_ROWS:
            return Mark(offset, tail=(self._first, b"".join(self._buffer)), drops_tail=True)
        content = b"".join(self._buffer)[self._kept :]
        return Mark(offset, tail=(offset - len(content), content) if content else None)

    async def finish(self) -> StoredBlob:
        """See ``Sink.finish``."""
        await self._background.wait()
        size = self._first + self._buffered
        if self._upload is None:
            return await self._blobs.put(self._key, _drain(self._buffer), facts=self._facts)
        try:
            parts = list(await self._ledger.parts())
            if self._buffered:
                parts.append(await self._store(self._buffer))
            return await self._blobs.finish_parts(self._key, self._upload, parts)
        except (UploadMissing, BlobUnavailable) as error:
            # A process may have been killed when the parts were a blob already and the row did not say so yet.
            stored = await self._stored(size)
            if stored is not None:
                return stored
            if isinstance(error, UploadMissing):
                raise BlobMissing from error
            raise
        except PartInvalid as error:
            raise BlobMissing from error

    async def _stored(self, size_bytes: int) -> StoredBlob | None:
        try:
            stat = await self._blobs.stat(self._key)
        except (BlobMissing, BlobUnavailable):
            return None
        if stat.size_bytes != size_bytes or stat.etag is None:
            return None
        return StoredBlob(stat.etag, stat.size_bytes, stat.stored_at)

    async def close(self) -> None:
        """See ``Sink.close``."""
        await self._background.close()


async def _drain(chunks: deque[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each given up as it goes: the store has its own copy of what is on its way."""
    while chunks:
        yield chunks.popleft()

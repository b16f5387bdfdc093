"""The bytes of one request on their way into a resumable upload, and the last step that makes it an object.

The order is the one of every write: bytes durable, then the row that counts them; the whole blob durable, then the
object's row. The last bytes are counted by the transaction that writes the object's row and by nothing before it, so an
upload whose offset is its length is an object, and a client that asks after a crash is never told of one that is none.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from isobase_platform.errors import Unavailable
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobStore, BlobUnavailable, StoredPart
from isobase_services.storage.core import resumable_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase, StorageTransaction
from isobase_services.storage.core.object_metadata import object_metadata_json
from isobase_services.storage.core.resumable_bytes import Mark, Sink
from isobase_services.storage.core.resumable_errors import LeaseLost, refuse_upload
from isobase_services.storage.core.resumable_lease import Lease
from isobase_services.storage.core.resumable_state import Progress, UploadRight, UploadState
from isobase_services.storage.core.write import Draft, Expectation, Finisher, NewVersion, ObjectWriter
from isobase_services.storage.errors import StorageError

__all__ = ["ResumableWrite", "record_mark", "remove_bytes"]

_log = logging.getLogger("isobase.storage")
_FINAL_STATUSES = range(400, 423)
"""Refusals of the object's row that the same request would meet again: the upload is over."""


class ResumableWrite:
    """One request's writing. ``state`` is the row as it was taken, ``expected`` what the dry run saw at the key."""

    def __init__(
        self,
        database: StorageDatabase,
        blobs: BlobStore,
        writer: ObjectWriter,
        finisher: Finisher,
        *,
        actor: Actor,
        right: UploadRight,
        state: UploadState,
        expected: Expectation,
        lease: Lease,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._finisher = finisher
        self._actor = actor
        self._right = right
        self._state = state
        self._expected = expected
        self._lease = lease

    async def run(self, sink: Sink, chunks: AsyncIterator[bytes], limit_bytes: int) -> Progress:
        """Take the chunks, at most ``limit_bytes``, and keep what arrived even where the client went away in between.

        Raises EntityTooLarge in TUS's words for a byte beyond the limit (then nothing of the request counts beyond what is
        recorded already), what ``chunks`` and the store raise, and what the object's row meets (``ObjectWriter.commit``).
        """
        taken = 0
        counts = True
        try:
            async for chunk in self._lease.chunks(chunks):
                taken += len(chunk)
                if taken > limit_bytes:
                    counts = False
                    raise refuse_upload.too_large()
                counts = False
                await sink.write(chunk)
                counts = True
        except BlobMissing as error:
            await self._finisher.run(self._lose(sink))
            raise refuse_upload.not_found() from error
        except BaseException:
            await self._finisher.run(self._conclude(sink, taken) if counts else self._give_up(sink))
            raise
        return await self._finisher.run(self._conclude(sink, taken))

    async def _conclude(self, sink: Sink, taken: int) -> Progress:
        offset = self._state.offset_bytes + taken
        try:
            if offset == self._state.size_bytes:
                await self._finish(sink, offset)
                return self._progress(offset, is_finished=True)
            mark = await sink.settle()
            await self._record(mark, is_last=True)
            return self._progress(mark.offset_bytes, is_released=self._lease.is_asked)
        except LeaseLost as error:
            raise refuse_upload.locked() from error
        except BlobMissing as error:
            await self.remove()
            raise refuse_upload.not_found() from error
        except BaseException:
            await self.release()
            raise
        finally:
            await sink.close()

    async def _lose(self, sink: Sink) -> None:
        """The blob store has less than what was acknowledged: somebody cleaned it up. The client begins anew."""
        try:
            await sink.close()
        finally:
            await self.remove()

    async def _give_up(self, sink: Sink) -> None:
        try:
            await sink.close()
        finally:
            await self.release()

    def _progress(self, offset: int, *, is_finished: bool = False, is_released: bool = False) -> Progress:
        return Progress(self._state.key, offset, self._state.expires_at, is_finished, is_released)

    async def record(self, mark: Mark) -> None:
        """Commit a mark in the middle of a request; see ``Ledger``."""
        await self._record(mark, is_last=False)

    async def keep_upload(self, upload: str) -> None:
        """Commit the store's reference of the parts; see ``Ledger``."""
        async with self._database.transaction(self._actor, as_service=True) as transaction:
            if not await transaction.execute(sql.KEEP_PARTS, self._lease.upload_id, self._lease.token, upload):
                raise LeaseLost

    async def parts(self) -> Sequence[StoredPart]:
        """The parts of the requests before and of this one; see ``Ledger``."""
        async with self._database.transaction(self._actor, as_service=True) as transaction:
            rows = await transaction.fetch(sql.PARTS, self._lease.upload_id)
        return [StoredPart(row["part_number"], row["etag"], row["size_bytes"]) for row in rows]

    async def tail(self) -> tuple[int, Sequence[bytes]]:
        """The bytes that wait to become a part; see ``Ledger``."""
        async with self._database.transaction(self._actor, as_service=True) as transaction:
            recorded = await transaction.fetchrow(sql.RECORDED, self._lease.upload_id)
            rows = await transaction.fetch(sql.TAIL, self._lease.upload_id)
        return (recorded["size_bytes"] if recorded is not None else 0), [row["content"] for row in rows]

    async def _record(self, mark: Mark, *, is_last: bool) -> None:
        async with self._database.transaction(self._actor, as_service=True) as transaction:
            size = self._state.size_bytes if is_last else None
            await record_mark(transaction, self._lease, mark, size)
            if is_last:
                await transaction.execute(sql.RELEASE, self._lease.upload_id, self._lease.token)

    async def release(self) -> None:
        """Let the upload go at once; where the database is away, the lease ends by itself."""
        try:
            async with self._database.transaction(self._actor, as_service=True) as transaction:
                await transaction.execute(sql.RELEASE, self._lease.upload_id, self._lease.token)
        except (StorageError, Unavailable):
            return

    async def _finish(self, sink: Sink, size_bytes: int) -> None:
        blob = await sink.finish()
        if blob.size_bytes != size_bytes:
            raise BlobMissing
        facts = self._state.description.facts(size_bytes)
        draft: Draft = self._state.draft(self._right)
        metadata = object_metadata_json(blob, mime_type=facts.mime_type, cache_control=facts.cache_control)
        new = NewVersion(self._state.key.version, metadata, draft.user_metadata_json, is_signed=self._right.is_signed)

        async def count_last_bytes(transaction: StorageTransaction) -> None:
            lease = self._lease
            if not await transaction.execute(sql.FINISH, lease.upload_id, lease.token, size_bytes):
                raise LeaseLost
            await transaction.execute(sql.DROP_PIECES, lease.upload_id)

        try:
            await self._writer.commit(self._actor, draft, self._expected, new, count_last_bytes)
        except StorageError as error:
            if error.status in _FINAL_STATUSES:
                await self.remove()
            raise

    async def remove(self) -> None:
        """The upload can never become an object: row first, then its bytes."""
        async with self._database.transaction(self._actor, as_service=True) as transaction:
            await transaction.execute(sql.DELETE, self._lease.upload_id)
        await remove_bytes(self._blobs, self._writer, self._state.key, self._state.parts_upload)


async def record_mark(transaction: StorageTransaction, lease: Lease, mark: Mark, size_bytes: int | None) -> None:
    """Count what a mark says. ``size_bytes`` is the upload's length where this request told it. Raises ``LeaseLost``."""
    piece = mark.piece
    number = 0 if piece is None else piece.number
    if not await transaction.execute(sql.RECORD, lease.upload_id, lease.token, mark.offset_bytes, number, size_bytes):
        raise LeaseLost
    if mark.drops_tail:
        await transaction.execute(sql.DROP_TAIL, lease.upload_id)
    if piece is not None:
        await transaction.execute(
            sql.ADD_PART, lease.upload_id, piece.first_byte, piece.size_bytes, piece.number, piece.etag
        )
    if mark.tail is not None:
        await transaction.execute(sql.ADD_TAIL, lease.upload_id, *mark.tail)


async def remove_bytes(blobs: BlobStore, writer: ObjectWriter, key: BlobKey, parts_upload: str | None) -> None:
    """Remove what an upload without a row has in the blob store, whole or in pieces.

    A failure is logged: the upload is gone all the same, and the regular work finds what is left of it.
    """
    try:
        if blobs.appends is not None:
            await blobs.appends.discard(key)
        if parts_upload is not None:
            await blobs.abort_parts(key, parts_upload)
    except BlobUnavailable:
        _log.warning("bytes of a resumable upload could not be removed", extra={"upload": key.version}, exc_info=True)
    await writer.remove_blobs([key])

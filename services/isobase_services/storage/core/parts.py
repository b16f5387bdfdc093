"""Objects that arrive in parts: begin, parts in any order, complete or abort.

Every step asks for the right to write the object as the caller, as upstream does, and no connection is held while bytes
move. The bytes are the blob store's; the tables say which parts count. Whoever deletes an upload's row ends it: completing
deletes it in the transaction that writes the object's row, so an upload is completed once or aborted, never both, and what
kills the process leaves an upload that can be completed again, or bytes without a row.
Source: contracts/storage.md 1.5; upstream ``s3-handler.ts``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from isobase_platform.errors import Unavailable
from isobase_services.storage.blob import (
    BlobFacts,
    BlobKey,
    BlobMissing,
    BlobRangeInvalid,
    BlobStore,
    PartInvalid,
    StoredPart,
    UploadMissing,
)
from isobase_services.storage.core import objects_sql
from isobase_services.storage.core import parts_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase, StorageTransaction
from isobase_services.storage.core.object_metadata import DEFAULT_CACHE_CONTROL, DEFAULT_MIME_TYPE, object_metadata_json
from isobase_services.storage.core.parts_values import (
    CompletedObject,
    Completion,
    NewParts,
    PartCopy,
    PartsTarget,
    PartTarget,
)
from isobase_services.storage.core.write import Draft, Expectation, Finisher, NewVersion, ObjectWriter
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import (
    check_bucket_name,
    check_key,
    check_mime_type,
    is_empty_folder,
    is_uuid,
    object_limit_bytes,
)

__all__ = ["PartUploads"]

COPY_ATTEMPTS = 3
"""The source of a copied part may be overwritten meanwhile; then it is looked up again."""
COMPLETION_DELAYS_S = (0.1, 0.3, 1.0, 3.0)
"""Waits between looks at an upload that another process may be completing."""
_SOURCE = "select version, metadata from storage.objects where bucket_id = $1 and name = $2"


@dataclass(slots=True, frozen=True)
class _Upload:
    """A row of the table, with the names that the blob store knows it by."""

    blob: BlobKey
    reference: str
    metadata: Mapping[str, Any]
    user_metadata_json: str | None

    @classmethod
    def of(cls, row: asyncpg.Record, target: PartsTarget) -> _Upload:
        metadata = json.loads(row["metadata"]) if row["metadata"] else {}
        blob = BlobKey(target.bucket, target.key, row["version"])
        return cls(blob, row["upload_signature"], metadata, row["user_metadata"])

    def draft(self, actor: Actor, *, is_upsert: bool = True, if_match: str | None = None) -> Draft:
        """The row that policies are asked about."""
        mime_type = self.metadata.get("mimetype")
        metadata = {"mimetype": mime_type} if mime_type else {}
        key = self.blob
        return Draft(
            key.bucket, key.name, actor.owner_id, is_upsert, json.dumps(metadata), self.user_metadata_json, if_match
        )


class _UploadGone(Exception):
    """The upload's row was deleted by somebody else."""


class _PartsTaken(Exception):
    """The blob store has other parts than the rows say: another process is making the object of them, or replaces one."""


class PartUploads:
    """Uploads in parts."""

    def __init__(
        self,
        database: StorageDatabase,
        blobs: BlobStore,
        writer: ObjectWriter,
        finisher: Finisher,
        size_limit_bytes: int,
        min_part_bytes: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._finisher = finisher
        self._size_limit_bytes = size_limit_bytes
        self._min_part_bytes = min_part_bytes
        self._ending: dict[tuple[str, tuple[StoredPart, ...]], asyncio.Task[CompletedObject]] = {}

    async def begin(self, actor: Actor, new: NewParts) -> str:
        """Begin an upload; returns its id.

        Raises NoSuchBucket, InvalidMimeType, InvalidKey, InvalidBucketName, and what policies refuse.
        """
        check_bucket_name(new.bucket)
        check_key(new.key)
        blob = BlobKey(new.bucket, new.key, str(uuid.uuid4()))
        facts = {"mimetype": new.mime_type, "cacheControl": new.cache_control}
        metadata = {name: value for name, value in facts.items() if value is not None}
        user_metadata = None if new.user_metadata is None else json.dumps(new.user_metadata)
        async with self._database.transaction(actor, as_service=True, rollback=True) as transaction:
            bucket = await transaction.fetchrow(objects_sql.BUCKET_RULES, new.bucket)
            if bucket is None:
                raise refuse.no_such_bucket()
            if new.mime_type is not None and not is_empty_folder(new.key):
                check_mime_type(new.mime_type, tuple(bucket["allowed_mime_types"] or ()))
            await transaction.become_caller()
            await self._writer.dry_run(transaction, _Upload(blob, "", metadata, user_metadata).draft(actor))
        stored_facts = BlobFacts(new.mime_type or DEFAULT_MIME_TYPE, new.cache_control or DEFAULT_CACHE_CONTROL)
        return await self._finisher.run(self._begin(actor, blob, stored_facts, user_metadata, json.dumps(metadata)))

    async def _begin(
        self, actor: Actor, blob: BlobKey, facts: BlobFacts, user_metadata: str | None, metadata: str
    ) -> str:
        reference = await self._blobs.begin_parts(blob, facts)
        row = (blob.version, reference, blob.bucket, blob.name, actor.owner_id, user_metadata, metadata)
        try:
            async with self._database.transaction(actor, as_service=True) as transaction:
                await transaction.execute(sql.BEGIN, *row)
        except StorageError:
            await self._blobs.abort_parts(blob, reference)
            raise
        return blob.version

    async def put(self, actor: Actor, target: PartTarget, size_bytes: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """Store one part of ``size_bytes`` bytes, in the place of an earlier one of this number.

        Raises NoSuchUpload, EntityTooLarge where all parts together would pass the limit, what policies refuse and what
        ``chunks`` raises.
        """
        upload = await self._may_add(actor, target, size_bytes)
        try:
            part = await self._blobs.put_part(upload.blob, upload.reference, target.number, chunks)
        except UploadMissing as error:
            raise refuse.no_such_upload() from error
        await self._finisher.run(self._record(actor, target, part))
        return part

    async def copy(self, actor: Actor, target: PartTarget, source: PartCopy) -> StoredPart:
        """Store (a range of) an object that the caller may read as a part. Raises as ``put``, NoSuchKey, InvalidRange."""
        for _ in range(COPY_ATTEMPTS):
            async with self._database.transaction(actor) as transaction:
                row = await transaction.fetchrow(_SOURCE, source.bucket, source.key)
            if row is None:
                raise refuse.no_such_key()
            metadata = json.loads(row["metadata"]) if row["metadata"] else {}
            source.check(metadata)
            size_bytes = metadata.get("size") or 0
            byte_range = source.choose(size_bytes)
            copied_bytes = size_bytes if byte_range is None else byte_range.size_bytes
            upload = await self._may_add(actor, target, copied_bytes)
            blob = BlobKey(source.bucket, source.key, row["version"] or "")
            try:
                part = await self._blobs.copy_part(upload.blob, upload.reference, target.number, blob, byte_range)
            except BlobMissing:
                continue
            except BlobRangeInvalid as error:
                raise refuse.invalid_range() from error
            except UploadMissing as error:
                raise refuse.no_such_upload() from error
            await self._finisher.run(self._record(actor, target, part))
            return part
        raise refuse.blob_missing()

    async def _may_add(self, actor: Actor, target: PartTarget, size_bytes: int) -> _Upload:
        _check_target(target.upload)
        values = (target.upload.upload_id, target.upload.bucket, target.upload.key, str(target.number))
        rows = await self._database.once(actor, sql.FIND_FOR_PART, values, as_service=True, read_only=True)
        if not rows:
            raise refuse.no_such_upload()
        texts = [None if value is None else value.decode() for value in rows[0]]
        version, reference, metadata, user_metadata, own_limit, others = texts
        blob = BlobKey(target.upload.bucket, target.upload.key, version or "")
        upload = _Upload(blob, reference or "", json.loads(metadata) if metadata else {}, user_metadata)
        self._check_total(target, size_bytes + int(others or 0), None if own_limit is None else int(own_limit))
        await self._writer.may_write(actor, upload.draft(actor))
        return upload

    def _check_total(self, target: PartTarget, total_bytes: int, own_limit_bytes: int | None) -> None:
        limit_bytes = 0
        if not is_empty_folder(target.upload.key):
            limit_bytes = object_limit_bytes(self._size_limit_bytes, own_limit_bytes)
        if total_bytes > limit_bytes:
            raise refuse.too_large()

    async def _record(self, actor: Actor, target: PartTarget, part: StoredPart) -> None:
        upload = target.upload
        async with self._database.transaction(actor, as_service=True) as transaction:
            if await transaction.fetchrow(sql.LOCK, upload.upload_id) is None:
                raise refuse.no_such_upload()
            # Others may have added parts while this one arrived.
            bucket = await transaction.fetchrow(objects_sql.BUCKET_RULES, upload.bucket)
            others = await transaction.fetchrow(sql.SIZE_OF_OTHERS, upload.upload_id, target.number)
            other_bytes = others[0] if others is not None else 0
            own_limit_bytes = None if bucket is None else bucket["file_size_limit"]
            self._check_total(target, part.size_bytes + other_bytes, own_limit_bytes)
            row = (part.number, part.size_bytes, part.etag, upload.bucket, upload.key, actor.owner_id)
            await transaction.execute(sql.RECORD, upload.upload_id, *row)

    async def complete(self, actor: Actor, target: PartsTarget, completion: Completion) -> CompletedObject:
        """Make the object of its parts. A repetition, after an answer that was lost, gives the same answer.

        Raises NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, InvalidRequest, PreconditionFailed or
        KeyAlreadyExists for conditions, and what policies refuse; then the upload goes on.
        """
        for delay_s in COMPLETION_DELAYS_S:
            try:
                return await self._try_complete(actor, target, completion)
            except _PartsTaken:
                await asyncio.sleep(delay_s)
        try:
            return await self._try_complete(actor, target, completion)
        except _PartsTaken as taken:
            raise refuse.invalid_part() from taken

    async def _try_complete(self, actor: Actor, target: PartsTarget, completion: Completion) -> CompletedObject:
        try:
            async with self._database.transaction(actor, as_service=True, rollback=True) as transaction:
                upload = await self._find(transaction, target)
                recorded = await transaction.fetch(sql.PARTS, target.upload_id)
                if not recorded:
                    await self._find(transaction, target)  # completed between the two statements?
                await transaction.become_caller()
                draft = upload.draft(actor, is_upsert=completion.is_upsert, if_match=completion.if_match)
                expected = await self._writer.dry_run(transaction, draft)
            parts = tuple(_chosen(recorded, completion, self._min_part_bytes))
            # A client that waited too long sends its request again while the first is at work: both get the one answer.
            ending = self._ending.get((target.upload_id, parts))
            if ending is None:
                work = self._finisher.run(self._complete(actor, target, upload, draft, expected, parts))
                ending = self._ending[target.upload_id, parts] = asyncio.create_task(work)
                ending.add_done_callback(lambda task: self._forget(task, target.upload_id, parts))
            return await asyncio.shield(ending)
        except _UploadGone:
            return await self._completed(actor, target)
        except StorageError as error:
            if error.code != "NoSuchUpload":
                raise
            return await self._completed(actor, target)

    def _forget(self, task: asyncio.Task[CompletedObject], upload_id: str, parts: tuple[StoredPart, ...]) -> None:
        self._ending.pop((upload_id, parts), None)
        if not task.cancelled():
            task.exception()  # seen, also where every client has gone; the finisher logs it

    async def _complete(
        self,
        actor: Actor,
        target: PartsTarget,
        upload: _Upload,
        draft: Draft,
        expected: Expectation,
        parts: Sequence[StoredPart],
    ) -> CompletedObject:
        try:
            blob = await self._blobs.finish_parts(upload.blob, upload.reference, parts)
        except UploadMissing as error:
            raise _PartsTaken from error
        except PartInvalid as error:
            if error.is_too_small:
                raise refuse.part_too_small() from error
            raise _PartsTaken from error

        async def end(transaction: StorageTransaction) -> None:
            if await transaction.execute(sql.END, target.upload_id) == 0:
                raise _UploadGone

        metadata = object_metadata_json(
            blob,
            mime_type=upload.metadata.get("mimetype") or DEFAULT_MIME_TYPE,
            cache_control=upload.metadata.get("cacheControl") or DEFAULT_CACHE_CONTROL,
        )
        new = NewVersion(upload.blob.version, metadata, draft.user_metadata_json or "{}")
        try:
            # A refusal leaves upload and blob as they are: the same parts may be completed again.
            written = await self._writer.commit(actor, draft, expected, new, alongside=end)
        except _UploadGone:
            await self._remove_unless_used(actor, upload.blob)
            raise
        return CompletedObject(written.id, blob.etag)

    async def _completed(self, actor: Actor, target: PartsTarget) -> CompletedObject:
        """The object, if this upload became it and policies show it to the caller. Raises NoSuchUpload."""
        async with self._database.transaction(actor) as transaction:
            row = await transaction.fetchrow(sql.OBJECT_OF, target.bucket, target.key, target.upload_id)
        if row is None:
            raise refuse.no_such_upload()
        return CompletedObject(row["id"], row["etag"] or "")

    async def abort(self, actor: Actor, target: PartsTarget) -> None:
        """End an upload without an object. Raises NoSuchUpload and what policies refuse."""
        await self._finisher.run(self._abort(actor, target))

    async def _abort(self, actor: Actor, target: PartsTarget) -> None:
        async with self._database.transaction(actor, as_service=True) as transaction:
            upload = await self._find(transaction, target)
            async with transaction.rolled_back():
                await transaction.become_caller()
                await self._writer.dry_run(transaction, upload.draft(actor))
            await transaction.become_service()
            if await transaction.execute(sql.END, target.upload_id) == 0:
                raise refuse.no_such_upload()
        await self._blobs.abort_parts(upload.blob, upload.reference)
        # A completion may have finished the blob and been refused its row.
        await self._writer.remove_blobs([upload.blob])

    async def _find(self, transaction: StorageTransaction, target: PartsTarget) -> _Upload:
        _check_target(target)
        row = await transaction.fetchrow(sql.FIND, target.upload_id, target.bucket, target.key)
        if row is None:
            raise refuse.no_such_upload()
        return _Upload.of(row, target)

    async def _remove_unless_used(self, actor: Actor, blob: BlobKey) -> None:
        try:
            async with self._database.transaction(actor, as_service=True) as transaction:
                row = await transaction.fetchrow(sql.OBJECT_OF, blob.bucket, blob.name, blob.version)
        except Unavailable:
            return
        if row is None:
            await self._writer.remove_blobs([blob])


def _check_target(target: PartsTarget) -> None:
    if not is_uuid(target.upload_id) or "\0" in target.bucket + target.key:
        raise refuse.no_such_upload()


def _chosen(recorded: Sequence[asyncpg.Record], completion: Completion, min_bytes: int) -> list[StoredPart]:
    """The parts that make the object, each but the last of ``min_bytes`` or more.

    Raises InvalidPart, InvalidPartOrder, EntityTooSmall, InvalidRequest for another size than stated.
    """
    known = {row["part_number"]: StoredPart(row["part_number"], row["etag"], row["size"]) for row in recorded}
    if completion.parts is None:
        chosen = list(known.values())
    else:
        numbers = [number for number, _ in completion.parts]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise refuse.invalid_part_order()
        chosen = []
        for number, etag in completion.parts:
            part = known.get(number)
            if part is None or part.etag.strip('"') != etag.strip().strip('"'):
                raise refuse.invalid_part()
            chosen.append(part)
    if not chosen:
        raise refuse.invalid_part()
    # Here and not in the store alone: what works on the disk then works on S3 too.
    if any(part.size_bytes < min_bytes for part in chosen[:-1]):
        raise refuse.part_too_small()
    if completion.size_bytes is not None and completion.size_bytes != sum(part.size_bytes for part in chosen):
        raise refuse.invalid_request("The provided x-amz-mp-object-size does not match what was uploaded")
    return chosen

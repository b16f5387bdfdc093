"""Direct uploads: announced to the simple face, sent to the blob store, and an object only when they are complete.

``begin`` asks the policies and gives a request to send the bytes by: to the object store itself where it takes such, else a
signed URL of this server. Either way the bytes lie under a version that no row names, so nobody can read them. ``complete``
looks at what arrived, asks the policies again, copies the bytes to a version of the object's own (the request can be sent
again until it expires, and an object must not change by that), and writes the row. It can be repeated: the row of
``isobase.direct_uploads`` is marked in the transaction that writes the object. Source: contracts/storage.md section 4.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from isobase_platform.caller import Caller
from isobase_platform.errors import Conflict, IsobaseError, NotFound, Unavailable
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobMissing, BlobStore, PresignedRequest, StoredBlob
from isobase_services.storage.core import direct_sql as sql
from isobase_services.storage.core import objects_sql
from isobase_services.storage.core.database import Actor, StorageDatabase, StorageTransaction
from isobase_services.storage.core.kinds import OlderFiles, PlannedFile
from isobase_services.storage.core.object_metadata import object_metadata_json
from isobase_services.storage.core.upload import UploadBody
from isobase_services.storage.core.write import Draft, NewVersion, ObjectWriter
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import check_mime_type, object_limit_bytes
from isobase_services.storage.signer import Signer

__all__ = ["BegunUpload", "CompletedUpload", "DirectUploads"]

COMPLETE_GRACE_S = 3600.0
"""How long behind the end of its URL an upload may still be completed: the last byte may have come at the last moment."""
KEPT = timedelta(days=1)
"""How long behind that end an upload is kept, so that repeating its completion gives the same answer."""
EXPIRED_BATCH_UPLOADS = 500
_SERVICE = Actor(Caller.service(), "storage.object.delete")


@dataclass(slots=True, frozen=True)
class BegunUpload:
    """An announced upload. ``request`` goes to the object store; where it is None, ``token`` opens this server's own URL."""

    id: uuid.UUID
    request: PresignedRequest | None
    token: str | None
    expires_in_s: int


@dataclass(slots=True, frozen=True)
class CompletedUpload:
    """The object that an upload became, and whether its bucket is public."""

    object_id: uuid.UUID
    file: PlannedFile
    size_bytes: int
    is_public: bool


@dataclass(slots=True, frozen=True)
class _Announced:
    """A row of ``isobase.direct_uploads``. ``version`` None: nothing has arrived."""

    id: uuid.UUID
    file: PlannedFile
    size_bytes: int
    version: str | None
    etag: str | None
    object_id: uuid.UUID | None
    is_public: bool

    def completed(self, object_id: uuid.UUID) -> CompletedUpload:
        return CompletedUpload(object_id, self.file, self.size_bytes, self.is_public)

    def draft(self) -> Draft:
        return _draft(self.file, self.size_bytes)


class _CompletedMeanwhile(StorageError):
    """Another request completed the same upload."""


class DirectUploads:
    """Announces, takes and completes direct uploads."""

    def __init__(
        self,
        database: StorageDatabase,
        blobs: BlobStore,
        writer: ObjectWriter,
        signer: Signer,
        *,
        ttl_s: int,
        size_limit_bytes: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._signer = signer
        self._ttl_s = ttl_s
        self._size_limit_bytes = size_limit_bytes

    async def begin(self, actor: Actor, file: PlannedFile, size_bytes: int) -> BegunUpload:
        """Announce a file of exactly ``size_bytes``.

        Raises NoSuchBucket, InvalidMimeType and EntityTooLarge by the bucket's rules, KeyAlreadyExists, and what policies
        refuse.
        """
        async with self._database.transaction(actor, as_service=True, rollback=True) as transaction:
            await self._check_bucket(transaction, file, size_bytes)
            await transaction.become_caller()
            await self._writer.dry_run(transaction, _draft(file, size_bytes))
        upload_id = uuid.uuid4()
        version = str(uuid.uuid4())
        facts = BlobFacts(file.mime_type, file.cache_control)
        staged = BlobKey(file.bucket, file.key, version)
        request = await self._blobs.presign_put(staged, facts, size_bytes, self._ttl_s)
        async with self._database.transaction(actor, as_service=True) as transaction:
            await transaction.execute(
                sql.BEGIN,
                upload_id,
                file.kind,
                file.bucket,
                file.key,
                file.owner_id,
                file.mime_type,
                size_bytes,
                file.cache_control,
                file.is_upsert,
                None if request is None else version,
                float(self._ttl_s),
            )
        token = None
        if request is None:
            token = self._signer.sign_stage(file.bucket, file.key, self._ttl_s, upload_id=str(upload_id))
        return BegunUpload(upload_id, request, token, self._ttl_s)

    async def stage(self, actor: Actor, upload_id: str, bucket: str, key: str, body: UploadBody) -> None:
        """Take the bytes of an announced upload; a second time replaces the first.

        Raises InvalidSignature where there is no such upload, or it is complete; InvalidMimeType and EntityTooLarge for
        another type or more bytes than were announced, InvalidRequest for fewer.
        """
        async with self._database.transaction(actor, as_service=True) as transaction:
            row = await transaction.fetchrow(sql.STAGING, uuid.UUID(upload_id), bucket, key)
        if row is None:
            raise refuse.invalid_signature("The upload is complete or was given up")
        facts = body.facts
        check_mime_type(facts.mime_type.split(";")[0].strip().lower(), [row["mime_type"]])
        size_bytes: int = row["size_bytes"]
        if facts.known_size is not None and facts.known_size > size_bytes:
            raise refuse.too_large()
        staged = BlobKey(bucket, key, str(uuid.uuid4()))
        blob = await self._blobs.put(staged, _exactly(body.chunks(), size_bytes))
        try:
            async with self._database.transaction(actor, as_service=True) as transaction:
                row = await transaction.fetchrow(sql.STAGE, uuid.UUID(upload_id), staged.version, blob.etag)
                if row is None:
                    raise refuse.invalid_signature("The upload is complete or was given up")
        except (StorageError, Unavailable) as error:
            await self._writer.clean_up(staged, error)
            raise
        if row["replaced"] is not None:
            await self._writer.remove_blobs([BlobKey(bucket, key, row["replaced"])])

    async def complete(self, actor: Actor, upload_id: uuid.UUID) -> CompletedUpload:
        """Make the object of an upload that has arrived.

        Repeating it gives the same answer. Raises 404 ``upload_not_found`` for another user's upload or none, 410
        ``upload_expired``, 409 ``not_uploaded`` and ``size_mismatch`` where what arrived is not what was announced, and what
        an upload by the caller would.
        """
        announced = await self._find(actor, upload_id)
        if announced.object_id is not None:
            return announced.completed(announced.object_id)
        try:
            return announced.completed(await self._complete(actor, announced))
        except IsobaseError:
            again = await self._find(actor, upload_id)
            if again.object_id is None:
                raise
            return again.completed(again.object_id)

    async def _find(self, actor: Actor, upload_id: uuid.UUID) -> _Announced:
        async with self._database.transaction(actor, as_service=True) as transaction:
            row = await transaction.fetchrow(sql.FIND, upload_id, actor.owner_id, COMPLETE_GRACE_S)
        if row is None:
            raise NotFound("There is no such upload, or it is not yours", code="upload_not_found")
        if row["is_expired"] and row["object_id"] is None:
            raise IsobaseError("The upload was not completed in time", code="upload_expired", status=410)
        return _announced(upload_id, row)

    async def _complete(self, actor: Actor, announced: _Announced) -> uuid.UUID:
        file = announced.file
        if announced.version is None:
            raise _not_uploaded()
        async with self._database.transaction(actor, as_service=True) as transaction:
            await self._check_bucket(transaction, file, announced.size_bytes)
        staged = BlobKey(file.bucket, file.key, announced.version)
        final = BlobKey(file.bucket, file.key, str(uuid.uuid4()))
        blob = await self._take(announced, staged, final)
        metadata = object_metadata_json(blob, mime_type=file.mime_type, cache_control=file.cache_control)
        new = NewVersion(final.version, metadata, "{}")

        async def mark(transaction: StorageTransaction) -> None:
            if await transaction.execute(sql.COMPLETE, announced.id) == 0:
                raise _CompletedMeanwhile("ResourceAlreadyExists", 409, "The upload is complete already")

        try:
            written = await self._writer.commit(actor, announced.draft(), None, new, mark)
        except (StorageError, Unavailable) as error:
            await self._writer.clean_up(final, error)
            raise
        await self._writer.remove_blobs([staged])
        return written.id

    async def _take(self, announced: _Announced, staged: BlobKey, final: BlobKey) -> StoredBlob:
        """Copy what arrived to the object's own version. What is looked at is the copy, which nobody can change any more."""
        try:
            if (await self._blobs.stat(staged)).size_bytes != announced.size_bytes:
                raise _size_mismatch()
            await self._blobs.copy(staged, final)
            found = await self._blobs.stat(final)
        except BlobMissing as error:
            raise _not_uploaded() from error
        if found.size_bytes != announced.size_bytes:
            await self._writer.remove_blobs([final])
            raise _size_mismatch()
        return StoredBlob(found.etag or announced.etag or f'"{final.version}"', found.size_bytes, found.stored_at)

    async def is_public(self, actor: Actor, bucket: str) -> bool:
        """Whether anybody may read the bucket's objects by URL; False where there is no such bucket."""
        async with self._database.transaction(actor, as_service=True) as transaction:
            row = await transaction.fetchrow(sql.BUCKET_IS_PUBLIC, bucket)
        return bool(row and row["public"])

    async def older(self, actor: Actor, owner_id: str, files: OlderFiles) -> list[str]:
        """The keys beyond the newest ``files.keep`` that policies show to the caller."""
        async with self._database.transaction(actor) as transaction:
            rows = await transaction.fetch(sql.OLDER, files.bucket, owner_id, files.prefix, files.pattern, files.keep)
        return [row["name"] for row in rows]

    async def remove_expired(self, now: datetime) -> int:
        """Forget uploads that ended ``KEPT`` before ``now`` and remove what arrived for them; how many there were.

        Blobs go before the rows that know them, so that nothing is left behind by a crash.
        """
        count = 0
        while True:
            async with self._database.transaction(_SERVICE, as_service=True) as transaction:
                rows = await transaction.fetch(sql.EXPIRED, now - KEPT, EXPIRED_BATCH_UPLOADS)
            keys = [BlobKey(row["bucket_id"], row["name"], row["version"]) for row in rows if row["version"]]
            if keys:
                await self._blobs.delete(keys)
            async with self._database.transaction(_SERVICE, as_service=True) as transaction:
                await transaction.execute(sql.REMOVE, [row["id"] for row in rows])
            count += len(rows)
            if len(rows) < EXPIRED_BATCH_UPLOADS:
                return count

    async def _check_bucket(self, transaction: StorageTransaction, file: PlannedFile, size_bytes: int) -> None:
        bucket = await transaction.fetchrow(objects_sql.BUCKET_RULES, file.bucket)
        if bucket is None:
            raise refuse.no_such_bucket()
        check_mime_type(file.mime_type, bucket["allowed_mime_types"] or ())
        if size_bytes > object_limit_bytes(self._size_limit_bytes, bucket["file_size_limit"]):
            raise refuse.too_large()


def _announced(upload_id: uuid.UUID, row: asyncpg.Record) -> _Announced:
    file = PlannedFile(
        kind=row["kind"],
        bucket=row["bucket_id"],
        key=row["name"],
        owner_id=row["owner_id"],
        mime_type=row["mime_type"],
        cache_control=row["cache_control"],
        is_upsert=row["is_upsert"],
    )
    return _Announced(
        upload_id, file, row["size_bytes"], row["version"], row["etag"], row["object_id"], row["is_public"]
    )


def _draft(file: PlannedFile, size_bytes: int) -> Draft:
    metadata = {"mimetype": file.mime_type, "contentLength": size_bytes}
    return Draft(file.bucket, file.key, file.owner_id, file.is_upsert, json.dumps(metadata), None)


def _not_uploaded() -> IsobaseError:
    return Conflict("The file has not been uploaded yet", code="not_uploaded")


def _size_mismatch() -> IsobaseError:
    return Conflict("What was uploaded has not the size that was announced", code="size_mismatch")


async def _exactly(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """The chunks, if they are ``size_bytes`` together. Raises EntityTooLarge for more, InvalidRequest for fewer."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > size_bytes:
            raise refuse.too_large()
        yield chunk
    if size < size_bytes:
        raise refuse.invalid_request("The file has not the size that was announced")

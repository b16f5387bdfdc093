"""Resumable uploads: made, continued, looked at, given up, and removed when nobody comes back.

Rules and rights are asked on every request, as for a new upload; the row in ``isobase.resumable_uploads`` says how far an
upload is, in whichever process it goes on. Source: contracts/storage.md 1.4; upstream ``src/http/routes/tus``.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg

from isobase_platform.caller import Caller
from isobase_platform.config_storage import StorageSettings
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobStore
from isobase_services.storage.blob.appending import AppendBusy
from isobase_services.storage.core import objects_sql
from isobase_services.storage.core import resumable_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase, StorageTransaction
from isobase_services.storage.core.resumable_bytes import AppendSink, Sink
from isobase_services.storage.core.resumable_errors import refuse_upload
from isobase_services.storage.core.resumable_lease import LEASE_S, POLL_S, RELEASE_TIMEOUT_S, Lease, Leases
from isobase_services.storage.core.resumable_parts import open_part_sink
from isobase_services.storage.core.resumable_state import Progress, UploadDescription, UploadRight, UploadState
from isobase_services.storage.core.resumable_write import ResumableWrite, remove_bytes
from isobase_services.storage.core.write import Expectation, Finisher, ObjectWriter
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name, check_key, check_mime_type, is_uuid, object_limit_bytes

__all__ = ["Incoming", "Resumable"]

PARTS_OF_A_LOST_WRITER = 2
"""Part numbers that a writer which was silent for too long may still use."""
REMOVE_BATCH = 500
UNKNOWN_BYTES_AGE = timedelta(hours=1)
"""Bytes without a row are left alone for so long: their upload may be between two steps."""
_SERVICE = Actor(Caller.service(), "storage.tus.expire")


@dataclass(slots=True, frozen=True)
class Incoming:
    """The body of a request: its Content-Length where it says one, and its bytes."""

    content_length: int | None
    chunks: AsyncIterator[bytes]


class Resumable:
    """The operations on resumable uploads."""

    def __init__(
        self,
        database: StorageDatabase,
        blobs: BlobStore,
        writer: ObjectWriter,
        finisher: Finisher,
        settings: StorageSettings,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._finisher = finisher
        self._settings = settings.tus
        self._size_limit_bytes = settings.file_size_limit_bytes
        self._leases = Leases(database)

    @property
    def max_size_bytes(self) -> int:
        """The project's limit for one object."""
        return self._size_limit_bytes

    async def create(
        self,
        actor: Actor,
        right: UploadRight,
        bucket: str,
        key: str,
        size_bytes: int | None,
        description: UploadDescription,
        incoming: Incoming | None,
    ) -> Progress:
        """Begin an upload of ``size_bytes`` (None: told later), with its first bytes where the request brings some.

        Raises InvalidBucketName, InvalidKey, NoSuchBucket, InvalidMimeType, KeyAlreadyExists, what policies refuse, and the
        sizes that ``refuse_upload`` knows; then there is no upload.
        """
        check_bucket_name(bucket)
        check_key(key)
        blob_key = BlobKey(bucket, key, str(uuid.uuid4()))
        lease = Lease(uuid.UUID(blob_key.version)) if incoming is not None or size_bytes == 0 else None
        async with self._database.transaction(actor, as_service=True) as transaction:
            rules = await transaction.fetchrow(objects_sql.BUCKET_RULES, bucket)
            if rules is None:
                raise refuse.no_such_bucket()
            limit_bytes = object_limit_bytes(self._size_limit_bytes, rules["file_size_limit"])
            if size_bytes is not None and size_bytes > limit_bytes:
                raise refuse_upload.too_large()
            state = UploadState(
                blob_key, size_bytes, 0, description, None, 0, datetime.now(UTC), is_expired=False, is_finished=False
            )
            expected = await self._dry_run(transaction, state, right)
            check_mime_type(description.facts(None).mime_type, rules["allowed_mime_types"] or ())
            _check_length(state, limit_bytes, incoming)
            row = await transaction.fetchrow(
                sql.CREATE,
                lease.upload_id if lease is not None else uuid.UUID(blob_key.version),
                bucket,
                key,
                size_bytes,
                description.json,
                self._settings.upload_ttl_s,
                lease.token if lease is not None else None,
                LEASE_S,
            )
            assert row is not None, "an INSERT without ON CONFLICT returns its row"
            state = replace(state, expires_at=row["expires_at"])
        if lease is None:
            return Progress(blob_key, 0, state.expires_at, is_finished=False)
        return await self._write(actor, right, state, expected, lease, limit_bytes, incoming)

    async def append(
        self,
        actor: Actor,
        right: UploadRight,
        key: BlobKey,
        offset_bytes: int,
        size_bytes: int | None,
        incoming: Incoming,
    ) -> Progress:
        """Add bytes at ``offset_bytes``; ``size_bytes`` is the length where this request tells it (None: it does not).

        Raises what ``create`` raises, and what ``refuse_upload`` knows: unknown or expired, wrong offset, length or size,
        locked.
        """
        lease = Lease(_id_of(key))
        deadline_s = time.monotonic() + RELEASE_TIMEOUT_S
        while True:
            expected = await self._may_write(actor, key, right, size_bytes)
            async with self._database.transaction(actor, as_service=True) as transaction:
                row = await self._take(transaction, key, lease)
                state = UploadState.from_row(key, row)
                limit_bytes = object_limit_bytes(self._size_limit_bytes, row["file_size_limit"])
                if state.is_expired:
                    raise refuse_upload.expired()
                if not row["is_held"]:
                    state = _continued(state, offset_bytes, size_bytes, limit_bytes)
                    _check_length(state, limit_bytes, incoming)
            if state.is_finished:
                return Progress(key, state.offset_bytes, state.expires_at, is_finished=True)
            if row["is_taken"]:
                state = replace(state, last_part=row["first_free_part"])
                return await self._write(actor, right, state, expected, lease, limit_bytes, incoming)
            await self._wait_for_release(actor, lease.upload_id, deadline_s)

    async def status(self, actor: Actor, key: BlobKey) -> UploadState:
        """How far an upload is, once nobody writes to it. Raises unknown, expired and locked of ``refuse_upload``."""
        upload_id = _id_of(key)
        deadline_s = time.monotonic() + RELEASE_TIMEOUT_S
        while True:
            async with self._database.transaction(actor, as_service=True) as transaction:
                row = await transaction.fetchrow(sql.READ, upload_id, key.bucket, key.name)
            if row is None:
                raise refuse_upload.not_found()
            state = UploadState.from_row(key, row)
            if state.is_expired:
                raise refuse_upload.expired()
            if not row["is_held"]:
                return state
            await self._wait_for_release(actor, upload_id, deadline_s)

    async def terminate(self, actor: Actor, right: UploadRight, key: BlobKey) -> None:
        """Give an upload up. Raises as ``append``, and already_finished."""
        lease = Lease(_id_of(key))
        deadline_s = time.monotonic() + RELEASE_TIMEOUT_S
        while True:
            await self._may_write(actor, key, right)
            async with self._database.transaction(actor, as_service=True) as transaction:
                row = await self._take(transaction, key, lease)
                state = UploadState.from_row(key, row)
                if state.is_finished:
                    raise refuse_upload.already_finished()
                if not row["is_held"]:
                    await transaction.execute(sql.DELETE, lease.upload_id)
            if not row["is_held"]:
                await self._finisher.run(remove_bytes(self._blobs, self._writer, key, state.parts_upload))
                return
            await self._wait_for_release(actor, lease.upload_id, deadline_s)

    async def remove_expired(self, now: datetime) -> int:
        """Remove the uploads that expired before ``now``, and bytes of uploads that nobody knows; how many uploads.

        An upload that somebody writes to stays until he is done. Of one that was finished only the row goes.
        """
        removed = 0
        while True:
            async with self._database.transaction(_SERVICE, as_service=True) as transaction:
                rows = await transaction.fetch(sql.DELETE_EXPIRED, now, REMOVE_BATCH)
            for row in rows:
                if not row["is_finished"]:
                    key = BlobKey(row["bucket_id"], row["name"], str(row["id"]))
                    await remove_bytes(self._blobs, self._writer, key, row["parts_upload"])
            removed += len(rows)
            if len(rows) < REMOVE_BATCH:
                break
        await self._remove_unknown_bytes(now)
        return removed

    def release_all(self) -> None:
        """Let every request of this process keep what it has and end: the process is about to."""
        self._leases.ask_all()

    async def _remove_unknown_bytes(self, now: datetime) -> None:
        """A process killed between the end of a row and that of its bytes leaves bytes that no row names."""
        if self._blobs.appends is None:
            return
        old = [
            entry
            async for entry in self._blobs.appends.scan()
            if entry.changed_at < now - UNKNOWN_BYTES_AGE and is_uuid(entry.version)
        ]
        if not old:
            return
        async with self._database.transaction(_SERVICE, as_service=True) as transaction:
            rows = await transaction.fetch(sql.KNOWN_IDS, [uuid.UUID(entry.version) for entry in old])
        known = {str(row["id"]) for row in rows}
        for entry in old:
            if entry.version not in known:
                await self._blobs.appends.discard_entry(entry)

    async def _may_write(
        self, actor: Actor, key: BlobKey, right: UploadRight, late_size_bytes: int | None = None
    ) -> Expectation:
        """Ask before the upload's row is locked: a dry run waits for who writes the object's row, and he for this one.

        ``late_size_bytes`` is a length that was left open until now: policies may limit it.
        """
        values = (str(_id_of(key)), key.bucket, key.name)
        rows = await self._database.once(actor, sql.DESCRIPTION, values, as_service=True, read_only=True)
        if not rows:
            raise refuse_upload.not_found()
        [(text, size)] = rows
        assert text is not None, "the column is not null"
        description = UploadDescription.from_json(text.decode())
        draft = description.draft(key, late_size_bytes if size is None else int(size), right)
        return await self._writer.may_write(actor.as_service() if right.is_signed else actor, draft)

    async def _take(self, transaction: StorageTransaction, key: BlobKey, lease: Lease) -> asyncpg.Record:
        row = await transaction.fetchrow(
            sql.TAKE, lease.upload_id, key.bucket, key.name, lease.token, LEASE_S, PARTS_OF_A_LOST_WRITER
        )
        if row is None:
            raise refuse_upload.not_found()
        if not row["has_bucket"]:
            raise refuse.no_such_bucket()
        return row

    async def _dry_run(self, transaction: StorageTransaction, state: UploadState, right: UploadRight) -> Expectation:
        """May this caller write the object? In a transaction of the service, which goes on unchanged."""
        async with transaction.rolled_back():
            if not right.is_signed:
                await transaction.become_caller()
            return await self._writer.dry_run(transaction, state.draft(right))

    async def _wait_for_release(self, actor: Actor, upload_id: uuid.UUID, deadline_s: float) -> None:
        if time.monotonic() >= deadline_s:
            raise refuse_upload.locked()
        if not self._leases.ask(upload_id):
            async with self._database.transaction(actor, as_service=True) as transaction:
                await transaction.execute(sql.ASK_RELEASE, upload_id)
        await asyncio.sleep(POLL_S)

    async def _write(
        self,
        actor: Actor,
        right: UploadRight,
        state: UploadState,
        expected: Expectation,
        lease: Lease,
        limit_bytes: int,
        incoming: Incoming | None,
    ) -> Progress:
        self._leases.hold(lease)
        write = ResumableWrite(
            self._database,
            self._blobs,
            self._writer,
            self._finisher,
            actor=actor,
            right=right,
            state=state,
            expected=expected,
            lease=lease,
        )
        try:
            sink = await self._sink(state, write, limit_bytes)
            room_bytes = (limit_bytes if state.size_bytes is None else state.size_bytes) - state.offset_bytes
            return await write.run(sink, incoming.chunks if incoming is not None else _nothing(), room_bytes)
        finally:
            self._leases.forget(lease)

    async def _sink(self, state: UploadState, write: ResumableWrite, limit_bytes: int) -> Sink:
        try:
            if self._blobs.appends is None:
                return await open_part_sink(
                    self._blobs, state, write, part_bytes=self._settings.part_size_bytes, limit_bytes=limit_bytes
                )
            appender = await self._blobs.appends.open(state.key, state.offset_bytes)
            return AppendSink(appender, state.offset_bytes, write)
        except AppendBusy as error:
            await write.release()
            raise refuse_upload.locked() from error
        except BlobMissing as error:
            await write.remove()
            raise refuse_upload.not_found() from error
        except BaseException:
            await write.release()
            raise


def _id_of(key: BlobKey) -> uuid.UUID:
    if not is_uuid(key.version):
        raise refuse_upload.not_found()
    return uuid.UUID(key.version)


def _continued(state: UploadState, offset_bytes: int, size_bytes: int | None, limit_bytes: int) -> UploadState:
    """The state with the length that the request tells. Raises what does not fit."""
    if state.offset_bytes != offset_bytes:
        raise refuse_upload.wrong_offset()
    if size_bytes is None or state.is_finished:
        return state
    if state.size_bytes is not None or size_bytes < offset_bytes:
        raise refuse_upload.wrong_length()
    if size_bytes > limit_bytes:
        raise refuse_upload.too_large()
    return replace(state, size_bytes=size_bytes)


def _check_length(state: UploadState, limit_bytes: int, incoming: Incoming | None) -> None:
    """Raise for a body that is known to be too long before it is read."""
    if incoming is None or incoming.content_length is None:
        return
    limit = limit_bytes if state.size_bytes is None else state.size_bytes
    if state.offset_bytes + incoming.content_length > limit:
        raise refuse_upload.beyond_length()


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk

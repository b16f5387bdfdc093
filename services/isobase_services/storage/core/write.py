"""The one way a row of ``storage.objects`` comes to point at a new blob: asked for as the caller, written as the service.

Between the dry run and the write lies the upload, which may take long, and the key may change hands meanwhile. So the
dry run reports what it saw, the write holds only while that is still true, and otherwise the right is asked for again,
this time in the same transaction as the write. (Upstream writes regardless, and a user without an UPDATE policy could
replace an object that appeared while he was uploading.)
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.wire_messages import Row, Step
from isobase_services.storage.blob import BlobKey, BlobStore, BlobUnavailable
from isobase_services.storage.core import objects_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase, StorageTransaction
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import is_uuid

__all__ = ["Alongside", "Draft", "Expectation", "Finisher", "NewVersion", "ObjectWriter", "WrittenObject"]

MAX_WRITE_ATTEMPTS = 10
_TRUE = b"\x01"

_T = TypeVar("_T")
_log = logging.getLogger("isobase.storage")


@dataclass(slots=True, frozen=True)
class Draft:
    """A row as it is known before the bytes are: what policies are asked about.

    ``metadata_json`` holds ``mimetype`` and, where the request says it, ``contentLength``.
    """

    bucket: str
    key: str
    owner_id: str | None
    is_upsert: bool
    metadata_json: str
    user_metadata_json: str | None
    if_match: str | None = None
    """Only over an object with this ETag (its quotes may be missing; ``*``: over any); with ``is_upsert``."""

    @property
    def owner(self) -> uuid.UUID | None:
        """The deprecated owner column, which only takes a uuid."""
        return uuid.UUID(self.owner_id) if self.owner_id is not None and is_uuid(self.owner_id) else None


@dataclass(slots=True, frozen=True)
class Expectation:
    """What the dry run saw at the key: a row, and of which version."""

    is_replacement: bool
    version: str | None


@dataclass(slots=True, frozen=True)
class WrittenObject:
    """The row as it is now: its id, and the whole row as JSON text."""

    id: uuid.UUID
    json: str


@dataclass(slots=True, frozen=True)
class NewVersion:
    """What the row shall say of the blob that is stored already. ``is_signed``: a token gives the right, not policies."""

    version: str
    metadata_json: str
    user_metadata_json: str | None
    is_signed: bool = False


Alongside: TypeAlias = Callable[[StorageTransaction], Awaitable[None]]
"""Statements of the service that are committed with the row, or not at all."""


class _Superseded(Exception):
    """The key changed since the right to write it was asked for."""


class Finisher:
    """Runs the last step of an operation to its end even when the request that began it is gone.

    A cancelled COMMIT would leave it unknown whether the row is there, and so which blob may be removed.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await ``work``; a cancellation of the caller does not reach it."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_abandoned)
            raise

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is running, ``timeout_s`` seconds at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)


def _log_abandoned(task: asyncio.Task[Any]) -> None:
    """Nobody waits for this task any more: what it raised would be seen by nobody."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, StorageError):
        _log.warning("an abandoned write failed", exc_info=error)


def _superseded(draft: Draft) -> Exception:
    """What a write means that found another row than was expected, or one where there was none."""
    return _Superseded() if draft.is_upsert else refuse.already_exists("KeyAlreadyExists")


def _expectation(draft: Draft, is_replacement: bool, version: str | None, etag: str | None) -> Expectation:
    if draft.if_match is not None:
        if not is_replacement:
            raise refuse.no_such_key()
        if draft.if_match != "*" and draft.if_match.strip('"') != (etag or "").strip('"'):
            raise refuse.precondition_failed()
    return Expectation(is_replacement, version)


class ObjectWriter:
    """Dry runs and writes of object rows, and the care for the blobs on both sides of a write."""

    def __init__(self, database: StorageDatabase, blobs: BlobStore, finisher: Finisher) -> None:
        self._database = database
        self._blobs = blobs
        self._finisher = finisher

    async def dry_run(self, transaction: StorageTransaction, draft: Draft) -> Expectation:
        """Try the write as whoever the transaction runs as; the caller of this rolls it back.

        Raises KeyAlreadyExists without upsert on a taken key, what policies refuse, and for a draft with ``if_match``
        NoSuchKey or PreconditionFailed.
        """
        args = (
            uuid.uuid4(),
            draft.bucket,
            draft.key,
            draft.owner,
            draft.owner_id,
            draft.metadata_json,
            draft.user_metadata_json,
        )
        if draft.is_upsert:
            row = await transaction.fetchrow(sql.DRY_RUN_UPSERT, *args)
            if row is None:
                raise refuse.access_denied("new row violates row-level security policy")
            return _expectation(draft, row["is_replacement"], row["version"], row["etag"])
        try:
            await transaction.execute(sql.DRY_RUN_INSERT, *args)
        except DatabaseError as error:
            if error.is_unique_violation:
                raise refuse.already_exists("KeyAlreadyExists") from error
            raise
        return Expectation(is_replacement=False, version=None)

    async def may_write(self, actor: Actor, draft: Draft) -> Expectation:
        """The dry run by itself, in one round trip where nothing is refused. Raises as ``dry_run``."""
        try:
            [row] = await self._database.attempt(actor, self.try_step(draft))
        except StorageError:
            # What is refused is told in the words of the plain statements.
            async with self._database.transaction(actor, rollback=True) as transaction:
                return await self.dry_run(transaction, draft)
        return self.tried(draft, row)

    @staticmethod
    def try_step(draft: Draft) -> Step:
        """The dry run as a step that takes itself back, for ``StorageDatabase.ask``; ``tried`` reads its row."""
        owner = None if draft.owner is None else str(draft.owner)
        values = (str(uuid.uuid4()), draft.bucket, draft.key, owner, draft.owner_id, draft.metadata_json)
        return sql.TRY_WRITE, (*values, draft.user_metadata_json, "t" if draft.is_upsert else "f")

    @staticmethod
    def tried(draft: Draft, row: Row) -> Expectation:
        """What the step saw. Raises as ``dry_run``, but for what the step itself raised."""
        is_replacement, version, etag = row
        if is_replacement is None:
            raise refuse.access_denied("new row violates row-level security policy")
        texts = (None if value is None else value.decode() for value in (version, etag))
        return _expectation(draft, is_replacement == _TRUE, *texts)

    async def commit(
        self,
        actor: Actor,
        draft: Draft,
        expected: Expectation | None,
        new: NewVersion,
        alongside: Alongside | None = None,
    ) -> WrittenObject:
        """Let the row point at the new blob, and remove the blob that it replaces.

        ``expected`` is what the dry run saw; None asks for the right (again) with the final draft. A refusal removes the
        new blob; where it is not known whether the row was written, the blob stays. ``alongside`` runs in the same
        transaction, behind the write; who gives it keeps the care for the new blob of a refusal.
        """
        return await self._finisher.run(self._commit(actor, draft, expected, new, alongside))

    async def _commit(
        self,
        actor: Actor,
        draft: Draft,
        expected: Expectation | None,
        new: NewVersion,
        alongside: Alongside | None,
    ) -> WrittenObject:
        blob = BlobKey(draft.bucket, draft.key, new.version)
        try:
            for _ in range(MAX_WRITE_ATTEMPTS):
                try:
                    written, replaced = await self._write(actor, draft, expected, new, alongside)
                except _Superseded:
                    expected = None
                    continue
                if replaced is not None and replaced != new.version:
                    await self.remove_blobs([BlobKey(draft.bucket, draft.key, replaced)])
                return written
            raise refuse.lock_timeout()
        except (StorageError, Unavailable) as error:
            if alongside is None:
                await self.clean_up(blob, error)
            raise

    async def _write(
        self,
        actor: Actor,
        draft: Draft,
        expected: Expectation | None,
        new: NewVersion,
        alongside: Alongside | None,
    ) -> tuple[WrittenObject, str | None]:
        new_id = uuid.uuid4()
        as_service = new.is_signed or expected is not None
        if expected is not None and alongside is None:
            return await self._write_at_once(actor, draft, expected, new, new_id)
        async with self._database.transaction(actor, as_service=as_service) as transaction:
            if expected is None:
                await transaction.fetch(sql.LOCK_KEY, draft.bucket, draft.key)
                async with transaction.rolled_back():
                    expected = await self.dry_run(transaction, draft)
                if not as_service:
                    await transaction.become_service()
            row = await transaction.fetchrow(
                sql.WRITE,
                new_id,
                draft.bucket,
                draft.key,
                draft.owner,
                draft.owner_id,
                new.version,
                new.metadata_json,
                new.user_metadata_json,
                expected.is_replacement,
                expected.version,
            )
            if row is None:
                raise _superseded(draft)
            if alongside is not None:
                await alongside(transaction)
            return WrittenObject(row["id"], row["json"]), row["replaced_version"]

    async def _write_at_once(
        self, actor: Actor, draft: Draft, expected: Expectation, new: NewVersion, new_id: uuid.UUID
    ) -> tuple[WrittenObject, str | None]:
        """The write alone, as the service, in one round trip."""
        values = (
            str(new_id),
            draft.bucket,
            draft.key,
            None if draft.owner is None else str(draft.owner),
            draft.owner_id,
            new.version,
            new.metadata_json,
            new.user_metadata_json,
            "t" if expected.is_replacement else "f",
            expected.version,
        )
        rows = await self._database.once(actor, sql.WRITE, values, as_service=True)
        if not rows:
            raise _superseded(draft)
        [(object_id, replaced, text)] = rows
        assert text is not None
        written = WrittenObject(uuid.UUID(bytes=object_id), text.decode())
        return written, None if replaced is None else replaced.decode()

    async def clean_up(self, blob: BlobKey, error: StorageError | Unavailable) -> None:
        """Remove a blob whose row was refused. Where a COMMIT may have gone through unheard, the blob stays."""
        if isinstance(error, Unavailable) and error.code != "pool_timeout":
            _log.warning("it is not known whether an object was written", extra={"blob": blob.version})
            return
        await self.remove_blobs([blob])

    async def remove_blobs(self, keys: list[BlobKey]) -> None:
        """Remove blobs that no row points at. A failure is logged: the answer is right, some disk space is not free."""
        try:
            await self._blobs.delete(keys)
        except BlobUnavailable:
            _log.warning("blobs could not be removed", extra={"count": len(keys)}, exc_info=True)

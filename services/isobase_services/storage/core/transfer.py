"""Copying and moving an object: asked for as the caller, done as the service. Source: contracts/storage.md 1.2 and 1.7."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isobase_platform.errors import Unavailable
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobMissing, BlobStore
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.times import iso_milliseconds
from isobase_services.storage.core.write import Draft, Expectation, Finisher, NewVersion, ObjectWriter, WrittenObject
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import check_bucket_name, check_key, is_uuid

__all__ = ["CopyRequest", "MoveRequest", "Transfers"]

ATTEMPTS = 5
"""The source may be overwritten between the look and the copy; then everything is asked for again."""

_SOURCE = "select version, metadata, user_metadata from storage.objects where bucket_id = $1 and name = $2"

# As the caller, rolled back. "source" is read in the snapshot of the statement: the version as it was.
_DRY_RUN_MOVE = """
with source as (select version from storage.objects where bucket_id = $1 and name = $2)
update storage.objects set
    bucket_id = $3, name = $4, version = $5, owner = coalesce($6, owner), owner_id = coalesce($7, owner_id)
 where bucket_id = $1 and name = $2
returning id, (select version from source) as version
"""
_MOVE = """
update storage.objects set
    bucket_id = $3, name = $4, version = $5, owner = coalesce($6, owner), owner_id = coalesce($7, owner_id),
    metadata = metadata || jsonb_build_object('lastModified', $9::text)
 where bucket_id = $1 and name = $2 and id = $8 and version is not distinct from $10
"""


@dataclass(slots=True, frozen=True)
class CopyRequest:
    """``copies_metadata`` False: ``metadata`` (cacheControl, mimetype) and ``user_metadata`` replace the source's."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    is_upsert: bool
    copies_metadata: bool
    metadata: Mapping[str, str]
    user_metadata: Mapping[str, Any] | None
    check_source: Callable[[Mapping[str, Any]], None] | None = None
    """Raises where the source's metadata do not meet the request's conditions."""


@dataclass(slots=True, frozen=True)
class MoveRequest:
    """From one bucket and key to another."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str

    @property
    def is_in_place(self) -> bool:
        """True where source and target are the same."""
        return (self.source_bucket, self.source_key) == (self.bucket, self.key)


class _SourceChanged(Exception):
    """The source is not what was looked at."""


class Transfers:
    """Copies and moves."""

    def __init__(self, database: StorageDatabase, blobs: BlobStore, writer: ObjectWriter, finisher: Finisher) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._finisher = finisher

    async def copy(self, actor: Actor, request: CopyRequest) -> WrittenObject:
        """Copy an object that the caller may read to a key that he may write.

        Raises NoSuchKey for the source, InvalidKey, KeyAlreadyExists, "related resource" 404 for a missing target
        bucket, and what policies refuse.
        """
        check_bucket_name(request.source_bucket)
        check_key(request.key)
        for _ in range(ATTEMPTS):
            try:
                return await self._copy(actor, request)
            except _SourceChanged:
                continue
        raise refuse.blob_missing()

    async def _copy(self, actor: Actor, request: CopyRequest) -> WrittenObject:
        async with self._database.transaction(actor, rollback=True) as transaction:
            row = await transaction.fetchrow(_SOURCE, request.source_bucket, request.source_key)
            if row is None:
                raise refuse.no_such_key()
            metadata: dict[str, Any] = json.loads(row["metadata"]) if row["metadata"] else {}
            user_metadata: str | None = row["user_metadata"]
            if request.check_source is not None:
                request.check_source(metadata)
            if not request.copies_metadata:
                metadata |= request.metadata
                user_metadata = None if request.user_metadata is None else json.dumps(request.user_metadata)
            draft = Draft(
                request.bucket,
                request.key,
                actor.owner_id,
                request.is_upsert,
                json.dumps(metadata),
                user_metadata,
            )
            expected = await self._writer.dry_run(transaction, draft)
        return await self._finisher.run(self._finish_copy(actor, request, draft, expected, metadata, row["version"]))

    async def _finish_copy(
        self,
        actor: Actor,
        request: CopyRequest,
        draft: Draft,
        expected: Expectation,
        metadata: dict[str, Any],
        source_version: str | None,
    ) -> WrittenObject:
        version = str(uuid.uuid4())
        source = BlobKey(request.source_bucket, request.source_key, source_version or "")
        facts = None
        if not request.copies_metadata:
            facts = BlobFacts(str(metadata.get("mimetype", "")), str(metadata.get("cacheControl", "")))
        try:
            await self._blobs.copy(source, BlobKey(request.bucket, request.key, version), facts=facts)
        except BlobMissing as error:
            raise _SourceChanged from error
        stored = {**metadata, "lastModified": iso_milliseconds(datetime.now(UTC))}
        new = NewVersion(version, json.dumps(stored), draft.user_metadata_json)
        return await self._writer.commit(actor, draft, expected, new)

    async def move(self, actor: Actor, request: MoveRequest) -> None:
        """Move an object. It keeps its id, its times of creation and its user metadata; its owner is the mover.

        Raises NoSuchKey where policies hide the source or forbid its change, ResourceAlreadyExists for a taken target,
        InvalidKey, "related resource" 404 for a missing target bucket, and what policies refuse.
        """
        check_bucket_name(request.source_bucket)
        check_key(request.key)
        for _ in range(ATTEMPTS):
            try:
                await self._move(actor, request)
            except _SourceChanged:
                continue
            return
        raise refuse.blob_missing()

    async def _move(self, actor: Actor, request: MoveRequest) -> None:
        version = str(uuid.uuid4())
        owner_id = actor.owner_id
        owner = uuid.UUID(owner_id) if owner_id is not None and is_uuid(owner_id) else None
        places = (request.source_bucket, request.source_key, request.bucket, request.key)
        async with self._database.transaction(actor, rollback=True) as transaction:
            row = await transaction.fetchrow(_DRY_RUN_MOVE, *places, version, owner, owner_id)
            if row is None:
                raise refuse.no_such_key()
        if not request.is_in_place:
            work = self._finish_move(actor, request, version, owner, row["id"], row["version"])
            await self._finisher.run(work)

    async def _finish_move(
        self,
        actor: Actor,
        request: MoveRequest,
        version: str,
        owner: uuid.UUID | None,
        object_id: uuid.UUID,
        source_version: str | None,
    ) -> None:
        source = BlobKey(request.source_bucket, request.source_key, source_version or "")
        target = BlobKey(request.bucket, request.key, version)
        try:
            await self._blobs.copy(source, target)
        except BlobMissing as error:
            raise _SourceChanged from error
        moved_at = iso_milliseconds(datetime.now(UTC))
        places = (request.source_bucket, request.source_key, request.bucket, request.key)
        try:
            async with self._database.transaction(actor, as_service=True) as transaction:
                count = await transaction.execute(
                    _MOVE, *places, version, owner, actor.owner_id, object_id, moved_at, source_version
                )
        except (StorageError, Unavailable) as error:
            await self._writer.clean_up(target, error)
            raise
        if count == 0:
            await self._writer.remove_blobs([target])
            raise _SourceChanged
        await self._writer.remove_blobs([source])

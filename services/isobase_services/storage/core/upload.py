"""Storing an object: rules of the bucket, the right to write, the bytes, the row, in this order.

No connection is held while bytes arrive. Source: contracts/storage.md 1.2 "Upload rules" and 1.7.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isobase_platform.wire_messages import Row
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobStore, StoredBlob
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.object_metadata import object_metadata_json
from isobase_services.storage.core.write import Draft, Expectation, NewVersion, ObjectWriter, WrittenObject
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import (
    check_bucket_name,
    check_key,
    check_mime_type,
    is_empty_folder,
    object_limit_bytes,
)

__all__ = ["StoredObject", "UploadBody", "UploadFacts", "UploadTarget", "Uploads"]

_BUCKET_RULES = "select file_size_limit::text, to_json(allowed_mime_types)::text from storage.buckets where id = $1"


@dataclass(slots=True, frozen=True)
class UploadTarget:
    """Where an upload goes. ``is_signed``: the right comes from a token, so policies are not asked."""

    bucket: str
    key: str
    owner_id: str | None
    is_upsert: bool
    is_signed: bool = False
    if_match: str | None = None
    """See ``Draft.if_match``."""


@dataclass(slots=True, frozen=True)
class UploadFacts:
    """What a request says about its file. An empty ``mime_type`` (when a URL is signed) is not told to policies.

    ``declared_length`` is the request's Content-Length in bytes (of a form: with its framing); ``known_size`` the file's
    own size where the request gives it. ``user_metadata`` is None where none was sent.
    """

    mime_type: str
    cache_control: str
    user_metadata: Mapping[str, Any] | None
    declared_length: int | None
    known_size: int | None
    robots_tag: str | None

    def draft(self, target: UploadTarget) -> Draft:
        """The row that policies are asked about."""
        metadata: dict[str, Any] = {"mimetype": self.mime_type} if self.mime_type else {}
        if self.declared_length is not None:
            metadata["contentLength"] = self.declared_length
        user_metadata = None if self.user_metadata is None else json.dumps(self.user_metadata)
        return Draft(
            target.bucket,
            target.key,
            target.owner_id,
            target.is_upsert,
            json.dumps(metadata),
            user_metadata,
            target.if_match,
        )


class UploadBody(Protocol):
    """A request's file as a stream."""

    @property
    def facts(self) -> UploadFacts:
        """What is known so far; a form's fields may come after its file, so ask again at the end."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, to the end of the request. Call it once."""
        ...


@dataclass(slots=True, frozen=True)
class StoredObject:
    """The outcome of an upload."""

    id: uuid.UUID
    bucket: str
    key: str
    size_bytes: int
    mime_type: str
    etag: str


class Uploads:
    """Stores objects."""

    def __init__(
        self, database: StorageDatabase, blobs: BlobStore, writer: ObjectWriter, size_limit_bytes: int
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._size_limit_bytes = size_limit_bytes

    async def upload(self, actor: Actor, target: UploadTarget, body: UploadBody) -> StoredObject:
        """Store ``body`` at ``target``.

        Raises NoSuchBucket, InvalidMimeType, EntityTooLarge, InvalidKey, KeyAlreadyExists, what policies refuse, and what
        the body's stream raises; then neither row nor blob is there.
        """
        check_bucket_name(target.bucket)
        first = body.facts
        draft = first.draft(target)
        limit_bytes, allowed, seen = await self._ask(actor, target, first, draft)
        expected: Expectation | None = seen
        blob_key = BlobKey(target.bucket, target.key, str(uuid.uuid4()))
        blob = await self._blobs.put(
            blob_key,
            _limited(body.chunks(), limit_bytes),
            facts=BlobFacts(first.mime_type, first.cache_control),
            is_unnamed=True,
        )
        try:
            facts = body.facts
            final = facts.draft(target)
            if final != draft:
                # A field behind the file changed the row: the bucket's rules and the policies have their say again.
                _check_type(target.key, facts, allowed)
                draft, expected = final, None
        except BaseException:
            await self._writer.remove_blobs([blob_key])
            raise
        written = await self._store_row(actor, target, draft, expected, facts, blob_key, blob)
        return StoredObject(written.id, target.bucket, target.key, blob.size_bytes, facts.mime_type, blob.etag)

    async def may_upload(self, actor: Actor, draft: Draft) -> None:
        """Ask for the right to write without writing; raises as ``upload``."""
        await self._writer.may_write(actor, draft)

    async def _ask(
        self, actor: Actor, target: UploadTarget, facts: UploadFacts, draft: Draft
    ) -> tuple[int, tuple[str, ...], Expectation]:
        """The bucket's limit in bytes and its types, and what the dry run saw at the key."""
        asking = actor.as_service() if target.is_signed else actor
        try:
            tried, buckets = await self._database.ask(
                asking, self._writer.try_step(draft), (_BUCKET_RULES, (target.bucket,))
            )
        except StorageError:
            # Something is refused: what comes first in upstream's order is found step by step.
            return await self._ask_step_by_step(actor, target, facts, draft)
        limit_bytes, allowed = self._check_rules(target, facts, buckets)
        return limit_bytes, allowed, self._writer.tried(draft, tried[0])

    async def _ask_step_by_step(
        self, actor: Actor, target: UploadTarget, facts: UploadFacts, draft: Draft
    ) -> tuple[int, tuple[str, ...], Expectation]:
        buckets = await self._database.once(actor, _BUCKET_RULES, (target.bucket,), as_service=True, read_only=True)
        limit_bytes, allowed = self._check_rules(target, facts, buckets)
        asking = actor.as_service() if target.is_signed else actor
        async with self._database.transaction(asking, rollback=True) as transaction:
            return limit_bytes, allowed, await self._writer.dry_run(transaction, draft)

    def _check_rules(
        self, target: UploadTarget, facts: UploadFacts, buckets: Sequence[Row]
    ) -> tuple[int, tuple[str, ...]]:
        """Raises NoSuchBucket, InvalidMimeType, EntityTooLarge, InvalidKey, in this order."""
        if not buckets:
            raise refuse.no_such_bucket()
        [(own_limit, types)] = buckets
        allowed = tuple(json.loads(types)) if types is not None else ()
        limit_bytes = 0
        if not is_empty_folder(target.key):
            limit_bytes = object_limit_bytes(self._size_limit_bytes, None if own_limit is None else int(own_limit))
        _check_type(target.key, facts, allowed)
        if facts.known_size is not None and facts.known_size > limit_bytes:
            raise refuse.too_large()
        check_key(target.key)
        return limit_bytes, allowed

    async def _store_row(
        self,
        actor: Actor,
        target: UploadTarget,
        draft: Draft,
        expected: Expectation | None,
        facts: UploadFacts,
        blob_key: BlobKey,
        blob: StoredBlob,
    ) -> WrittenObject:
        metadata = object_metadata_json(
            blob, mime_type=facts.mime_type, cache_control=facts.cache_control, robots_tag=facts.robots_tag
        )
        new = NewVersion(blob_key.version, metadata, draft.user_metadata_json or "{}", is_signed=target.is_signed)
        return await self._writer.commit(actor, draft, expected, new)


def _check_type(key: str, facts: UploadFacts, allowed: tuple[str, ...]) -> None:
    if not is_empty_folder(key):
        check_mime_type(facts.mime_type, allowed)


async def _limited(chunks: AsyncIterator[bytes], limit_bytes: int) -> AsyncIterator[bytes]:
    """The chunks as long as they stay within the limit; raises EntityTooLarge with the first byte beyond."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit_bytes:
            raise refuse.too_large()
        yield chunk

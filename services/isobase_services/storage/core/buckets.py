"""Buckets: make, list, get, change, empty, delete. Source: contracts/storage.md 1.1 and 1.7."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from isobase_platform.errors import DatabaseError
from isobase_platform.sql import quote_identifier
from isobase_services.storage.blob import BlobKey
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.objects_sql import json_time
from isobase_services.storage.core.write import ObjectWriter
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import (
    check_bucket_name,
    check_mime_patterns,
    check_new_bucket_name,
    is_uuid,
    size_limit_bytes,
)

__all__ = ["BucketChange", "BucketPage", "Buckets", "NewBucket"]

EMPTY_BATCH_OBJECTS = 1_000

_COMMON_JSON = f"""'id', id, 'name', name, 'owner', coalesce(owner::text, ''), 'public', public,
    'file_size_limit', file_size_limit, 'allowed_mime_types', allowed_mime_types,
    'created_at', {json_time("created_at")}, 'updated_at', {json_time("updated_at")}"""
_ROW_JSON = f"json_build_object({_COMMON_JSON})"
_ROW_JSON_WITH_TYPE = f"json_build_object({_COMMON_JSON}, 'type', type)"

_INSERT = """
insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types, type)
values ($1, $2, $3, $4, $5, $6, $7, 'STANDARD')
"""
_GET = f"select {_ROW_JSON}::text from storage.buckets where id = $1"  # noqa: S608  constants of this module
_UPDATE = """
update storage.buckets set
    public = case when $2 then $3 else public end,
    file_size_limit = case when $4 then $5::bigint else file_size_limit end,
    allowed_mime_types = case when $6 then $7::text[] else allowed_mime_types end
 where id = $1
"""
_LOCK_AND_LOOK = """
select exists (select from storage.objects o where o.bucket_id = b.id) as is_used
  from storage.buckets b where b.id = $1 for update of b
"""
_COUNT = """
select count(*) from (select from storage.objects where bucket_id = $1 limit $2) as counted
"""
# By pages of keys, so that rows which policies keep are passed over and not met again. "last" is null behind the last page.
_EMPTY_BATCH = """
with page as (
    select id, name from storage.objects
     where bucket_id = $1 and created_at <= $2 and name collate "C" > $4 order by name collate "C" limit $3
), gone as (
    delete from storage.objects where id in (select id from page) returning name, version
)
select (select max(name collate "C") from page) as last, gone.name, gone.version
  from (values (true)) as one (row) left join gone on true
"""


@dataclass(slots=True, frozen=True)
class NewBucket:
    """A bucket to be made. ``file_size_limit`` in bytes or as text with a unit; None for no limit of its own."""

    id: str
    name: str
    public: bool
    file_size_limit: int | str | None
    allowed_mime_types: Sequence[str] | None


@dataclass(slots=True, frozen=True)
class BucketChange:
    """What to change of a bucket; ``sets_...`` says which of the fields were given, as null is a value here."""

    public: bool | None
    sets_file_size_limit: bool
    file_size_limit: int | str | None
    sets_allowed_mime_types: bool
    allowed_mime_types: Sequence[str] | None


@dataclass(slots=True, frozen=True)
class BucketPage:
    """Which buckets to list. ``search`` is contained in the name, whatever its case."""

    limit: int | None = None
    offset: int | None = None
    sort_column: str | None = None
    is_descending: bool = False
    search: str | None = None
    with_type: bool = True


class Buckets:
    """Operations on ``storage.buckets``."""

    def __init__(
        self, database: StorageDatabase, writer: ObjectWriter, size_limit_bytes: int, max_objects_to_empty: int
    ) -> None:
        self._database = database
        self._writer = writer
        self._size_limit_bytes = size_limit_bytes
        self._max_objects_to_empty = max_objects_to_empty

    async def create(self, actor: Actor, bucket: NewBucket) -> None:
        """Make a bucket owned by the caller.

        Raises InvalidBucketName, InvalidMimeType, EntityTooLarge, BucketAlreadyExists, or what policies refuse.
        """
        check_new_bucket_name(bucket.name)
        check_bucket_name(bucket.id)  # upstream takes any id here, and then no route reaches the bucket
        limit = self._limit(bucket.file_size_limit)
        check_mime_patterns(bucket.allowed_mime_types or ())
        owner_id = actor.owner_id
        owner = uuid.UUID(owner_id) if owner_id is not None and is_uuid(owner_id) else None
        types = bucket.allowed_mime_types
        async with self._database.transaction(actor) as transaction:
            try:
                await transaction.execute(_INSERT, bucket.id, bucket.name, owner, owner_id, bucket.public, limit, types)
            except DatabaseError as error:
                if error.is_unique_violation:
                    raise refuse.already_exists("BucketAlreadyExists") from error
                raise

    async def list(self, actor: Actor, page: BucketPage) -> str:
        """The buckets that policies show to the caller, as a JSON array."""
        order = quote_identifier(page.sort_column or "name")
        direction = "desc" if page.is_descending else "asc"
        row = _ROW_JSON_WITH_TYPE if page.with_type else _ROW_JSON
        pattern = None if not page.search else f"%{_escape_like(page.search)}%"
        statement = f"""
select coalesce(json_agg(bucket), '[]')::text from (
    select {row} as bucket from storage.buckets
     where $1::text is null or name ilike $1
     order by {order} {direction}, id limit $2 offset coalesce($3, 0)) as page
"""  # noqa: S608  constants of this module and one quoted name out of a closed set
        async with self._database.transaction(actor) as transaction:
            return await transaction.fetchtext(statement, pattern, page.limit, page.offset)

    async def get(self, actor: Actor, bucket_id: str) -> str:
        """A bucket that policies show to the caller, as JSON. Raises NoSuchBucket."""
        async with self._database.transaction(actor) as transaction:
            row = await transaction.fetchrow(_GET, bucket_id)
        if row is None:
            raise refuse.no_such_bucket()
        return str(row[0])

    async def update(self, actor: Actor, bucket_id: str, change: BucketChange) -> None:
        """Change a bucket under the UPDATE policy. Raises as ``create``, and NoSuchBucket where policies hide it."""
        check_bucket_name(bucket_id)
        limit = self._limit(change.file_size_limit)
        check_mime_patterns(change.allowed_mime_types or ())
        async with self._database.transaction(actor) as transaction:
            count = await transaction.execute(
                _UPDATE,
                bucket_id,
                change.public is not None,
                change.public,
                change.sets_file_size_limit,
                limit,
                change.sets_allowed_mime_types,
                change.allowed_mime_types,
            )
            if count == 0:
                raise refuse.no_such_bucket()

    async def empty(self, actor: Actor, bucket_id: str) -> None:
        """Remove the objects that are in the bucket now, rows and blobs, before this returns; those that policies let go.

        Raises NoSuchBucket, or InvalidRequest 409 for more objects than one call may empty a bucket of.
        """
        async with self._database.transaction(actor) as transaction:
            if await transaction.fetchrow("select from storage.buckets where id = $1", bucket_id) is None:
                raise refuse.no_such_bucket()
            counted = await transaction.fetchrow(_COUNT, bucket_id, self._max_objects_to_empty + 1)
        if counted is not None and counted[0] > self._max_objects_to_empty:
            raise refuse.too_many_to_empty()
        started_at = datetime.now(UTC)
        last: str | None = ""
        while last is not None:
            async with self._database.transaction(actor) as transaction:
                rows = await transaction.fetch(_EMPTY_BATCH, bucket_id, started_at, EMPTY_BATCH_OBJECTS, last)
            await self._writer.remove_blobs(
                [BlobKey(bucket_id, row["name"], row["version"]) for row in rows if row["version"]]
            )
            last = rows[0]["last"]

    async def delete(self, actor: Actor, bucket_id: str) -> None:
        """Delete an empty bucket. Raises NoSuchBucket (also where policies refuse) and ResourceNotEmpty."""
        async with self._database.transaction(actor, as_service=True) as transaction:
            row = await transaction.fetchrow(_LOCK_AND_LOOK, bucket_id)
            if row is None:
                raise refuse.no_such_bucket()
            if row["is_used"]:
                raise refuse.bucket_not_empty()
            await transaction.become_caller()
            if await transaction.execute("delete from storage.buckets where id = $1", bucket_id) == 0:
                raise refuse.no_such_bucket()

    def _limit(self, given: int | str | None) -> int | None:
        return None if given is None else size_limit_bytes(given, self._size_limit_bytes)


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

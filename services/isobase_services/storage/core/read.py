"""Finding an object for reading, and opening its bytes.

A public bucket's objects are anybody's; a private bucket's are asked for as the caller. For a signed-in caller his own
rights are tried first: what policies show him is his to read whatever the bucket, so the common read is one statement in
one transaction, and the bucket is looked at only where they show nothing. Source: contracts/storage.md 1.2 and 1.7.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeAlias

from isobase_platform.wire_messages import Row
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobRangeInvalid, BlobReader, BlobStore, ByteRange
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import check_bucket_name, check_key

__all__ = ["Access", "ChooseRange", "ObjectRow", "Reads"]

OPEN_ATTEMPTS = 3
"""An overwrite may remove the version that was just looked up; then the row is read again."""

MAX_SIZE_DIGITS = 18
"""More is no length of a file, and of very many digits no number either."""

ChooseRange: TypeAlias = Callable[[int], ByteRange | None]
"""Takes a size in bytes and says which range of it is wanted; None for all."""

_COLUMNS = (
    """o.id, o.name, o.bucket_id, o.version, o.metadata::text, o.user_metadata::text, o.created_at, o.updated_at"""
)
_FIND_AS_CALLER = f"select {_COLUMNS} from storage.objects o where o.bucket_id = $1 and o.name = $2"  # noqa: S608
_FIND_AS_SERVICE = f"""
select {_COLUMNS}, b.public
  from storage.buckets b left join storage.objects o on o.bucket_id = b.id and o.name = $2
 where b.id = $1
"""  # noqa: S608  constants of this module
_FIND_ID = f"select {_COLUMNS} from storage.objects o where o.id = $1::uuid"  # noqa: S608
_IS_PUBLIC = "select public from storage.buckets where id = $1"
_TRUE = b"\x01"
_INTEGER = struct.Struct("!q")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""What PostgreSQL's times count from, in microseconds."""


class Access(Enum):
    """By what right an object is read."""

    CALLER = auto()
    """The bucket is public, or policies show the row to the caller; without a caller only the former."""
    VISIBLE = auto()
    """Policies show the row to the caller; a public bucket changes nothing (the S3 protocol)."""
    PUBLIC = auto()
    """The bucket is public."""
    SIGNED = auto()
    """A signed URL names this object."""


@dataclass(slots=True, frozen=True)
class ObjectRow:
    """A row of ``storage.objects``; ``metadata`` is empty where the row has none (seeded by SQL)."""

    id: uuid.UUID
    bucket: str
    key: str
    version: str | None
    metadata: Mapping[str, Any]
    user_metadata: Mapping[str, Any] | None
    created_at: datetime | None
    updated_at: datetime | None

    def text(self, name: str) -> str | None:
        """A member of the metadata that is a text, or None."""
        value = self.metadata.get(name)
        return value if isinstance(value, str) else None

    def size(self, name: str) -> int | None:
        """A member of the metadata that is a whole number (or its text), or None."""
        value = self.metadata.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_SIZE_DIGITS:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class Reads:
    """Finds and opens objects."""

    def __init__(self, database: StorageDatabase, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    async def find(self, actor: Actor, bucket: str, key: str, access: Access) -> ObjectRow:
        """The row of an object that may be read by this right.

        Raises NoSuchBucket for a bucket that is absent, or not public where it has to be; InvalidKey; NoSuchKey.
        """
        if "\0" in bucket or "\0" in key:  # no statement can carry it
            check_bucket_name(bucket)
            check_key(key)
        if access is Access.VISIBLE:
            rows = await self._database.once(actor, _FIND_AS_CALLER, (bucket, key))
            if not rows:
                raise refuse.no_such_key()
            return _object_row(rows[0])
        if access is Access.CALLER and actor.is_authenticated:
            return await self._find_for_caller(actor, bucket, key)
        return await self._find_as_service(actor, bucket, key, must_be_public=access is not Access.SIGNED)

    async def _find_for_caller(self, actor: Actor, bucket: str, key: str) -> ObjectRow:
        try:
            rows = await self._database.once(actor, _FIND_AS_CALLER, (bucket, key))
        except StorageError as error:
            # A policy that fails is no reason to refuse what is public anyway; of a private bucket it is the answer.
            try:
                return await self._find_as_service(actor, bucket, key, must_be_public=True)
            except StorageError:
                raise error from None
        if rows:
            return _object_row(rows[0])
        return await self._find_as_service(actor, bucket, key, must_be_public=True, is_hidden=True)

    async def _find_as_service(
        self, actor: Actor, bucket: str, key: str, *, must_be_public: bool, is_hidden: bool = False
    ) -> ObjectRow:
        """``is_hidden``: policies showed nothing, so in a private bucket the object is not there for this caller."""
        rows = await self._database.once(actor, _FIND_AS_SERVICE, (bucket, key), as_service=True, read_only=True)
        if not rows:
            raise refuse.no_such_bucket()
        row = rows[0]
        is_readable = not must_be_public or row[-1] == _TRUE
        if not is_readable and not is_hidden:
            raise refuse.no_such_bucket()
        check_bucket_name(bucket)
        check_key(key)
        if row[0] is None or not is_readable:
            raise refuse.no_such_key()
        return _object_row(row)

    async def find_visible(self, actor: Actor, object_id: uuid.UUID) -> tuple[ObjectRow, bool]:
        """The row of an id that policies show to the caller, and whether its bucket is public. Raises NoSuchKey."""
        rows = await self._database.once(actor, _FIND_ID, (str(object_id),))
        if not rows:
            raise refuse.no_such_key()
        found = _object_row(rows[0])
        buckets = await self._database.once(actor, _IS_PUBLIC, (found.bucket,), as_service=True, read_only=True)
        return found, bool(buckets and buckets[0][0] == _TRUE)

    async def open(
        self,
        actor: Actor,
        bucket: str,
        key: str,
        access: Access,
        row: ObjectRow,
        choose: ChooseRange | None = None,
    ) -> tuple[ObjectRow, BlobReader]:
        """Open the bytes of ``row``, or of the row as it is now if it was overwritten meanwhile.

        ``choose`` says which range is wanted of an object of that many bytes (None: all). Raises what it raises, the errors
        of ``find``, and the NoSuchKey of ``blob_missing`` for a row without bytes.
        """
        for _ in range(OPEN_ATTEMPTS):
            try:
                blob = BlobKey(row.bucket, row.key, row.version or "")
                if choose is None:
                    return row, await self._blobs.open(blob)
                return row, await self._open_range(blob, row.size("size"), choose)
            except BlobMissing:
                again = await self.find(actor, bucket, key, access)
                if again.version == row.version:
                    break
                row = again
        raise refuse.blob_missing()

    async def _open_range(self, blob: BlobKey, size_bytes: int | None, choose: ChooseRange) -> BlobReader:
        """Open the range; ``size_bytes`` is what the row says, and it may lie where SQL wrote it."""
        if size_bytes is None:
            size_bytes = (await self._blobs.stat(blob)).size_bytes
        for _ in range(OPEN_ATTEMPTS):
            wanted = choose(size_bytes)
            try:
                reader = await self._blobs.open(blob, wanted)
            except BlobRangeInvalid:
                size_bytes = (await self._blobs.stat(blob)).size_bytes
                continue
            if reader.size_bytes == size_bytes:
                return reader
            size_bytes = reader.size_bytes
            await reader.close()
        raise refuse.invalid_range()


def _object_row(row: Row) -> ObjectRow:
    """The columns ``_COLUMNS`` in PostgreSQL's binary format."""
    object_id, name, bucket, version, metadata, user_metadata, created_at, updated_at = row[:8]
    parsed = json.loads(metadata) if metadata is not None else {}
    return ObjectRow(
        id=uuid.UUID(bytes=object_id),
        bucket=_text(bucket) or "",
        key=_text(name) or "",
        version=_text(version),
        metadata=parsed if isinstance(parsed, dict) else {},
        user_metadata=json.loads(user_metadata) if user_metadata is not None else None,
        created_at=_moment(created_at),
        updated_at=_moment(updated_at),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _moment(value: bytes | None) -> datetime | None:
    if value is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=_INTEGER.unpack(value)[0])
    except OverflowError:
        return None  # infinity, and years that a datetime cannot hold

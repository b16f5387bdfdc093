"""Lists of uploads in parts and of their parts, as policies on their tables show them to the caller (as upstream).

Source: AWS, ListMultipartUploads and ListParts; contracts/storage.md 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from isobase_services.storage.core import parts_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.key_listing import GREATEST, behind
from isobase_services.storage.core.parts_values import PartsTarget
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import is_uuid

__all__ = ["ListedPart", "ListedUpload", "PartListings", "PartPage", "UploadPage", "UploadRequest"]

MAX_PAGE = 1000
_PARTS = """
select part_number, etag, size, created_at from storage.s3_multipart_uploads_parts
 where upload_id = $1 and part_number > $2 order by part_number limit $3
"""
# Within one key by id: an order that a marker can go on from, even when its upload is over meanwhile.
_UPLOADS = """
select key, id, created_at, owner_id from storage.s3_multipart_uploads
 where bucket_id = $1 and starts_with(key, $2) and (key collate "C", id collate "C") > ($3, $4)
 order by key collate "C", id collate "C" limit $5
"""


@dataclass(slots=True, frozen=True)
class ListedPart:
    """A part as it is told."""

    number: int
    etag: str
    size_bytes: int
    stored_at: datetime


@dataclass(slots=True, frozen=True)
class PartPage:
    """``is_truncated``: there are more behind the last."""

    parts: tuple[ListedPart, ...]
    is_truncated: bool


@dataclass(slots=True, frozen=True)
class UploadRequest:
    """A page of uploads behind ``after_key`` and, within that key, ``after_id``; with ``delimiter`` folded as keys are."""

    bucket: str
    prefix: str
    delimiter: str | None
    after_key: str
    after_id: str
    limit: int


@dataclass(slots=True, frozen=True)
class ListedUpload:
    """An upload that is not over, or with ``is_prefix`` the common start of several."""

    key: str
    id: str
    begun_at: datetime
    owner_id: str | None
    is_prefix: bool


@dataclass(slots=True, frozen=True)
class UploadPage:
    """``is_truncated``: there are more behind the last."""

    uploads: tuple[ListedUpload, ...]
    is_truncated: bool


class PartListings:
    """Lists uploads and parts."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database

    async def parts(self, actor: Actor, target: PartsTarget, after: int, limit: int) -> PartPage:
        """Parts with a number above ``after``. Raises NoSuchUpload where there is no such upload, whoever may see it."""
        if not is_uuid(target.upload_id) or "\0" in target.bucket + target.key:
            raise refuse.no_such_upload()
        async with self._database.transaction(actor, as_service=True) as transaction:
            if await transaction.fetchrow(sql.FIND, target.upload_id, target.bucket, target.key) is None:
                raise refuse.no_such_upload()
            await transaction.become_caller()
            rows = await transaction.fetch(_PARTS, target.upload_id, after, limit + 1)
        listed = [ListedPart(row["part_number"], row["etag"], row["size"], row["created_at"]) for row in rows[:limit]]
        return PartPage(tuple(listed), len(rows) > limit)

    async def uploads(self, actor: Actor, request: UploadRequest) -> UploadPage:
        """A page of uploads. Raises NoSuchBucket for a bucket that is not there at all."""
        if "\0" in request.bucket + request.prefix + request.after_key + request.after_id:
            raise refuse.invalid_parameter("prefix")
        found: list[ListedUpload] = []
        key = behind(request.after_key, request.prefix, request.delimiter)
        # Without an upload's id the page begins behind all uploads of the key, as S3 documents its key marker.
        upload_id = request.after_id or (GREATEST if request.after_key else "")
        wanted = request.limit + 1
        async with self._database.transaction(actor, as_service=True) as transaction:
            if await transaction.fetchrow("select from storage.buckets where id = $1", request.bucket) is None:
                raise refuse.no_such_bucket()
            await transaction.become_caller()
            while len(found) < wanted:
                rows = await transaction.fetch(_UPLOADS, request.bucket, request.prefix, key, upload_id, wanted)
                listed = [
                    ListedUpload(row["key"], row["id"], row["created_at"], row["owner_id"], is_prefix=False)
                    for row in rows
                ]
                _fold(listed, request, found)
                if len(rows) < wanted:
                    break
                last = found[-1]
                # Behind a folder all of its keys are passed over.
                key = behind(last.key, request.prefix, request.delimiter)
                upload_id = last.id
        return UploadPage(tuple(found[: request.limit]), len(found) > request.limit)


def _fold(listed: Sequence[ListedUpload], request: UploadRequest, found: list[ListedUpload]) -> None:
    """Add uploads to what was found, those of one folder once."""
    for upload in listed:
        delimiter = request.delimiter
        at = upload.key.find(delimiter, len(request.prefix)) if delimiter else -1
        if delimiter is None or at < 0:
            found.append(upload)
            continue
        folder = upload.key[: at + len(delimiter)]
        if not (found and found[-1].is_prefix and found[-1].key == folder):
            found.append(ListedUpload(folder, upload.id, upload.begun_at, None, is_prefix=True))

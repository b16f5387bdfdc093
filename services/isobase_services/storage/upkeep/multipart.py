"""Removes uploads in parts that nobody finished: those of the S3 protocol, and parts at the store that nothing knows of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from isobase_platform.pool import Pools
from isobase_services.storage.blob import BlobKey, BlobStore, UploadEntry
from isobase_services.storage.upkeep.rows import TABLES_OWNER

__all__ = ["MultipartWork"]

BATCH_UPLOADS = 100
MIN_UNKNOWN_AGE_S = 24 * 3600.0
"""Parts that no row knows may be those of a plain upload that is on its way to S3; none takes a day."""

# An upload is as old as its newest part. Whoever deletes its row ends it: a completion that comes later finds no row and
# writes no object (core.parts).
_END_EXPIRED = """
delete from storage.s3_multipart_uploads where id in (
    select u.id from storage.s3_multipart_uploads u
     where u.created_at < now() - make_interval(secs => $1)
       and not exists (
           select from storage.s3_multipart_uploads_parts p
            where p.upload_id = u.id and p.created_at >= now() - make_interval(secs => $1))
     order by u.created_at limit $2 for update skip locked
) returning bucket_id, key, version, upload_signature
"""
_KNOWN = "select upload_signature as upload from storage.s3_multipart_uploads where upload_signature = any($1::text[])"
_KNOWN_RESUMABLE = "select parts_upload as upload from isobase.resumable_uploads where parts_upload = any($1::text[])"


class MultipartWork:
    """The removal as regular work. ``ttl_s``: how long an upload may take from its newest part on."""

    def __init__(self, pools: Pools, blobs: BlobStore, *, ttl_s: float, unknown_after_s: float) -> None:
        self._pools = pools
        self._blobs = blobs
        self._ttl_s = ttl_s
        self._unknown_after_s = max(unknown_after_s, MIN_UNKNOWN_AGE_S)

    async def run(self) -> int:
        """Remove what is expired or unknown; returns how many uploads that were."""
        return await self._remove_expired() + await self._remove_unknown()

    async def _remove_expired(self) -> int:
        count = 0
        while True:
            async with self._pools.acquire(TABLES_OWNER) as connection:
                rows = await connection.fetch(_END_EXPIRED, self._ttl_s, BATCH_UPLOADS)
            for row in rows:
                blob = BlobKey(row["bucket_id"], row["key"], row["version"])
                await self._blobs.abort_parts(blob, row["upload_signature"])
                # A completion may have finished the blob and been refused its row.
                await self._blobs.delete([blob])
            count += len(rows)
            if len(rows) < BATCH_UPLOADS:
                return count

    async def _remove_unknown(self) -> int:
        count = 0
        oldest = datetime.now(UTC) - timedelta(seconds=self._unknown_after_s)
        batch: list[UploadEntry] = []
        async for entry in self._blobs.scan_uploads():
            if entry.changed_at < oldest:
                batch.append(entry)
            if len(batch) >= BATCH_UPLOADS:
                count += await self._abort_unknown(batch)
                batch = []
        return count + await self._abort_unknown(batch)

    async def _abort_unknown(self, entries: list[UploadEntry]) -> int:
        if not entries:
            return 0
        uploads = [entry.upload for entry in entries]
        async with self._pools.acquire(TABLES_OWNER) as connection:
            rows = await connection.fetch(_KNOWN, uploads)
        async with self._pools.acquire(None) as connection:
            rows += await connection.fetch(_KNOWN_RESUMABLE, uploads)
        known = {row["upload"] for row in rows}
        unknown = [entry for entry in entries if entry.upload not in known]
        await self._blobs.abort_uploads(unknown)
        return len(unknown)

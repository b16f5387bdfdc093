"""Reads ``storage.objects`` for upkeep: page by page in the order of an index, never in one long transaction.

Runs as the owner of the table, whom policies do not hide rows from. A page is one statement, so nothing is locked and no
old snapshot is held while blobs are looked at between two pages.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg

from isobase_platform.pool import Pools
from isobase_services.storage.blob import BlobKey
from isobase_services.storage.rules import is_uuid

__all__ = ["StoredRow", "UpkeepRows"]

TABLES_OWNER = "supabase_storage_admin"
PAGE_ROWS = 2000

_PAGE = """
select bucket_id, name, version, metadata ->> 'size' as size, metadata ->> 'eTag' as etag,
       metadata ->> 'mimetype' as mime_type, metadata ->> 'cacheControl' as cache_control
  from storage.objects
 where ($1::text is null or bucket_id = $1) and (bucket_id, name collate "C") > ($2, $3 collate "C")
 order by bucket_id, name collate "C" limit $4
"""
_STILL_NAMED = """
select c.place from unnest($1::text[], $2::text[], $3::text[]) with ordinality as c (bucket_id, name, version, place)
  join storage.objects o on o.bucket_id = c.bucket_id and o.name = c.name and o.version = c.version
"""
# A whole look at the table, as no index leads from a version to its row: asked for many versions at once.
_NAMED_VERSIONS = """
select version from storage.objects where version = any($1::text[])
union all
select version from storage.s3_multipart_uploads where version = any($1::text[])
"""
_UNFINISHED_VERSIONS = """
select id::text as version from isobase.resumable_uploads where id = any($1::uuid[])
union all
select version from isobase.direct_uploads where version = any($1::uuid[]::text[])
"""


@dataclass(slots=True, frozen=True)
class StoredRow:
    """What a row says of its blob. ``size_bytes`` and ``etag`` (with quotes) are None where the row does not say."""

    bucket: str
    name: str
    version: str
    size_bytes: int | None
    etag: str | None
    mime_type: str
    cache_control: str

    @property
    def key(self) -> BlobKey:
        """The key of the row's blob."""
        return BlobKey(self.bucket, self.name, self.version)

    @property
    def has_version(self) -> bool:
        """False for rows that were made by SQL: no blob was ever stored for them."""
        return is_uuid(self.version)


class UpkeepRows:
    """The statements, each on a connection of its own. Every method raises ``Unavailable`` or ``DatabaseError``."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    async def pages(self, bucket: str | None = None) -> AsyncIterator[list[StoredRow]]:
        """All rows (of one bucket), page by page. Rows that come or go meanwhile may be in it or not."""
        last: tuple[str, str] = ("", "")
        while True:
            async with self._pools.acquire(TABLES_OWNER) as connection:
                records = await connection.fetch(_PAGE, bucket, *last, PAGE_ROWS)
            if records:
                yield [_row(record) for record in records]
            if len(records) < PAGE_ROWS:
                return
            last = (records[-1]["bucket_id"], records[-1]["name"])

    async def still_named(self, keys: Sequence[BlobKey]) -> set[BlobKey]:
        """Those of ``keys`` whose row names this very version now."""
        if not keys:
            return set()
        async with self._pools.acquire(TABLES_OWNER) as connection:
            records = await connection.fetch(
                _STILL_NAMED, [key.bucket for key in keys], [key.name for key in keys], [key.version for key in keys]
            )
        return {keys[record["place"] - 1] for record in records}

    async def named_versions(self, versions: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Those of ``versions`` that an object or an unfinished upload names now."""
        if not versions:
            return set()
        async with self._pools.acquire(TABLES_OWNER) as connection:
            records = await connection.fetch(_NAMED_VERSIONS, [str(version) for version in versions])
        # The tables of the schema isobase are the owner's.
        async with self._pools.acquire(None) as connection:
            records += await connection.fetch(_UNFINISHED_VERSIONS, list(versions))
        return {uuid.UUID(record["version"]) for record in records}


def _row(record: asyncpg.Record) -> StoredRow:
    size = record["size"]
    return StoredRow(
        bucket=record["bucket_id"],
        name=record["name"],
        version=record["version"] or "",
        size_bytes=int(size) if size is not None and size.isascii() and size.isdigit() else None,
        etag=record["etag"],
        mime_type=record["mime_type"] or "",
        cache_control=record["cache_control"] or "",
    )

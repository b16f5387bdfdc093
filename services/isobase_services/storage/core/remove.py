"""Removing objects: the row first, under the caller's DELETE policy, then the blob. Source: contracts/storage.md 1.7."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from isobase_services.storage.blob import BlobKey
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.objects_sql import OBJECT_JSON
from isobase_services.storage.core.write import Finisher, ObjectWriter
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name

__all__ = ["Removals"]

_DELETE_ONE = "delete from storage.objects where bucket_id = $1 and name = $2 returning version"
_EXISTS = "select from storage.objects where bucket_id = $1 and name = $2"
_DELETE_NAMED = "delete from storage.objects where bucket_id = $1 and name = any($2::text[]) returning name, version"
_WHICH_EXIST = "select name from storage.objects where bucket_id = $1 and name = any($2::text[])"
_BUCKET_EXISTS = "select from storage.buckets where id = $1"
_DELETE_MANY = f"""
delete from storage.objects o where o.bucket_id = $1 and o.name = any($2::text[])
returning o.name, o.version, {OBJECT_JSON}::text as json
"""  # noqa: S608  constants of this package


class Removals:
    """Removes objects."""

    def __init__(
        self, database: StorageDatabase, writer: ObjectWriter, finisher: Finisher, max_at_once: int | None = None
    ) -> None:
        self._database = database
        self._writer = writer
        self._finisher = finisher
        self._max_at_once = max_at_once

    async def remove(self, actor: Actor, bucket: str, key: str) -> None:
        """Remove one object. Raises NoSuchKey where there is none, AccessDenied where policies keep it."""
        check_bucket_name(bucket)
        await self._finisher.run(self._remove(actor, bucket, key))

    async def _remove(self, actor: Actor, bucket: str, key: str) -> None:
        async with self._database.transaction(actor) as transaction:
            row = await transaction.fetchrow(_DELETE_ONE, bucket, key)
            if row is None:
                await transaction.become_service()
                if await transaction.fetchrow(_EXISTS, bucket, key) is None:
                    raise refuse.no_such_key()
                raise refuse.access_denied()
        if row["version"]:
            await self._writer.remove_blobs([BlobKey(bucket, key, row["version"])])

    async def remove_reported(self, actor: Actor, bucket: str, keys: Sequence[str]) -> Collection[str]:
        """Remove those of ``keys`` that policies let go, and return those that are there and stay.

        Raises NoSuchBucket where nothing was met and there is no such bucket, InvalidRequest for too many keys.
        """
        self._check_count(keys)
        return await self._finisher.run(self._remove_reported(actor, bucket, keys))

    async def _remove_reported(self, actor: Actor, bucket: str, keys: Sequence[str]) -> Collection[str]:
        kept: frozenset[str] = frozenset()
        async with self._database.transaction(actor) as transaction:
            rows = await transaction.fetch(_DELETE_NAMED, bucket, keys)
            removed = {row["name"] for row in rows}
            unmet = [key for key in keys if key not in removed]
            if unmet or not rows:
                await transaction.become_service()
                kept = frozenset(row["name"] for row in await transaction.fetch(_WHICH_EXIST, bucket, unmet))
                if not rows and not kept and await transaction.fetchrow(_BUCKET_EXISTS, bucket) is None:
                    raise refuse.no_such_bucket()
        await self._writer.remove_blobs(
            [BlobKey(bucket, row["name"], row["version"]) for row in rows if row["version"]]
        )
        return kept

    async def remove_many(self, actor: Actor, bucket: str, keys: Sequence[str]) -> str:
        """Remove those of ``keys`` that exist and that policies let go; the removed rows as a JSON array.

        Raises InvalidRequest for too many keys.
        """
        self._check_count(keys)
        check_bucket_name(bucket)
        return await self._finisher.run(self._remove_many(actor, bucket, keys))

    def _check_count(self, keys: Sequence[str]) -> None:
        if self._max_at_once is not None and len(keys) > self._max_at_once:
            message = f"Bulk object requests are limited to {self._max_at_once} objects per request."
            raise refuse.invalid_request(message)

    async def _remove_many(self, actor: Actor, bucket: str, keys: Sequence[str]) -> str:
        async with self._database.transaction(actor) as transaction:
            rows = await transaction.fetch(_DELETE_MANY, bucket, keys)
        await self._writer.remove_blobs(
            [BlobKey(bucket, row["name"], row["version"]) for row in rows if row["version"]]
        )
        return f"[{','.join(row['json'] for row in rows)}]"

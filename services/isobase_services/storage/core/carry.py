"""Storing an object as it is on another server: the row is told whole, and nothing of it is made here.

What moves a project between two servers (``isobase_adapter``) reads a row and its bytes on one side and has them stored
on the other: same id, version, owner and times, and no trigger runs, as it ran where the object was written. The write
holds only over the version that the sender saw, so a late one never replaces a newer object. docs/storage.md
"Carrying objects" has the wire form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from isobase_platform.caller import SERVICE_ROLE
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobStore
from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.write import Finisher, ObjectWriter
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name, check_key, is_uuid

__all__ = ["CarriedRow", "Carries"]

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
_COLUMNS = ("id", "owner", "owner_id", "created_at", "updated_at", "last_accessed_at", "metadata", "user_metadata")
_BUCKET = "select 1 from storage.buckets where id = $1"
_WRITE = """
select replaced_version
  from storage.write_carried_object($1, $2, $3, $4::jsonb, $5::boolean, $6)
 where is_written
"""


@dataclass(slots=True, frozen=True)
class CarriedRow:
    """A row as the other server has it, and the version that is to be replaced here (None: there is no row)."""

    version: str
    columns_json: str
    metadata: Mapping[str, Any]
    expected: str | None
    replaces: bool

    @classmethod
    def parse(cls, text: str) -> CarriedRow:
        """Read the header's JSON. Raises InvalidParameter for what is no such row."""
        try:
            value = json.loads(text)
            version, metadata = value["version"], value["metadata"]
            expected = value.get("expected")
            columns = {name: value.get(name) for name in _COLUMNS}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise refuse.invalid_parameter("x-isobase-carry") from error
        is_right = isinstance(metadata, dict) and isinstance(version, str) and is_uuid(version)
        if not is_right or not isinstance(expected, str | None) or not is_uuid(str(columns["id"])):
            raise refuse.invalid_parameter("x-isobase-carry")
        return cls(version, json.dumps(columns), metadata, expected, "expected" in value)


class Carries:
    """Stores what another server has."""

    def __init__(self, database: StorageDatabase, blobs: BlobStore, writer: ObjectWriter, finisher: Finisher) -> None:
        self._database = database
        self._blobs = blobs
        self._writer = writer
        self._finisher = finisher

    async def store(self, actor: Actor, bucket: str, key: str, row: CarriedRow, chunks: AsyncIterator[bytes]) -> None:
        """Store the bytes and the row. The bucket's limits are not asked: the object is there already, elsewhere.

        Raises AccessDenied for all but service_role, NoSuchBucket, InvalidKey, InvalidRequest where the bytes are not
        those of the row (size; MD5 where the row's ETag is one), and PreconditionFailed where the row here is another
        than ``row.expected``.
        """
        if actor.caller.role != SERVICE_ROLE:
            raise refuse.access_denied()
        check_bucket_name(bucket)
        check_key(key)
        if not await self._database.once(actor, _BUCKET, (bucket,), as_service=True, read_only=True):
            raise refuse.no_such_bucket()
        blob_key = BlobKey(bucket, key, row.version)
        facts = BlobFacts(_text(row.metadata, "mimetype"), _text(row.metadata, "cacheControl"))
        await self._blobs.put(blob_key, _checked(chunks, row.metadata), facts=facts)
        await self._finisher.run(self._write(actor, blob_key, row))

    async def _write(self, actor: Actor, blob: BlobKey, row: CarriedRow) -> None:
        """Let the row point at the blob. A blob that is refused stays for the check to find: the same version may have
        been carried here by somebody else, and then it is his.
        """
        replaces = "t" if row.replaces else "f"
        values = (blob.bucket, blob.name, row.version, row.columns_json, replaces, row.expected)
        rows = await self._database.once(actor, _WRITE, values, as_service=True)
        if not rows:
            raise refuse.precondition_failed()
        [(replaced,)] = rows
        if replaced is not None and replaced.decode() != row.version:
            await self._writer.remove_blobs([BlobKey(blob.bucket, blob.name, replaced.decode())])


async def _checked(chunks: AsyncIterator[bytes], metadata: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """The chunks; raises InvalidRequest at their end if they are not the row's, before the store keeps any of them."""
    told, size = _MD5_ETAG.fullmatch(_text(metadata, "eTag")), 0
    digest = hashlib.md5(usedforsecurity=False)
    async for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    if metadata.get("size", size) != size or (told is not None and told[1] != digest.hexdigest()):
        raise refuse.invalid_request("The bytes are not those of the object")


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) else ""

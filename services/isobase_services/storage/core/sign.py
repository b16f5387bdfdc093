"""Signed URLs for objects that the caller may read, and for keys that he may write. Source: contracts/storage.md 1.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.upload import Uploads
from isobase_services.storage.core.write import Draft
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name, check_key
from isobase_services.storage.signer import Signer, TransformClaims

__all__ = ["Signing"]

_FIND = "select from storage.objects where bucket_id = $1 and name = $2"
_FIND_MANY = "select name from storage.objects where bucket_id = $1 and name = any($2::text[])"


class Signing:
    """Asks for the right as the caller, then signs."""

    def __init__(self, database: StorageDatabase, uploads: Uploads, signer: Signer, upload_ttl_s: int) -> None:
        self._database = database
        self._uploads = uploads
        self._signer = signer
        self._upload_ttl_s = upload_ttl_s

    async def sign(
        self, actor: Actor, bucket: str, key: str, expires_in_s: int, transform: TransformClaims | None = None
    ) -> str:
        """A token to read one object, or its rendering. Raises NoSuchKey, InvalidKey, InvalidParameter."""
        check_bucket_name(bucket)
        check_key(key)
        if not await self._database.once(actor, _FIND, (bucket, key)):
            raise refuse.no_such_key()
        return self._signer.sign_download(bucket, key, expires_in_s, transform)

    async def sign_many(self, actor: Actor, bucket: str, keys: Sequence[str], expires_in_s: int) -> Mapping[str, str]:
        """Tokens by key, for those of ``keys`` that policies show to the caller."""
        check_bucket_name(bucket)
        rows = await self._database.once(actor, _FIND_MANY, (bucket, _text_array(keys)))
        found = [name.decode() for (name,) in rows if name is not None]
        return self._signer.sign_downloads(bucket, found, expires_in_s) if found else {}

    async def sign_upload(self, actor: Actor, draft: Draft) -> str:
        """A token to write the draft's key. Raises what an upload by the caller would."""
        check_bucket_name(draft.bucket)
        check_key(draft.key)
        await self._uploads.may_upload(actor, draft)
        return self._signer.sign_upload(
            draft.bucket, draft.key, self._upload_ttl_s, owner=draft.owner_id, is_upsert=draft.is_upsert
        )


def _text_array(values: Sequence[str]) -> str:
    """``values`` as PostgreSQL writes an array of text."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"

"""What storage makes for itself at start, where it is missing: buckets of the settings, and the simple face's own.

Nothing that exists is changed: a bucket or policy that somebody altered stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from isobase_platform.config_storage import BucketSettings, StorageSettings
from isobase_platform.config_storage.kinds import PLACEHOLDER, UploadKind
from isobase_platform.pool import Pools
from isobase_platform.sql import quote_identifier, quote_literal
from isobase_services.storage.rules import check_mime_patterns, check_new_bucket_name, size_limit_bytes

__all__ = ["provision"]

TABLES_OWNER = "supabase_storage_admin"
"""The role that owns the tables of the schema storage."""

_LOCK = "select pg_advisory_xact_lock(hashtextextended('isobase storage provision', 0))"
_INSERT_BUCKET = """
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values ($1, $1, $2, $3, $4) on conflict do nothing
"""
_POLICIES = "select policyname from pg_catalog.pg_policies where schemaname = 'storage' and tablename = 'objects'"
_POLICY_CLAUSES: Final = {
    "select": "using ({check})",
    "insert": "with check ({check})",
    "update": "using ({check}) with check ({check})",
    "delete": "using ({check})",
}


async def provision(pools: Pools, settings: StorageSettings) -> None:
    """Make the buckets, and then the policies under a lock.

    A kind in a bucket of its own gets no policies: who may write there is for the project to say.

    Raises ``StorageError`` for a bucket in the settings that cannot be (name, limit, types), ``DatabaseError`` or
    ``Unavailable`` where the database refuses or is not there.
    """
    private, public = settings.simple_bucket, settings.simple_public_bucket
    buckets = {private: BucketSettings(), public: BucketSettings(public=True), **settings.buckets}
    for name, bucket in buckets.items():
        check_new_bucket_name(name)
        check_mime_patterns(bucket.allowed_mime_types or ())
        if bucket.file_size_limit_bytes is not None:
            size_limit_bytes(bucket.file_size_limit_bytes, settings.file_size_limit_bytes)
    # Not as the schema's owner: a project may put triggers on the table, and those would run with the owner's rights.
    async with pools.transaction(TABLES_OWNER) as connection:
        for name, bucket in buckets.items():
            types = list(bucket.allowed_mime_types) if bucket.allowed_mime_types is not None else None
            limit = bucket.file_size_limit_bytes
            await connection.execute(_INSERT_BUCKET, name, bucket.public, limit, types)
    policies = dict((*_owner_policies(private), *_owner_policies(public)))
    policies |= dict(
        _kind_policy(name, kind, public if kind.public else private)
        for name, kind in settings.kinds.items()
        if kind.enabled and kind.bucket is None
    )
    async with pools.transaction(None) as connection:
        await connection.execute(_LOCK)
        found = {row["policyname"] for row in await connection.fetch(_POLICIES)}
        for policy, clause in policies.items():
            if policy not in found:
                await connection.execute(f"create policy {quote_identifier(policy)} on storage.objects {clause}")


def _owner_policies(bucket: str) -> Iterator[tuple[str, str]]:
    """Signed-in users own the folder that is called by their id, and nothing else of the bucket."""
    check = f"bucket_id = {quote_literal(bucket)} and (storage.foldername(name))[1] = (select auth.uid())::text"
    for command, clause in _POLICY_CLAUSES.items():
        yield f"{bucket}: owner may {command}", f"for {command} to authenticated {clause.format(check=check)}"


def _kind_policy(name: str, kind: UploadKind, bucket: str) -> tuple[str, str]:
    """Signed-in users own what they upload of a kind, below the folders of its key that are the same for everybody.

    Where the key has a folder of the user's id, it has to be his.
    """
    terms = [f"bucket_id = {quote_literal(bucket)}", "owner_id = (select auth.uid())::text"]
    for position, folder in enumerate(kind.key.split("/")[:-1], start=1):
        if folder == "{user_id}":
            terms.append(f"(storage.foldername(name))[{position}] = (select auth.uid())::text")
        elif not PLACEHOLDER.search(folder):
            terms.append(f"(storage.foldername(name))[{position}] = {quote_literal(folder)}")
    check = " and ".join(terms)
    return f"kind {name}: owner may do everything", f"for all to authenticated using ({check}) with check ({check})"

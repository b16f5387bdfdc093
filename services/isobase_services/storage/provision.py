"""What storage makes for itself at start, where it is missing: buckets of the settings, and the simple face's own.

Nothing that exists is changed: a bucket or policy that somebody altered stays as it is.
"""

from __future__ import annotations

from typing import Final

from isobase_platform.config_storage import BucketSettings, StorageSettings
from isobase_platform.pool import Connection, Pools
from isobase_platform.sql import quote_identifier, quote_literal
from isobase_services.storage.rules import check_mime_patterns, check_new_bucket_name, size_limit_bytes

__all__ = ["provision", "public_bucket"]

TABLES_OWNER = "supabase_storage_admin"
"""The role that owns the tables of the schema storage."""

_LOCK = "select pg_advisory_xact_lock(hashtextextended('isobase storage provision', 0))"
_INSERT_BUCKET = """
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values ($1, $1, $2, $3, $4) on conflict do nothing
"""
_HAS_POLICY = """
select from pg_catalog.pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname = $1
"""
_POLICY_CLAUSES: Final = {
    "select": "using ({check})",
    "insert": "with check ({check})",
    "update": "using ({check}) with check ({check})",
    "delete": "using ({check})",
}


def public_bucket(simple_bucket: str) -> str:
    """The bucket for the simple face's files that anybody may read by URL."""
    return f"{simple_bucket}-public"


async def provision(pools: Pools, settings: StorageSettings) -> None:
    """Make the buckets, and then the policies under a lock.

    Raises ``StorageError`` for a bucket in the settings that cannot be (name, limit, types), ``DatabaseError`` or
    ``Unavailable`` where the database refuses or is not there.
    """
    private, public = settings.simple_bucket, public_bucket(settings.simple_bucket)
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
    async with pools.transaction(None) as connection:
        await connection.execute(_LOCK)
        for name in (private, public):
            await _make_owner_policies(connection, name)


async def _make_owner_policies(connection: Connection, bucket: str) -> None:
    """Signed-in users own the folder that is called by their id, and nothing else of the bucket."""
    check = f"bucket_id = {quote_literal(bucket)} and (storage.foldername(name))[1] = (select auth.uid())::text"
    for command, clause in _POLICY_CLAUSES.items():
        policy = f"{bucket}: owner may {command}"
        if await connection.fetchrow(_HAS_POLICY, policy) is None:
            await connection.execute(
                f"create policy {quote_identifier(policy)} on storage.objects for {command} to authenticated "
                + clause.format(check=check)
            )

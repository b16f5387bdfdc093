"""The statements on ``storage.objects`` that more than one operation needs.

PostgreSQL builds the JSON of answers; its text goes to the socket as it is. Times have three digits and a Z, as JavaScript
prints them. An absent owner is "" in a row that is answered (contracts/storage.md 1.0).
"""

from __future__ import annotations

__all__ = [
    "BUCKET_RULES",
    "DRY_RUN_INSERT",
    "DRY_RUN_UPSERT",
    "LOCK_KEY",
    "OBJECT_JSON",
    "TRY_WRITE",
    "WRITE",
    "json_time",
]


def json_time(expression: str) -> str:
    """SQL for ``expression`` (a timestamptz column) as ``2021-02-17T04:43:32.770Z``."""
    return f"""to_char({expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


OBJECT_JSON = f"""json_build_object(
    'name', o.name, 'bucket_id', o.bucket_id, 'owner', coalesce(o.owner::text, ''), 'owner_id', coalesce(o.owner_id, ''),
    'version', coalesce(o.version, ''), 'id', o.id, 'updated_at', {json_time("o.updated_at")},
    'created_at', {json_time("o.created_at")}, 'last_accessed_at', {json_time("o.last_accessed_at")},
    'metadata', o.metadata, 'user_metadata', o.user_metadata)"""
"""A whole row of the table under the alias ``o``."""

BUCKET_RULES = "select public, file_size_limit, allowed_mime_types from storage.buckets where id = $1"

# Without RETURNING only the INSERT policy is asked, as upstream does.
DRY_RUN_INSERT = """
insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
values ($1, $2, $3, $4, $5, '1', $6::jsonb, $7::jsonb)
"""

# RETURNING asks the SELECT policy, and DO UPDATE the UPDATE policy where the key exists. "old" is read in the snapshot of
# the statement, so it shows the row as it was.
DRY_RUN_UPSERT = """
with old as (select version, metadata ->> 'eTag' as etag from storage.objects where bucket_id = $2 and name = $3)
insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
values ($1, $2, $3, $4, $5, '1', $6::jsonb, $7::jsonb)
on conflict (name, bucket_id) do update set
    version = excluded.version,
    metadata = excluded.metadata,
    user_metadata = coalesce(excluded.user_metadata, objects.user_metadata),
    owner = coalesce(excluded.owner, objects.owner),
    owner_id = coalesce(excluded.owner_id, objects.owner_id)
returning (select version from old) as version, (select etag from old) as etag, exists (select from old) as is_replacement
"""

# The same by a function, with $8 for upsert, which takes back what it wrote: a try in one exchange with other statements.
TRY_WRITE = """
select is_replacement, old_version, old_etag
  from storage.try_object_write($1::uuid, $2, $3, $4::uuid, $5, $6::jsonb, $7::jsonb, $8::boolean)
"""

LOCK_KEY = "select pg_advisory_xact_lock(hashtextextended('isobase storage ' || $1 || '/' || $2, 0))"

# Writes the row only if it is still what the caller's dry run saw ($9: there was a row, $10: of this version): otherwise
# no row comes back, and the right to write has to be asked for again. The join makes PostgreSQL lock and read the old
# row before it inserts, so that the version to clean up is the one that was truly replaced.
WRITE = f"""
with old as materialized (
    select id, version from storage.objects where bucket_id = $2 and name = $3 for update
), o as (
    insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    select $1::uuid, $2::text, $3::text, $4::uuid, $5::text, $6::text, $7::jsonb, $8::jsonb
      from (values (true)) as one (row) left join old on true
     where (old.id is not null) = $9::boolean
    on conflict (name, bucket_id) do update set
        version = excluded.version,
        metadata = excluded.metadata,
        user_metadata = coalesce(excluded.user_metadata, objects.user_metadata),
        owner = coalesce(excluded.owner, objects.owner),
        owner_id = coalesce(excluded.owner_id, objects.owner_id)
    where $9::boolean and objects.version is not distinct from $10::text
    returning *
)
select o.id, (select version from old) as replaced_version, {OBJECT_JSON}::text as json from o
"""  # noqa: S608  only constants of this module are put together

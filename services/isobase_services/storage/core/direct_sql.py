"""The statements on ``isobase.direct_uploads``; all run as the service. Times are PostgreSQL's own."""

from __future__ import annotations

__all__ = ["BEGIN", "BUCKET_IS_PUBLIC", "COMPLETE", "EXPIRED", "FIND", "OLDER", "REMOVE", "STAGE", "STAGING"]

BEGIN = """
insert into isobase.direct_uploads
    (id, kind, bucket_id, name, owner_id, mime_type, size_bytes, cache_control, is_upsert, version, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))
"""

BUCKET_IS_PUBLIC = "select public from storage.buckets where id = $1"

# $3: seconds behind the URL's end in which an upload may still be completed.
FIND = """
select kind, bucket_id, name, owner_id, mime_type, size_bytes, cache_control, is_upsert, version, etag, object_id,
       coalesce((select b.public from storage.buckets b where b.id = bucket_id), false) as is_public,
       expires_at + make_interval(secs => $3) < now() as is_expired
  from isobase.direct_uploads where id = $1 and owner_id = $2
"""

STAGING = """
select mime_type, size_bytes from isobase.direct_uploads
 where id = $1 and bucket_id = $2 and name = $3 and object_id is null
"""

STAGE = """
with old as (select id, version from isobase.direct_uploads where id = $1 and object_id is null for update)
update isobase.direct_uploads u set version = $2, etag = $3 from old where u.id = old.id
returning old.version as replaced
"""

# Behind the write of the object's row, in its transaction: whoever comes second finds no row.
COMPLETE = """
update isobase.direct_uploads u set completed_at = now(), object_id = o.id
  from storage.objects o
 where u.id = $1 and u.object_id is null and o.bucket_id = u.bucket_id and o.name = u.name
"""

# As the user: what he may not see stays. All characters of keys sort before "~".
OLDER = """
select name from storage.objects
 where bucket_id = $1 and owner_id = $2 and name collate "C" >= $3 and name collate "C" < $3 || '~' and name ~ $4
 order by created_at desc, name collate "C" desc offset $5
"""

EXPIRED = """
select id, bucket_id, name, version from isobase.direct_uploads
 where expires_at < $1::timestamptz order by expires_at limit $2
"""

REMOVE = "delete from isobase.direct_uploads where id = any($1::uuid[])"

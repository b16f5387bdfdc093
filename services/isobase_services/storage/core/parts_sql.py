"""The statements on ``storage.s3_multipart_uploads`` and ``..._parts``.

An upload's ``id`` is the version that its object will have, so that an upload which is over can be recognised by the object;
``upload_signature`` holds the blob store's own reference of it (upstream keeps a seal of the progress there).
"""

from __future__ import annotations

__all__ = ["BEGIN", "END", "FIND", "FIND_FOR_PART", "LOCK", "OBJECT_OF", "PARTS", "RECORD", "SIZE_OF_OTHERS"]

BEGIN = """
insert into storage.s3_multipart_uploads (id, upload_signature, bucket_id, key, version, owner_id, user_metadata, metadata)
values ($1, $2, $3, $4, $1, $5, $6::jsonb, $7::jsonb)
"""
FIND = """
select version, upload_signature, metadata, user_metadata
  from storage.s3_multipart_uploads where id = $1 and bucket_id = $2 and key = $3
"""
# With what a part ($4) may still take: the bucket's limit and the size of all others.
FIND_FOR_PART = """
select u.version, u.upload_signature, u.metadata::text, u.user_metadata::text, b.file_size_limit::text,
       (select coalesce(sum(p.size), 0)::text
          from storage.s3_multipart_uploads_parts as p where p.upload_id = u.id and p.part_number <> $4::int)
  from storage.s3_multipart_uploads as u left join storage.buckets as b on b.id = u.bucket_id
 where u.id = $1 and u.bucket_id = $2 and u.key = $3
"""
LOCK = "select from storage.s3_multipart_uploads where id = $1 for update"
SIZE_OF_OTHERS = """
select coalesce(sum(size), 0)::bigint from storage.s3_multipart_uploads_parts where upload_id = $1 and part_number <> $2
"""
# The sender of a part twice means the later one. The table has no key of (upload, number), hence two steps under LOCK.
RECORD = """
with gone as (
    delete from storage.s3_multipart_uploads_parts where upload_id = $1 and part_number = $2 returning size
), progress as (
    update storage.s3_multipart_uploads
       set in_progress_size = greatest(in_progress_size + $3 - coalesce((select sum(size) from gone), 0), 0)
     where id = $1
)
insert into storage.s3_multipart_uploads_parts (upload_id, part_number, size, etag, bucket_id, key, version, owner_id)
values ($1, $2, $3, $4, $5, $6, $1, $7)
"""
PARTS = """
select part_number, etag, size from storage.s3_multipart_uploads_parts where upload_id = $1 order by part_number
"""
END = "delete from storage.s3_multipart_uploads where id = $1"
OBJECT_OF = """
select id, metadata ->> 'eTag' as etag from storage.objects where bucket_id = $1 and name = $2 and version = $3
"""

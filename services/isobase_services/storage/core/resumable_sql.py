"""The statements on ``isobase.resumable_uploads`` and its pieces. All run as the service.

Times are the database's, so that the clocks of several servers need not agree.
"""

from __future__ import annotations

__all__ = [
    "ADD_PART",
    "ADD_TAIL",
    "ASK_RELEASE",
    "CREATE",
    "DELETE",
    "DELETE_EXPIRED",
    "DESCRIPTION",
    "DROP_PIECES",
    "DROP_TAIL",
    "FINISH",
    "KEEP_PARTS",
    "KNOWN_IDS",
    "PARTS",
    "READ",
    "RECORD",
    "RECORDED",
    "RELEASE",
    "RENEW",
    "TAIL",
    "TAKE",
]

CREATE = """
insert into isobase.resumable_uploads (id, bucket_id, name, size_bytes, metadata, expires_at, lease, lease_until)
values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6), $7,
        case when $7::uuid is null then null else clock_timestamp() + make_interval(secs => $8) end)
returning created_at, expires_at
"""

_STATE = """
    u.id, u.size_bytes, u.offset_bytes, u.metadata, u.parts_upload, u.last_part, u.expires_at,
    u.expires_at <= clock_timestamp() as is_expired, u.finished_at is not null as is_finished,
    u.lease is not null as was_held, coalesce(u.lease_until > clock_timestamp(), false) as is_held
"""

READ = f"""
select {_STATE} from isobase.resumable_uploads u where u.id = $1 and u.bucket_id = $2 and u.name = $3
"""  # noqa: S608  only constants of this module are put together

DESCRIPTION = """
select metadata, size_bytes::text from isobase.resumable_uploads where id = $1 and bucket_id = $2 and name = $3
"""

# A lease that was not given back may have a writer that does not know yet: it may be sending one part and have another ready
# ($6 numbers), whose numbers the next writer leaves alone.
TAKE = f"""
with u as materialized (
    select {_STATE} from isobase.resumable_uploads u where u.id = $1 and u.bucket_id = $2 and u.name = $3 for update
), taken as (
    update isobase.resumable_uploads t set
        lease = $4, lease_until = clock_timestamp() + make_interval(secs => $5), release_asked = false,
        last_part = t.last_part + case when u.was_held then $6::integer else 0 end
      from u where t.id = u.id and not u.is_held and not u.is_finished and not u.is_expired
    returning t.last_part
)
select u.*, (select last_part from taken) as first_free_part, exists (select from taken) as is_taken,
       b.id is not null as has_bucket, b.file_size_limit, b.allowed_mime_types
  from u left join storage.buckets b on b.id = $2
"""  # noqa: S608  only constants of this module are put together

ASK_RELEASE = "update isobase.resumable_uploads set release_asked = true where id = $1 and lease is not null"

# A row that another statement has locked is renewed the next time: one upload must not make the others wait.
RENEW = """
with mine as (select id from isobase.resumable_uploads where lease = any ($1::uuid[]) for update skip locked)
update isobase.resumable_uploads u set lease_until = clock_timestamp() + make_interval(secs => $2)
  from mine where u.id = mine.id
returning u.lease, u.release_asked
"""

RECORD = """
update isobase.resumable_uploads
   set offset_bytes = $3, last_part = greatest(last_part, $4::integer), size_bytes = coalesce($5, size_bytes)
 where id = $1 and lease = $2
"""

KEEP_PARTS = """
update isobase.resumable_uploads set parts_upload = $3 where id = $1 and lease = $2
"""

RELEASE = """
update isobase.resumable_uploads set lease = null, lease_until = null, release_asked = false where id = $1 and lease = $2
"""

FINISH = """
update isobase.resumable_uploads
   set offset_bytes = $3, size_bytes = $3, finished_at = now(), lease = null, lease_until = null, release_asked = false
 where id = $1 and lease = $2
"""

DELETE = "delete from isobase.resumable_uploads where id = $1"

DELETE_EXPIRED = """
delete from isobase.resumable_uploads u
 using (select id from isobase.resumable_uploads
         where expires_at <= $1 and (lease is null or lease_until < clock_timestamp())
         order by expires_at limit $2 for update skip locked) as old
 where u.id = old.id
returning u.id, u.bucket_id, u.name, u.parts_upload, u.finished_at is not null as is_finished
"""

KNOWN_IDS = "select id from isobase.resumable_uploads where id = any ($1::uuid[])"

PARTS = """
select part_number, etag, size_bytes from isobase.resumable_pieces
 where upload_id = $1 and content is null order by first_byte
"""

RECORDED = """
select coalesce(sum(size_bytes), 0)::bigint as size_bytes from isobase.resumable_pieces where upload_id = $1
"""

TAIL = """
select content from isobase.resumable_pieces
 where upload_id = $1 and content is not null order by first_byte
"""

DROP_TAIL = "delete from isobase.resumable_pieces where upload_id = $1 and content is not null"

DROP_PIECES = "delete from isobase.resumable_pieces where upload_id = $1"

ADD_PART = """
insert into isobase.resumable_pieces (upload_id, first_byte, size_bytes, part_number, etag) values ($1, $2, $3, $4, $5)
"""

ADD_TAIL = """
insert into isobase.resumable_pieces (upload_id, first_byte, size_bytes, content)
values ($1, $2, octet_length($3::bytea), $3::bytea)
"""

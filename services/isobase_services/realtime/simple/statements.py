"""The statements of rooms. All run through the RLS door as the caller: the policies of schema.sql say who may.

Rows come as JSON text made by PostgreSQL, which faces pass on untouched.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADD_MEMBER",
    "ADD_MEMBERS",
    "COME",
    "CREATE",
    "CREATE_PUBLIC",
    "DELETE",
    "EXISTS",
    "HISTORY_AFTER",
    "HISTORY_BEFORE",
    "HISTORY_SINCE",
    "LIST",
    "MEMBERS",
    "NOTE_READ",
    "READ_MARK",
    "REMOVE_MEMBER",
    "ROLE",
    "ROOM",
    "SEND",
    "SENT_BEFORE",
    "UPDATE",
]

_ROOM_JSON: Final = """
pg_catalog.jsonb_build_object(
  'roomId', r.id, 'name', r.name, 'public', r.is_public, 'metadata', r.metadata, 'createdBy', r.created_by,
  'createdAt', isobase.iso_time(r.created_at),
  'role', isobase.room_role(r.id), 'lastSeq', r.last_seq,
  'lastMessageAt', isobase.iso_time(r.last_message_at),
  'readSeq', d.last_read_seq, 'unread', r.last_seq - coalesce(d.last_read_seq, r.last_seq))::text
"""
# Who never opened a public room has nothing unread in it: d is absent, and readSeq null.
_FROM_ROOMS: Final = """
  from isobase.rooms as r
  left join isobase.room_reads as d on d.room_id = r.id and d.user_id = (select isobase.caller_id())
"""

ROLE: Final = "select isobase.room_role(r.id) from isobase.rooms as r where r.id = $1"
"""One row where the room is open to the caller; its role is NULL for the service."""
ROOM: Final = f"select {_ROOM_JSON} {_FROM_ROOMS} where r.id = $1"
LIST: Final = f"""
select {_ROOM_JSON},
       pg_catalog.to_char(coalesce(r.last_message_at, r.created_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         || ' ' || r.id
{_FROM_ROOMS}
 where $1::text is null
    or (coalesce(r.last_message_at, r.created_at), r.id)
         < (pg_catalog.split_part($1, ' ', 1)::timestamptz, pg_catalog.split_part($1, ' ', 2))
 order by coalesce(r.last_message_at, r.created_at) desc, r.id desc
 limit $2::bigint
"""
EXISTS: Final = "select 1 from isobase.rooms as r where r.id = $1"

CREATE: Final = "insert into isobase.rooms (id, name, is_public, metadata) values ($1, $2, $3::boolean, $4::jsonb)"
# $2: the operator named the room; the default must not take a channel of the project.
CREATE_PUBLIC: Final = (
    "insert into isobase.rooms (id, name, is_public, created_by)"
    " select $1, $1, true, null where $2::boolean or isobase.may_name_room($1) on conflict do nothing"
)
UPDATE: Final = """
update isobase.rooms as r
   set name = coalesce($2, r.name), is_public = coalesce($3::boolean, r.is_public), metadata = coalesce($4::jsonb, r.metadata)
 where r.id = $1
returning 1
"""
DELETE: Final = "delete from isobase.rooms as r where r.id = $1 returning 1"

ADD_MEMBERS: Final = """
insert into isobase.room_members (room_id, user_id)
select $1, u from pg_catalog.jsonb_array_elements_text($2::jsonb) as u
on conflict do nothing
"""
ADD_MEMBER: Final = """
insert into isobase.room_members as m (room_id, user_id, role) values ($1, $2, $3)
on conflict (room_id, user_id) do update set role = excluded.role where m.role <> excluded.role
"""
COME: Final = """
insert into isobase.room_members (room_id, user_id, role)
select r.id, isobase.caller_id(), 'member' from isobase.rooms as r
 where r.id = $1 and isobase.room_role(r.id) = 'guest'
on conflict do nothing
"""
REMOVE_MEMBER: Final = "delete from isobase.room_members as m where m.room_id = $1 and m.user_id = $2 returning 1"
MEMBERS: Final = """
select pg_catalog.jsonb_build_object(
         'user', m.user_id, 'role', m.role, 'since', isobase.iso_time(m.created_at),
         'readSeq', d.last_read_seq)::text
  from isobase.room_members as m
  left join isobase.room_reads as d on d.room_id = m.room_id and d.user_id = m.user_id
 where m.room_id = $1
 order by m.created_at, m.user_id
 limit $2::bigint
"""

SEND: Final = """
insert into isobase.room_messages as m (room_id, body, client_id) values ($1, $2::jsonb, $3)
returning isobase.room_message_json(m)::text
"""
SENT_BEFORE: Final = """
select isobase.room_message_json(m)::text from isobase.room_messages as m
 where m.room_id = $1 and m.client_id = $2 and coalesce(m.sender, '') = coalesce(isobase.caller_id(), '')
"""
HISTORY_BEFORE: Final = """
select isobase.room_message_json(m)::text from isobase.room_messages as m
 where m.room_id = $1 and m.seq < $2::bigint order by m.seq desc limit $3::bigint
"""
HISTORY_AFTER: Final = """
select isobase.room_message_json(m)::text from isobase.room_messages as m
 where m.room_id = $1 and m.seq > $2::bigint order by m.seq limit $3::bigint
"""
HISTORY_SINCE: Final = """
select isobase.room_message_json(m)::text from isobase.room_messages as m
 where m.room_id = $1 and m.created_at >= $2::timestamptz order by m.created_at, m.seq limit $3::bigint
"""

NOTE_READ: Final = """
insert into isobase.room_reads as d (room_id, last_read_seq)
select r.id, least(coalesce($2::bigint, r.last_seq), r.last_seq) from isobase.rooms as r where r.id = $1
on conflict (room_id, user_id) do update set last_read_seq = excluded.last_read_seq, updated_at = now()
 where d.last_read_seq < excluded.last_read_seq
returning 1
"""
READ_MARK: Final = """
select d.last_read_seq::text from isobase.room_reads as d where d.room_id = $1 and d.user_id = isobase.caller_id()
"""

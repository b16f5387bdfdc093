"""The SQL of handovers and failovers (``handover``), on the control database.

A change of ``isobase.writers`` waits, by its trigger, for every write that is being let in, and no write is let in by what
it read before (schema.sql).
"""

from __future__ import annotations

# Entries of a pattern: those whose writer's pattern it is, by their capability or by the table that they name (a function
# may write tables that move on their own).
_ENTRIES = """
select o.id, o.state, o.created_at, o.next_at from isobase.outbox as o
 where exists (
   select from (
     select o.capability as name
     union select 'table:' || (t.thing ->> 'resource')
       from jsonb_array_elements(coalesce(o.things, jsonb_build_array(o.thing))) as t(thing)
      where t.thing ->> 'kind' in ('row', 'table')) as c
    where (c.name = $1 or right($1, 1) = '*' and starts_with(c.name, left($1, -1)))
      and not exists (
        select from isobase.writers as m
         where m.pattern <> $1 and c.name <> $1
           and (m.pattern = c.name
                or right(m.pattern, 1) = '*' and starts_with(c.name, left(m.pattern, -1))
                   and length(m.pattern) > length($1))))
"""

BACKLOG = f"""
select count(*) filter (where e.state = 'intent') as intents, count(*) filter (where e.state = 'pending') as pending,
       count(*) filter (where e.state = 'dead') as dead,
       count(*) filter (where e.state = 'intent' and e.created_at < now() - interval '2 seconds') as slow,
       count(*) filter (where e.state = 'pending' and e.next_at = 'infinity') as parked
  from ({_ENTRIES}) as e
"""

MARK = """
update isobase.writers
   set handing_over_to = $2, handing_over_since = now(), handing_over_by = $3,
       handover = handover || jsonb_build_object('mark', $4::text)
 where pattern = $1 and side <> $2
returning pattern
"""

UNMARK = """
update isobase.writers
   set handing_over_to = null, handing_over_since = null, handing_over_by = null, handover = handover - 'mark'
 where pattern = $1 and handover ->> 'mark' = $2
"""

MARKED = """
select pattern, handover ->> 'mark' as mark, handing_over_since < now() - make_interval(secs => $1) as is_overdue
  from isobase.writers where handing_over_to is not null
"""

LIFT = """
update isobase.writers
   set handing_over_to = null, handing_over_since = null, handing_over_by = null, handover = handover - 'mark'
 where pattern = $1 and handover ->> 'mark' is not distinct from $2 and handing_over_to is not null
returning pattern
"""

FLIP = f"""
update isobase.writers as w
   set side = w.handing_over_to, epoch = w.epoch + 1, handing_over_to = null, handing_over_since = null,
       handing_over_by = null, handover = w.handover - 'mark' - 'failed_over_at'
 where w.pattern = $1 and w.handover ->> 'mark' = $2 and w.handing_over_to is not null
   and not exists ({_ENTRIES})
   and not exists (select from isobase.migration_clients as c where c.spooled > 0)
returning w.epoch
"""

CLIENTS = """
select c.id, c.name, c.host, extract(epoch from now() - c.seen_at)::float8 as silent_s from isobase.migration_clients as c
 where c.version < $1 or c.spooled > 0 order by c.started_at
"""

FORGET = "delete from isobase.migration_clients where id = any($1::uuid[])"

WRITER_OF = """
select w.pattern, w.side, w.epoch, w.handing_over_to from isobase.writers as w
 where w.pattern = $1 or right(w.pattern, 1) = '*' and starts_with($1, left(w.pattern, -1))
 order by w.pattern = $1 desc, length(w.pattern) desc limit 1
"""

FAIL_OVER = """
update isobase.writers
   set side = 'supabase', epoch = epoch + 1, handover = handover || jsonb_build_object('failed_over_at', now())
 where pattern = $1 and epoch = $2 and side = 'isobase' and handing_over_to is null
returning epoch
"""

CONVERT = f"""
update isobase.outbox set target = 'isobase', epoch = $2, updated_at = now()
 where state = 'intent' and target = 'supabase' and id in (select e.id from ({_ENTRIES}) as e)
"""
"""Writes on their way when Isobase failed: nobody was told that they count, so they go the way of the new writer."""

UNPARK = f"""
update isobase.outbox set next_at = now(), error = null
 where state = 'pending' and next_at = 'infinity' and id in (select e.id from ({_ENTRIES}) as e)
"""
"""What waited for a moment without writes: it goes to the side that is still the writer."""

HOLDERS = """
select coalesce(nullif(a.application_name, ''), 'a connection without a name') as name,
       coalesce(host(a.client_addr), 'its own host') as place,
       to_char(a.xact_start at time zone 'UTC', 'HH24:MI:SS') as since
  from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and l.pid <> pg_backend_pid() and l.objsubid = 1
   and l.database = (select d.oid from pg_database as d where d.datname = current_database())
   and (l.classid::bigint << 32) + l.objid::bigint = $1
 order by a.xact_start
"""
"""Who holds an advisory lock of a whole number, the oldest first."""

RECOVERABLE = """
select w.pattern from isobase.writers as w join isobase.flags as f on f.pattern = w.pattern
 where w.side = 'supabase' and w.handing_over_to is null and w.handover ? 'failed_over_at'
   and f.stage = 'live' and f.share_percent >= 100 and f.changed_at <= (w.handover ->> 'failed_over_at')::timestamptz
 order by w.pattern
"""
"""Patterns that failed over, and that no operator has set otherwise since."""

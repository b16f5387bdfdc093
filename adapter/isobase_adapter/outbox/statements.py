"""The SQL of the outbox in PostgreSQL (``postgres``, ``letters``): each is one round trip."""

from __future__ import annotations

BEGIN = """
select verdict, id, is_queued
  from isobase.begin_write($1, $2, $3, $4::text::jsonb, $5, $6, $7::text::jsonb, $8, $9, $10)
"""

SETTLE = "delete from isobase.outbox where id = any($1::bigint[]) and target = $2 and state <> 'dead' returning id"

CHECK = "select id from isobase.outbox where id = any($1::bigint[]) and target = $2 and state <> 'dead'"

# A new number each time: whoever carries an older item of the same thing has read an older state, and may delete that
# one only. Of wholes one that nobody has begun is enough. That a row may be there anew stays said until it was carried.
# What waits to go the other way is a conflict where it names the same thing, or where one of the two names the whole of
# their resource: nobody knows then whether they name the same row. Users are merged, whatever comes from where.
POSTPONE = """
with gone as (
  select id, capability, target, epoch, call, client from isobase.outbox
   where id = $1 and state = 'intent' and target = $2 for update
), dropped as (
  delete from isobase.outbox as o using gone where o.id = gone.id and not $7
), doubted as (
  update isobase.outbox as o set doubted_at = coalesce(o.doubted_at, now()) from gone where o.id = gone.id and $7
), old as (
  delete from isobase.outbox as o using gone
   where o.lock_number = any($4) and o.target = gone.target and o.id <> gone.id and not o.is_conflict
     and o.before_hash is null and (o.state = 'dead' or o.state = 'pending' and not (o.lock_number = any($5)))
  returning o.lock_number, o.thing
), added as (
  insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, call, client, error)
  select 'pending', gone.capability, gone.target, gone.epoch,
         given.thing::jsonb || case
           when exists (select from old where old.lock_number = given.lock_number and old.thing ? 'is_anew')
           then '{"is_anew": true}'::jsonb else '{}' end,
         given.lock_number, gone.call, gone.client, $6
    from gone, unnest($3::text[], $4::bigint[]) as given(thing, lock_number)
   where not (given.lock_number = any($5) and exists (
     select from isobase.outbox as o where o.lock_number = given.lock_number and o.target = gone.target
        and o.state = 'pending' and o.attempts = 0 and o.lease_until is null))
), clashed as (
  update isobase.outbox as o
     set state = 'dead', is_conflict = true, error = 'written at both sides', next_at = 'infinity', updated_at = now()
    from gone
   where o.target = case $2 when 'isobase' then 'supabase' else 'isobase' end
     and (o.state = 'pending' and o.lock_number = any($4)
          or o.state <> 'intent' and not o.is_conflict
             and o.thing ->> 'kind' in ('row', 'table', 'object', 'objects')
             and exists (select from (select unnest($3::text[])::jsonb) as given(thing)
                          where given.thing ->> 'resource' = o.thing ->> 'resource'
                            and given.thing ->> 'kind' in ('row', 'table', 'object', 'objects')
                            and (given.thing ->> 'kind' in ('table', 'objects')
                                 or o.thing ->> 'kind' in ('table', 'objects'))))
)
select id from gone
"""

END = "delete from isobase.outbox where id = $1 and state = 'intent'"

HEAL = """
insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, call, client, error)
select 'pending', $1, case coalesce(w.side, 'supabase') when 'supabase' then 'isobase' else 'supabase' end,
       coalesce(w.epoch, 0), given.thing::jsonb, given.lock_number, '{}', $2, $3
  from unnest($4::text[], $5::bigint[]) as given(thing, lock_number)
  left join lateral (
    select w.side, w.epoch from isobase.writers as w
     where w.pattern = $1 or right(w.pattern, 1) = '*' and starts_with($1, left(w.pattern, -1))
     order by w.pattern = $1 desc, length(w.pattern) desc limit 1) as w on true
"""

# What was spooled while Supabase was the writer; conflicts are those of POSTPONE. Had the writer moved since (its client was
# forgotten), it is for an operator: what the target holds may be newer.
MERGE = """
with given as (
  select given.*, coalesce(w.side = given.target, false) as is_late
    from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[])
         with ordinality as given(capability, target, epoch, thing, lock_number, call, error, n)
    left join lateral (
      select w.side from isobase.writers as w
       where w.pattern = given.capability
          or right(w.pattern, 1) = '*' and starts_with(given.capability, left(w.pattern, -1))
       order by w.pattern = given.capability desc, length(w.pattern) desc limit 1) as w on true
), clashed as (
  update isobase.outbox as o
     set state = 'dead', is_conflict = true, error = 'written at both sides', next_at = 'infinity', updated_at = now()
    from given
   where not given.is_late and o.target = case given.target when 'isobase' then 'supabase' else 'isobase' end
     and (o.state = 'pending' and o.lock_number = given.lock_number
          or o.state <> 'intent' and not o.is_conflict
             and o.thing ->> 'resource' = given.thing::jsonb ->> 'resource'
             and o.thing ->> 'kind' in ('row', 'table', 'object', 'objects')
             and given.thing::jsonb ->> 'kind' in ('row', 'table', 'object', 'objects')
             and (o.thing ->> 'kind' in ('table', 'objects') or given.thing::jsonb ->> 'kind' in ('table', 'objects')))
)
insert into isobase.outbox
  (state, capability, target, epoch, thing, lock_number, call, client, error, is_conflict, next_at)
select case when is_late then 'dead' else 'pending' end, given.capability, given.target, given.epoch,
       given.thing::jsonb, given.lock_number, given.call::jsonb, $8,
       case when is_late then 'it was written while nobody could hear of it' else given.error end,
       is_late, case when is_late then 'infinity' else now() end
  from given order by given.n
"""

FORGET_ADOPTED = "delete from isobase.migration_clients where id = $1"

# An item waits while something of the other direction that must not be overwritten stands in its way: its key's, or
# for a whole anything of its capability or its resource. And while an operator has to decide about the whole of its
# resource, of which no letter keeps the versions.
TAKE = """
with undecided as materialized (
  select b.target, b.thing ->> 'resource' as resource from isobase.outbox as b
   where b.state = 'dead' and b.is_conflict and b.thing ->> 'kind' in ('table', 'objects')
), due as (
  select o.id from isobase.outbox as o
   where o.state = 'pending' and o.next_at <= now() and ($1::text is null or o.target = $1)
     and not exists (select from isobase.outbox as b where b.lock_number = o.lock_number and b.target <> o.target
                        and (b.state = 'pending' and b.id < o.id or b.is_conflict and b.versions is null))
     and not (o.thing ->> 'kind' in ('table', 'users', 'objects') and exists (
       select from isobase.outbox as b
        where b.target = case o.target when 'isobase' then 'supabase' else 'isobase' end
          and (b.capability = o.capability or b.thing ->> 'resource' = o.thing ->> 'resource')
          and (b.state = 'dead' or b.state = 'pending' and b.id < o.id)))
     and not exists (select from undecided as u where u.target <> o.target and u.resource = o.thing ->> 'resource')
     -- Whoever was written at Supabase while the outbox was away has a say first.
     and not (o.target = 'supabase' and o.thing ->> 'kind' in ('table', 'users', 'objects')
              and exists (select from isobase.migration_clients as c where c.spooled > 0))
   order by o.id limit $2 for update skip locked
)
update isobase.outbox as o
   set attempts = o.attempts + 1, lease_until = now() + make_interval(secs => $3),
       next_at = now() + make_interval(secs => $3), updated_at = now()
  from due where o.id = due.id
returning o.id, o.capability, o.target, o.epoch, o.thing::text as thing, o.attempts, o.before_hash, o.edit::text as edit
"""

# Not what a process holds that was frozen while it settled it: nobody else is held up by it.
EXPIRED = """
select o.id, o.capability, o.target, o.epoch, coalesce(o.things, jsonb_build_array(o.thing))::text as things
  from isobase.outbox as o where o.state = 'intent' and o.lease_until < now() order by o.id limit $1
   for update skip locked
"""

FAIL = """
update isobase.outbox set state = case when $3 then 'dead' else 'pending' end, lease_until = null,
       next_at = now() + make_interval(secs => $4), error = $5, is_conflict = is_conflict or $6,
       versions = coalesce($7::text::jsonb, versions), updated_at = now()
 where id = $1 and target = $2 and state = 'pending'
returning id
"""

UNREAD = """
select o.id, o.capability, o.target, o.epoch, o.thing::text as thing, o.attempts, o.before_hash, o.edit::text as edit
  from isobase.outbox as o where o.state = 'dead' and o.is_conflict and o.versions is null order by o.id limit $1
"""

KEEP_VERSIONS = """
update isobase.outbox set versions = $2::text::jsonb, updated_at = now()
 where id = $1 and state = 'dead' and versions is null
"""

LATER = """
update isobase.outbox
   set lease_until = null, attempts = greatest(attempts - 1, 0), next_at = now() + make_interval(secs => $3)
 where id = $1 and target = $2 and state = 'pending'
"""

KEEP = """
update isobase.outbox set lease_until = greatest(lease_until, now() + make_interval(secs => $2))
 where id = any($1::bigint[]) and state = 'intent'
"""

# Intents of a client that it does not know of: the answer to its begin, or its word of the end, was lost on the way.
DISOWN = """
update isobase.outbox set doubted_at = now()
 where client = $1 and state = 'intent' and doubted_at is null and id <> all($2::bigint[])
   and created_at < now() - make_interval(secs => $3)
"""

EXTEND = """
update isobase.outbox
   set lease_until = now() + make_interval(secs => $2), next_at = now() + make_interval(secs => $2)
 where id = $1 and state = 'pending'
"""

NEXT = """
select extract(epoch from min(case when o.state = 'intent' then o.lease_until else o.next_at end) - now())::float8
  from isobase.outbox as o where o.state = 'intent' or o.state = 'pending' and o.next_at < 'infinity'
"""

COUNT = """
select count(*) from isobase.outbox as o
 where o.state <> 'dead' and ($1::text is null or o.target = $1) and ($2::text is null or o.capability = $2)
"""

WRITER = """
select w.side, w.epoch from isobase.writers as w
 where w.pattern = $1 or right(w.pattern, 1) = '*' and starts_with($1, left(w.pattern, -1))
 order by w.pattern = $1 desc, length(w.pattern) desc limit 1
"""

ENTRIES = """
select o.id, o.state, o.capability, o.target, o.epoch, coalesce(o.things, jsonb_build_array(o.thing))::text as things,
       o.call::text as call, o.attempts, o.created_at, case when o.next_at < 'infinity' then o.next_at end as next_at,
       o.error, o.is_conflict, o.versions::text as versions, o.edit::text as edit
  from isobase.outbox as o
 where ($1::text is null or o.state = $1) and ($2::text is null or o.capability = $2) and ($3::bigint is null or o.id = $3)
 order by o.id limit $4
"""

EDIT = """
update isobase.outbox set thing = $2::text::jsonb, lock_number = $3, edit = $4::text::jsonb, updated_at = now()
 where id = $1 and state = 'dead'
"""

RETRY = """
with retried as (
  update isobase.outbox
     set state = 'pending', target = $2, attempts = 0, next_at = now(), lease_until = null, is_conflict = false,
         versions = null, before_hash = null, updated_at = now()
   where id = $1 and state = 'dead' returning id, capability
), told as (
  insert into isobase.migration_events (name, capability, detail)
  select 'letter_retried', r.capability, jsonb_build_object('id', r.id, 'target', $2::text, 'by', $3::text) from retried as r
)
select id from retried
"""

DROP = """
with dropped as (
  delete from isobase.outbox where id = $1 and state = 'dead' returning id, capability
), told as (
  insert into isobase.migration_events (name, capability, detail)
  select 'letter_dropped', d.capability, jsonb_build_object('id', d.id, 'reason', $2::text, 'by', $3::text) from dropped as d
)
select id from dropped
"""

# What must go to the side that is written first: null where there is nothing.
OPPOSED = """
select bool_or(o.state = 'pending' and o.next_at < 'infinity') from isobase.outbox as o
 where o.target = $1 and o.state <> 'intent' and o.thing ->> 'resource' = $2 and o.thing ->> 'kind' = any($3::text[])
"""

# In Supabase's database, of all places: it is the one that answers when a client has to write there alone.
MAKE_RECORDS = """
create schema if not exists isobase_move;
revoke all on schema isobase_move from public;
create table if not exists isobase_move.failovers (
  pattern text not null, epoch bigint not null, client uuid not null, at timestamptz not null default now(),
  primary key (client, pattern, epoch)
);
"""

RECORD = """
insert into isobase_move.failovers (pattern, epoch, client) values ($1, $2, $3) on conflict do nothing
"""

UNRECORD = "delete from isobase_move.failovers where client = $1"

RECORDS = "select client, pattern from isobase_move.failovers order by at"

IS_RECORDED = """
select exists (select from isobase_move.failovers as f, unnest($1::text[], $2::bigint[]) as e(capability, epoch)
                where f.epoch >= e.epoch
                  and (f.pattern = e.capability
                       or right(f.pattern, 1) = '*' and starts_with(e.capability, left(f.pattern, -1))))
"""

HAS_RECORDS = "select to_regclass('isobase_move.failovers') is not null"

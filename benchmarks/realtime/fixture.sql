-- What `make bench-realtime` measures row changes on: 500 users; rows of one owner each, rows that every user may see, rows that
-- the members of a room may see, and rows without policies. Each row carries the time of its insertion.
create schema bench;
grant usage on schema bench to anon, authenticated, service_role;
create table bench.open_notes (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  body text not null default 'Water the plants before you leave',
  sent_us bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint
);
create table bench.own_notes (like bench.open_notes including all);
create table bench.shared_notes (like bench.open_notes including all);
alter table bench.shared_notes add column is_shared boolean not null default true;
create table bench.room_members (room_id integer not null, user_id uuid not null, primary key (user_id, room_id));
create table bench.room_notes (like bench.open_notes including all);
alter table bench.room_notes add column room_id integer not null;

insert into bench.room_members
select number % 100, ('00000000-0000-4000-8000-' || lpad(number::text, 12, '0'))::uuid from generate_series(0, 499) as number;

alter table bench.own_notes enable row level security;
alter table bench.shared_notes enable row level security;
alter table bench.room_notes enable row level security;
alter table bench.room_members enable row level security;
create policy "own" on bench.own_notes for select using (user_id = auth.uid());
create policy "shared" on bench.shared_notes for select using (is_shared or user_id = auth.uid());
create policy "members" on bench.room_members for select using (user_id = auth.uid());
create policy "room" on bench.room_notes for select using (
  exists (select from bench.room_members as m where m.room_id = room_notes.room_id and m.user_id = auth.uid())
);
grant select on bench.open_notes, bench.own_notes, bench.shared_notes, bench.room_notes, bench.room_members
  to anon, authenticated, service_role;
alter publication supabase_realtime add table bench.open_notes, bench.own_notes, bench.shared_notes, bench.room_notes;

-- Inserts row by row, each in a transaction of its own, as quickly as the server commits; the row's number picks its owner.
create procedure bench.write_notes(name text, first integer, last integer)
language plpgsql as $$
declare
  owner uuid;
begin
  for number in first .. last loop
    owner := ('00000000-0000-4000-8000-' || lpad((number % 500)::text, 12, '0'))::uuid;
    case name
      when 'open_notes' then insert into bench.open_notes (user_id) values (owner);
      when 'own_notes' then insert into bench.own_notes (user_id) values (owner);
      when 'shared_notes' then insert into bench.shared_notes (user_id) values (owner);
      when 'room_notes' then insert into bench.room_notes (user_id, room_id) values (owner, number % 100);
    end case;
    commit;
  end loop;
end $$;

-- Private channels.
create policy "everybody reads" on realtime.messages for select to authenticated using (true);
create policy "everybody writes" on realtime.messages for insert to authenticated with check (true);

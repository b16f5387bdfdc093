-- What `make bench-realtime` measures row changes on: 500 users; rows of one owner each, rows that every user may see, rows that
-- the members of a room may see, and rows without policies. Each row carries the time of its insertion.
create table public.open_notes (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  body text not null default 'Water the plants before you leave',
  sent_us bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint
);
create table public.own_notes (like public.open_notes including all);
create table public.shared_notes (like public.open_notes including all);
alter table public.shared_notes add column is_shared boolean not null default true;
create table public.room_members (room_id integer not null, user_id uuid not null, primary key (user_id, room_id));
create table public.room_notes (like public.open_notes including all);
alter table public.room_notes add column room_id integer not null;

insert into public.room_members
select number % 100, ('00000000-0000-4000-8000-' || lpad(number::text, 12, '0'))::uuid from generate_series(0, 499) as number;

alter table public.own_notes enable row level security;
alter table public.shared_notes enable row level security;
alter table public.room_notes enable row level security;
alter table public.room_members enable row level security;
create policy "own" on public.own_notes for select using (user_id = auth.uid());
create policy "shared" on public.shared_notes for select using (is_shared or user_id = auth.uid());
create policy "members" on public.room_members for select using (user_id = auth.uid());
create policy "room" on public.room_notes for select using (
  exists (select from public.room_members as m where m.room_id = room_notes.room_id and m.user_id = auth.uid())
);
grant select on public.open_notes, public.own_notes, public.shared_notes, public.room_notes, public.room_members
  to anon, authenticated, service_role;
alter publication supabase_realtime add table public.open_notes, public.own_notes, public.shared_notes, public.room_notes;
create policy "everybody reads" on realtime.messages for select to authenticated using (true);
create policy "everybody writes" on realtime.messages for insert to authenticated with check (true);

-- Inserts row by row, each in a transaction of its own, as quickly as the server commits; the row's number picks its owner.
create procedure public.write_notes(name text, first integer, last integer)
language plpgsql as $$
declare
  owner uuid;
begin
  for number in first .. last loop
    owner := ('00000000-0000-4000-8000-' || lpad((number % 500)::text, 12, '0'))::uuid;
    case name
      when 'open_notes' then insert into public.open_notes (user_id) values (owner);
      when 'own_notes' then insert into public.own_notes (user_id) values (owner);
      when 'shared_notes' then insert into public.shared_notes (user_id) values (owner);
      when 'room_notes' then insert into public.room_notes (user_id, room_id) values (owner, number % 100);
    end case;
    commit;
  end loop;
end $$;

-- A project with a bit of everything that is moved.
create schema shop;
create type public.mood as enum ('sad', 'ok', 'it''s fine');
create type public.address as (street text, town text);
create domain public.positive as integer default 1 constraint above_zero check (value > 0);
create sequence public.numbers increment by 5 start with 100;
create function public.touch() returns trigger language plpgsql set search_path to '' as $$
begin
  new.updated_at := pg_catalog.now();
  return new;
end
$$;
create table public.authors (
  id bigint generated always as identity primary key,
  name text not null unique,
  "Mixed Case" public.mood default 'ok',
  home public.address,
  moods public.mood[],
  updated_at timestamptz not null default now()
);
create table public.notes (
  id bigserial primary key,
  author_id bigint references public.authors (id) on delete cascade,
  body text not null default '',
  data jsonb,
  size integer generated always as (length(body)) stored,
  rank public.positive,
  owner uuid default auth.uid()
);
create index notes_author_idx on public.notes (author_id) where author_id is not null;
create table shop.pairs (a uuid not null, b text not null, at timestamptz, amount numeric(20, 6), raw bytea, primary key (a, b));
create table public.loose (what text, n integer);
create table public.events (id bigint not null, at date not null, kind text, primary key (id, at)) partition by range (at);
create table public.events_2025 partition of public.events for values from ('2025-01-01') to ('2026-01-01');
create table public.events_2026 partition of public.events for values from ('2026-01-01') to ('2027-01-01');
create function public.note_count(author bigint) returns bigint language sql stable security definer set search_path to '' as
  $$ select count(*) from public.notes where author_id = author $$;
create function shop.total() returns numeric language sql stable begin atomic select sum(amount) from shop.pairs; end;
create view public.happy with (security_invoker = true) as select a.name from public.authors as a where a."Mixed Case" = 'ok';
create materialized view public.counts as select author_id, count(*) as n from public.notes group by 1;
create unique index counts_idx on public.counts (author_id);
create trigger touch before update on public.authors for each row execute function public.touch();
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path to '' as $$
begin
  insert into public.loose (what) values (new.email);
  return new;
end
$$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();
alter table public.notes enable row level security;
create policy "owners see" on public.notes for select to authenticated using (owner = (select auth.uid()));
create policy "owners upload" on storage.objects for insert to authenticated with check (bucket_id = 'avatars');
revoke all on public.loose from anon;
revoke execute on function public.note_count(bigint) from public, anon;
grant usage on schema shop to anon, authenticated;
grant select on shop.pairs to anon;
grant select (name) on public.authors to anon;
comment on table public.notes is 'what people say';
comment on column public.notes.body is 'it''s text';
alter table public.loose replica identity full;
do $$ begin
  alter publication supabase_realtime add table public.notes;
exception when undefined_object then null;
end $$;

-- The sample app of the adapter's tests: everything that makes moving rows hard, in few tables.
create schema private;
grant usage on schema private to authenticated, service_role;
create schema shop;
grant usage on schema shop to anon, authenticated, service_role;
alter default privileges for role postgres in schema shop grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema shop grant all on sequences to anon, authenticated, service_role;

create function private.touch_updated_at() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at = clock_timestamp();
  return new;
end;
$$;

-- A number by a sequence, a default by the database, a time by a trigger.
create table public.notes (
  id bigserial primary key,
  owner_id uuid not null default auth.uid(),
  title text not null,
  body text,
  tags text[] not null default '{}',
  stars int not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
create index notes_owner on public.notes (owner_id);
create trigger notes_updated_at before update on public.notes
  for each row execute function private.touch_updated_at();

-- A uuid by the database, a generated column, a check, an enum.
create type public.order_state as enum ('open', 'paid', 'sent');
create table public.orders (
  id uuid primary key default gen_random_uuid(),
  owner_id uuid not null default auth.uid(),
  state public.order_state not null default 'open',
  net numeric(12, 2) not null check (net >= 0),
  tax numeric(12, 2) not null default 0,
  gross numeric(12, 2) generated always as (net + tax) stored,
  detail jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp()
);
create index orders_owner on public.orders (owner_id);

-- A key of two columns, which goes with its order.
create table public.order_lines (
  order_id uuid not null references public.orders (id) on delete cascade on update cascade,
  line_no int not null,
  article text not null,
  amount int not null default 1,
  primary key (order_id, line_no)
);

-- Written by a trigger alone: no call names it.
create table public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor uuid default auth.uid(),
  order_id uuid not null,
  act text not null,
  state public.order_state
);
create function private.audit_orders() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.audit_log (order_id, act, state)
  values (coalesce(new.id, old.id), lower(tg_op), case when tg_op = 'DELETE' then old.state else new.state end);
  return null;
end;
$$;
create trigger orders_audit after insert or update or delete on public.orders
  for each row execute function private.audit_orders();

-- Values that lose something where they are carried carelessly.
create table public.kinds (
  id int primary key,
  price numeric,
  ratio double precision,
  at timestamptz,
  local_at timestamp,
  day date,
  span interval,
  bytes bytea,
  doc json,
  docb jsonb,
  numbers int[],
  words text[],
  place point,
  "range" int4range,
  address inet,
  "Quoted ""name""" text,
  nothing text
);

-- No key at all, and a key in capitals in another schema.
create table public.lines_without_key (at timestamptz not null default now(), line text);
create table shop.stock (
  "Article" text primary key,
  amount bigint not null default 0,
  updated_at timestamptz not null default clock_timestamp()
);
create trigger stock_updated_at before update on shop.stock
  for each row execute function private.touch_updated_at();

create view public.order_totals with (security_invoker = true) as
  select o.owner_id, o.state, count(*) as orders, sum(o.gross) as gross from public.orders o group by 1, 2;

alter table public.notes enable row level security;
alter table public.orders enable row level security;
alter table public.order_lines enable row level security;
alter table public.audit_log enable row level security;
alter table public.kinds enable row level security;
alter table public.lines_without_key enable row level security;
alter table shop.stock enable row level security;
create policy "Owners have their notes" on public.notes for all to authenticated
  using ((select auth.uid()) = owner_id) with check ((select auth.uid()) = owner_id);
create policy "Owners have their orders" on public.orders for all to authenticated
  using ((select auth.uid()) = owner_id) with check ((select auth.uid()) = owner_id);
create policy "Owners have their orders' lines" on public.order_lines for all to authenticated
  using (exists (select from public.orders o where o.id = order_id and o.owner_id = (select auth.uid())))
  with check (exists (select from public.orders o where o.id = order_id and o.owner_id = (select auth.uid())));
create policy "Actors read their log" on public.audit_log for select to authenticated
  using ((select auth.uid()) = actor);
create policy "All who are signed in have the kinds" on public.kinds for all to authenticated
  using (true) with check (true);
create policy "All who are signed in add lines" on public.lines_without_key for all to authenticated
  using (true) with check (true);
create policy "Everybody sees the stock" on shop.stock for select to anon, authenticated using (true);

-- Reads alone, writes one table, writes two, and one that is safe to call twice.
create function public.stars_of(owner uuid) returns bigint
language sql stable set search_path = ''
as $$ select coalesce(sum(stars), 0) from public.notes where owner_id = owner $$;

create function public.add_note(title text, body text default null) returns setof public.notes
language sql volatile set search_path = ''
as $$ insert into public.notes (title, body) values (add_note.title, add_note.body) returning * $$;

create function public.place_order(net numeric, articles text[]) returns uuid
language plpgsql volatile set search_path = ''
as $$
declare
  made uuid;
begin
  insert into public.orders (net, tax) values (place_order.net, round(place_order.net * 0.2, 2)) returning id into made;
  insert into public.order_lines (order_id, line_no, article)
    select made, position, article from unnest(articles) with ordinality as each (article, position);
  return made;
end;
$$;

create function public.set_stock(article text, amount bigint) returns void
language sql volatile security definer set search_path = ''
as $$
  insert into shop.stock ("Article", amount) values (article, set_stock.amount)
  on conflict ("Article") do update set amount = excluded.amount
$$;

insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true), ('papers', 'papers', false);
create policy "Everybody reads avatars" on storage.objects for select to public using (bucket_id = 'avatars');
create policy "Owners write their avatars" on storage.objects for all to authenticated
  using (bucket_id = 'avatars' and (storage.foldername(name))[1] = (select auth.uid())::text)
  with check (bucket_id = 'avatars' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy "Owners have their papers" on storage.objects for all to authenticated
  using (bucket_id = 'papers' and (storage.foldername(name))[1] = (select auth.uid())::text)
  with check (bucket_id = 'papers' and (storage.foldername(name))[1] = (select auth.uid())::text);

alter publication supabase_realtime add table public.notes, public.orders;

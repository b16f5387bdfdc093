-- What `make bench-rest` measures on: 100 users with 1,000 notes and 20 orders of 5 items each, every table under row-level
-- security by its owner, and one public table for anonymous reads.
create table notes (
  id int primary key,
  owner uuid not null default auth.uid(),
  title text not null,
  done boolean not null default false,
  created_at timestamptz not null default now()
);
create table orders (
  id int primary key,
  owner uuid not null default auth.uid(),
  placed_at timestamptz not null default now(),
  total numeric(10, 2) not null
);
create table order_items (
  id int primary key,
  order_id int not null references orders,
  owner uuid not null default auth.uid(),
  product text not null,
  quantity int not null
);
create table log_lines (
  id bigint generated always as identity primary key,
  owner uuid not null default auth.uid(),
  line text not null,
  level int not null default 0
);
create table pages (id int primary key, title text not null, body text not null);

create function user_number(n int) returns uuid language sql immutable
  as $$ select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

insert into notes (id, owner, title, done)
  select u * 1000 + n, user_number(u), 'note ' || n || ' of user ' || u, n % 3 = 0
    from generate_series(0, 99) u, generate_series(0, 999) n;
insert into orders (id, owner, total)
  select u * 20 + n, user_number(u), n * 3.5 from generate_series(0, 99) u, generate_series(0, 19) n;
insert into order_items (id, order_id, owner, product, quantity)
  select o.id * 5 + n, o.id, o.owner, 'product ' || n, n + 1 from orders o, generate_series(0, 4) n;
insert into pages select n, 'page ' || n, repeat('text ', 40) from generate_series(0, 999) n;

create index on notes (owner, id);
create index on orders (owner, id);
create index on order_items (order_id);
create index on log_lines (owner);

alter table notes enable row level security;
alter table orders enable row level security;
alter table order_items enable row level security;
alter table log_lines enable row level security;
alter table pages enable row level security;
create policy own on notes for all to authenticated using (owner = (select auth.uid()));
create policy own on orders for all to authenticated using (owner = (select auth.uid()));
create policy own on order_items for all to authenticated using (owner = (select auth.uid()));
create policy own on log_lines for all to authenticated using (owner = (select auth.uid()));
create policy everyone on pages for select to anon, authenticated using (true);

create function add_numbers(a int, b int) returns int language sql immutable as $$ select a + b $$;

-- A database would have been vacuumed and analysed by itself long before it serves this many requests.
analyze notes; analyze orders; analyze order_items; analyze pages;

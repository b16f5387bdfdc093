-- Representations of the database's own: domains named like media types, with what makes them.

create domain "text/plain" as text;
create domain "text/html" as text;
create domain "text/tab-separated-values" as text;
create domain "application/vnd.digest" as bytea;
create domain "application/vnd.list+json" as jsonb;
create domain "text/csv" as text;
create domain "*/*" as bytea;

create table public.stamps (id int primary key, label text);
create table public.shelves (id int primary key, label text);
insert into public.stamps values (1, 'one'), (2, 'two');
insert into public.shelves values (1, 'top'), (2, null);

-- For the rows of one relation.
create function public.people_tsv_row(state text, data public.people) returns public."text/tab-separated-values"
  language sql as $$ select state || data.id || e'\t' || data.name || e'\n' $$;
create function public.tsv_done(data text) returns public."text/tab-separated-values"
  language sql as $$ select e'id\tname\n' || data $$;
create aggregate public.people_tsv (public.people) (
  initcond = '', stype = "text/tab-separated-values", sfunc = public.people_tsv_row, finalfunc = public.tsv_done
);
create function public.shelves_csv_row(state text, data public.shelves) returns public."text/csv"
  language sql as $$ select state || coalesce(data.label, '?') || ';' $$;
create aggregate public.shelves_csv (public.shelves) (initcond = '', stype = "text/csv", sfunc = public.shelves_csv_row);

-- For the rows of any relation.
create function public.any_list_row(state public."application/vnd.list+json", data anyelement)
  returns public."application/vnd.list+json" language sql as $$ select state || to_jsonb(data) $$;
create aggregate public.any_list (anyelement) (
  initcond = '[]', stype = "application/vnd.list+json", sfunc = public.any_list_row
);

-- Any Accept header at all, for one relation; the function says what it made.
create function public.stamps_any_row(state bytea, data public.stamps) returns public."*/*"
  language plpgsql as $$ begin
    if current_setting('request.headers', true)::json->>'accept' = 'app/stamp' then
      perform set_config('response.headers', '[{"Content-Type": "app/stamp"}]', true);
    end if;
    return state || convert_to(data.label, 'UTF8');
  end $$;
create aggregate public.stamps_any (public.stamps) (initcond = '', stype = "*/*", sfunc = public.stamps_any_row);

-- Functions whose result is a representation.
create function public.page() returns public."text/html" language sql immutable as $$ select '<h1>ünder</h1>' $$;
create function public.motto(name text default 'you') returns public."text/plain"
  language sql immutable as $$ select 'Hello ' || name $$;
create function public.digest() returns public."application/vnd.digest"
  language sql immutable as $$ select '\x00ff10'::bytea $$;
create function public.no_page() returns public."text/html" language sql immutable as $$ select null::text $$;
create function public.whole_text(text) returns text language sql immutable as $$ select 'got ' || $1 $$;
create function public.whole_bytes(bytea) returns int language sql immutable as $$ select length($1) $$;
create function public.whole_json(json) returns json language sql immutable as $$ select $1 $$;
create function public.people_of(team int) returns setof public.people
  language sql stable as $$ select p.* from public.people p join public.members m on m.person_id = p.id where m.team_id = team $$;

grant all on public.stamps, public.shelves to anon, authenticated, service_role;

-- A domain with casts to JSON and from JSON and text, and one that is only shown.
create domain public.tint as int;
create function public.tint_json(public.tint) returns json
  language sql immutable as $$ select to_json('#' || lpad(upper(to_hex($1)), 6, '0')) $$;
create function public.tint_of(text) returns public.tint
  language sql immutable as $$ select ('x' || lpad(ltrim($1, '#'), 8, '0'))::bit(32)::int $$;
create function public.tint_of(json) returns public.tint language sql immutable as $$ select public.tint_of($1 #>> '{}') $$;
create domain public.cents as int;
create function public.cents_json(public.cents) returns json
  language sql immutable as $$ select to_json(round($1 / 100.0, 2)::text) $$;
set client_min_messages = error;
create cast (public.tint as json) with function public.tint_json(public.tint) as implicit;
create cast (text as public.tint) with function public.tint_of(text) as implicit;
create cast (json as public.tint) with function public.tint_of(json) as implicit;
create cast (public.cents as json) with function public.cents_json(public.cents) as implicit;
reset client_min_messages;
create table public.pens (id int primary key, name text, tint public.tint default 255, price public.cents);
create table public.cases (id int primary key, pen_id int references public.pens);
create view public.priced_pens as select id, tint, price from public.pens where price is not null;
create function public.all_pens() returns setof public.pens language sql stable as $$ select * from public.pens $$;
grant all on public.pens, public.cases, public.priced_pens to anon, authenticated, service_role;

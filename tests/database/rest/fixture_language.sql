-- Relationships that functions give, and what is counted and summed.
create function public.captain(public.teams) returns setof public.people rows 1 stable language sql
  as $$select p.* from public.people p join public.members m on m.person_id = p.id where m.team_id = $1.id order by p.id limit 1$$;
create function public.single_captain(public.teams) returns public.people stable language sql as 'select * from public.captain($1)';
create function public.mates(public.people) returns setof public.people stable language sql as $$
  select distinct other.* from public.members mine join public.members theirs using (team_id)
    join public.people other on other.id = theirs.person_id
   where mine.person_id = $1.id and other.id <> $1.id order by 1$$;
create function public.mates(public.teams) returns setof public.people stable language sql as 'select * from public.people';
create function public.locked(public.people) returns setof hidden.secret_people stable language sql
  as 'select * from hidden.secret_people';
-- Called like the table: it takes the place of the relationship that the foreign key gives.
create function public.passports(public.teams) returns setof public.passports stable language sql
  as 'select * from public.passports';

create table public.shops (id int primary key, name text not null);
create table public.sales (
  id int primary key, shop_id int references public.shops, kind text, amount numeric(8, 2), facts jsonb
);
insert into public.shops values (1, 'north'), (2, 'south'), (3, 'empty');
insert into public.sales values
  (1, 1, 'tea', 2.50, '{"pieces": 1}'), (2, 1, 'tea', 3.50, '{"pieces": 2}'), (3, 1, 'pot', 20, '{"pieces": 1}'),
  (4, 2, 'pot', 10, '{"pieces": 4}'), (5, null, 'tea', null, '{}');
grant select on public.shops, public.sales to anon, authenticated;

-- Columns that functions give, of a table and of a view.
create function public.facts(public.shops) returns jsonb stable language sql as $$select jsonb_build_object('n', length($1.name))$$;
create function public.line(public.led_tasks) returns text stable language sql as $$select $1.name || ' by ' || $1.lead_name$$;
create function public.line_length(public.led_tasks) returns int stable language sql as $$select length(public.line($1))$$;
create function public.best(public.shops) returns public.sales stable language sql
  as 'select * from public.sales s where s.shop_id = $1.id order by amount desc limit 1';

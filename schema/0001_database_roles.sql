-- Roles of databases made at run time become owner, editor and reader: who made a database is its owner, writers and admins are editors.
-- Tables keep the policies that they were made with: those of the former presets `owner` and `public_read`, which let every signed-in
-- user write rows of his own, are `custom` from now on.
set local search_path to '';

alter table isobase.members drop constraint if exists members_role_check;
update isobase.members set role = 'editor' where role in ('writer', 'admin');
insert into isobase.members (database_id, user_id, role, created_at)
select d.id, d.owner, 'owner', d.created_at from isobase.databases as d where d.owner is not null
on conflict (database_id, user_id) do update set role = 'owner';
alter table isobase.members add constraint members_role_check check (role in ('owner', 'editor', 'reader'));

alter table isobase.tables drop constraint if exists tables_access_check;
update isobase.tables set access = 'custom' where access in ('owner', 'public_read');
alter table isobase.tables alter column access set default 'private';
alter table isobase.tables
  add constraint tables_access_check check (access in ('private', 'members', 'public-read', 'public', 'custom'));

do $policies$
declare
  target record;
  writes text;
begin
  for target in
    select t.database_id, d.schema_name, t.name
      from isobase.tables as t
      join isobase.databases as d on d.id = t.database_id
      join pg_catalog.pg_namespace as n on n.nspname = d.schema_name
      join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.name
      join pg_catalog.pg_policy as p on p.polrelid = c.oid and p.polname = 'writers insert'
     where t.access = 'members'
  loop
    writes := pg_catalog.format('(select isobase.database_role(%L::uuid)) in (''owner'', ''editor'')', target.database_id);
    execute pg_catalog.format('alter policy "writers insert" on %I.%I with check (%s and owner = (select auth.uid()))',
                              target.schema_name, target.name, writes);
    execute pg_catalog.format('alter policy "writers update" on %I.%I using (%s) with check (%s)',
                              target.schema_name, target.name, writes, writes);
    execute pg_catalog.format('alter policy "writers delete" on %I.%I using (%s)', target.schema_name, target.name, writes);
  end loop;
end
$policies$;

"""Questions to the catalog: roles, row security, policies and grants, as statements.

Each gives ``name`` and ``sql``. $1: schemas that are not the project's; $2: tables there that may have policies of the
project; $3: roles that are on both sides.
"""

from __future__ import annotations

__all__ = ["COLUMN_GRANTS", "DEFAULT_GRANTS", "GRANTS", "POLICIES", "ROLES", "ROW_SECURITY"]

ROLES = """
select r.rolname::text as name, format('create role %I nologin', r.rolname) as sql
  from pg_roles as r
 where r.rolname <> all($3::text[]) and r.rolname !~ '^pg_' and not r.rolsuper
 order by 1
"""

ROW_SECURITY = """
select format('%I.%I', n.nspname, c.relname) as name,
       format('alter table %I.%I enable row level security', n.nspname, c.relname)
       || case when c.relforcerowsecurity then format('; alter table %I.%I force row level security', n.nspname, c.relname)
          else '' end as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relrowsecurity and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
 order by 1
"""

POLICIES = """
select format('%I.%I %I', n.nspname, c.relname, p.polname) as name,
       format('create policy %I on %I.%I as %s for %s to %s%s%s', p.polname, n.nspname, c.relname,
              case when p.polpermissive then 'permissive' else 'restrictive' end,
              case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
                            else 'all' end,
              (select string_agg(case when o.role = 0 then 'public' else quote_ident(r.rolname) end, ', ' order by r.rolname)
                 from unnest(p.polroles) as o (role) left join pg_roles as r on r.oid = o.role),
              coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', ''),
              coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')) as sql
  from pg_policy as p
  join pg_class as c on c.oid = p.polrelid
  join pg_namespace as n on n.oid = c.relnamespace
 where (n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' or n.nspname || '.' || c.relname = any($2::text[]))
   and not (n.nspname = 'realtime' and p.polname ~ '^isobase_')
 order by 1
"""

GRANTS = """
with objects as (
  select case c.relkind when 'S' then 'sequence' else 'table' end as kind,
         format('%I.%I', n.nspname, c.relname) as name,
         coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner)) as acl,
         c.relowner as owner
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
     and c.relpersistence <> 't'
     and not exists (select from pg_depend as d
                      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  union all
  select case p.prokind when 'p' then 'procedure' else 'function' end,
         format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
         coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
   where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
     and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  union all
  select 'schema', quote_ident(n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner)), n.nspowner
    from pg_namespace as n
   where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and n.nspname <> 'public'
)
select kind || ' ' || name as name,
       format('revoke all on %s %s from public, anon, authenticated, service_role', kind, name)
       || coalesce((
            select string_agg(format('; grant %s on %s %s to %s%s', g.rights, kind, name, g.grantee,
                                     case when g.is_grantable then ' with grant option' else '' end), ''
                              order by g.grantee, g.is_grantable)
              from (select case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee, a.is_grantable,
                           string_agg(lower(a.privilege_type), ', ' order by a.privilege_type) as rights
                      from aclexplode(o.acl) as a
                      left join pg_roles as r on r.oid = a.grantee
                     where a.grantee <> o.owner and (a.grantee = 0 or r.rolname is not null)
                       and (a.grantee = 0 or r.rolname !~ '^(pg_|supabase_|dashboard_user|postgres$)')
                       and a.privilege_type <> 'MAINTAIN'
                     group by 1, 2) as g), '') as sql
  from objects as o
 order by 1
"""

COLUMN_GRANTS = """
select format('%I.%I.%I', n.nspname, c.relname, a.attname) as name,
       string_agg(format('grant %s (%I) on %I.%I to %s%s', lower(g.privilege_type), a.attname, n.nspname, c.relname,
                         case when g.grantee = 0 then 'public' else quote_ident(r.rolname) end,
                         case when g.is_grantable then ' with grant option' else '' end), '; '
                  order by r.rolname, g.privilege_type) as sql
  from pg_attribute as a
  join pg_class as c on c.oid = a.attrelid
  join pg_namespace as n on n.oid = c.relnamespace
  cross join lateral aclexplode(a.attacl) as g
  left join pg_roles as r on r.oid = g.grantee
 where a.attacl is not null and not a.attisdropped and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and g.grantee <> c.relowner
 group by n.nspname, c.relname, a.attname
 order by 1
"""

DEFAULT_GRANTS = """
select format('%s %I %s', coalesce(quote_ident(n.nspname), ''), r.rolname, d.defaclobjtype) as name,
       string_agg(format('alter default privileges for role %I%s grant %s on %s to %s', r.rolname,
                         coalesce(' in schema ' || quote_ident(n.nspname), ''), lower(g.privilege_type),
                         case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'routines'
                                              when 'T' then 'types' else 'schemas' end,
                         case when g.grantee = 0 then 'public' else quote_ident(t.rolname) end), '; '
                  order by t.rolname, g.privilege_type) as sql
  from pg_default_acl as d
  join pg_roles as r on r.oid = d.defaclrole
  left join pg_namespace as n on n.oid = d.defaclnamespace
  cross join lateral aclexplode(d.defaclacl) as g
  left join pg_roles as t on t.oid = g.grantee
 where r.rolname = 'postgres' and (n.nspname is null or n.nspname <> all($1::text[]) and n.nspname !~ '^pg_')
   and g.grantee <> d.defaclrole and g.privilege_type <> 'MAINTAIN'
 group by n.nspname, r.rolname, d.defaclobjtype
 order by 1
"""

"""Questions to the catalog: functions, views, triggers, rules, comments and publications, as statements.

Each gives ``name`` and ``sql``. $1: schemas that are not the project's; $2: tables there that may have triggers of the
project.
"""

from __future__ import annotations

__all__ = ["COMMENTS", "FUNCTIONS", "PUBLICATIONS", "RULES", "TRIGGERS", "TRIGGER_STATES", "VIEWS"]

FUNCTIONS = """
select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name,
       case p.prokind
         when 'a' then format('create aggregate %I.%I(%s) (sfunc = %s, stype = %s%s%s)', n.nspname, p.proname,
           pg_get_function_identity_arguments(p.oid), a.aggtransfn, format_type(a.aggtranstype, null),
           case when a.aggfinalfn <> 0 then ', finalfunc = ' || a.aggfinalfn::text else '' end,
           coalesce(', initcond = ' || quote_literal(a.agginitval), ''))
         else pg_get_functiondef(p.oid) end as sql
  from pg_proc as p
  join pg_namespace as n on n.oid = p.pronamespace
  left join pg_aggregate as a on a.aggfnoid = p.oid
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d
                    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
 order by p.oid
"""

VIEWS = """
select format('%I.%I', n.nspname, c.relname) as name,
       format('create %s %I.%I%s as %s%s', case c.relkind when 'm' then 'materialized view' else 'view' end,
              n.nspname, c.relname, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''),
              rtrim(pg_get_viewdef(c.oid), ';'), case c.relkind when 'm' then ' with no data' else '' end) as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('v', 'm') and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by c.oid
"""

_OF_PROJECT = """
   and (tn.nspname <> all($1::text[]) and tn.nspname !~ '^pg_'
        or tn.nspname || '.' || c.relname = any($2::text[]) and fn.nspname <> all($1::text[]) and fn.nspname !~ '^pg_')
"""

TRIGGERS = (
    """
select format('%I.%I %I', tn.nspname, c.relname, t.tgname) as name, pg_get_triggerdef(t.oid) as sql
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid
  join pg_namespace as tn on tn.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid
  join pg_namespace as fn on fn.oid = p.pronamespace
 where not t.tgisinternal and t.tgparentid = 0
"""
    + _OF_PROJECT
    + " order by t.oid"
)

TRIGGER_STATES = (
    """
select format('%I.%I %I', tn.nspname, c.relname, t.tgname) as name,
       format('alter table %I.%I %s trigger %I', tn.nspname, c.relname,
              case t.tgenabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end,
              t.tgname) as sql
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid
  join pg_namespace as tn on tn.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid
  join pg_namespace as fn on fn.oid = p.pronamespace
 where not t.tgisinternal and t.tgparentid = 0 and t.tgenabled <> 'O'
"""
    + _OF_PROJECT
    + " order by t.oid"
)

RULES = """
select format('%I.%I %I', n.nspname, c.relname, r.rulename) as name, rtrim(pg_get_ruledef(r.oid), ';') as sql
  from pg_rewrite as r
  join pg_class as c on c.oid = r.ev_class
  join pg_namespace as n on n.oid = c.relnamespace
 where r.rulename <> '_RETURN' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
 order by r.oid
"""

COMMENTS = """
select format('%s %I.%I', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
              n.nspname, c.relname) as name,
       format('comment on %s %I.%I is %L',
              case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
              n.nspname, c.relname, d.description) as sql
  from pg_description as d
  join pg_class as c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
union all
select format('column %I.%I.%I', n.nspname, c.relname, a.attname),
       format('comment on column %I.%I.%I is %L', n.nspname, c.relname, a.attname, d.description)
  from pg_description as d
  join pg_class as c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
  join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.objsubid and a.attnum > 0
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
union all
select format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       format('comment on function %I.%I(%s) is %L', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
              d.description)
  from pg_description as d
  join pg_proc as p on p.oid = d.objoid and d.classoid = 'pg_proc'::regclass
  join pg_namespace as n on n.oid = p.pronamespace
 where p.prokind = 'f' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
"""

PUBLICATIONS = """
select format('%I %s', p.pubname, format('%I.%I', n.nspname, c.relname)) as name,
       format('alter publication %I add table %I.%I', p.pubname, n.nspname, c.relname) as sql
  from pg_publication as p
  join pg_publication_rel as r on r.prpubid = p.oid
  join pg_class as c on c.oid = r.prrelid
  join pg_namespace as n on n.oid = c.relnamespace
 where p.pubname = 'supabase_realtime' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
 order by 1
"""

"""The catalog queries that fill the schema cache: relations, columns, keys, functions. One round trip each.

Source of the idea: PostgREST v14 ``SchemaCache.hs``; the SQL is our own.
"""

from __future__ import annotations

__all__ = ["FOREIGN_KEYS", "FUNCTIONS", "RELATIONS", "VIEW_COLUMNS"]

# Tables, views, materialized views, foreign and partitioned tables of the exposed schemas ($1), with columns in order.
RELATIONS = """
select c.oid::int8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
       obj_description(c.oid, 'pg_class') as comment,
       (c.relkind in ('r', 'p') or pg_relation_is_updatable(c.oid, true) & 8 = 8) as is_insertable,
       (c.relkind in ('r', 'p') or pg_relation_is_updatable(c.oid, true) & 4 = 4) as is_updatable,
       (c.relkind in ('r', 'p') or pg_relation_is_updatable(c.oid, true) & 16 = 16) as is_deletable,
       coalesce((select array_agg(a.attname::text order by k.place)
                   from pg_index i, unnest(i.indkey) with ordinality as k (attnum, place)
                   join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                  where i.indrelid = c.oid and i.indisprimary), '{}') as primary_key,
       (select json_agg(json_build_object(
                 'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'base', format_type(a.atttypid, null),
                 'nullable', not a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid), 'generated', a.attgenerated <> '',
                 'category', t.typcategory::text, 'composite', t.typtype = 'c', 'comment', col_description(c.oid, a.attnum),
                 'enum', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
               order by a.attnum)
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname = any($1::text[])
   and not c.relispartition
"""

# All foreign keys between relations of any schema, as column pairs, with what tells one-to-one from one-to-many.
FOREIGN_KEYS = """
select k.conname::text as name, k.conrelid::int8 as source, k.confrelid::int8 as target,
       (select array_agg(a.attname::text order by u.place) from unnest(k.conkey) with ordinality u (attnum, place)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum) as source_columns,
       (select array_agg(a.attname::text order by u.place) from unnest(k.confkey) with ordinality u (attnum, place)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum) as target_columns,
       exists (select from pg_index i where i.indrelid = k.conrelid and i.indisunique and i.indpred is null
                  and (select array_agg(x order by x) from unnest(i.indkey::int2[]) x)
                      <@ (select array_agg(x order by x) from unnest(k.conkey) x)) as is_unique
  from pg_constraint k
 where k.contype = 'f' and k.conparentid = 0
"""

# Which columns of a view are plain columns of which relation, so that keys can be seen through views. The rewrite rule's target
# list names each output column's origin table and attribute.
VIEW_COLUMNS = r"""
with rules as (
  select c.oid as view, regexp_replace(r.ev_action::text, '^.*?:targetList', '') as text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
   where c.relkind in ('v', 'm') and n.nspname = any($1::text[])
), entries as (
  select view, m[1]::int2 as resno, m[2]::int8 as origin, m[3]::int2 as origin_column
    from rules, regexp_matches(text, ':resno (\d+) :resname [^ ]+ :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+)', 'g') m
)
select e.view::int8 as view, a.attname::text as name, e.origin, o.attname::text as origin_name
  from entries e
  join pg_attribute a on a.attrelid = e.view and a.attnum = e.resno
  join pg_attribute o on o.attrelid = e.origin::oid and o.attnum = e.origin_column
 where e.origin <> 0 and e.origin_column > 0
"""

# Functions of the exposed schemas, with their input arguments.
FUNCTIONS = """
select p.oid::int8 as oid, n.nspname as schema, p.proname as name, obj_description(p.oid, 'pg_proc') as comment,
       p.provolatile::text as volatility, p.proretset as returns_set, p.provariadic <> 0 as is_variadic,
       t.typname as return_name, tn.nspname as return_schema, t.typtype::text as return_kind,
       format_type(p.prorettype, null) as return_type, nullif(t.typrelid, 0)::int8 as return_relation,
       coalesce((select count(*) from unnest(p.proargmodes) m where m in ('t', 'o', 'b')), 0)::int as out_count,
       (select coalesce(json_agg(json_build_object('name', coalesce(p.proargnames[a.place], ''), 'type', format_type(a.type, null),
                'required', a.number <= p.pronargs - p.pronargdefaults, 'variadic', a.mode = 'v') order by a.place), '[]')
          from (select place, type, coalesce(p.proargmodes[place], 'i') as mode,
                       row_number() over (order by place) as number
                  from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality u (type, place)
                 where coalesce(p.proargmodes[place], 'i') in ('i', 'b', 'v')) a)::text as arguments,
       coalesce((select json_object_agg(lower(split_part(c, '=', 1)), substring(c from position('=' in c) + 1))
                   from unnest(p.proconfig) c
                  where lower(split_part(c, '=', 1)) in ('statement_timeout', 'plan_filter.statement_cost_limit')),
                '{}')::text as settings
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  join pg_type t on t.oid = p.prorettype join pg_namespace tn on tn.oid = t.typnamespace
 where p.prokind = 'f' and n.nspname = any($1::text[])
   and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
"""

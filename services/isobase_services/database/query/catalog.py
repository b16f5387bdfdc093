"""The catalog queries that fill the schema cache: relations, columns, keys, functions. One round trip each.

They run with an empty search_path, so that types, defaults and sequences come out with their schemas and mean the same on
whatever path a request has. Source of the idea: PostgREST v14 ``SchemaCache.hs``; the SQL is our own.
"""

from __future__ import annotations

__all__ = [
    "COLUMN_NAMES",
    "COMPUTED_COLUMNS",
    "COMPUTED_RELATIONSHIPS",
    "FOREIGN_KEYS",
    "FUNCTIONS",
    "PRIMARY_KEYS",
    "RELATIONS",
    "VIEW_RULES",
]

# A domain's base type, through domains of domains. Type modifier -1 keeps bpchar and bit from being cut to one character.
_BASE_TYPES = """
with recursive base_types (oid, base) as (
  select oid, oid from pg_catalog.pg_type where typtype <> 'd'
  union all
  select t.oid, b.base from pg_catalog.pg_type t join base_types b on t.typtype = 'd' and t.typbasetype = b.oid
)
"""

# Tables, views, materialized views, foreign and partitioned tables of the exposed schemas ($1), with columns in order.
RELATIONS = (
    _BASE_TYPES
    + """
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
                 'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'base', format_type(b.base, -1),
                 'nullable', not a.attnotnull, 'generated', a.attgenerated <> '',
                 'default', case when a.attgenerated <> '' then null
                                 when a.attidentity <> '' then format('nextval(%L::regclass)', s.sequence::regclass)
                                 else coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0)) end,
                 'category', t.typcategory::text, 'composite', t.typtype = 'c', 'comment', col_description(c.oid, a.attnum),
                 'enum', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = b.base))
               order by a.attnum)
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          join base_types b on b.oid = a.atttypid
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
          left join lateral (select p.objid as sequence from pg_depend p
                              where p.refclassid = 'pg_class'::regclass and p.refobjid = c.oid and p.refobjsubid = a.attnum
                                and p.classid = 'pg_class'::regclass and p.deptype = 'i' limit 1) s on a.attidentity <> ''
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname = any($1::text[])
   and not c.relispartition
"""
)

# The foreign keys of relations of the schemas in $1 (null: of any), as column pairs, with what tells one-to-one from
# one-to-many.
FOREIGN_KEYS = """
select k.conname::text as name, k.conrelid::int8 as source, k.confrelid::int8 as target,
       (select array_agg(a.attname::text order by u.place) from unnest(k.conkey) with ordinality u (attnum, place)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum) as source_columns,
       (select array_agg(a.attname::text order by u.place) from unnest(k.confkey) with ordinality u (attnum, place)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum) as target_columns,
       exists (select from pg_index i where i.indrelid = k.conrelid and i.indisunique and i.indpred is null
                  and i.indexprs is null
                  and (select array_agg(x order by x) from unnest(i.indkey::int2[]) with ordinality u (x, n)
                        where n <= i.indnkeyatts)
                      = (select array_agg(x order by x) from unnest(k.conkey) x)) as is_unique
  from pg_constraint k
 where k.contype = 'f' and k.conparentid = 0
   and ($1::text[] is null or k.connamespace in (select n.oid from pg_namespace n where n.nspname = any($1)))
 order by k.conrelid, k.conname
"""

# The primary keys of all tables, hidden ones too: a view may show the whole key of one.
PRIMARY_KEYS = """
select i.indrelid::int8 as relation,
       (select array_agg(a.attname::text order by k.place) from unnest(i.indkey) with ordinality as k (attnum, place)
          join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as columns
  from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
 where i.indisprimary and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
   and ($1::text[] is null or n.nspname = any($1))
"""

# The rewrite rules of all views but the system's and extensions': their target lists tell which columns are plain columns of
# which relation, so that keys can be seen through views. Of every schema, as a view may look through a hidden one.
VIEW_RULES = """
select c.oid::int8 as view, r.ev_action::text as rule
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
 where c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
"""

# The names of columns by relation and number, of the relations in $1.
COLUMN_NAMES = """
select attrelid::int8 as relation, attnum::int4 as number, attname::text as name
  from pg_attribute where attrelid = any($1::int8[]::oid[]) and attnum > 0 and not attisdropped
"""

# Functions of one argument that is a row of a relation: ``row.name`` calls them, so they read like columns.
COMPUTED_COLUMNS = (
    _BASE_TYPES
    + """
select t.typrelid::int8 as relation, p.proname::text as name, format_type(b.base, -1) as base
  from pg_proc p join pg_type t on t.oid = p.proargtypes[0] join pg_class c on c.oid = t.typrelid
  join pg_namespace n on n.oid = c.relnamespace join base_types b on b.oid = p.prorettype
 where p.prokind = 'f' and p.pronargs = 1 and not p.proretset and n.nspname = any($1::text[])
"""
)

# Functions of one argument that is a row of a relation of their own, exposed schema, and that return rows of a relation: they
# read like relationships. One that says it returns one row (ROWS 1), or that returns no set, is to-one.
COMPUTED_RELATIONSHIPS = """
select n.nspname as schema, p.proname as function, s.relname as source, tn.nspname as target_schema, t.relname as target,
       not p.proretset or p.prorows = 1 as is_to_one
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  join pg_class s on s.reltype = p.proargtypes[0] and s.relnamespace = n.oid
  join pg_class t on t.reltype = p.prorettype join pg_namespace tn on tn.oid = t.relnamespace
 where p.prokind = 'f' and p.pronargs = 1 and n.nspname = any($1::text[])
   and s.relkind in ('r', 'v', 'm', 'f', 'p') and t.relkind in ('r', 'v', 'm', 'f', 'p')
 order by p.oid
"""

# Functions of the exposed schemas, with their input arguments and, for those that return rows, the rows' columns.
FUNCTIONS = (
    _BASE_TYPES
    + """
select p.oid::int8 as oid, n.nspname as schema, p.proname as name, obj_description(p.oid, 'pg_proc') as comment,
       p.provolatile::text as volatility, p.proretset as returns_set, t.typname = 'void' as is_void,
       t.typtype = 'c' or o.has_outs as is_composite,
       format_type(p.prorettype, null) as return_type, nullif(t.typrelid, 0)::int8 as return_relation,
       (select coalesce(json_agg(json_build_object(
                'name', coalesce(p.proargnames[a.place], ''), 'type', format_type(a.type, -1),
                'required', a.number <= p.pronargs - p.pronargdefaults, 'variadic', a.mode = 'v'
               ) order by a.place), '[]')
          from (select place, type, coalesce(p.proargmodes[place], 'i') as mode,
                       row_number() over (order by place) as number
                  from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality u (type, place)
                 where coalesce(p.proargmodes[place], 'i') in ('i', 'b', 'v')) a)::text as arguments,
       (select coalesce(json_agg(json_build_object('name', c.name, 'base', format_type(cb.base, -1)) order by c.place), '[]')
          from (select a.attname::text as name, a.atttypid as type, a.attnum::int8 as place
                  from pg_attribute a where a.attrelid = nullif(t.typrelid, 0) and a.attnum > 0 and not a.attisdropped
                union all
                select p.proargnames[place], type, place
                  from unnest(p.proallargtypes) with ordinality u (type, place)
                 where o.has_outs and p.proargmodes[place] in ('o', 'b', 't')) c
          join base_types cb on cb.oid = c.type)::text as columns,
       coalesce((select json_object_agg(lower(split_part(c, '=', 1)), substring(c from position('=' in c) + 1))
                   from unnest(p.proconfig) c
                  where lower(split_part(c, '=', 1)) = any($2::text[])),
                '{}')::text as settings
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  join base_types b on b.oid = p.prorettype
  join pg_type t on t.oid = b.base
  cross join lateral (select coalesce(p.proargmodes::text[] && '{o,b,t}', false) as has_outs) o
 where p.prokind = 'f' and n.nspname = any($1::text[])
   and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
 order by p.oid
"""
)

"""Questions to the catalog: extensions, schemas, types, sequences, tables, keys and indexes, as statements.

Each gives ``name`` and ``sql``. $1: schemas that are not the project's.
"""

from __future__ import annotations

__all__ = [
    "EXTENSIONS",
    "INDEXES",
    "KEYS",
    "REFERENCES",
    "REPLICA_IDENTITIES",
    "SCHEMAS",
    "SEQUENCES",
    "SEQUENCE_OWNERS",
    "TABLES",
    "TYPES",
]

EXTENSIONS = """
select e.extname::text as name,
       format('create extension if not exists %I with schema %I cascade', e.extname, n.nspname) as sql
  from pg_extension as e
  join pg_namespace as n on n.oid = e.extnamespace
 where e.extname not in ('plpgsql', 'pg_stat_statements', 'supabase_vault', 'pg_graphql')
 order by e.extname
"""

SCHEMAS = """
select n.nspname::text as name, format('create schema if not exists %I', n.nspname) as sql
  from pg_namespace as n
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and n.nspname <> 'public'
 order by n.nspname
"""

TYPES = """
select format('%I.%I', n.nspname, t.typname) as name,
       case t.typtype
         when 'e' then format('create type %I.%I as enum (%s)', n.nspname, t.typname, (
           select string_agg(quote_literal(l.enumlabel), ', ' order by l.enumsortorder) from pg_enum as l
            where l.enumtypid = t.oid))
         when 'c' then format('create type %I.%I as (%s)', n.nspname, t.typname, (
           select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
             from pg_attribute as a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))
         when 'd' then format('create domain %I.%I as %s%s%s%s', n.nspname, t.typname,
           format_type(t.typbasetype, t.typtypmod),
           coalesce(' default ' || t.typdefault, ''),
           case when t.typnotnull then ' not null' else '' end,
           coalesce((select string_agg(format(' constraint %I %s', c.conname, pg_get_constraintdef(c.oid)), ''
                                       order by c.conname)
                       from pg_constraint as c where c.contypid = t.oid and c.contype = 'c'), ''))
         else format('create type %I.%I as range (subtype = %s)', n.nspname, t.typname, (
           select format_type(r.rngsubtype, null) from pg_range as r where r.rngtypid = t.oid))
       end as sql
  from pg_type as t
  join pg_namespace as n on n.oid = t.typnamespace
  left join pg_class as c on c.oid = t.typrelid
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c')
   and not exists (select from pg_depend as d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
 order by t.oid
"""

SEQUENCES = """
select format('%I.%I', n.nspname, c.relname) as name,
       format('create sequence if not exists %I.%I as %s increment by %s minvalue %s maxvalue %s start with %s cache %s%s',
              n.nspname, c.relname, format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
              s.seqcache, case when s.seqcycle then ' cycle' else '' end) as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  join pg_sequence as s on s.seqrelid = c.oid
 where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'e'))
 order by 1
"""

SEQUENCE_OWNERS = """
select format('%I.%I', n.nspname, c.relname) as name,
       format('alter sequence %I.%I owned by %I.%I.%I', n.nspname, c.relname, tn.nspname, t.relname, a.attname) as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'a'
                     and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
  join pg_class as t on t.oid = d.refobjid
  join pg_namespace as tn on tn.oid = t.relnamespace
  join pg_attribute as a on a.attrelid = t.oid and a.attnum = d.refobjsubid
 where c.relkind = 'S' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
 order by 1
"""

TABLES = """
select format('%I.%I', n.nspname, c.relname) as name,
       case when c.relispartition then
         format('create %stable %I.%I partition of %I.%I %s%s',
                case c.relpersistence when 'u' then 'unlogged ' else '' end, n.nspname, c.relname, pn.nspname, p.relname,
                pg_get_expr(c.relpartbound, c.oid),
                case c.relkind when 'p' then ' partition by ' || pg_get_partkeydef(c.oid) else '' end)
       else
         format('create %stable %I.%I (%s)%s%s%s',
                case c.relpersistence when 'u' then 'unlogged ' else '' end, n.nspname, c.relname,
                coalesce((
                  select string_agg(
                           format('%I %s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                             case when a.attcollation <> ty.typcollation and a.attcollation <> 0 then (
                               select format(' collate %I.%I', cn.nspname, co.collname)
                                 from pg_collation as co join pg_namespace as cn on cn.oid = co.collnamespace
                                where co.oid = a.attcollation) else '' end,
                             case a.attgenerated
                               when '' then coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
                               else format(' generated always as (%s) %s', pg_get_expr(d.adbin, d.adrelid),
                                           case a.attgenerated when 's' then 'stored' else 'virtual' end) end,
                             case when a.attidentity = '' then '' else (
                               select format(' generated %s as identity (sequence name %I.%I increment by %s minvalue %s'
                                             ' maxvalue %s start with %s cache %s%s)',
                                        case a.attidentity when 'a' then 'always' else 'by default' end,
                                        sn.nspname, sc.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
                                        case when s.seqcycle then ' cycle' else '' end)
                                 from pg_depend as sd
                                 join pg_class as sc on sc.oid = sd.objid and sc.relkind = 'S'
                                 join pg_namespace as sn on sn.oid = sc.relnamespace
                                 join pg_sequence as s on s.seqrelid = sc.oid
                                where sd.classid = 'pg_class'::regclass and sd.refclassid = 'pg_class'::regclass
                                  and sd.refobjid = c.oid and sd.refobjsubid = a.attnum and sd.deptype = 'i') end,
                             case when a.attnotnull then ' not null' else '' end),
                           ', ' order by a.attnum)
                    from pg_attribute as a
                    join pg_type as ty on ty.oid = a.atttypid
                    left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
                   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), ''),
                coalesce((select ' inherits (' || string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno) || ')'
                            from pg_inherits as i where i.inhrelid = c.oid), ''),
                case c.relkind when 'p' then ' partition by ' || pg_get_partkeydef(c.oid) else '' end,
                coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''))
       end as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  left join pg_inherits as pi on pi.inhrelid = c.oid and c.relispartition
  left join pg_class as p on p.oid = pi.inhparent
  left join pg_namespace as pn on pn.oid = p.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by c.oid
"""

_CONSTRAINT = """
select format('%I.%I %I', n.nspname, t.relname, c.conname) as name,
       format('alter table %s%I.%I add constraint %I %s', case t.relkind when 'p' then '' else 'only ' end,
              n.nspname, t.relname, c.conname, pg_get_constraintdef(c.oid)) as sql
  from pg_constraint as c
  join pg_class as t on t.oid = c.conrelid
  join pg_namespace as n on n.oid = t.relnamespace
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and c.conislocal and c.conparentid = 0
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.deptype = 'e')
"""

KEYS = _CONSTRAINT + " and c.contype in ('p', 'u', 'x', 'c') order by c.contype <> 'p', t.oid, c.oid"
"""Before data: what writes of both sides are told apart by, and what a write is refused for."""

REFERENCES = _CONSTRAINT + " and c.contype = 'f' order by t.oid, c.oid"
"""Foreign keys; after data, as the tables come one after the other."""

INDEXES = """
select format('%I.%I', n.nspname, i.relname) as name, pg_get_indexdef(x.indexrelid) as sql
  from pg_index as x
  join pg_class as i on i.oid = x.indexrelid
  join pg_class as t on t.oid = x.indrelid
  join pg_namespace as n on n.oid = t.relnamespace
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and t.relkind in ('r', 'p', 'm') and not i.relispartition
   and x.indisvalid
   and not exists (select from pg_constraint as c where c.conindid = i.oid and c.contype in ('p', 'u', 'x'))
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.deptype = 'e')
 order by t.oid, i.oid
"""

REPLICA_IDENTITIES = """
select format('%I.%I', n.nspname, c.relname) as name,
       format('alter table %I.%I replica identity %s', n.nspname, c.relname,
              case c.relreplident when 'f' then 'full' when 'n' then 'nothing' else
                (select format('using index %I', i.relname) from pg_index as x join pg_class as i on i.oid = x.indexrelid
                  where x.indrelid = c.oid and x.indisreplident) end) as sql
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relreplident <> 'd' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
 order by 1
"""

"""The one statement that reads tables, keys, foreign keys, triggers and sequences of some schemas as JSON.

It asks ``pg_catalog`` alone, with an empty ``search_path``, so that every name in it comes out with its schema.
"""

from __future__ import annotations

__all__ = ["PARTITIONS_QUERY", "TABLES_QUERY", "VIEWS_QUERY"]

TABLES_QUERY = """
with moved as (
  select c.oid, c.relname, n.nspname, c.relkind, c.reltuples, c.relrowsecurity, c.relforcerowsecurity, c.relowner
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't' and n.nspname = any($1::text[])
),
me as (select oid, rolsuper or rolbypassrls as is_exempt from pg_roles where rolname = current_user)
select m.nspname as schema, m.relname as name, m.relkind = 'p' as is_partitioned, m.reltuples::bigint as estimated_rows,
  (select jsonb_agg(jsonb_build_array(
      a.attname, format_type(a.atttypid, a.atttypmod),
      base.typname, format_type(a.atttypid, -1),
      case when base.typtype = 'b' and base.typcategory <> 'A' and base.typnamespace <> 'pg_catalog'::regnamespace
        then format('operator(%s.=)', base.typnamespace::regnamespace) else '=' end,
      a.attnotnull, a.attgenerated, a.attidentity,
      case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
      case when a.attcollation <> ty.typcollation
        then (select quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
              from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace where co.oid = a.attcollation) end
    ) order by a.attnum)
   from pg_attribute a join pg_type ty on ty.oid = a.atttypid
   cross join lateral (
     with recursive bases as (
       select t.typname, t.typtype, t.typcategory, t.typnamespace, t.typbasetype from pg_type t where t.oid = ty.oid
       union all
       select t.typname, t.typtype, t.typcategory, t.typnamespace, t.typbasetype
       from pg_type t join bases b on t.oid = b.typbasetype where b.typtype = 'd'
     ) select * from bases where typtype <> 'd'
   ) base
   left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where a.attrelid = m.oid and a.attnum > 0 and not a.attisdropped) as columns,
  (select jsonb_build_array(not i.indimmediate,
      (select jsonb_agg(a.attname order by k.n) from unnest(i.indkey::smallint[]) with ordinality k(attnum, n)
       join pg_attribute a on a.attrelid = m.oid and a.attnum = k.attnum where k.n <= i.indnkeyatts))
   from pg_index i join pg_class ic on ic.oid = i.indexrelid
   where i.indrelid = m.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
     and (i.indisprimary or not exists (
       select from unnest(i.indkey::smallint[]) with ordinality k(attnum, n)
       join pg_attribute a on a.attrelid = m.oid and a.attnum = k.attnum
       where k.n <= i.indnkeyatts and not a.attnotnull))
   order by i.indisprimary desc, i.indisreplident desc, i.indimmediate desc, i.indnkeyatts, ic.relname limit 1) as key,
  (select jsonb_agg(jsonb_build_array(ic.relname,
      (select jsonb_agg(pg_get_indexdef(i.indexrelid, k, true) order by k) from generate_series(1, i.indnkeyatts) k),
      pg_get_expr(i.indpred, i.indrelid)) order by ic.relname)
   from pg_index i join pg_class ic on ic.oid = i.indexrelid
   where i.indrelid = m.oid and i.indisunique and not i.indisprimary) as unique_indexes,
  (select jsonb_agg(jsonb_build_array(k.conname,
      (select jsonb_agg(a.attname order by x.n) from unnest(k.conkey) with ordinality x(attnum, n)
       join pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.attnum),
      rn.nspname || '.' || rc.relname,
      (select jsonb_agg(a.attname order by x.n) from unnest(k.confkey) with ordinality x(attnum, n)
       join pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.attnum),
      k.confdeltype, k.confupdtype) order by k.conname)
   from pg_constraint k join pg_class rc on rc.oid = k.confrelid join pg_namespace rn on rn.oid = rc.relnamespace
   where k.conrelid = m.oid and k.contype = 'f' and not rc.relispartition) as foreign_keys,
  (select jsonb_agg(jsonb_build_array(t.tgname, pg_get_triggerdef(t.oid), t.tgenabled,
      pn.nspname || '.' || p.proname) order by t.tgname)
   from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace pn on pn.oid = p.pronamespace
   where t.tgrelid = m.oid and not t.tgisinternal) as triggers,
  (select jsonb_agg(distinct jsonb_build_array(sn.nspname || '.' || s.relname, a.attname))
   from (
     select d.objid as sequence, d.refobjsubid as attnum from pg_depend d
     where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = m.oid
       and d.refobjsubid > 0 and d.deptype in ('a', 'i')
     union
     select d.refobjid, ad.adnum from pg_attrdef ad
     join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = ad.oid and d.refclassid = 'pg_class'::regclass
     where ad.adrelid = m.oid
   ) o join pg_class s on s.oid = o.sequence and s.relkind = 'S'
   join pg_namespace sn on sn.oid = s.relnamespace
   join pg_attribute a on a.attrelid = m.oid and a.attnum = o.attnum) as sequences,
  m.relrowsecurity and not me.is_exempt
    and (m.relforcerowsecurity or not pg_has_role(m.relowner, 'usage'))
    and (not exists (
        select from pg_policy p where p.polrelid = m.oid and p.polpermissive and p.polcmd = '*'
        and (p.polroles = array[0::oid] or exists (select from unnest(p.polroles) r where pg_has_role(r, 'usage')))
        and pg_get_expr(p.polqual, p.polrelid) = 'true'
        and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true')
      or exists (
        select from pg_policy p where p.polrelid = m.oid and not p.polpermissive
        and (p.polroles = array[0::oid] or exists (select from unnest(p.polroles) r where pg_has_role(r, 'usage'))))
    ) as has_hidden_rows
from moved m cross join me
order by m.nspname, m.relname
"""

PARTITIONS_QUERY = """
select cn.nspname || '.' || c.relname as partition,
  (select rn.nspname || '.' || r.relname from pg_class r join pg_namespace rn on rn.oid = r.relnamespace
   where r.oid = pg_partition_root(c.oid)) as root
from pg_class c join pg_namespace cn on cn.oid = c.relnamespace
where c.relispartition and c.relkind in ('r', 'p') and cn.nspname = any($1::text[])
"""

VIEWS_QUERY = """
with recursive reads as (
  select distinct r.ev_class as view, d.refobjid as relation
  from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
), all_reads as (
  select view, relation from reads
  union
  select a.view, r.relation from all_reads a join reads r on r.view = a.relation
)
select vn.nspname || '.' || v.relname as view, array_agg(distinct tn.nspname || '.' || t.relname) as tables
from all_reads a
join pg_class v on v.oid = a.view and v.relkind = 'v' join pg_namespace vn on vn.oid = v.relnamespace
join pg_class t on t.oid = a.relation and t.relkind in ('r', 'p') join pg_namespace tn on tn.oid = t.relnamespace
where vn.nspname = any($1::text[])
group by 1
"""

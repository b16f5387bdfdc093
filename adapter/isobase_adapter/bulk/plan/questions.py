"""What a plan asks a database. Each question gives rows as JSON; one that a side cannot answer is told and left out.

$1 in a question: the schemas that are not the project's.
"""

from __future__ import annotations

__all__ = ["QUESTIONS"]

QUESTIONS: dict[str, str] = {
    "server": """
select current_setting('server_version') as version, current_setting('server_version_num')::int as version_number,
       pg_database_size(current_database()) as size_bytes, current_setting('wal_level') as wal_level,
       current_setting('max_replication_slots')::int as max_slots, current_setting('max_worker_processes')::int
       as workers, (select count(*) from pg_replication_slots)::int as slots, (select setting::bigint from
       pg_settings where name = 'max_slot_wal_keep_size') as kept_wal_mb, (select pg_encoding_to_char(encoding)
       from pg_database where datname = current_database()) as encoding, (select datcollate from pg_database
       where datname = current_database()) as collation, current_user as role, r.rolreplication or r.rolsuper
       as may_replicate, r.rolbypassrls or r.rolsuper as sees_all_rows
  from pg_roles as r where r.rolname = current_user""",
    "extensions": """
select e.extname as name, e.extversion as version, n.nspname as schema
  from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname <> 'plpgsql' order by 1""",
    "available_extensions": "select name, default_version as version, comment from pg_available_extensions order by 1",
    "languages": "select lanname as name from pg_language order by 1",
    "roles": "select rolname as name, rolcanlogin as may_login, rolsuper as is_superuser from pg_roles order by 1",
    "tables": """
select n.nspname as schema, c.relname as name, c.reltuples::bigint as rows, pg_table_size(c.oid) as
size_bytes,
       pg_indexes_size(c.oid) as index_bytes, c.relkind = 'p' as is_partitioned, c.relispartition as is_partition,
       c.relpersistence = 'u' as is_unlogged, c.relrowsecurity as has_row_security, pg_get_userbyid(c.relowner) as owner,
       pg_has_role(c.relowner, 'usage') as is_ours, c.relreplident as replica_identity,
       exists (select from pg_index as i where i.indrelid = c.oid and i.indisprimary) as has_key,
       (select count(*) from pg_policy as p where p.polrelid = c.oid)::int as policies,
       has_table_privilege('anon', c.oid, 'select, insert, update, delete') as is_open_to_anon
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2""",
    "references": """
select cn.nspname || '.' || c.relname as table, fn.nspname || '.' || f.relname as referenced
  from pg_constraint as k
  join pg_class as c on c.oid = k.conrelid join pg_namespace as cn on cn.oid = c.relnamespace
  join pg_class as f on f.oid = k.confrelid join pg_namespace as fn on fn.oid = f.relnamespace
 where k.contype = 'f' and k.conparentid = 0 and cn.nspname <> all($1::text[])""",
    "triggers": """
select n.nspname as schema, c.relname as table, t.tgname as name, t.tgenabled as enabled, fn.nspname as function_schema,
       p.proname as function, l.lanname as language, p.prosrc ~*
       '\\m(insert\\s+into|update\\s+[a-z_."]+\\s+(as\\s+\\w+\\s+)?set|delete\\s+from)\\M'
         as writes_tables, p.prosrc as source
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid join pg_namespace as fn on fn.oid = p.pronamespace join pg_language as l on
  l.oid = p.prolang
 where not t.tgisinternal and t.tgparentid = 0
   and (n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' or fn.nspname <> all($1::text[]) and fn.nspname !~ '^pg_'
        or fn.nspname = 'supabase_functions')
 order by 1, 2, 3""",
    "functions": """
select n.nspname as schema, p.proname as name, pg_get_function_identity_arguments(p.oid) as arguments, l.lanname as
language,
       case p.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end as volatility,
       p.prosecdef as is_security_definer, p.proconfig is not null and exists (
         select from unnest(p.proconfig) as c where c like 'search_path=%') as has_search_path,
       p.prosrc ~ 'functions/v1|\\.functions\\.supabase\\.co' as calls_function,
       p.prorettype = 'trigger'::regtype or p.prorettype = 'event_trigger'::regtype as is_trigger,
       has_function_privilege('anon', p.oid, 'execute') or has_function_privilege('authenticated', p.oid,
       'execute') as is_callable
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_language as l on l.oid = p.prolang
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and
   d.deptype in ('e', 'i'))
 order by 1, 2, 3""",
    "views": """
select n.nspname as schema, c.relname as name, c.relkind = 'm' as is_materialized
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('v', 'm') and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2""",
    "sequences": """
select n.nspname as schema, c.relname as name, s.seqmax as max_value from pg_sequence as s
  join pg_class as c on c.oid = s.seqrelid join pg_namespace as n on n.oid = c.relnamespace
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' order by 1, 2""",
    "foreign_tables": """
select n.nspname as schema, c.relname as name, s.srvname as server from pg_foreign_table as t
  join pg_class as c on c.oid = t.ftrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_foreign_server as s on s.oid = t.ftserver order by 1, 2""",
    "large_objects": "select count(*) as count from pg_largeobject_metadata",
    "large_object_columns": """
select n.nspname || '.' || c.relname || '.' || a.attname as name
  from pg_attribute as a join pg_class as c on c.oid = a.attrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_type as t on t.oid = a.atttypid
 where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
   and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and 'oid'::regtype in (t.oid, t.typbasetype) order by 1""",
    "event_triggers": """
select e.evtname as name, e.evtevent as event, n.nspname || '.' || p.proname as function
  from pg_event_trigger as e join pg_proc as p on p.oid = e.evtfoid
  join pg_namespace as n on n.oid = p.pronamespace where n.nspname <> all($1::text[]) order by 1""",
    "publications": """
select p.pubname as name, p.puballtables as is_for_all,
       (select count(*) from pg_publication_tables as t where t.pubname = p.pubname)::int as tables
  from pg_publication as p where p.pubname <> 'isobase_migration' order by 1""",
    "cron_jobs": """
select coalesce(jobname, 'number ' || jobid) as name, schedule, active as is_active,
       command ~ 'functions/v1|\\.functions\\.supabase\\.co' as calls_function from cron.job order by 1""",
    "realtime_policies": """
select polname as name, polname like 'isobase\\_rooms\\_%' as is_of_rooms,
       concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)) ~ '\\mroom:' as names_rooms
  from pg_policy where polrelid = to_regclass('realtime.messages') order by 1""",
    "rooms": "select count(*) as count from isobase.rooms",
    "api_settings": """
select split_part(x, '=', 1) as name, substr(x, strpos(x, '=') + 1) as value
  from pg_db_role_setting as s join pg_roles as r on r.oid = s.setrole cross join unnest(s.setconfig) as x
 where r.rolname = 'authenticator' and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
   and split_part(x, '=', 1) in ('pgrst.db_schemas', 'pgrst.db_extra_search_path', 'pgrst.db_max_rows') order by 1""",
    "auth_hooks": """
select n.nspname || '.' || p.proname as name
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace cross join aclexplode(p.proacl) as a
 where n.nspname <> all($1::text[]) and n.nspname !~ '^pg_' and a.privilege_type = 'EXECUTE'
   and a.grantee = to_regrole('supabase_auth_admin') and p.prorettype in ('json'::regtype, 'jsonb'::regtype, 'void'::regtype)
 order by 1""",
    "secrets": "select count(*) as count from vault.secrets",
    "users": """
select count(*) as count, count(*) filter (where coalesce(encrypted_password, '') <> '') as with_password,
       count(*) filter (where is_anonymous) as anonymous, count(*) filter (where phone is not null) as with_phone,
       count(*) filter (where is_sso_user) as single_sign_on from auth.users""",
    "hashes": """
select coalesce(substring(encrypted_password from '^\\$(2[abxy]|argon2id|argon2i|fbscrypt|isobase)'), 'other') as kind,
count(*) as count
  from auth.users where coalesce(encrypted_password, '') <> '' group by 1 order by 1""",
    "providers": "select provider as name, count(*) as users from auth.identities group by 1 order by 2 desc",
    "factors": """
select factor_type::text as name, count(*) as count from auth.mfa_factors where status = 'verified' group by 1""",
    "sessions": "select count(*) as count from auth.sessions where not_after is null or not_after > now()",
    "buckets": """
select b.id as name, b.public as is_public, count(o.id) as objects, coalesce(sum((o.metadata ->> 'size')::bigint),
0)::bigint as size_bytes,
       coalesce(max((o.metadata ->> 'size')::bigint), 0)::bigint as largest_bytes
  from storage.buckets as b left join storage.objects as o on o.bucket_id = b.id group by 1, 2 order by 1""",
}

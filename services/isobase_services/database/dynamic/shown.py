"""Execute: what a table looks like, read from PostgreSQL's catalog every time, so that what a migration changed is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from isobase_platform.errors import NotFound
from isobase_platform.pool import Connection
from isobase_platform.sql import qualified
from isobase_services.database.dynamic.column_types import shown_type
from isobase_services.database.dynamic.models import (
    Access,
    Database,
    OnDelete,
    PolicyCommand,
    PolicyRole,
    PolicySpec,
    ReferenceSpec,
    ShownColumn,
    ShownIndex,
    Table,
)

__all__ = ["custom_policies", "find_table", "is_name_taken", "known_tables", "list_tables"]

# A table that somebody dropped by SQL has no pg_class row, and is as if it were not there.
_SELECT = """
select t.id, t.database_id, t.name, t.access, t.created_at, pg_catalog.obj_description(c.oid, 'pg_class') as comment,
       exists (select from pg_catalog.pg_publication_tables as l
                where l.pubname = $2 and l.schemaname = d.schema_name and l.tablename = t.name) as is_live,
       (select json_agg(json_build_object(
                 'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
                 'default', pg_catalog.pg_get_expr(v.adbin, v.adrelid), 'identity', a.attidentity <> '',
                 'unique', exists (select from pg_catalog.pg_index as i
                                    where i.indrelid = c.oid and i.indisunique and i.indpred is null
                                      and i.indnkeyatts = 1 and i.indkey[0] = a.attnum),
                 'key', exists (select from pg_catalog.pg_index as i
                                 where i.indrelid = c.oid and i.indisprimary and a.attnum = any(i.indkey::int2[])),
                 'references', (select json_build_object(
                                  'table', case when r.relnamespace = c.relnamespace then r.relname
                                                else (r.relnamespace::regnamespace)::text || '.' || r.relname end,
                                  'column', case when exists (select from pg_catalog.pg_index as i
                                                               where i.indrelid = r.oid and i.indisprimary and i.indkey::text
                                                                     = pg_catalog.array_to_string(k.confkey, ' '))
                                            then null
                                                 else (select b.attname from pg_catalog.pg_attribute as b
                                                        where b.attrelid = r.oid and b.attnum = k.confkey[1]) end,
                                  'on_delete', k.confdeltype)
                                  from pg_catalog.pg_constraint as k
                                  join pg_catalog.pg_class as r on r.oid = k.confrelid
                                 where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum] limit 1),
                 'check', (select pg_catalog.string_agg(pg_catalog.pg_get_expr(k.conbin, k.conrelid), ' AND '
                                                        order by k.conname)
                             from pg_catalog.pg_constraint as k
                            where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]))
               order by a.attnum)
          from pg_catalog.pg_attribute as a
          left join pg_catalog.pg_attrdef as v on v.adrelid = a.attrelid and v.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns,
       (select json_agg(json_build_object(
                 'name', x.relname, 'unique', i.indisunique, 'method', m.amname,
                 'columns', (select json_agg(pg_catalog.pg_get_indexdef(i.indexrelid, n::int, true) order by n)
                               from pg_catalog.generate_series(1, i.indnkeyatts) as n))
               order by x.relname)
          from pg_catalog.pg_index as i
          join pg_catalog.pg_class as x on x.oid = i.indexrelid
          join pg_catalog.pg_am as m on m.oid = x.relam
         where i.indrelid = c.oid
           and not exists (select from pg_catalog.pg_constraint as k
                            where k.conindid = i.indexrelid and k.contype <> 'f'))::text as indexes,
       (select json_agg(json_build_object(
                 'command', p.polcmd, 'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                 'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
                 'roles', (select json_agg(r.rolname order by r.rolname) from pg_catalog.pg_roles as r
                            where r.oid = any(p.polroles))) order by p.polname)
          from pg_catalog.pg_policy as p
         where t.access = 'custom' and p.polrelid = c.oid and p.polname <> 'isobase_service_role')::text as policies
  from isobase.tables as t
  join isobase.databases as d on d.id = t.database_id
  join pg_catalog.pg_namespace as n on n.nspname = d.schema_name
  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = t.name
 where t.database_id = $1
"""
_CUSTOM_POLICIES = """
select p.polname as name,
       json_build_object('command', p.polcmd, 'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                         'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
                         'roles', (select json_agg(r.rolname) from pg_catalog.pg_roles as r
                                    where r.oid = any(p.polroles)))::text as policy
  from pg_catalog.pg_policy as p
 where p.polrelid = $1::text::regclass and p.polname like 'custom %'
 order by p.polname
"""
_ON_DELETE = {"a": OnDelete.NO_ACTION, "r": OnDelete.RESTRICT, "c": OnDelete.CASCADE, "n": OnDelete.SET_NULL}
_COMMANDS = {
    "r": PolicyCommand.SELECT,
    "a": PolicyCommand.INSERT,
    "w": PolicyCommand.UPDATE,
    "d": PolicyCommand.DELETE,
    "*": PolicyCommand.ALL,
}


async def list_tables(connection: Connection, database_id: UUID, publication: str) -> list[Table]:
    """All tables of a database, oldest first. ``publication`` is the one that realtime sends changes of."""
    await _show_qualified(connection)
    rows = await connection.fetch(f"{_SELECT} order by t.created_at, t.id", database_id, publication)
    return [_table_of(row) for row in rows]


async def find_table(connection: Connection, database_id: UUID, table_id: UUID, publication: str) -> Table:
    """One table. Raises ``NotFound``."""
    await _show_qualified(connection)
    row = await connection.fetchrow(f"{_SELECT} and t.id = $3", database_id, publication, table_id)
    if row is None:
        raise NotFound("There is no such table", code="table_not_found")
    return _table_of(row)


async def known_tables(connection: Connection, database: Database) -> set[str]:
    """The names of a database's tables; those that somebody dropped by SQL are forgotten, so that their names are free."""
    await connection.execute(
        "delete from isobase.tables as t where t.database_id = $1"
        " and pg_catalog.to_regclass(pg_catalog.format('%I.%I', $2::text, t.name)) is null",
        database.id,
        database.schema,
    )
    rows = await connection.fetch("select name from isobase.tables where database_id = $1", database.id)
    return {str(row["name"]) for row in rows}


async def is_name_taken(connection: Connection, schema: str, name: str) -> bool:
    """Whether the schema has a relation of the name that a migration made; an index or sequence counts as well."""
    found = await connection.fetchval("select to_regclass($1) is not null", qualified(schema, name))
    return bool(found)


async def custom_policies(connection: Connection, target: str) -> list[tuple[str, PolicySpec]]:
    """The policies that a definition gave a (quoted) table: their names, and expressions as PostgreSQL writes them."""
    rows = await connection.fetch(_CUSTOM_POLICIES, target)
    return [(row["name"], _policy(json.loads(row["policy"]))) for row in rows]


async def _show_qualified(connection: Connection) -> None:
    """Let PostgreSQL write every name in a default with its schema, whatever the owner's own search_path is."""
    await connection.execute("set local search_path = ''")


def _table_of(row: asyncpg.Record) -> Table:
    return Table(
        id=row["id"],
        database_id=row["database_id"],
        name=row["name"],
        access=Access(row["access"]),
        created_at=row["created_at"],
        columns=tuple(_column(raw) for raw in json.loads(row["columns"] or "[]")),
        indexes=tuple(
            ShownIndex(raw["name"], tuple(raw["columns"]), raw["unique"], raw["method"])
            for raw in json.loads(row["indexes"] or "[]")
        ),
        policies=tuple(_policy(raw) for raw in json.loads(row["policies"] or "[]")),
        comment=row["comment"],
        is_live=row["is_live"],
    )


def _column(raw: Mapping[str, Any]) -> ShownColumn:
    reference = raw["references"]
    return ShownColumn(
        name=raw["name"],
        type=shown_type(raw["type"]),
        is_nullable=raw["nullable"],
        default=raw["default"],
        is_unique=raw["unique"],
        is_primary_key=raw["key"],
        is_identity=raw["identity"],
        references=(
            ReferenceSpec(
                reference["table"], _ON_DELETE.get(reference["on_delete"], OnDelete.NO_ACTION), reference["column"]
            )
            if reference is not None
            else None
        ),
        check=raw["check"],
    )


def _policy(raw: Mapping[str, Any]) -> PolicySpec:
    """A policy; one that a migration made may be for other roles too, of which those that are no API role are left out."""
    roles = tuple(role for role in PolicyRole if role.value in (raw["roles"] or ()))
    return PolicySpec(_COMMANDS[raw["command"]], roles, raw["using"], raw["check"])

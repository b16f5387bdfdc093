"""What the database says of tables, of roles' rights and of the publication; remembered until the database says otherwise.

Facts are read with the owner's rights and never shown to users as such: they decide what may be shown. They are forgotten
when the stream announces the table anew, when what ``snapshot`` reads with each batch differs (policies, grants, roles and
memberships, the functions of schema ``auth``), and at the latest after ``FACTS_LIFE_S``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from isobase_platform.pool import Connection, Pools
from isobase_platform.sql import qualified
from isobase_services.realtime.changes.policies.claims import Kind
from isobase_services.realtime.changes.policies.known_functions import AuthFunction, known_functions
from isobase_services.realtime.changes.policies.rule import Policy, make_rule
from isobase_services.realtime.changes.policies.statement import row_statement
from isobase_services.realtime.changes.snapshot import Moment
from isobase_services.realtime.changes.tables import NO_RIGHTS, Column, RoleRights, Table
from isobase_services.realtime.changes.values import (
    BOOL_OID,
    INTEGER_OIDS,
    TEXT_OIDS,
    UUID_OID,
    TypeFacts,
    converter_for,
    quote_json,
)

__all__ = ["Catalog"]

FACTS_LIFE_S = 60.0
MAX_TABLES = 10_000
"""Tables whose facts are remembered; beyond it all are forgotten and read again."""

# In a statement of its own before the others: what is read then names everything in full.
_EMPTY_PATH_SQL = "select pg_catalog.set_config('search_path', '', true)"

_TABLE_SQL = """
select n.nspname, c.relname, c.relrowsecurity,
       a.attname, a.atttypid::bigint as type_oid, t.typname, tn.nspname as type_schema, t.typarray <> 0 as has_array,
       coalesce(o.collisdeterministic, true) as is_deterministic,
       case when a.attcollation <> t.typcollation then o.collname end as collation, os.nspname as collation_schema,
       coalesce(a.attnum = any (k.conkey), false) as is_key
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type as t on t.oid = a.atttypid
  join pg_catalog.pg_namespace as tn on tn.oid = t.typnamespace
  left join pg_catalog.pg_collation as o on o.oid = a.attcollation
  left join pg_catalog.pg_namespace as os on os.oid = o.collnamespace
  left join pg_catalog.pg_constraint as k on k.conrelid = c.oid and k.contype = 'p'
 where c.oid = $1::bigint::oid
 order by a.attnum
"""

_TYPES_SQL = """
with recursive involved (oid) as (
  select unnest($1::bigint[])::oid
  union
  select next.oid
    from involved
    join pg_catalog.pg_type as t on t.oid = involved.oid
    cross join lateral (values (t.typbasetype), (t.typelem)) as next (oid)
   where next.oid <> 0
)
select t.oid::bigint, t.typtype::text, t.typbasetype::bigint, t.typelem::bigint,
       t.typcategory = 'A' and t.typlen = -1 and t.typelem <> 0 as is_array, coalesce(e.typdelim, ',')::text as delimiter,
       t.typdelim::text as own_delimiter,
       exists (select from pg_catalog.pg_cast as k
                where k.castsource = t.oid and k.casttarget = 'json'::pg_catalog.regtype and k.castmethod = 'f'
       ) as has_json_cast
  from involved
  join pg_catalog.pg_type as t on t.oid = involved.oid
  left join pg_catalog.pg_type as e on e.oid = t.typelem
"""

# Only roles that authenticator may become can be a caller's, here as at the door. A table in a schema that the role may not
# use shows nothing. PostgreSQL leaves out policies for who bypasses them, and for the owner unless they are forced on it.
_RIGHTS_SQL = """
select c.relrowsecurity and not (r.rolsuper or r.rolbypassrls)
         and (c.relforcerowsecurity or not pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')) as has_policies,
       case when pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE') then
         array(select a.attname::text from pg_catalog.pg_attribute as a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                  and pg_catalog.has_column_privilege(r.oid, a.attrelid, a.attnum, 'SELECT'))
       else array[]::text[] end as columns
  from pg_catalog.pg_roles as r
  join pg_catalog.pg_class as c on c.oid = $1::bigint::oid
 where r.rolname = $2 and pg_catalog.pg_has_role('authenticator', r.oid, 'member')
"""

_POLICIES_SQL = """
select p.polname, p.polpermissive, pg_catalog.pg_get_expr(p.polqual, p.polrelid) as condition,
       array(select a.attname::text
               from pg_catalog.pg_depend as d
               join pg_catalog.pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
              where d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and d.objid = p.oid
                and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = p.polrelid
                and d.refobjsubid > 0) as columns
  from pg_catalog.pg_policy as p
 where p.polrelid = $1::bigint::oid and p.polcmd in ('r', '*')
   and exists (select from pg_catalog.unnest(p.polroles) as o (oid)
                where o.oid = 0 or pg_catalog.pg_has_role($2::pg_catalog.name, o.oid, 'USAGE'))
 order by p.polname
"""

_AUTH_FUNCTIONS_SQL = """
select p.proname, p.prosrc, pg_catalog.format_type(p.prorettype, null) as returns,
       l.lanname = 'sql' and p.provolatile = 's' and p.proconfig is null and not p.prosecdef and not p.proretset
         and pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE') as is_plain
  from pg_catalog.pg_proc as p
  join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
  join pg_catalog.pg_language as l on l.oid = p.prolang
 where n.nspname = 'auth' and p.proname in ('uid', 'jwt', 'role', 'email') and p.pronargs = 0
"""

_PUBLISHED_SQL = """
select pg_catalog.format('%I.%I', p.schemaname, p.tablename)::regclass::oid::bigint as oid
  from pg_catalog.pg_publication_tables as p
 where p.pubname = $1 and ($2 = '*' or p.schemaname = $2) and ($3 = '*' or p.tablename = $3)
"""


@dataclass(slots=True)
class _Remembered:
    table: Table | None
    read_at_s: float
    mark: str | None
    rights: dict[str, RoleRights] = field(default_factory=dict)


class Catalog:
    """Reads and remembers facts. Errors of all methods: ``Unavailable`` and ``DatabaseError``."""

    def __init__(self, pools: Pools, publication: str) -> None:
        self._pools = pools
        self._publication = publication
        self._tables: dict[int, _Remembered] = {}
        self._moment = Moment(shared="", tables={})

    def forget(self, oid: int) -> None:
        """Read the table's facts again before they are used next."""
        self._tables.pop(oid, None)

    def forget_all(self) -> None:
        """As ``forget``, for every table."""
        self._tables.clear()

    def confirm(self, moment: Moment) -> None:
        """Forget what is not as it was when it was read, by the marks of a moment."""
        if moment.shared != self._moment.shared:
            self._tables.clear()
        self._moment = moment
        for oid, mark in moment.tables.items():
            remembered = self._tables.get(oid)
            if remembered is not None and remembered.mark != mark:
                del self._tables[oid]

    async def table(self, oid: int) -> Table | None:
        """The table, or None when it is gone."""
        return (await self._remembered(oid)).table

    async def rights(self, oid: int, role: str) -> RoleRights:
        """What ``role`` may see of the table; nothing for a role that does not exist or that no caller may have."""
        remembered = await self._remembered(oid)
        rights = remembered.rights.get(role)
        if rights is None:
            table = remembered.table
            rights = NO_RIGHTS if table is None else await self._read_rights(table, role)
            remembered.rights[role] = rights
        return rights

    async def published_tables(self, schema: str, table: str) -> list[int]:
        """The oids of the published tables that match; ``*`` matches all."""
        async with self._pools.acquire(None) as connection:
            rows = await connection.fetch(_PUBLISHED_SQL, self._publication, schema, table)
        return [row["oid"] for row in rows]

    async def _remembered(self, oid: int) -> _Remembered:
        now_s = time.monotonic()
        remembered = self._tables.get(oid)
        if remembered is None or now_s - remembered.read_at_s > FACTS_LIFE_S:
            # The mark is of a moment before the reading: what changes between is noticed by the next one.
            mark = self._moment.tables.get(oid)
            remembered = _Remembered(await self._read_table(oid), now_s, mark)
            if len(self._tables) >= MAX_TABLES:
                self._tables.clear()
            self._tables[oid] = remembered
        return remembered

    async def _read_table(self, oid: int) -> Table | None:
        async with self._pools.acquire(None) as connection:
            rows = await connection.fetch(_TABLE_SQL, oid)
            if not rows:
                return None
            types = {
                row["oid"]: TypeFacts(
                    oid=row["oid"],
                    kind=row["typtype"],
                    base_oid=row["typbasetype"],
                    element_oid=row["typelem"],
                    is_array=row["is_array"],
                    delimiter=row["delimiter"],
                    own_delimiter=row["own_delimiter"],
                    has_json_cast=row["has_json_cast"],
                )
                for row in await connection.fetch(_TYPES_SQL, [row["type_oid"] for row in rows])
            }
        columns = {row["attname"]: _column(row, types) for row in rows}
        return Table(
            oid=oid,
            schema=rows[0]["nspname"],
            name=rows[0]["relname"],
            has_row_security=rows[0]["relrowsecurity"],
            columns=columns,
            key=tuple(column for column in columns.values() if column.is_key),
        )

    async def _read_rights(self, table: Table, role: str) -> RoleRights:
        async with self._pools.transaction(None) as connection:
            await connection.execute(_EMPTY_PATH_SQL)
            row = await connection.fetchrow(_RIGHTS_SQL, table.oid, role)
            if row is None:
                return NO_RIGHTS
            columns = frozenset(row["columns"])
            if not row["has_policies"]:
                return RoleRights(columns, rule=None, statement=None)
            policies = await _read_policies(connection, table.oid, role)
            functions = known_functions(
                AuthFunction(row["proname"], row["prosrc"], row["returns"], is_plain=row["is_plain"])
                for row in await connection.fetch(_AUTH_FUNCTIONS_SQL, role)
            )
        kinds = {column.name: column.kind for column in table.columns.values() if column.kind is not None}
        rule = make_rule(policies, kinds, functions)
        return RoleRights(columns, rule, row_statement(table.schema, table.name, table.columns, rule))


async def _read_policies(connection: Connection, oid: int, role: str) -> list[Policy]:
    return [
        Policy(row["polname"], row["polpermissive"], row["condition"], frozenset(row["columns"]))
        for row in await connection.fetch(_POLICIES_SQL, oid, role)
    ]


def _column(row: asyncpg.Record, types: Mapping[int, TypeFacts]) -> Column:
    facts = types.get(row["type_oid"])
    type_sql = qualified(row["type_schema"], row["typname"])
    is_flat = row["has_array"] and facts is not None and not facts.is_array and facts.own_delimiter == ","
    return Column(
        name=row["attname"],
        type_oid=row["type_oid"],
        type_name=row["typname"],
        type_sql=type_sql,
        array_sql=f"{type_sql}[]" if is_flat else None,
        collation_sql=qualified(row["collation_schema"], row["collation"]) if row["collation"] is not None else None,
        kind=_kind(row["type_oid"], facts, is_deterministic=row["is_deterministic"]),
        is_key=row["is_key"],
        converter=converter_for(row["type_oid"], types),
        json_key=quote_json(row["attname"]) + ":",
        description=f'{{"name":{quote_json(row["attname"])},"type":{quote_json(row["typname"])}}}',
    )


def _kind(oid: int, facts: TypeFacts | None, *, is_deterministic: bool) -> Kind | None:
    if oid in TEXT_OIDS:
        return Kind.TEXT if is_deterministic else Kind.OTHER
    if oid == UUID_OID:
        return Kind.UUID
    if oid in INTEGER_OIDS:
        return Kind.INTEGER
    if oid == BOOL_OID:
        return Kind.BOOLEAN
    # A composite value IS NULL when all its fields are, and a domain may stand for one.
    return Kind.OTHER if facts is not None and facts.kind not in ("c", "d", "p") else None

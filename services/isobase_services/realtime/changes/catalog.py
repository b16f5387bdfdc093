"""What the database says of tables, of roles' rights and of the publication; remembered until the log says otherwise.

Facts are read with the owner's rights and never shown to users as such: they decide what may be shown. A table's facts and
the rights on it are forgotten when the stream announces the table anew (PostgreSQL does so after each ALTER, GRANT or switch
of row security) and at the latest after ``FACTS_LIFE_S``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from isobase_platform.pool import Pools
from isobase_platform.sql import qualified
from isobase_services.realtime.changes.values import Converter, TypeFacts, converter_for, quote_json

__all__ = ["Catalog", "Column", "RoleRights", "Table"]

FACTS_LIFE_S = 60.0

_TABLE_SQL = """
select n.nspname, c.relname, c.relrowsecurity,
       a.attname, a.atttypid::bigint as type_oid, t.typname, tn.nspname as type_schema,
       coalesce(a.attnum = any (k.conkey), false) as is_key
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type as t on t.oid = a.atttypid
  join pg_catalog.pg_namespace as tn on tn.oid = t.typnamespace
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
       exists (select from pg_catalog.pg_cast as k
                where k.castsource = t.oid and k.casttarget = 'json'::pg_catalog.regtype and k.castmethod = 'f'
       ) as has_json_cast
  from involved
  join pg_catalog.pg_type as t on t.oid = involved.oid
  left join pg_catalog.pg_type as e on e.oid = t.typelem
"""

# Only roles that authenticator may become can be a caller's, here as at the door.
_RIGHTS_SQL = """
select r.rolsuper or r.rolbypassrls as bypasses_rls,
       array(select a.attname::text from pg_catalog.pg_attribute as a
              where a.attrelid = $1::bigint::oid and a.attnum > 0 and not a.attisdropped
                and pg_catalog.has_column_privilege(r.oid, a.attrelid, a.attnum, 'SELECT')) as columns
  from pg_catalog.pg_roles as r
 where r.rolname = $2 and pg_catalog.pg_has_role('authenticator', r.oid, 'member')
"""

_PUBLISHED_SQL = """
select pg_catalog.format('%I.%I', p.schemaname, p.tablename)::regclass::oid::bigint as oid
  from pg_catalog.pg_publication_tables as p
 where p.pubname = $1 and ($2 = '*' or p.schemaname = $2) and ($3 = '*' or p.tablename = $3)
"""


@dataclass(slots=True, frozen=True)
class Column:
    """One column: ``type_name`` as pg_type has it, ``type_sql`` quoted for a statement, ``json_key`` ready to be written.

    ``converter`` is None where only PostgreSQL can turn a value into JSON.
    """

    name: str
    type_oid: int
    type_name: str
    type_sql: str
    is_key: bool
    converter: Converter | None
    json_key: str
    description: str
    """The column's entry in ``columns``, as JSON text."""


@dataclass(slots=True, frozen=True)
class Table:
    """A table as it is now. ``columns`` by name in the table's order; ``key`` the primary key's columns in that order."""

    oid: int
    schema: str
    name: str
    has_row_security: bool
    columns: dict[str, Column]
    key: tuple[Column, ...]

    @property
    def sql_name(self) -> str:
        """Quoted, for a statement."""
        return qualified(self.schema, self.name)


@dataclass(slots=True, frozen=True)
class RoleRights:
    """What a role may see of a table: the columns it may SELECT, and whether policies apply to it."""

    columns: frozenset[str]
    bypasses_rls: bool


NO_RIGHTS = RoleRights(columns=frozenset(), bypasses_rls=False)


@dataclass(slots=True)
class _Remembered:
    table: Table | None
    read_at_s: float
    rights: dict[str, RoleRights] = field(default_factory=dict)


class Catalog:
    """Reads and remembers facts. Errors of all methods: ``Unavailable`` and ``DatabaseError``."""

    def __init__(self, pools: Pools, publication: str) -> None:
        self._pools = pools
        self._publication = publication
        self._tables: dict[int, _Remembered] = {}

    def forget(self, oid: int) -> None:
        """Read the table's facts again before they are used next."""
        self._tables.pop(oid, None)

    def forget_all(self) -> None:
        """As ``forget``, for every table."""
        self._tables.clear()

    async def table(self, oid: int) -> Table | None:
        """The table, or None when it is gone."""
        return (await self._remembered(oid)).table

    async def rights(self, oid: int, role: str) -> RoleRights:
        """What ``role`` may see of the table; nothing for a role that does not exist or that no caller may have."""
        remembered = await self._remembered(oid)
        rights = remembered.rights.get(role)
        if rights is None:
            async with self._pools.acquire(None) as connection:
                row = await connection.fetchrow(_RIGHTS_SQL, oid, role)
            rights = NO_RIGHTS if row is None else RoleRights(frozenset(row["columns"]), row["bypasses_rls"])
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
            remembered = _Remembered(await self._read_table(oid), now_s)
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
                    has_json_cast=row["has_json_cast"],
                )
                for row in await connection.fetch(_TYPES_SQL, [row["type_oid"] for row in rows])
            }
        columns = {
            row["attname"]: Column(
                name=row["attname"],
                type_oid=row["type_oid"],
                type_name=row["typname"],
                type_sql=qualified(row["type_schema"], row["typname"]),
                is_key=row["is_key"],
                converter=converter_for(row["type_oid"], types),
                json_key=quote_json(row["attname"]) + ":",
                description=f'{{"name":{quote_json(row["attname"])},"type":{quote_json(row["typname"])}}}',
            )
            for row in rows
        }
        return Table(
            oid=oid,
            schema=rows[0]["nspname"],
            name=rows[0]["relname"],
            has_row_security=rows[0]["relrowsecurity"],
            columns=columns,
            key=tuple(column for column in columns.values() if column.is_key),
        )

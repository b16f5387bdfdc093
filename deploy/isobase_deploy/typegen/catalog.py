"""What the types are written from: relations, enums, composite types, functions and relationships of some schemas.

Source: PostgreSQL's "System Catalogs"; what counts as optional or updatable is postgres-meta's reading of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from isobase_platform.errors import ConfigurationError
from isobase_services.database.query.load_cache import load_schema_cache
from isobase_services.database.query.schema_cache import Cardinality, SchemaCache

__all__ = ["Argument", "Catalogue", "Column", "Function", "PgType", "Relation", "Relationship", "name_order", "read"]


@dataclass(slots=True, frozen=True)
class PgType:
    """A type. ``element``: of an array; ``base``: of a domain; ``relation``: the table whose rows it describes."""

    oid: int
    schema: str
    name: str
    element: int | None
    base: int | None
    relation: int | None
    labels: tuple[str, ...]
    attributes: tuple[tuple[str, int], ...]


@dataclass(slots=True, frozen=True)
class Column:
    """A column. ``identity``: ``a`` always, ``d`` by default, else empty."""

    name: str
    type: int
    is_nullable: bool
    has_default: bool
    identity: str
    is_generated: bool
    is_updatable: bool


@dataclass(slots=True, frozen=True)
class Relation:
    """A table (also a foreign or partitioned one) or a view, its columns in their order."""

    oid: int
    schema: str
    name: str
    is_view: bool
    is_updatable: bool
    columns: tuple[Column, ...]


@dataclass(slots=True, frozen=True)
class Argument:
    """An argument. ``mode``: ``i`` in, ``o`` out, ``b`` both, ``v`` variadic, ``t`` a column of the result."""

    name: str
    type: int
    mode: str
    has_default: bool

    @property
    def is_input(self) -> bool:
        """Whether a caller gives it."""
        return self.mode in "ibv"


@dataclass(slots=True, frozen=True)
class Function:
    """A function; ``rows``: how many PostgreSQL expects of one that returns a set."""

    schema: str
    name: str
    arguments: tuple[Argument, ...]
    returns: int
    returns_set: bool
    rows: float
    signature: str

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """The arguments that a caller gives."""
        return tuple(argument for argument in self.arguments if argument.is_input)


@dataclass(slots=True, frozen=True)
class Relationship:
    """A foreign key as it is seen from the side that holds it; also through views."""

    schema: str
    relation: str
    name: str
    columns: tuple[str, ...]
    referenced_schema: str
    referenced_relation: str
    referenced_columns: tuple[str, ...]
    is_one_to_one: bool


@dataclass(slots=True, frozen=True)
class Catalogue:
    """What was read; everything is in the order of its names."""

    schemas: tuple[str, ...]
    types: Mapping[int, PgType]
    relations: tuple[Relation, ...]
    functions: tuple[Function, ...]
    relationships: tuple[Relationship, ...]

    def of_schema(self, schema: str) -> tuple[list[Relation], list[Relation], list[Function]]:
        """Give a schema's tables, views and functions."""
        relations = [relation for relation in self.relations if relation.schema == schema]
        return (
            [relation for relation in relations if not relation.is_view],
            [relation for relation in relations if relation.is_view],
            [function for function in self.functions if function.schema == schema],
        )

    def enums(self, schema: str) -> list[PgType]:
        """Give a schema's enums."""
        return sorted((one for one in self.types.values() if one.schema == schema and one.labels), key=_by_name)

    def composites(self, schema: str) -> list[PgType]:
        """Give a schema's composite types, those of tables left out."""
        return sorted((one for one in self.types.values() if one.schema == schema and one.attributes), key=_by_name)

    def resolved(self, oid: int) -> PgType | None:
        """Give a type, for a domain the type below it."""
        found = self.types.get(oid)
        while found is not None and found.base is not None:
            found = self.types.get(found.base)
        return found

    def relation_of(self, type_oid: int) -> Relation | None:
        """Give the table or view whose rows a type describes, where it is among the schemas."""
        found = self.types.get(type_oid)
        if found is None or found.relation is None:
            return None
        return next((relation for relation in self.relations if relation.oid == found.relation), None)


def name_order(name: str) -> tuple[str, str]:
    """Give the key that names are sorted by: upper and lower case alike, ``_`` before digits and letters."""
    return name.casefold().replace("_", "\x01"), name


def _by_name(one: PgType) -> tuple[str, str]:
    return name_order(one.name)


TYPES = """
select t.oid::int8 as oid, n.nspname as schema, t.typname as name,
  case when t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A' then t.typelem::int8 end as element,
  nullif(t.typbasetype, 0)::int8 as base, case when c.relkind <> 'c' then c.oid::int8 end as relation,
  array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels,
  coalesce((select json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum) from pg_attribute a
    where a.attrelid = c.oid and c.relkind = 'c' and a.attnum > 0 and not a.attisdropped), '[]') as attributes
from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
"""

RELATIONS = """
select c.oid::int8 as oid, n.nspname as schema, c.relname as name, c.relkind in ('v', 'm') as is_view,
  (pg_relation_is_updatable(c.oid, false) & 20) = 20 as is_updatable,
  (select coalesce(json_agg(json_build_array(a.attname, a.atttypid::int8,
      not (a.attnotnull or (t.typtype = 'd' and t.typnotnull)), a.atthasdef, a.attidentity, a.attgenerated <> '',
      c.relkind in ('r', 'p') or (c.relkind in ('v', 'f') and pg_column_is_updatable(c.oid, a.attnum, false)))
      order by a.attnum), '[]')
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any($1) and c.relkind in ('r', 'p', 'f', 'v', 'm')
"""

FUNCTIONS = """
select n.nspname as schema, p.proname as name, p.prorettype::int8 as returns, p.proretset as returns_set, p.prorows as
rows,
  pg_get_function_identity_arguments(p.oid) || ' -> ' || pg_get_function_result(p.oid) as signature,
  p.proargnames as names, p.proargmodes::text[] as modes,
  coalesce(p.proallargtypes, p.proargtypes::oid[])::int8[] as types, p.pronargdefaults as defaults
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = any($1) and p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
"""


async def read(url: str, schemas: Sequence[str]) -> Catalogue:
    """Read what the types of ``schemas`` need from the database at ``url``, in one read-only transaction.

    Raises ConfigurationError for a schema that is not there, OSError and asyncpg's errors when the database cannot be
    asked.
    """
    connection = await asyncpg.connect(url, timeout=10, command_timeout=60, statement_cache_size=0)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            there = {row[0] for row in await connection.fetch("select nspname from pg_namespace")}
            if missing := [schema for schema in schemas if schema not in there]:
                raise ConfigurationError(f"the database has no schema {', '.join(missing)}")
            await connection.execute("set local search_path to ''; set local jit to off")
            types = [_type(row) for row in await connection.fetch(TYPES)]
            relations = [_relation(row) for row in await connection.fetch(RELATIONS, list(schemas))]
            functions = [_function(row) for row in await connection.fetch(FUNCTIONS, list(schemas))]
        cache = await load_schema_cache(connection, schemas, ())
    finally:
        await connection.close()
    return Catalogue(
        schemas=tuple(sorted(set(schemas), key=name_order)),
        types={one.oid: one for one in types},
        relations=tuple(sorted(relations, key=lambda one: (one.schema, name_order(one.name)))),
        functions=tuple(sorted(functions, key=lambda one: (one.schema, name_order(one.name), one.signature))),
        relationships=tuple(_relationships(cache)),
    )


def _type(row: asyncpg.Record) -> PgType:
    attributes = tuple((name, oid) for name, oid in json.loads(row["attributes"]))
    return PgType(
        row["oid"],
        row["schema"],
        row["name"],
        row["element"],
        row["base"],
        row["relation"],
        tuple(row["labels"]),
        attributes,
    )


def _relation(row: asyncpg.Record) -> Relation:
    columns = tuple(
        Column(name, oid, nullable, has_default, identity, generated, updatable)
        for name, oid, nullable, has_default, identity, generated, updatable in json.loads(row["columns"])
    )
    return Relation(row["oid"], row["schema"], row["name"], row["is_view"], row["is_updatable"], columns)


def _function(row: asyncpg.Record) -> Function:
    types = row["types"]
    modes = row["modes"] or ["i"] * len(types)
    names = row["names"] or [""] * len(types)
    inputs = sum(mode in "ibv" for mode in modes)
    arguments, before = [], 0
    for name, oid, mode in zip(names, types, modes, strict=True):
        is_input = mode in "ibv"
        arguments.append(Argument(name, oid, mode, is_input and before >= inputs - row["defaults"]))
        before += is_input
    return Function(
        row["schema"],
        row["name"],
        tuple(arguments),
        row["returns"],
        row["returns_set"],
        row["rows"],
        row["signature"],
    )


def _relationships(cache: SchemaCache) -> list[Relationship]:
    found = {
        Relationship(
            one.source[0],
            one.source[1],
            one.constraint,
            tuple(column for column, _ in one.pairs),
            one.target[0],
            one.target[1],
            tuple(column for _, column in one.pairs),
            one.cardinality is Cardinality.ONE_TO_ONE,
        )
        for relationships in cache.relationships.values()
        for one in relationships
        if one.function is None
        and (
            one.cardinality is Cardinality.MANY_TO_ONE
            or (one.cardinality is Cardinality.ONE_TO_ONE and one.is_reference)
        )
    }
    return sorted(
        found,
        key=lambda one: (
            one.schema,
            name_order(one.relation),
            name_order(one.name),
            name_order(one.referenced_relation),
            one.referenced_columns,
            one.columns,
        ),
    )

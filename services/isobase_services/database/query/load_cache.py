"""Reads the schema cache from the catalogs: a handful of queries in one snapshot, then values without I/O.

Source: PostgREST docs, schema_cache; the queries are in ``catalog``, what follows from foreign keys in ``relationships``.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from isobase_services.database.query import catalog
from isobase_services.database.query.media_handlers import MediaHandlers, load_media_handlers
from isobase_services.database.query.relationships import (
    add_view_keys,
    foreign_relationships,
    shown_columns,
    with_computed,
    with_junctions,
)
from isobase_services.database.query.representations import Representation, load_representations
from isobase_services.database.query.schema_cache import Argument, Column, Function, Relation, SchemaCache
from isobase_services.database.query.view_columns import origin_columns

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = ["load_part", "load_schema_cache"]

_Row: TypeAlias = "asyncpg.Record"


_Origins: TypeAlias = Mapping[int, Sequence[tuple[int, int, int]]]


@dataclass(slots=True, frozen=True)
class _Rows:
    """What the queries gave, each as it came."""

    relations: Sequence[_Row]
    computed: Sequence[_Row]
    computed_relationships: Sequence[_Row]
    keys: Sequence[_Row]
    primary_keys: Sequence[_Row]
    origins: _Origins
    names: Sequence[_Row]
    functions: Sequence[_Row]
    handlers: MediaHandlers
    representations: Mapping[str, Representation]


async def load_schema_cache(connection: Connection, schemas: Sequence[str], hoisted: Sequence[str]) -> SchemaCache:
    """Read the cache for the exposed ``schemas``, in one repeatable-read transaction so that its parts fit together.

    ``hoisted`` names the settings of functions that are to hold for whole transactions. What the rows mean is found out in
    another thread: on a large schema it takes so long that requests would wait.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # Compiling these wide queries would take ten times as long as running them once.
        await connection.execute("set local search_path to ''; set local jit to off")
        relations = await connection.fetch(catalog.RELATIONS, list(schemas))
        computed = await connection.fetch(catalog.COMPUTED_COLUMNS, list(schemas))
        computed_relationships = await connection.fetch(catalog.COMPUTED_RELATIONSHIPS, list(schemas))
        keys = await connection.fetch(catalog.FOREIGN_KEYS, None)
        primary_keys = await connection.fetch(catalog.PRIMARY_KEYS, None)
        origins = await asyncio.to_thread(_origins, await connection.fetch(catalog.VIEW_RULES))
        mentioned = {relation for entries in origins.values() for _, relation, _ in entries} | origins.keys()
        names = await connection.fetch(catalog.COLUMN_NAMES, list(mentioned))
        functions = await connection.fetch(catalog.FUNCTIONS, list(schemas), [name.lower() for name in hoisted])
        handlers = await load_media_handlers(connection, schemas)
        representations = await load_representations(connection)
    rows = _Rows(
        relations,
        computed,
        computed_relationships,
        keys,
        primary_keys,
        origins,
        names,
        functions,
        handlers,
        representations,
    )
    return await asyncio.to_thread(_cache, rows)


async def load_part(
    connection: Connection, before: SchemaCache, changed: Collection[str], living: Sequence[str]
) -> SchemaCache | None:
    """``before`` with the schemas ``changed`` as they are now; ``living`` are those of them that are still there.

    For schemas of tables alone, whose foreign keys stay among them. None where one holds views or functions, or a media
    handler is for its relations: what these mean is found out from the whole database.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path to ''; set local jit to off")
        if await connection.fetchval(_IS_MORE_THAN_TABLES, list(living)):
            return None
        rows = _Rows(
            relations=await connection.fetch(catalog.RELATIONS, list(living)),
            computed=(),
            computed_relationships=(),
            keys=await connection.fetch(catalog.FOREIGN_KEYS, list(living)),
            primary_keys=(),
            origins={},
            names=(),
            functions=(),
            handlers={},
            representations={},
        )
    return await asyncio.to_thread(_merged, before, frozenset(changed), rows)


_IS_MORE_THAN_TABLES = """
select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = any($1::text[]) and c.relkind in ('v', 'm', 'f'))
    or exists (select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                where n.nspname = any($1::text[]))
    or exists (select from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
                where n.nspname = any($1::text[]) and t.typtype = 'd')
"""


def _merged(before: SchemaCache, changed: frozenset[str], rows: _Rows) -> SchemaCache:
    part = _cache(rows)
    return replace(
        before,
        relations={key: one for key, one in before.relations.items() if key[0] not in changed} | {**part.relations},
        relationships={key: one for key, one in before.relationships.items() if key[0] not in changed}
        | {**part.relationships},
        functions={key: one for key, one in before.functions.items() if key[0] not in changed},
    )


def _origins(rule_rows: Sequence[_Row]) -> _Origins:
    """The columns of tables that each view shows, by the view's rewrite rule."""
    return {row["view"]: list(origin_columns(row["rule"])) for row in rule_rows}


def _cache(rows: _Rows) -> SchemaCache:
    """The rows put together; does no I/O."""
    computed: dict[int, dict[str, str]] = defaultdict(dict)
    for row in rows.computed:
        computed[row["relation"]][row["name"]] = row["base"]
    relations = {
        row["oid"]: _relation(row, computed.get(row["oid"], {}), rows.representations) for row in rows.relations
    }
    names = {(row["relation"], row["number"]): row["name"] for row in rows.names}
    through = shown_columns(rows.origins, names, relations)
    add_view_keys(relations, {row["relation"]: row["columns"] for row in rows.primary_keys}, through)
    foreign = foreign_relationships(rows.keys, relations, through)
    by_oid = {oid: relation.key for oid, relation in relations.items()}
    functions: dict[tuple[str, str], list[Function]] = defaultdict(list)
    for row in rows.functions:
        function = _function(row, by_oid)
        if function.is_callable:
            functions[function.schema, function.name].append(function)
    by_key = {relation.key: relation for relation in relations.values()}
    related = with_computed(with_junctions(foreign, by_key), rows.computed_relationships, by_key)
    return SchemaCache(
        relations=by_key,
        relationships={key: tuple(found) for key, found in related.items()},
        functions={key: tuple(found) for key, found in functions.items()},
        media_handlers=rows.handlers,
    )


def _relation(row: _Row, computed: Mapping[str, str], representations: Mapping[str, Representation]) -> Relation:
    columns = {
        raw["name"]: Column(
            raw["name"],
            raw["type"],
            raw["base"],
            raw["nullable"],
            raw["default"],
            raw["generated"],
            raw["category"],
            raw["composite"],
            raw["comment"],
            tuple(raw["enum"] or ()),
        )
        for raw in json.loads(row["columns"] or "[]")
    }
    return Relation(
        row["oid"],
        row["schema"],
        row["name"],
        row["kind"],
        row["comment"],
        columns,
        tuple(row["primary_key"]),
        row["is_insertable"],
        row["is_updatable"],
        row["is_deletable"],
        computed,
        {name: representations[column.type] for name, column in columns.items() if column.type in representations},
    )


def _function(row: _Row, by_oid: Mapping[int, tuple[str, str]]) -> Function:
    return Function(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        comment=row["comment"],
        is_volatile=row["volatility"] == "v",
        returns_set=row["returns_set"],
        is_scalar=not row["is_composite"],
        is_void=row["is_void"],
        return_type=row["return_type"],
        return_relation=by_oid.get(row["return_relation"]) if row["return_relation"] is not None else None,
        arguments=tuple(
            Argument(raw["name"], raw["type"], raw["required"], raw["variadic"]) for raw in json.loads(row["arguments"])
        ),
        types={raw["name"]: raw["base"] for raw in json.loads(row["columns"])},
        settings=json.loads(row["settings"]),
    )

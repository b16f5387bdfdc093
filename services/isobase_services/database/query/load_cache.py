"""Reads the schema cache from the catalogs: a handful of queries in one snapshot, then values without I/O.

Source: PostgREST docs, schema_cache; the queries are in ``catalog``, what follows from foreign keys in ``relationships``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from isobase_services.database.query import catalog
from isobase_services.database.query.media_handlers import load_media_handlers
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

__all__ = ["load_schema_cache"]

_Row: TypeAlias = "asyncpg.Record"


async def load_schema_cache(connection: Connection, schemas: Sequence[str], hoisted: Sequence[str]) -> SchemaCache:
    """Read the cache for the exposed ``schemas``, in one repeatable-read transaction so that its parts fit together.

    ``hoisted`` names the settings of functions that are to hold for whole transactions.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # Compiling these wide queries would take ten times as long as running them once.
        await connection.execute("set local search_path to ''; set local jit to off")
        relation_rows = await connection.fetch(catalog.RELATIONS, list(schemas))
        computed_rows = await connection.fetch(catalog.COMPUTED_COLUMNS, list(schemas))
        computed_relationship_rows = await connection.fetch(catalog.COMPUTED_RELATIONSHIPS, list(schemas))
        key_rows = await connection.fetch(catalog.FOREIGN_KEYS)
        primary_key_rows = await connection.fetch(catalog.PRIMARY_KEYS)
        rule_rows = await connection.fetch(catalog.VIEW_RULES)
        origins = {row["view"]: list(origin_columns(row["rule"])) for row in rule_rows}
        mentioned = {relation for entries in origins.values() for _, relation, _ in entries} | origins.keys()
        name_rows = await connection.fetch(catalog.COLUMN_NAMES, list(mentioned))
        function_rows = await connection.fetch(catalog.FUNCTIONS, list(schemas), [name.lower() for name in hoisted])
        handlers = await load_media_handlers(connection, schemas)
        representations = await load_representations(connection)
    computed: dict[int, dict[str, str]] = defaultdict(dict)
    for row in computed_rows:
        computed[row["relation"]][row["name"]] = row["base"]
    relations = {row["oid"]: _relation(row, computed.get(row["oid"], {}), representations) for row in relation_rows}
    names = {(row["relation"], row["number"]): row["name"] for row in name_rows}
    through = shown_columns(origins, names, relations)
    add_view_keys(relations, {row["relation"]: row["columns"] for row in primary_key_rows}, through)
    foreign = foreign_relationships(key_rows, relations, through)
    by_oid = {oid: relation.key for oid, relation in relations.items()}
    functions: dict[tuple[str, str], list[Function]] = defaultdict(list)
    for row in function_rows:
        function = _function(row, by_oid)
        if function.is_callable:
            functions[function.schema, function.name].append(function)
    by_key = {relation.key: relation for relation in relations.values()}
    related = with_computed(with_junctions(foreign, by_key), computed_relationship_rows, by_key)
    return SchemaCache(
        relations=by_key,
        relationships={key: tuple(found) for key, found in related.items()},
        functions={key: tuple(found) for key, found in functions.items()},
        media_handlers=handlers,
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

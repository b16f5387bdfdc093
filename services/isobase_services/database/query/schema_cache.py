"""What the engine knows of the database: relations, columns, relationships, functions. A frozen value, replaced whole.

``load_schema_cache`` reads it with four catalog queries; requests use the value they began with. Relationships hold between
tables and also through views whose columns are plain columns of those tables. Source: PostgREST docs, schema_cache and
resource_embedding.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from isobase_services.database.query import catalog
from isobase_services.database.query.media_handlers import MediaHandlers, load_media_handlers
from isobase_services.database.query.view_columns import origin_columns

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "Argument",
    "Cardinality",
    "Column",
    "Function",
    "Junction",
    "Relation",
    "Relationship",
    "SchemaCache",
    "load_schema_cache",
]

WHOLE_BODY_TYPES = frozenset({"json", "jsonb", "text", "xml", "bytea"})
"""Types of an only, unnamed argument that takes the whole body of a request."""
MAX_VIEW_DEPTH = 64
"""Views of views are looked through this far."""


@dataclass(slots=True, frozen=True)
class Column:
    """One column; ``type`` as declared, ``base_type`` without modifiers and with a domain's base, as format_type writes them.

    ``default`` is the SQL expression of its default, an identity column's next value among them.
    """

    name: str
    type: str
    base_type: str
    is_nullable: bool
    default: str | None
    is_generated: bool
    category: str
    is_composite: bool
    comment: str | None
    enum: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Relation:
    """A table or view of an exposed schema."""

    oid: int
    schema: str
    name: str
    kind: str
    comment: str | None
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...]
    is_insertable: bool
    is_updatable: bool
    is_deletable: bool
    computed: Mapping[str, str] = field(default_factory=dict)
    """Functions over a row that read like columns: name -> type."""

    @property
    def is_view(self) -> bool:
        """A view or materialized view."""
        return self.kind in {"v", "m"}

    @property
    def types(self) -> Mapping[str, str]:
        """Name -> type of what a filter may compare: computed columns and columns."""
        return {**self.computed, **{column.name: column.base_type for column in self.columns.values()}}

    @property
    def key(self) -> tuple[str, str]:
        """(schema, name)."""
        return self.schema, self.name


class Cardinality(Enum):
    """How many rows of the target belong to one of the source; values are the words of error details."""

    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    ONE_TO_ONE = "one-to-one"
    MANY_TO_MANY = "many-to-many"


@dataclass(slots=True, frozen=True)
class Junction:
    """The table between the two ends of a many-to-many relationship."""

    schema: str
    name: str
    source_constraint: str
    target_constraint: str
    source_columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Relationship:
    """From ``source`` to ``target``, both (schema, name). ``pairs``: source column, target column.

    For many-to-many ``pairs`` are the source's columns with the junction's, and ``target_pairs`` the junction's with the
    target's.
    """

    source: tuple[str, str]
    target: tuple[str, str]
    cardinality: Cardinality
    constraint: str
    pairs: tuple[tuple[str, str], ...]
    junction: Junction | None = None
    target_pairs: tuple[tuple[str, str], ...] = ()
    is_self: bool = False
    target_is_view: bool = False
    is_reference: bool = False
    """The source holds the foreign key; for one-to-one both directions look alike but for this."""

    @property
    def is_to_one(self) -> bool:
        """True where an embed is an object and not an array."""
        return self.cardinality in {Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE}


@dataclass(slots=True, frozen=True)
class Argument:
    """An input argument; the name is empty for an unnamed one."""

    name: str
    type: str
    is_required: bool
    is_variadic: bool


@dataclass(slots=True, frozen=True)
class Function:
    """One function (one overload)."""

    oid: int
    schema: str
    name: str
    comment: str | None
    is_volatile: bool
    returns_set: bool
    is_scalar: bool
    is_void: bool
    return_type: str
    return_relation: tuple[str, str] | None
    arguments: tuple[Argument, ...]
    types: Mapping[str, str]
    """Name -> type of the columns of what it returns; empty where that is no row."""
    settings: Mapping[str, str]

    @property
    def is_callable(self) -> bool:
        """Whether arguments can be named, or the only one takes the whole body of a request."""
        if len(self.arguments) == 1 and not self.arguments[0].name:
            return self.arguments[0].type in WHOLE_BODY_TYPES
        return all(argument.name for argument in self.arguments)


@dataclass(slots=True, frozen=True)
class SchemaCache:
    """The whole picture."""

    relations: Mapping[tuple[str, str], Relation]
    relationships: Mapping[tuple[str, str], tuple[Relationship, ...]]
    functions: Mapping[tuple[str, str], tuple[Function, ...]]
    media_handlers: MediaHandlers = field(default_factory=dict)


_Row: TypeAlias = "asyncpg.Record"
_ShownColumns: TypeAlias = Mapping[int, Sequence[tuple[int, Mapping[str, Sequence[str]]]]]
"""For each relation: the views that show its columns, each with origin column -> the view's columns."""


async def load_schema_cache(connection: Connection, schemas: Sequence[str]) -> SchemaCache:
    """Read the cache for the exposed ``schemas``, in one repeatable-read transaction so that its parts fit together."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # Compiling these wide queries would take ten times as long as running them once.
        await connection.execute("set local search_path to ''; set local jit to off")
        relation_rows = await connection.fetch(catalog.RELATIONS, list(schemas))
        computed_rows = await connection.fetch(catalog.COMPUTED_COLUMNS, list(schemas))
        key_rows = await connection.fetch(catalog.FOREIGN_KEYS)
        primary_key_rows = await connection.fetch(catalog.PRIMARY_KEYS)
        rule_rows = await connection.fetch(catalog.VIEW_RULES)
        origins = {row["view"]: list(origin_columns(row["rule"])) for row in rule_rows}
        mentioned = {relation for entries in origins.values() for _, relation, _ in entries} | origins.keys()
        name_rows = await connection.fetch(catalog.COLUMN_NAMES, list(mentioned))
        function_rows = await connection.fetch(catalog.FUNCTIONS, list(schemas))
        handlers = await load_media_handlers(connection, schemas)
    computed: dict[int, dict[str, str]] = defaultdict(dict)
    for row in computed_rows:
        computed[row["relation"]][row["name"]] = row["base"]
    relations = {row["oid"]: _relation(row, computed.get(row["oid"], {})) for row in relation_rows}
    names = {(row["relation"], row["number"]): row["name"] for row in name_rows}
    through = _view_columns(origins, names, relations)
    _add_view_keys(relations, {row["relation"]: row["columns"] for row in primary_key_rows}, through)
    foreign = _foreign_relationships(key_rows, relations, through)
    by_oid = {oid: relation.key for oid, relation in relations.items()}
    functions: dict[tuple[str, str], list[Function]] = defaultdict(list)
    for row in function_rows:
        function = _function(row, by_oid)
        if function.is_callable:
            functions[function.schema, function.name].append(function)
    by_key = {relation.key: relation for relation in relations.values()}
    return SchemaCache(
        relations=by_key,
        relationships={key: tuple(found) for key, found in _with_junctions(foreign, by_key).items()},
        functions={key: tuple(found) for key, found in functions.items()},
        media_handlers=handlers,
    )


def _relation(row: _Row, computed: Mapping[str, str]) -> Relation:
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


def _view_columns(
    entries: Mapping[int, Sequence[tuple[int, int, int]]],
    names: Mapping[tuple[int, int], str],
    relations: Mapping[int, Relation],
) -> _ShownColumns:
    """What each exposed view shows of which table, through views of views; ``names`` by relation and column number."""
    origins: dict[int, dict[str, tuple[int, str]]] = defaultdict(dict)
    for view, found in entries.items():
        for number, relation, column in found:
            if (view, number) in names and (relation, column) in names:
                origins[view][names[view, number]] = (relation, names[relation, column])

    def resolve(oid: int, column: str) -> tuple[int, str]:
        # A view depends on older relations only, so this ends; the bound is for a catalog that changes as we read.
        for _ in range(MAX_VIEW_DEPTH):
            if column not in origins.get(oid, {}):
                break
            oid, column = origins[oid][column]
        return oid, column

    shown: dict[tuple[int, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for view, columns in origins.items():
        for name in columns if view in relations else ():
            origin, origin_name = resolve(view, name)
            shown[view, origin][origin_name].append(name)
    through: dict[int, list[tuple[int, Mapping[str, Sequence[str]]]]] = defaultdict(list)
    for (view, origin), mapping in shown.items():
        through[origin].append((view, mapping))
    return through


def _add_view_keys(
    relations: dict[int, Relation], primary_keys: Mapping[int, Sequence[str]], through: _ShownColumns
) -> None:
    """A view that shows the whole primary key of a table has it as its own."""
    keys: dict[int, list[str]] = defaultdict(list)
    for origin, views in through.items():
        key = primary_keys.get(origin, ())
        for view, mapping in views if key else ():
            if all(column in mapping for column in key):
                keys[view].extend(mapping[column][0] for column in key)
    for view, names in keys.items():
        relations[view] = replace(relations[view], primary_key=tuple(dict.fromkeys(names)))


def _stand_ins(
    oid: int, columns: Sequence[str], relations: Mapping[int, Relation], through: _ShownColumns
) -> list[tuple[Relation, tuple[str, ...]]]:
    """The relation itself and the views that show all of ``columns``, each with its own names for them."""
    found = [(relations[oid], tuple(columns))] if oid in relations else []
    for view, mapping in through.get(oid, ()):
        if all(column in mapping for column in columns):
            names = product(*(mapping[column] for column in columns))
            found.extend((relations[view], one) for one in names)
    return found


def _foreign_relationships(
    rows: Sequence[_Row], relations: Mapping[int, Relation], through: _ShownColumns
) -> dict[tuple[str, str], list[Relationship]]:
    found: dict[tuple[str, str], list[Relationship]] = defaultdict(list)
    for row in rows:
        sources = _stand_ins(row["source"], row["source_columns"], relations, through)
        targets = _stand_ins(row["target"], row["target_columns"], relations, through)
        name: str = row["name"]
        for known, _ in (*sources, *targets):
            found[known.key].extend(())  # it has relationships, though the other side may be hidden
        for (source, from_columns), (target, to_columns) in product(sources, targets):
            forward = tuple(zip(from_columns, to_columns, strict=True))
            backward = tuple(zip(to_columns, from_columns, strict=True))
            one = Cardinality.ONE_TO_ONE if row["is_unique"] else None
            is_self = source is target
            found[source.key].append(
                Relationship(
                    source.key,
                    target.key,
                    one or Cardinality.MANY_TO_ONE,
                    name,
                    forward,
                    is_self=is_self,
                    target_is_view=target.is_view,
                    is_reference=True,
                )
            )
            found[target.key].append(
                Relationship(
                    target.key,
                    source.key,
                    one or Cardinality.ONE_TO_MANY,
                    name,
                    backward,
                    is_self=is_self,
                    target_is_view=source.is_view,
                )
            )
    return found


def _with_junctions(
    foreign: Mapping[tuple[str, str], Sequence[Relationship]], relations: Mapping[tuple[str, str], Relation]
) -> dict[tuple[str, str], list[Relationship]]:
    """Add many-to-many: a relation whose primary key holds two foreign keys joins what they point to."""
    found = {key: list(known) for key, known in foreign.items()}
    for key, known in foreign.items():
        junction_key = set(relations[key].primary_key)
        outgoing = [
            one
            for one in known
            if one.cardinality is Cardinality.MANY_TO_ONE and all(column in junction_key for column, _ in one.pairs)
        ]
        for first, second in product(outgoing, outgoing):
            if first.constraint == second.constraint:
                continue
            junction = Junction(
                *key,
                first.constraint,
                second.constraint,
                tuple(column for column, _ in first.pairs),
                tuple(column for column, _ in second.pairs),
            )
            found.setdefault(first.target, []).append(
                Relationship(
                    first.target,
                    second.target,
                    Cardinality.MANY_TO_MANY,
                    junction.name,
                    tuple((theirs, ours) for ours, theirs in first.pairs),
                    junction,
                    second.pairs,
                    is_self=first.target == second.target,
                    target_is_view=second.target_is_view,
                )
            )
    return found

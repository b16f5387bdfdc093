"""What the engine knows of the database: relations, columns, relationships, functions. A frozen value, replaced whole.

``load_schema_cache`` reads it with four catalog queries; requests use the value they began with. Relationships hold between
tables and also through views whose columns are plain columns of those tables. Source: PostgREST docs, schema_cache and
resource_embedding.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING

from isobase_services.database.query import catalog

if TYPE_CHECKING:
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


@dataclass(slots=True, frozen=True)
class Column:
    """One column; ``type`` with its modifiers, ``base_type`` without, as format_type writes them."""

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
    settings: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class SchemaCache:
    """The whole picture."""

    relations: Mapping[tuple[str, str], Relation]
    relationships: Mapping[tuple[str, str], tuple[Relationship, ...]]
    functions: Mapping[tuple[str, str], tuple[Function, ...]]
    time_zones: frozenset[str]


async def load_schema_cache(connection: Connection, schemas: Sequence[str]) -> SchemaCache:
    """Read the cache for the exposed ``schemas``, in one repeatable-read transaction so that its parts fit together."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        relation_rows = await connection.fetch(catalog.RELATIONS, list(schemas))
        key_rows = await connection.fetch(catalog.FOREIGN_KEYS)
        view_rows = await connection.fetch(catalog.VIEW_COLUMNS, list(schemas))
        function_rows = await connection.fetch(catalog.FUNCTIONS, list(schemas))
    relations = {relation.oid: relation for relation in map(_relation, relation_rows)}
    through = _view_columns(view_rows, relations)
    foreign = _foreign_relationships(key_rows, relations, through)
    by_oid = {oid: relation.key for oid, relation in relations.items()}
    functions: dict[tuple[str, str], list[Function]] = defaultdict(list)
    for row in function_rows:
        function = _function(row, by_oid)
        functions[function.schema, function.name].append(function)
    return SchemaCache(
        relations={relation.key: relation for relation in relations.values()},
        relationships={key: tuple(found) for key, found in _with_junctions(foreign, relations).items()},
        functions={key: tuple(found) for key, found in functions.items()},
        time_zones=frozenset(),
    )


def _relation(row: Mapping[str, object]) -> Relation:
    columns = {}
    for raw in json.loads(str(row["columns"] or "[]")):
        columns[raw["name"]] = Column(
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
    return Relation(
        int(str(row["oid"])),
        str(row["schema"]),
        str(row["name"]),
        str(row["kind"]),
        None if row["comment"] is None else str(row["comment"]),
        columns,
        tuple(row["primary_key"]),  # type: ignore[arg-type]
        bool(row["is_insertable"]),
        bool(row["is_updatable"]),
        bool(row["is_deletable"]),
    )


def _function(row: Mapping[str, object], by_oid: Mapping[int, tuple[str, str]]) -> Function:
    arguments = tuple(
        Argument(raw["name"], raw["type"], raw["required"], raw["variadic"])
        for raw in json.loads(str(row["arguments"]))
    )
    relation_oid = row["return_relation"]
    is_void = row["return_name"] == "void"
    is_composite = row["return_kind"] == "c" or row["return_name"] == "record"
    has_columns = is_composite or int(str(row["out_count"])) > 1
    return Function(
        oid=int(str(row["oid"])),
        schema=str(row["schema"]),
        name=str(row["name"]),
        comment=None if row["comment"] is None else str(row["comment"]),
        is_volatile=row["volatility"] == "v",
        returns_set=bool(row["returns_set"]),
        is_scalar=not has_columns,
        is_void=is_void,
        return_type=str(row["return_type"]),
        return_relation=by_oid.get(int(str(relation_oid))) if relation_oid is not None else None,
        arguments=arguments,
        settings=json.loads(str(row["settings"])),
    )


def _view_columns(
    rows: Sequence[Mapping[str, object]], relations: Mapping[int, Relation]
) -> dict[int, list[tuple[int, dict[str, list[str]]]]]:
    """For each underlying relation: the views that show its columns, with origin column -> the view's columns."""
    shown: dict[tuple[int, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    origins: dict[int, dict[str, tuple[int, str]]] = defaultdict(dict)
    for row in rows:
        origins[int(str(row["view"]))][str(row["name"])] = (int(str(row["origin"])), str(row["origin_name"]))

    def resolve(oid: int, column: str, depth: int = 0) -> tuple[int, str]:
        if oid in origins and column in origins[oid] and depth < 16:
            return resolve(*origins[oid][column], depth=depth + 1)
        return oid, column

    for view, columns in origins.items():
        for name in columns:
            origin, origin_name = resolve(view, name)
            shown[view, origin][origin_name].append(name)
    through: dict[int, list[tuple[int, dict[str, list[str]]]]] = defaultdict(list)
    for (view, origin), mapping in shown.items():
        if view in relations:
            through[origin].append((view, dict(mapping)))
    return through


def _stand_ins(
    oid: int,
    columns: Sequence[str],
    relations: Mapping[int, Relation],
    through: Mapping[int, list[tuple[int, dict[str, list[str]]]]],
) -> list[tuple[Relation, tuple[str, ...]]]:
    """The relation itself and the views that show all of ``columns``, each with its own names for them."""
    found = [(relations[oid], tuple(columns))] if oid in relations else []
    for view, mapping in through.get(oid, ()):
        if all(column in mapping for column in columns):
            found.extend((relations[view], names) for names in product(*(mapping[column] for column in columns)))
    return found


def _foreign_relationships(
    rows: Sequence[Mapping[str, object]],
    relations: Mapping[int, Relation],
    through: Mapping[int, list[tuple[int, dict[str, list[str]]]]],
) -> dict[tuple[str, str], list[Relationship]]:
    found: dict[tuple[str, str], list[Relationship]] = defaultdict(list)
    for row in rows:
        source_columns: list[str] = row["source_columns"]  # type: ignore[assignment]
        target_columns: list[str] = row["target_columns"]  # type: ignore[assignment]
        sources = _stand_ins(int(str(row["source"])), source_columns, relations, through)
        targets = _stand_ins(int(str(row["target"])), target_columns, relations, through)
        is_self = row["source"] == row["target"]
        name = str(row["name"])
        for (source, from_columns), (target, to_columns) in product(sources, targets):
            forward = tuple(zip(from_columns, to_columns, strict=True))
            backward = tuple(zip(to_columns, from_columns, strict=True))
            one = Cardinality.ONE_TO_ONE if row["is_unique"] else None
            found[source.key].append(
                Relationship(source.key, target.key, one or Cardinality.MANY_TO_ONE, name, forward, is_self=is_self)
            )
            found[target.key].append(
                Relationship(target.key, source.key, one or Cardinality.ONE_TO_MANY, name, backward, is_self=is_self)
            )
    return found


def _with_junctions(
    foreign: Mapping[tuple[str, str], Sequence[Relationship]], relations: Mapping[int, Relation]
) -> dict[tuple[str, str], list[Relationship]]:
    """Add many-to-many: a table whose primary key holds two foreign keys joins what they point to."""
    found = {key: list(known) for key, known in foreign.items()}
    for relation in relations.values():
        if not relation.primary_key:
            continue
        outgoing = [
            one
            for one in foreign.get(relation.key, ())
            if one.cardinality in {Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE}
            and one.source == relation.key
            and all(column in relation.primary_key for column, _ in one.pairs)
        ]
        for first, second in product(outgoing, outgoing):
            if first is second or first.constraint == second.constraint:
                continue
            junction = Junction(
                relation.schema,
                relation.name,
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
                    relation.name,
                    tuple((theirs, ours) for ours, theirs in first.pairs),
                    junction,
                    second.pairs,
                    is_self=first.target == second.target,
                )
            )
    return found

"""Which relations belong together: foreign keys, also seen through views, and what a junction joins.

Relationships hold between tables and also through views whose columns are plain columns of those tables. Pure: rows of the
catalog queries in, values out. Source: PostgREST docs, resource_embedding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from isobase_services.database.query.schema_cache import Cardinality, Junction, Relation, Relationship

if TYPE_CHECKING:
    import asyncpg

__all__ = ["ShownColumns", "add_view_keys", "foreign_relationships", "shown_columns", "with_computed", "with_junctions"]

MAX_VIEW_DEPTH = 64
"""Views of views are looked through this far."""

ShownColumns: TypeAlias = Mapping[int, Sequence[tuple[int, Mapping[str, Sequence[str]]]]]
"""For each relation: the views that show its columns, each with origin column -> the view's columns."""
_Row: TypeAlias = "asyncpg.Record"


def shown_columns(
    entries: Mapping[int, Sequence[tuple[int, int, int]]],
    names: Mapping[tuple[int, int], str],
    relations: Mapping[int, Relation],
) -> ShownColumns:
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


def add_view_keys(
    relations: dict[int, Relation], primary_keys: Mapping[int, Sequence[str]], through: ShownColumns
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
    oid: int, columns: Sequence[str], relations: Mapping[int, Relation], through: ShownColumns
) -> list[tuple[Relation, tuple[str, ...]]]:
    """The relation itself and the views that show all of ``columns``, each with its own names for them."""
    found = [(relations[oid], tuple(columns))] if oid in relations else []
    for view, mapping in through.get(oid, ()):
        if all(column in mapping for column in columns):
            names = product(*(mapping[column] for column in columns))
            found.extend((relations[view], one) for one in names)
    return found


def foreign_relationships(
    rows: Sequence[_Row], relations: Mapping[int, Relation], through: ShownColumns
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


def with_junctions(
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


def with_computed(
    detected: Mapping[tuple[str, str], Sequence[Relationship]],
    rows: Sequence[_Row],
    relations: Mapping[tuple[str, str], Relation],
) -> dict[tuple[str, str], list[Relationship]]:
    """Add what functions over a row give. One called as the target overrides every detected relationship with that target."""
    found = {key: list(known) for key, known in detected.items()}
    for row in rows:
        function = (row["schema"], row["function"])
        source, target = (row["schema"], row["source"]), (row["target_schema"], row["target"])
        computed = Relationship(
            source,
            target,
            Cardinality.MANY_TO_ONE if row["is_to_one"] else Cardinality.ONE_TO_MANY,
            function[1],
            (),
            is_self=source == target,
            target_is_view=target in relations and relations[target].is_view,
            function=function,
        )
        kept = [one for one in found.get(source, ()) if one.function is not None or one.target != function]
        found[source] = [*kept, computed]
    return found

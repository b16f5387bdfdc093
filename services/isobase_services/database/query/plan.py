"""Can it be done? Names against the schema cache: relations, embeds and their relationships, and the tree of a read.

Pure: AST and cache in, ``ReadNode`` out, or PostgREST's refusal. Source: PostgREST v14 ``Plan.hs``, ``Error.hs`` (PGRST108,
PGRST118, PGRST120, PGRST200, PGRST201, PGRST205).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from isobase_services.database.query.ast import (
    ColumnItem,
    Filter,
    JoinKind,
    LogicTree,
    OrderTerm,
    RelationItem,
    SelectItem,
)
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.schema_cache import Cardinality, Column, Relation, Relationship, SchemaCache

__all__ = ["Embed", "ReadNode", "find_relation", "plan_read"]


@dataclass(slots=True)
class ReadNode:
    """One level of a read: a relation (or a CTE of the same shape), what is shown, how filtered, sorted and cut."""

    relation: tuple[str, str]
    columns: Mapping[str, Column]
    alias: str
    items: list[ColumnItem] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)
    filters: list[Filter | LogicTree] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    limit: int | None = None
    offset: int | None = None
    source: str | None = None
    """The name of a CTE to read instead of the relation."""

    def embed_named(self, name: str) -> Embed | None:
        """The embed that goes by ``name`` (its alias, else its relation's name)."""
        return next(
            (
                embed
                for embed in self.embeds
                if name in {embed.label, embed.item.name} and (embed.item.alias is None or embed.item.alias == name)
            ),
            None,
        )


@dataclass(slots=True)
class Embed:
    """A child node with the relationship that joins it."""

    item: RelationItem
    relationship: Relationship
    node: ReadNode

    @property
    def label(self) -> str:
        """The key in the answer."""
        return self.item.alias or self.item.name

    @property
    def is_inner(self) -> bool:
        """Whether rows without a match are left out."""
        return self.item.join is JoinKind.INNER


def find_relation(cache: SchemaCache, schema: str, name: str) -> Relation:
    """The relation, or PGRST205 with a hint of the nearest name."""
    found = cache.relations.get((schema, name))
    if found is None:
        names = [known for within, known in cache.relations if within == schema]
        near = _nearest(name, names)
        raise RequestError(
            f"Could not find the table '{schema}.{name}' in the schema cache",
            code="PGRST205",
            status=404,
            hint=f"Perhaps you meant the table '{schema}.{near}'" if near else None,
        )
    return found


def _nearest(name: str, names: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


class _Names:
    """Aliases of the generated SQL: short, unique within one statement."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"t{self._count}"


def plan_read(
    cache: SchemaCache,
    relation: tuple[str, str],
    columns: Mapping[str, Column],
    *,
    select: Sequence[SelectItem],
    filters: Mapping[tuple[str, ...], Sequence[Filter | LogicTree]],
    orders: Mapping[tuple[str, ...], tuple[OrderTerm, ...]],
    ranges: Mapping[tuple[str, ...], tuple[int | None, int | None]],
    max_rows: int | None,
    source: str | None = None,
) -> ReadNode:
    """The tree of a read. ``filters``, ``orders`` and ``ranges`` (limit, offset) are by the path of embeds they are for.

    Raises ``RequestError``: PGRST200 (no relationship), 201 (several), 108 (a filter on what is not embedded), 118 / 120.
    """
    root = _node(cache, relation, columns, select, _Names(), max_rows)
    root.source = source
    for path, found in filters.items():
        _at(root, path).filters.extend(found)
    for path, terms in orders.items():
        node = _at(root, path)
        node.order = terms
        for term in terms:
            if term.relation is not None:
                _check_order(node, term)
    for path, (limit, offset) in ranges.items():
        node = _at(root, path)
        node.limit = limit if max_rows is None or path else _least(limit, max_rows)
        node.offset = offset
    if () not in ranges:
        root.limit = max_rows
    return root


def _least(limit: int | None, cap: int) -> int:
    return cap if limit is None else min(limit, cap)


def _at(root: ReadNode, path: tuple[str, ...]) -> ReadNode:
    node = root
    for name in path:
        embed = node.embed_named(name)
        if embed is None:
            raise RequestError(
                f"'{name}' is not an embedded resource in this request",
                code="PGRST108",
                hint=f"Verify that '{name}' is included in the 'select' query parameter.",
            )
        node = embed.node
    return node


def _check_order(node: ReadNode, term: OrderTerm) -> None:
    embed = node.embed_named(str(term.relation))
    if embed is None:
        raise RequestError(
            f"'{term.relation}' is not an embedded resource in this request",
            code="PGRST108",
            hint=f"Verify that '{term.relation}' is included in the 'select' query parameter.",
        )
    if not embed.relationship.is_to_one:
        raise RequestError(
            f"A related order on '{term.relation}' is not possible",
            code="PGRST118",
            details=f"'{node.relation[1]}' and '{embed.item.name}' do not form a many-to-one or one-to-one relationship",
        )


def _node(
    cache: SchemaCache,
    relation: tuple[str, str],
    columns: Mapping[str, Column],
    select: Sequence[SelectItem],
    names: _Names,
    max_rows: int | None,
) -> ReadNode:
    node = ReadNode(relation, columns, names.next())
    for item in select:
        if isinstance(item, ColumnItem):
            node.items.append(item)
            continue
        relationship = _relationship(cache, relation, item)
        target = cache.relations[relationship.target]
        if item.is_spread and not relationship.is_to_one:
            raise RequestError(
                f"A spread operation on '{item.name}' is not possible",
                code="PGRST119",
                details=f"'{relation[1]}' and '{item.name}' do not form a many-to-one or one-to-one relationship",
            )
        child = _node(cache, target.key, target.columns, item.children, names, max_rows)
        if max_rows is not None and not relationship.is_to_one:
            child.limit = max_rows
        node.embeds.append(Embed(item, relationship, child))
    return node


def _relationship(cache: SchemaCache, source: tuple[str, str], item: RelationItem) -> Relationship:
    candidates = [one for one in cache.relationships.get(source, ()) if _matches(one, item, source[0])]
    if not candidates:
        with_hint = f" using the hint '{item.hint}'" if item.hint else ""
        names = {one.target[1] for one in cache.relationships.get(source, ())} - {item.name}
        near = _nearest(item.name, names)
        raise RequestError(
            f"Could not find a relationship between '{source[1]}' and '{item.name}' in the schema cache",
            code="PGRST200",
            details=f"Searched for a foreign key relationship between '{source[1]}' and '{item.name}'{with_hint} in the "
            f"schema '{source[0]}', but no matches were found.",
            hint=f"Perhaps you meant '{near}' instead of '{item.name}'." if near else None,
        )
    if len(candidates) > 1:
        raise _ambiguous(source, item, candidates)
    return candidates[0]


def _matches(one: Relationship, item: RelationItem, schema: str) -> bool:
    """Whether a relationship is what ``name`` and ``hint`` speak of: the target's name, a constraint, or a key's column."""
    if one.target[0] != schema:
        return False
    by_target = one.target[1] == item.name
    if not by_target:
        # A foreign key's own name or column may stand for the target: to-one and one-to-many, never a self reference's back.
        by_constraint = one.cardinality is not Cardinality.MANY_TO_MANY and one.constraint == item.name
        by_column = (
            one.cardinality in {Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE}
            and len(one.pairs) == 1
            and one.pairs[0][0] == item.name
        )
        return (item.hint is None and not one.is_self and (by_constraint or by_column)) or (
            item.hint is None and one.is_self and by_column
        )
    if item.hint is None:
        return not one.is_self or one.cardinality is Cardinality.ONE_TO_MANY
    if one.cardinality is Cardinality.MANY_TO_MANY:
        junction = one.junction
        return junction is not None and item.hint in {
            junction.name,
            junction.source_constraint,
            junction.target_constraint,
        }
    columns = {one.pairs[0][0], one.pairs[0][1]} if len(one.pairs) == 1 else set()
    if one.is_self:
        many_to_one = one.cardinality is Cardinality.MANY_TO_ONE
        return len(one.pairs) == 1 and item.hint == (one.pairs[0][0] if many_to_one else one.pairs[0][0])
    return item.hint == one.constraint or item.hint in columns


def _ambiguous(source: tuple[str, str], item: RelationItem, candidates: Sequence[Relationship]) -> RequestError:
    described = []
    hints = []
    for one in candidates:
        if one.junction is not None:
            junction = one.junction
            way = (
                f"{junction.name} using {junction.source_constraint}({', '.join(junction.source_columns)}) and "
                f"{junction.target_constraint}({', '.join(junction.target_columns)})"
            )
            hint = junction.name
        else:
            mine = ", ".join(pair[0] for pair in one.pairs)
            theirs = ", ".join(pair[1] for pair in one.pairs)
            way = f"{one.constraint} using {source[1]}({mine}) and {one.target[1]}({theirs})"
            hint = one.constraint
        described.append(
            {
                "cardinality": one.cardinality.value,
                "relationship": way,
                "embedding": f"{source[1]} with {one.target[1]}",
            }
        )
        hints.append(f"'{item.name}!{hint}'")
    error = RequestError(
        f"Could not embed because more than one relationship was found for '{source[1]}' and '{item.name}'",
        code="PGRST201",
        status=300,
        hint=f"Try changing '{item.name}' to one of the following: {', '.join(hints)}. "
        "Find the desired relationship in the 'details' key.",
    )
    error.payload = described
    return error

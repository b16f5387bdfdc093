"""Can it be done? Names against the schema cache: relations, embeds and their relationships, and the tree of a read.

Pure: AST and cache in, ``ReadNode`` out, or PostgREST's refusal. Source: PostgREST v14 ``Plan.hs``, ``Error.hs`` (PGRST108,
PGRST118, PGRST123, PGRST127, PGRST205).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from isobase_services.database.query.ast import (
    Aggregate,
    ColumnItem,
    Field,
    Filter,
    JoinKind,
    LogicTree,
    OrderTerm,
    RelationItem,
    SelectItem,
)
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.find_relationship import find_relationship
from isobase_services.database.query.fuzzy import nearest
from isobase_services.database.query.names import UniqueNames
from isobase_services.database.query.representations import Representation
from isobase_services.database.query.schema_cache import Relation, Relationship, SchemaCache
from isobase_services.database.query.wanted import Wanted, not_embedded, wanted_tree

__all__ = ["Embed", "ReadNode", "SpreadPart", "find_relation", "plan_read"]

_ALL = Field("*")


@dataclass(slots=True)
class ReadNode:
    """One level of a read: a relation (or a CTE of the same shape), what is shown, how filtered, sorted and cut."""

    relation: tuple[str, str]
    columns: tuple[str, ...]
    types: Mapping[str, str]
    """Name -> type of columns and computed columns; empty where they are not known."""
    row: str
    """The quoted name that the rows go by. PostgreSQL's errors tell it, so it is the relation's, as upstream."""
    items: list[ColumnItem] = field(default_factory=list)
    embeds: list[Embed] = field(default_factory=list)
    filters: list[Filter | LogicTree] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    limit: int | None = None
    offset: int | None = None
    offset_slot: int | None = None
    """Where the offset stands among the operands of its request, if it does."""
    source: str | None = None
    """The name of a CTE to read instead of the relation."""
    passes_aggregates_on: bool = False
    """Whether this is spread into its one parent row: what it aggregates is then aggregated over the parent's rows."""
    representations: Mapping[str, Representation] = field(default_factory=dict)
    """How columns are shown and compared, where their domain says so."""

    def embed_labelled(self, name: str) -> Embed | None:
        """The embed that the answer shows as ``name``."""
        return next((embed for embed in self.embeds if embed.label == name), None)

    @property
    def has_formats(self) -> bool:
        """Whether some column is not shown as it is stored, so that ``*`` must name the columns."""
        return any(one.to_json is not None for one in self.representations.values())

    @property
    def is_grouped(self) -> bool:
        """Whether rows are aggregated at this level, by a column of its own or by one that a spread passed on."""
        if self.passes_aggregates_on:
            return False
        return any(item.aggregate for item in self.items) or any(
            part.aggregate for embed in self.embeds if embed.item.is_spread for part in embed.parts
        )

    @property
    def shows_anything(self) -> bool:
        """Whether a parent shows something of this level."""
        return bool(self.items) or any(embed.node.shows_anything for embed in self.embeds)


@dataclass(slots=True)
class Embed:
    """A child node with the relationship that joins it to a parent's row."""

    item: RelationItem
    relationship: Relationship
    node: ReadNode
    parent: str
    """The quoted name of the parent's rows."""
    alias: str
    """The quoted name of the joined result; PostgreSQL's errors tell it too."""
    junction: str
    """The quoted name of the junction's rows."""

    @property
    def label(self) -> str:
        """The key in the answer."""
        return self.item.name if self.item.alias is None else self.item.alias

    @property
    def is_inner(self) -> bool:
        """Whether rows without a match are left out."""
        return self.item.join is JoinKind.INNER

    @property
    def parts(self) -> list[SpreadPart]:
        """What a spread hands to its parent."""
        parts = [
            SpreadPart(item.label or item.field.name, item.aggregate, item.aggregate_cast) for item in self.node.items
        ]
        for embed in self.node.embeds:
            if embed.item.is_spread:
                parts.extend(embed.parts)
            elif embed.node.shows_anything:
                parts.append(SpreadPart(embed.label))
        return parts


@dataclass(slots=True, frozen=True)
class SpreadPart:
    """One column that a spread hands over, ``*`` for all that are not known; ``aggregate`` is still to be applied to it."""

    name: str
    aggregate: Aggregate | None = None
    cast: str | None = None


def find_relation(cache: SchemaCache, schema: str, name: str) -> Relation:
    """The relation, or PGRST205 with a hint of the nearest name."""
    found = cache.relations.get((schema, name))
    if found is None:
        near = nearest(name, (known for within, known in cache.relations if within == schema))
        raise RequestError(
            f"Could not find the table '{schema}.{name}' in the schema cache",
            code="PGRST205",
            status=404,
            hint=f"Perhaps you meant the table '{schema}.{near}'" if near else None,
        )
    return found


def plan_read(
    cache: SchemaCache,
    relation: tuple[str, str],
    columns: Sequence[str],
    types: Mapping[str, str],
    *,
    select: Sequence[SelectItem],
    filters: Mapping[tuple[str, ...], Sequence[Filter | LogicTree]],
    orders: Mapping[tuple[str, ...], tuple[OrderTerm, ...]],
    ranges: Mapping[tuple[str, ...], tuple[int | None, int | None]],
    max_rows: int | None,
    source: str | None = None,
    allows_aggregates: bool = False,
) -> ReadNode:
    """The tree of a read. ``filters``, ``orders`` and ``ranges`` (limit, offset) are by the path of embeds they are for.

    ``columns`` and ``types`` are the root's; ``max_rows`` limits every level. Raises ``RequestError``: PGRST200 (no
    relationship), 201 (several), 108 (a filter on what is not embedded), 118 (an order by a to-many one), 123 (aggregates
    that are not allowed), 127 (aggregates in a spread of many rows).
    """
    wanted = wanted_tree(select, filters, orders, ranges)
    names = UniqueNames()
    root = ReadNode(relation, tuple(columns), types, names.take(relation[1], 0), source=source)
    known = cache.relations.get(relation)
    root.representations = known.representations if known is not None else {}
    _grow(cache, root, wanted, names, max_rows, 1)
    if not root.items and not root.embeds:
        root.items.append(ColumnItem(_ALL))
    _expand(root)
    _check_orders(root)
    if not allows_aggregates:
        _check_no_aggregates(root)
    _check_spreads(root)
    _check_labels(root, 1)
    return root


def _least(limit: int | None, cap: int | None) -> int | None:
    return cap if limit is None else limit if cap is None else min(limit, cap)


def _grow(
    cache: SchemaCache, node: ReadNode, wanted: Wanted, names: UniqueNames, max_rows: int | None, depth: int
) -> None:
    """Add to a node what is asked of it, and the nodes below it."""
    node.items, node.filters, node.order = wanted.columns, wanted.filters, wanted.order
    node.limit, node.offset = _least(wanted.limit, max_rows), wanted.offset
    for below in wanted.embeds:
        item = below.item
        assert item is not None  # only the top has none
        relationship = find_relationship(cache, node.relation, item)
        target = cache.relations.get(relationship.target)
        name = relationship.target[1]
        child = ReadNode(
            relationship.target,
            tuple(target.columns) if target is not None else (),
            target.types if target is not None else {},
            # As upstream, which PostgreSQL's errors show: behind a junction rows go by their relation's own name.
            names.take(name, depth) if relationship.junction is None else names.take(name, 0, suffix=depth),
            passes_aggregates_on=item.is_spread and relationship.is_to_one,
            representations=target.representations if target is not None else {},
        )
        alias = names.take(f"{node.relation[1]}_{item.name if item.alias is None else item.alias}", depth)
        _grow(cache, child, below, names, max_rows, depth + 1)
        junction = names.take(relationship.junction.name, depth) if relationship.junction is not None else ""
        node.embeds.append(Embed(item, relationship, child, node.row, alias, junction))


def _expand(node: ReadNode, *, is_forced: bool = False, spread: Embed | None = None) -> None:
    """Write ``*`` out as columns where each has to be named, and give a name to what a spread hands over without one.

    A ``*`` of columns that are not known, and have to be, is nothing.
    """
    is_to_many = spread is not None and not spread.relationship.is_to_one
    is_forced = is_forced or is_to_many or node.is_grouped or any(item.aggregate for item in node.items)
    must_name = is_forced or node.has_formats or (spread is not None and bool(node.columns))
    items: list[ColumnItem] = []
    for place, item in enumerate(node.items):
        if item.field == _ALL and item.aggregate is None and must_name:
            # A second star shows nothing new, and would make the names of what a spread hands over ambiguous.
            again = spread is not None and item in node.items[:place]
            items.extend(ColumnItem(Field(name)) for name in (() if again else node.columns))
        elif spread is not None and item.aggregate is not None and item.alias is None:
            items.append(replace(item, alias=item.aggregate))
        else:
            items.append(item)
    node.items = items
    for embed in node.embeds:
        _expand(embed.node, is_forced=is_forced, spread=embed if embed.item.is_spread else None)


def _check_orders(node: ReadNode) -> None:
    for term in node.order:
        if term.relation is not None:
            _check_order(node, term.relation)
    for embed in node.embeds:
        _check_orders(embed.node)


def _check_order(node: ReadNode, relation: str) -> None:
    embed = node.embed_labelled(relation)
    if embed is None:
        raise not_embedded(relation)
    if not embed.relationship.is_to_one:
        # Upstream's name for what a function or a write returned.
        place = node.relation[1] if node.source is None else "pgrst_source"
        raise RequestError(
            f"A related order on '{relation}' is not possible",
            code="PGRST118",
            details=f"'{place}' and '{relation}' do not form a many-to-one or one-to-one relationship",
        )


def _check_no_aggregates(node: ReadNode) -> None:
    if any(item.aggregate for item in node.items):
        raise RequestError("Use of aggregate functions is not allowed", code="PGRST123")
    for embed in node.embeds:
        _check_no_aggregates(embed.node)


def _check_spreads(node: ReadNode) -> None:
    """What a spread of many rows aggregates could be meant per parent or over all: refused, as upstream."""
    for embed in node.embeds:
        if embed.item.is_spread and not embed.relationship.is_to_one and embed.node.is_grouped:
            raise RequestError(
                "Feature not implemented",
                code="PGRST127",
                details="Aggregates are not implemented for one-to-many or many-to-many spreads.",
            )
        _check_spreads(embed.node)


def _check_labels(node: ReadNode, depth: int) -> None:
    """Two embeds of one name cannot both be shown; PostgreSQL's refusal of upstream's SQL says so."""
    labels: set[str] = set()
    for embed in node.embeds:
        if embed.label in labels:
            name = f"{node.relation[1]}_{embed.label}_{depth}"
            raise RequestError(f'table name "{name}" specified more than once', code="42712", status=400)
        labels.add(embed.label)
        _check_labels(embed.node, depth + 1)

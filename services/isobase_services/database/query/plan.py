"""Can it be done? Names against the schema cache: relations, embeds and their relationships, and the tree of a read.

Pure: AST and cache in, ``ReadNode`` out, or PostgREST's refusal. Source: PostgREST v14 ``Plan.hs``, ``Error.hs`` (PGRST108,
PGRST118, PGRST123, PGRST127, PGRST205).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from isobase_platform.sql import MAX_IDENTIFIER_BYTES, quote_identifier
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
from isobase_services.database.query.representations import Representation
from isobase_services.database.query.schema_cache import Relation, Relationship, SchemaCache

__all__ = ["Embed", "ReadNode", "SpreadPart", "find_relation", "plan_read"]

SUFFIX_BYTES = 12
"""Room that a row's name keeps for what tells it from others."""
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

    def embed_named(self, name: str) -> Embed | None:
        """The embed that a parameter such as ``name.order`` is for: by its relation's name or by its alias."""
        return next((embed for embed in self.embeds if name in {embed.item.name, embed.item.alias}), None)

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
        return self.item.alias or self.item.name

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


class _Names:
    """Names of the generated SQL, unique within one statement."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str, depth: int) -> str:
        """``wanted`` itself at the top, ``wanted_1`` one level below, ...; quoted. A number more where that is taken."""
        name = wanted if depth == 0 else f"{_cut(wanted)}_{depth}"
        while name in self._taken:
            # Two embeds of one relation, or a relation that is really called name_1.
            name = f"{_cut(wanted)}_{depth}_{len(self._taken)}"
        self._taken.add(name)
        return quote_identifier(name)


def _cut(name: str) -> str:
    """Room for a suffix within PostgreSQL's limit."""
    return name.encode()[: MAX_IDENTIFIER_BYTES - SUFFIX_BYTES].decode(errors="ignore")


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
    _check_paths(select, (*filters, *orders, *ranges))
    names = _Names()
    root = ReadNode(relation, tuple(columns), types, names.take(relation[1], 0), source=source)
    known = cache.relations.get(relation)
    root.representations = known.representations if known is not None else {}
    _grow(cache, root, select, names, max_rows, 1)
    if not root.items and not root.embeds:
        root.items.append(ColumnItem(_ALL))
    for path, found in filters.items():
        _at(root, path).filters.extend(found)
    for path, terms in orders.items():
        _at(root, path).order = terms
    for path, (limit, offset) in ranges.items():
        node = _at(root, path)
        node.limit = _least(limit, max_rows)
        node.offset = offset
    _expand(root)
    _check_orders(root)
    if not allows_aggregates:
        _check_no_aggregates(root)
    _check_spreads(root)
    return root


def _least(limit: int | None, cap: int | None) -> int | None:
    return cap if limit is None else limit if cap is None else min(limit, cap)


def _check_paths(select: Sequence[SelectItem], paths: Sequence[tuple[str, ...]]) -> None:
    """PGRST108 for a path that leads nowhere; upstream says so before it looks for relationships."""
    for path in paths:
        items = select
        for name in path:
            found = next(
                (one for one in items if isinstance(one, RelationItem) and name in {one.name, one.alias}), None
            )
            if found is None:
                raise _not_embedded(name)
            items = found.children


def _at(root: ReadNode, path: tuple[str, ...]) -> ReadNode:
    node = root
    for name in path:
        embed = node.embed_named(name)
        if embed is None:
            raise _not_embedded(name)
        node = embed.node
    return node


def _not_embedded(name: str) -> RequestError:
    return RequestError(
        f"'{name}' is not an embedded resource in this request",
        code="PGRST108",
        hint=f"Verify that '{name}' is included in the 'select' query parameter.",
    )


def _grow(
    cache: SchemaCache, node: ReadNode, select: Sequence[SelectItem], names: _Names, max_rows: int | None, depth: int
) -> None:
    """Add what ``select`` says to a node, and the nodes below it."""
    node.limit = max_rows
    for item in select:
        if isinstance(item, ColumnItem):
            node.items.append(item)
            continue
        relationship = find_relationship(cache, node.relation, item)
        label = item.alias or item.name
        _check_label(node, label, depth)
        target = cache.relations.get(relationship.target)
        child = ReadNode(
            relationship.target,
            tuple(target.columns) if target is not None else (),
            target.types if target is not None else {},
            names.take(relationship.target[1], depth),
            passes_aggregates_on=item.is_spread and relationship.is_to_one,
            representations=target.representations if target is not None else {},
        )
        alias = names.take(f"{node.relation[1]}_{label}", depth)
        _grow(cache, child, item.children, names, max_rows, depth + 1)
        junction = names.take(relationship.junction.name, depth) if relationship.junction is not None else ""
        node.embeds.append(Embed(item, relationship, child, node.row, alias, junction))


def _check_label(node: ReadNode, label: str, depth: int) -> None:
    """Two embeds of one name cannot both be shown; PostgreSQL's refusal of upstream's SQL says so."""
    if node.embed_labelled(label) is not None:
        raise RequestError(
            f'table name "{node.relation[1]}_{label}_{depth}" specified more than once', code="42712", status=400
        )


def _expand(node: ReadNode, *, is_forced: bool = False, spread: Embed | None = None) -> None:
    """Write ``*`` out as columns where each has to be named, and give a name to what a spread hands over without one.

    A ``*`` of columns that are not known, and have to be, is nothing.
    """
    is_to_many = spread is not None and not spread.relationship.is_to_one
    is_forced = is_forced or is_to_many or node.is_grouped or any(item.aggregate for item in node.items)
    must_name = is_forced or node.has_formats or (spread is not None and bool(node.columns))
    items: list[ColumnItem] = []
    for item in node.items:
        if item.field == _ALL and item.aggregate is None and must_name:
            items.extend(ColumnItem(Field(name)) for name in node.columns)
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
        raise _not_embedded(relation)
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

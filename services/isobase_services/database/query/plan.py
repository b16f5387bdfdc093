"""Can it be done? Names against the schema cache: relations, embeds and their relationships, and the tree of a read.

Pure: AST and cache in, ``ReadNode`` out, or PostgREST's refusal. Source: PostgREST v14 ``Plan.hs``, ``Error.hs`` (PGRST108,
PGRST118, PGRST120, PGRST200, PGRST201, PGRST205).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isobase_platform.sql import MAX_IDENTIFIER_BYTES, quote_identifier
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
from isobase_services.database.query.fuzzy import PARAMETERS_SCORE, nearest, nearest_scored
from isobase_services.database.query.representations import Representation
from isobase_services.database.query.schema_cache import Cardinality, Relation, Relationship, SchemaCache

__all__ = ["Embed", "ReadNode", "find_relation", "plan_read"]

SUFFIX_BYTES = 12
"""Room that a row's name keeps for what tells it from others."""


@dataclass(slots=True)
class ReadNode:
    """One level of a read: a relation (or a CTE of the same shape), what is shown, how filtered, sorted and cut."""

    relation: tuple[str, str]
    columns: tuple[str, ...]
    types: Mapping[str, str]
    """Name -> type of columns and computed columns; empty where they are not known."""
    alias: str
    """Unique within the statement; what is made up beside the rows is named after it."""
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
    representations: Mapping[str, Representation] = field(default_factory=dict)
    """How columns are shown and compared, where their domain says so."""

    @property
    def has_formats(self) -> bool:
        """Whether some column is not shown as it is stored, so that ``*`` must name the columns."""
        return any(one.to_json is not None for one in self.representations.values())

    def embed_named(self, name: str) -> Embed | None:
        """The embed that a parameter such as ``name.order`` is for: by its relation's name or by its alias."""
        return next((embed for embed in self.embeds if name in {embed.item.name, embed.item.alias}), None)

    def embed_labelled(self, name: str) -> Embed | None:
        """The embed that the answer shows as ``name``."""
        return next((embed for embed in self.embeds if embed.label == name), None)


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
        self._count = 0
        self._taken: set[str] = set()

    def alias(self) -> str:
        """A short name that no relation has."""
        self._count += 1
        return f"isobase_t{self._count - 1}"

    def row(self, relation: str, depth: int) -> str:
        """The relation's own name at the top, ``name_1`` one level below, ...; quoted."""
        name = relation if depth == 0 else f"{_cut(relation)}_{depth}"
        while name in self._taken:
            # Two embeds of one relation, or a relation that is really called name_1.
            self._count += 1
            name = f"{_cut(relation)}_{depth}_{self._count}"
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
) -> ReadNode:
    """The tree of a read. ``filters``, ``orders`` and ``ranges`` (limit, offset) are by the path of embeds they are for.

    ``columns`` and ``types`` are the root's; ``max_rows`` limits every level. Raises ``RequestError``: PGRST200 (no
    relationship), 201 (several), 108 (a filter on what is not embedded), 118 (an order by a to-many one), 123, 127.
    """
    names = _Names()
    root = ReadNode(relation, tuple(columns), types, names.alias(), names.row(relation[1], 0), source=source)
    known = cache.relations.get(relation)
    root.representations = known.representations if known is not None else {}
    _grow(cache, root, select, names, max_rows, 1)
    for path, found in filters.items():
        _at(root, path).filters.extend(found)
    for path, terms in orders.items():
        _at(root, path).order = terms
    for path, (limit, offset) in ranges.items():
        node = _at(root, path)
        node.limit = _least(limit, max_rows)
        node.offset = offset
    _check_orders(root)
    return root


def _least(limit: int | None, cap: int | None) -> int | None:
    return cap if limit is None else limit if cap is None else min(limit, cap)


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


def _check_orders(node: ReadNode) -> None:
    for term in node.order:
        if term.relation is not None:
            _check_order(node, term.relation)
    for embed in node.embeds:
        _check_orders(embed.node)


def _check_order(node: ReadNode, relation: str) -> None:
    embed = node.embed_labelled(relation)
    if embed is None:
        raise RequestError(
            f"'{relation}' is not an embedded resource in this request",
            code="PGRST108",
            hint=f"Verify that '{relation}' is included in the 'select' query parameter.",
        )
    if not embed.relationship.is_to_one:
        raise RequestError(
            f"A related order on '{relation}' is not possible",
            code="PGRST118",
            details=f"'{node.relation[1]}' and '{relation}' do not form a many-to-one or one-to-one relationship",
        )


def _grow(
    cache: SchemaCache, node: ReadNode, select: Sequence[SelectItem], names: _Names, max_rows: int | None, depth: int
) -> None:
    """Add what ``select`` says to a node, and the nodes below it."""
    node.limit = max_rows
    for item in select:
        if isinstance(item, ColumnItem):
            if item.aggregate is not None:
                raise RequestError("Use of aggregate functions is not allowed", code="PGRST123")
            node.items.append(item)
            continue
        relationship = _relationship(cache, node.relation, item)
        if item.is_spread and not relationship.is_to_one:
            raise RequestError(
                "Feature not implemented",
                code="PGRST127",
                details=f"Spreading '{item.name}' is not possible: '{node.relation[1]}' and '{item.name}' do not form a "
                "many-to-one or one-to-one relationship",
            )
        _check_label(node, item, depth)
        target = cache.relations[relationship.target]
        child = ReadNode(target.key, tuple(target.columns), target.types, names.alias(), names.row(target.name, depth))
        child.representations = target.representations
        _grow(cache, child, item.children, names, max_rows, depth + 1)
        node.embeds.append(Embed(item, relationship, child))


def _check_label(node: ReadNode, item: RelationItem, depth: int) -> None:
    """Two embeds of one name cannot both be shown; PostgreSQL's refusal of upstream's SQL says so."""
    label = item.alias or item.name
    if node.embed_labelled(label) is not None:
        raise RequestError(
            f'table name "{node.relation[1]}_{label}_{depth}" specified more than once', code="42712", status=400
        )


def _relationship(cache: SchemaCache, source: tuple[str, str], item: RelationItem) -> Relationship:
    schema = source[0]
    known = [one for one in cache.relationships.get(source, ()) if one.target[0] == schema]
    candidates = [one for one in known if _matches(one, item)]
    if not candidates:
        with_hint = f" using the hint '{item.hint}'" if item.hint else ""
        raise RequestError(
            f"Could not find a relationship between '{source[1]}' and '{item.name}' in the schema cache",
            code="PGRST200",
            details=f"Searched for a foreign key relationship between '{source[1]}' and '{item.name}'{with_hint} in the "
            f"schema '{schema}', but no matches were found.",
            hint=_relationship_hint(cache, source, item.name, known),
        )
    if len(candidates) > 1:
        raise _ambiguous(source, item, candidates)
    return candidates[0]


def _relationship_hint(
    cache: SchemaCache, source: tuple[str, str], name: str, known: Sequence[Relationship]
) -> str | None:
    """The nearest related name, or the nearest source where the source has no relationships; within the schema only."""
    if source in cache.relationships:
        scored = nearest_scored(name, (one.target[1] for one in known), PARAMETERS_SCORE)
        near = next((other for score, other in scored if score < 1), None)
        return f"Perhaps you meant '{near}' instead of '{name}'." if near else None
    parents = (key[1] for key, related in cache.relationships.items() if key[0] == source[0] and related)
    near = nearest(source[1], parents, PARAMETERS_SCORE)
    return f"Perhaps you meant '{near}' instead of '{source[1]}'." if near else None


def _matches(one: Relationship, item: RelationItem) -> bool:
    """Whether a relationship is what ``name`` and ``hint`` speak of: the target's name, a constraint, or a key's column."""
    names_target = one.target[1] == item.name
    ours, theirs = one.pairs[0] if len(one.pairs) == 1 and one.junction is None else (None, None)
    if one.is_self:
        # One foreign key, two relationships: the table's name means its children, the column's name its parent.
        if item.hint is None:
            by_name = names_target and one.cardinality is Cardinality.ONE_TO_MANY
            return by_name or (ours == item.name and one.cardinality is Cardinality.MANY_TO_ONE)
        return names_target and one.cardinality is Cardinality.ONE_TO_MANY and theirs == item.hint
    by_constraint = one.junction is None and one.constraint == (item.hint or item.name)
    if item.hint is None:
        return names_target or (not one.target_is_view and (by_constraint or ours == item.name))
    by_junction = one.junction is not None and one.junction.name == item.hint
    return names_target and (by_constraint or by_junction or item.hint in {ours, theirs})


_RANK = {
    Cardinality.ONE_TO_MANY: 0,
    Cardinality.MANY_TO_ONE: 1,
    Cardinality.ONE_TO_ONE: 2,
    Cardinality.MANY_TO_MANY: 3,
}


def _ambiguous(source: tuple[str, str], item: RelationItem, candidates: Sequence[Relationship]) -> RequestError:
    described = []
    hints = []
    for one in sorted(candidates, key=lambda one: (_RANK[one.cardinality], one.constraint, one.pairs)):
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
        hints.append(f"'{one.target[1]}!{hint}'")
    error = RequestError(
        f"Could not embed because more than one relationship was found for '{source[1]}' and '{item.name}'",
        code="PGRST201",
        status=300,
        hint=f"Try changing '{item.name}' to one of the following: {', '.join(hints)}. "
        "Find the desired relationship in the 'details' key.",
    )
    error.payload = described
    return error

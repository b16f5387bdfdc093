"""A planned read as one SQL statement that lets PostgreSQL build the JSON.

Each level is a SELECT whose embeds are lateral joins or subqueries: an object for a to-one relationship, an array for a
to-many one, columns for a spread. The rows of a level go by the relation's name, its embeds by ``relation_embed_N``; both are
always used with a dot, as a bare name would mean a column of that name first.
Source: PostgREST v14 ``Query/QueryBuilder.hs`` for the shape of the joins, which decides the order of unordered rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from isobase_platform.sql import qualified, quote_identifier
from isobase_services.database.query.ast import Aggregate, ColumnItem
from isobase_services.database.query.names import identifier
from isobase_services.database.query.parameters import Operand, Parameters
from isobase_services.database.query.plan import Embed, ReadNode, SpreadPart
from isobase_services.database.query.representations import converted
from isobase_services.database.query.sql_filter import Scope, field_sql, logic_sql, order_sql

__all__ = ["count_sql", "read_sql"]

MAX_WRITTEN_LIMIT = 1000
"""A limit up to this is part of the SQL; a larger one is a parameter, so that statements do not multiply without end."""
_ROW = "isobase_row"
_DATA = "isobase_data"

JsonType: TypeAlias = Literal["json", "jsonb"]


def read_sql(node: ReadNode, parameters: Parameters, *, link: Embed | None = None, embeds_as: JsonType = "json") -> str:
    """The SELECT of a node; ``link`` ties an embedded one to its parent's row.

    ``embeds_as``: the type of embedded objects and arrays; jsonb has the text that upstream's have, where it is shown, and
    the equality that rows are grouped by.
    """
    embeds_as = "jsonb" if node.is_grouped else embeds_as

    tested: set[str] = set()

    def is_null(embed: Embed, is_negated: bool) -> str:
        tested.add(embed.label)
        result = f"{embed.alias}.*" if embed.relationship.is_to_one else f"{embed.alias}.{_data(embed)}"
        return f"({result}) is {'' if is_negated else 'not '}distinct from null"

    scope = Scope(node.row, node.types, _embed_test(node, is_null), node.representations)
    source, conditions = _source(node, link)
    conditions += [logic_sql(one, scope, parameters) for one in node.filters]
    late = [embed for embed in node.embeds if _is_late(node, embed) and embed.label not in tested]
    shown, groups = _shown(node, scope, parameters, embeds_as, late)
    joins = [_join_sql(embed, parameters, embeds_as) for embed in node.embeds if embed not in late]
    parts = [f"select {', '.join(shown)} from {source}", *joins]
    if conditions:
        parts.append(f"where {' and '.join(conditions)}")
    if node.is_grouped and groups:
        parts.append(f"group by {', '.join(groups)}")
    if node.order:
        parts.append("order by " + ", ".join(_order_terms(node, scope, parameters)))
    parts.append(_range_sql(node, parameters))
    return " ".join(part for part in parts if part)


def count_sql(node: ReadNode, parameters: Parameters, *, link: Embed | None = None) -> str:
    """``select 1`` for each row that the filters and inner embeds let through, whatever the limit and the groups.

    Embeds are tested by EXISTS and not joined: what only shows is not computed.
    """

    def has_none(embed: Embed, is_negated: bool) -> str:
        # No double negation: the planner makes a join of EXISTS and of NOT EXISTS only.
        return f"{'' if is_negated else 'not '}exists ({count_sql(embed.node, parameters, link=embed)})"

    scope = Scope(node.row, node.types, _embed_test(node, has_none), node.representations)
    source, conditions = _source(node, link)
    conditions += [logic_sql(one, scope, parameters) for one in node.filters]
    conditions += [
        f"exists ({count_sql(embed.node, parameters, link=embed)})" for embed in node.embeds if embed.is_inner
    ]
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return f"select 1 from {source}{where}"


def _embed_test(node: ReadNode, test: Callable[[Embed, bool], str]) -> Callable[[str, bool], str | None]:
    """What ``NAME=is.null`` and its negation mean where NAME is an embed."""

    def embed_test(name: str, is_negated: bool) -> str | None:
        embed = node.embed_labelled(name)
        return test(embed, is_negated) if embed is not None else None

    return embed_test


def _source(node: ReadNode, link: Embed | None) -> tuple[str, list[str]]:
    """The FROM item of a node, and the conditions that leave those of its rows that belong to the parent's."""
    name = quote_identifier(node.source) if node.source else qualified(*node.relation)
    if link is None:
        return f"{name} as {node.row}", []
    relationship = link.relationship
    if relationship.function is not None:
        # The cast tells overloads apart where the parent's rows are those of a CTE.
        row = f"({link.parent}.*)::{qualified(*relationship.source)}"
        return f"{qualified(*relationship.function)}({row}) as {node.row}", []
    junction = relationship.junction
    if junction is None:
        return f"{name} as {node.row}", _equal(node.row, link.parent, relationship.pairs)
    tied = _equal(link.junction, link.parent, relationship.pairs)
    tied += [
        f"{node.row}.{quote_identifier(theirs)} = {link.junction}.{quote_identifier(ours)}"
        for ours, theirs in relationship.target_pairs
    ]
    return f"{name} as {node.row}, {qualified(junction.schema, junction.name)} as {link.junction}", tied


def _equal(child: str, parent: str, pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{child}.{quote_identifier(theirs)} = {parent}.{quote_identifier(ours)}" for ours, theirs in pairs]


def _is_late(node: ReadNode, embed: Embed) -> bool:
    """Whether an embed is an array that has no say in which rows there are, and only some rows are shown.

    Such a one is a subquery of the select list: PostgreSQL computes that for the rows that are left after ORDER BY and LIMIT,
    and a lateral join for all before. Without a limit nothing is won, and an outer query could compute the array twice.
    """
    is_array = not embed.relationship.is_to_one and not embed.item.is_spread
    only_shows = is_array and not embed.is_inner and embed.node.shows_anything
    return only_shows and node.limit is not None and not node.is_grouped


def _shown(
    node: ReadNode, scope: Scope, parameters: Parameters, embeds_as: JsonType, late: Sequence[Embed]
) -> tuple[list[str], list[str]]:
    """What a level selects, and the places in it (from 1) that its rows are grouped by where they are aggregated.

    ``late``: the embeds that are not joined.
    """
    shown: list[str] = []
    groups: list[str] = []

    def add(expression: str, *, is_aggregate: bool, stored: str | None = None) -> None:
        shown.append(expression)
        if not is_aggregate:
            # By place: a name could mean an input column, and a JSON path has its keys in parameters of its own. What is
            # shown as JSON is grouped as it is ``stored``: json has no equality.
            groups.append(stored or str(len(shown)))

    for item in node.items:
        applies = item.aggregate is not None and not node.passes_aggregates_on
        stored = scope.column(item.field.name) if _format(item, scope) is not None and not item.field.steps else None
        add(_column_sql(item, scope, parameters, applies=applies), is_aggregate=applies, stored=stored)
    for embed in node.embeds:
        if embed.item.is_spread:
            for part in embed.parts:
                applies = part.aggregate is not None and not node.passes_aggregates_on
                add(_part_sql(part, embed, embeds_as, applies=applies), is_aggregate=applies)
        elif embed in late:
            inner = read_sql(embed.node, parameters, link=embed)
            rows = f"coalesce(json_agg({_ROW}.*), '[]'){_cast_of(embeds_as)}"
            add(f"(select {rows} from ({inner}) as {_ROW}) as {identifier(embed.label)}", is_aggregate=False)
        elif embed.node.shows_anything:
            add(_embedded_sql(embed, embeds_as), is_aggregate=False)
    if not shown and not node.embeds:
        # A parent that embeds such a node shows nothing of it. With embeds that show nothing either, rows have no columns.
        return [f"{node.row}.*"], []
    return shown, groups


def _column_sql(item: ColumnItem, scope: Scope, parameters: Parameters, *, applies: bool) -> str:
    """One selected column. ``applies`` False leaves its aggregate to the parent that this is spread into."""
    if item.field.name == "*" and not item.field.steps:
        if item.aggregate is None:
            return f"{scope.alias}.*"
        # Counted as rows of this relation; a parent's row without one counts none.
        expression, is_named = "*" if applies else "1", True
    else:
        formats = _format(item, scope)
        expression = _cast(converted(formats, field_sql(item.field, scope, parameters)), item.cast)
        is_named = item.cast is None and formats is None
    if applies and item.aggregate is not None:
        expression = _aggregated(expression, item.aggregate, item.aggregate_cast)
    label = item.label if item.label is not None or is_named or applies else item.field.name
    return f"{expression} as {identifier(label)}" if label is not None else expression


def _format(item: ColumnItem, scope: Scope) -> tuple[str, str] | None:
    """The function that a column is shown through, where its domain has one."""
    known = scope.representations.get(item.field.name)
    return known.to_json if known is not None else None


def _cast(expression: str, kind: str | None) -> str:
    # The name of a type cannot be quoted ("int" would be another type); the parser lets through letters, digits,
    # underscores, dollars and spaces only.
    return expression if kind is None else f"cast({expression} as {kind})"


def _aggregated(expression: str, aggregate: Aggregate, cast: str | None) -> str:
    return _cast(f"{aggregate}({expression})", cast)


def _part_sql(part: SpreadPart, embed: Embed, embeds_as: JsonType, *, applies: bool) -> str:
    if part.name == "*":
        return f"{embed.alias}.*"
    name = identifier(part.name)
    if applies and part.aggregate is not None:
        return f"{_aggregated(f'{embed.alias}.{name}', part.aggregate, part.cast)} as {name}"
    cast = "" if embed.relationship.is_to_one else _cast_of(embeds_as)
    return f"{embed.alias}.{name}{cast}"


def _embedded_sql(embed: Embed, embeds_as: JsonType) -> str:
    """The object or array of an embed."""
    label = identifier(embed.label)
    if embed.relationship.is_to_one:
        return f"{'to_jsonb' if embeds_as == 'jsonb' else 'row_to_json'}({embed.alias}.*) as {label}"
    return f"coalesce({embed.alias}.{_data(embed)}, '[]'){_cast_of(embeds_as)} as {label}"


def _data(embed: Embed) -> str:
    """The column that holds an array of rows, or their number in a spread: beside the spread's, whatever they are called."""
    names = {part.name for part in embed.parts} if embed.item.is_spread else frozenset[str]()
    name = _DATA
    while name in names:
        name += "_"
    return name


def _cast_of(embeds_as: JsonType) -> str:
    """What makes jsonb of json where it has to be."""
    return "::jsonb" if embeds_as == "jsonb" else ""


def _join_sql(embed: Embed, parameters: Parameters, embeds_as: JsonType) -> str:
    """The lateral join of an embed: its row for a to-one relationship, one row of aggregates for a to-many one."""
    kind = "inner" if embed.is_inner else "left"
    # What a spread hands over is shown, and compared, by the parent.
    inner = read_sql(embed.node, parameters, link=embed, embeds_as=embeds_as if embed.item.is_spread else "json")
    if embed.relationship.is_to_one:
        return f"{kind} join lateral ({inner}) as {embed.alias} on true"
    columns = [f"json_agg({_ROW}.*) as {_data(embed)}"]
    if embed.item.is_spread:
        # All arrays see the rows in the order that the subquery gives them, so that their elements belong together.
        names = [identifier(part.name) for part in embed.parts]
        columns = [f"nullif(count(*), 0) as {_data(embed)}"]
        columns += [f"coalesce(json_agg({_ROW}.{name}), '[]') as {name}" for name in names]
    condition = f"{embed.alias}.{_data(embed)} is not null" if embed.is_inner else "true"
    return f"{kind} join lateral (select {', '.join(columns)} from ({inner}) as {_ROW}) as {embed.alias} on {condition}"


def _order_terms(node: ReadNode, scope: Scope, parameters: Parameters) -> list[str]:
    terms = []
    for term in node.order:
        within, cast = scope, ""
        if term.relation is not None:
            # By what the embed shows, under the name that it is shown with.
            embed = node.embed_labelled(term.relation)
            assert embed is not None  # the plan has seen to it
            within = Scope(embed.alias, {})
            if embed.node.embed_labelled(term.field.name) is not None and not term.field.steps:
                cast = "::jsonb"  # json has no order
        terms.append(order_sql(term, field_sql(term.field, within, parameters) + cast))
    return terms


def _range_sql(node: ReadNode, parameters: Parameters) -> str:
    parts = []
    if node.limit is not None:
        # Written out, the limit is known to the plan that PostgreSQL keeps; with a parameter it may plan every time anew.
        # A number beyond bigint is PostgreSQL's to refuse, with its own code.
        shown = f"{node.limit:d}" if node.limit <= MAX_WRITTEN_LIMIT else parameters.add(str(node.limit))
        parts.append(f"limit {shown}")
    if node.offset:
        parts.append(f"offset {parameters.add(Operand.at(node.offset_slot, str(node.offset)))}")
    return " ".join(parts)

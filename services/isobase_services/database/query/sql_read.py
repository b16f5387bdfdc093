"""A planned read as one SQL statement that lets PostgreSQL build the JSON.

Each level is a SELECT whose embeds are lateral joins: an object for a to-one relationship, an array for a to-many one.
The rows of a level go by the relation's name, its embeds by ``isobase_tNeM``; both are always used with a dot, as a bare name
would mean a column of that name first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from isobase_platform.sql import qualified, quote_identifier
from isobase_services.database.query.ast import ColumnItem, Field
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.parameters import Operand, Parameters
from isobase_services.database.query.plan import Embed, ReadNode
from isobase_services.database.query.representations import converted
from isobase_services.database.query.schema_cache import Relationship
from isobase_services.database.query.sql_filter import Scope, field_sql, logic_sql, order_sql

__all__ = ["count_sql", "read_sql"]

# A name that no column has: a bare alias would mean the column of that name first.
_ROW = "isobase_row"


def read_sql(
    node: ReadNode,
    parameters: Parameters,
    *,
    join: str | None = None,
    cap: int | None = None,
    embeds_as: Literal["json", "jsonb"] = "json",
) -> str:
    """The SELECT of a node. ``join`` ties a child to its parent's row; ``cap`` is a limit beside the request's own.

    ``embeds_as``: the type of embedded objects and arrays; jsonb has the text that upstream's have, where it is shown.
    """

    def is_null(number: int, _embed: Embed, is_negated: bool) -> str:
        return f"{node.alias}e{number}.data is {'not ' if is_negated else ''}null"

    scope = Scope(node.row, node.types, _embed_test(node, is_null), node.representations)
    shown = [_column_sql(item, scope, parameters) for item in _expanded(node)]
    joins = []
    for number, embed in enumerate(node.embeds):
        lateral, expressions = _embed_sql(node, embed, f"{node.alias}e{number}", parameters, embeds_as)
        joins.append(lateral)
        shown.extend(expressions)
    if not shown and not node.embeds:
        # Nothing selected reads like everything at the top; a parent that embeds such a node shows nothing of it. With
        # embeds that show nothing either, rows have no columns at all.
        everything = ColumnItem(Field("*"))
        shown = [_column_sql(item, scope, parameters) for item in _expanded(replace(node, items=[everything]))]
    parts = [f"select {', '.join(shown)} from {_source(node)}", *joins]
    conditions = [*([join] if join else []), *(logic_sql(one, scope, parameters) for one in node.filters)]
    if conditions:
        parts.append(f"where {' and '.join(conditions)}")
    if node.order:
        parts.append("order by " + ", ".join(_order_terms(node, scope, parameters)))
    parts.append(_range_sql(node, parameters, cap))
    return " ".join(part for part in parts if part)


def count_sql(node: ReadNode, parameters: Parameters, *, join: str | None = None) -> str:
    """``select 1`` for each row that the filters and inner embeds let through, whatever the limit.

    Embeds are tested by EXISTS and not joined: what only shows is not computed.
    """

    def has_none(_number: int, embed: Embed, is_negated: bool) -> str:
        # No double negation: the planner makes a join of EXISTS and of NOT EXISTS only.
        return f"{'' if is_negated else 'not '}{_exists(node, embed, parameters)}"

    scope = Scope(node.row, node.types, _embed_test(node, has_none), node.representations)
    conditions = [join] if join else []
    conditions += [logic_sql(one, scope, parameters) for one in node.filters]
    conditions += [_exists(node, embed, parameters) for embed in node.embeds if embed.is_inner]
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return f"select 1 from {_source(node)}{where}"


def _exists(node: ReadNode, embed: Embed, parameters: Parameters) -> str:
    condition = _join_condition(node.row, embed.relationship, embed.node.row, f"{embed.node.alias}j")
    return f"exists ({count_sql(embed.node, parameters, join=condition)})"


def _source(node: ReadNode) -> str:
    name = quote_identifier(node.source) if node.source else qualified(*node.relation)
    return f"{name} as {node.row}"


def _embed_test(node: ReadNode, test: Callable[[int, Embed, bool], str]) -> Callable[[str, bool], str | None]:
    """What ``NAME=is.null`` and its negation mean where NAME is an embed."""

    def embed_test(name: str, is_negated: bool) -> str | None:
        found = next((pair for pair in enumerate(node.embeds) if pair[1].label == name), None)
        return test(*found, is_negated) if found is not None else None

    return embed_test


def _expanded(node: ReadNode) -> Sequence[ColumnItem]:
    """The columns asked for, ``*`` as the columns that it stands for where some are shown through a function."""
    if not node.has_formats:
        return node.items
    return [
        one
        for item in node.items
        for one in ([ColumnItem(Field(name)) for name in node.columns] if item.field == Field("*") else [item])
    ]


def _column_sql(item: ColumnItem, scope: Scope, parameters: Parameters) -> str:
    if item.aggregate is not None:
        raise RequestError("Use of aggregate functions is not allowed", code="PGRST123")
    if item.field.name == "*" and not item.field.steps:
        return f"{scope.alias}.*"
    known = scope.representations.get(item.field.name)
    formats = known.to_json if known is not None else None
    expression = converted(formats, field_sql(item.field, scope, parameters))
    if item.cast is not None:
        # The name of a type cannot be quoted ("int" would be another type); the parser lets through letters, digits,
        # underscores, dollars and spaces only.
        expression = f"cast({expression} as {item.cast})"
    label = item.alias or _label(item.field)
    if label == item.field.name and not item.field.steps and item.cast is None and formats is None:
        return expression
    return f"{expression} as {quote_identifier(label)}"


def _label(target: Field) -> str:
    """The last key of a JSON path names the result; an index hands over to the key before it."""
    keys = [step.key for step in target.steps if not step.is_index]
    return keys[-1] if keys else target.name


def _join_condition(parent: str, relationship: Relationship, child: str, alias: str) -> str:
    """What ties the child's rows to one row of the parent; ``alias`` is for the junction's."""
    if relationship.junction is None:
        return " and ".join(
            f"{child}.{quote_identifier(theirs)} = {parent}.{quote_identifier(ours)}"
            for ours, theirs in relationship.pairs
        )
    junction = relationship.junction
    inner = " and ".join(
        [
            *(
                f"{alias}.{quote_identifier(theirs)} = {parent}.{quote_identifier(ours)}"
                for ours, theirs in relationship.pairs
            ),
            *(
                f"{child}.{quote_identifier(theirs)} = {alias}.{quote_identifier(ours)}"
                for ours, theirs in relationship.target_pairs
            ),
        ]
    )
    return f"exists (select from {qualified(junction.schema, junction.name)} as {alias} where {inner})"


def _embed_sql(
    parent: ReadNode, embed: Embed, alias: str, parameters: Parameters, embeds_as: Literal["json", "jsonb"]
) -> tuple[str, list[str]]:
    """The lateral join of an embed, and what the parent selects from it."""
    condition = _join_condition(parent.row, embed.relationship, embed.node.row, f"{embed.node.alias}j")
    kind = "inner" if embed.is_inner else "left"
    data = f"{alias}.data" if embeds_as == "json" else f"{alias}.data::jsonb"
    if embed.relationship.is_to_one:
        inner = read_sql(embed.node, parameters, join=condition, cap=1)
        columns = ", ".join([f"row_to_json({_ROW}) as data", *([f"{_ROW}.*"] if embed.item.is_spread else [])])
        lateral = f"{kind} join lateral (select {columns} from ({inner}) as {_ROW}) as {alias} on true"
        if embed.item.is_spread:
            return lateral, [
                f"{alias}.{name} as {label}" if name != label else f"{alias}.{name}"
                for name, label in _spread_columns(embed)
            ]
        shown = [f"{data} as {quote_identifier(embed.label)}"] if _shows_anything(embed.node) else []
        return lateral, shown
    inner = read_sql(embed.node, parameters, join=condition)
    lateral = f"{kind} join lateral (select json_agg({_ROW}) as data from ({inner}) as {_ROW}) as {alias} on " + (
        f"{alias}.data is not null" if embed.is_inner else "true"
    )
    shown = [f"coalesce({data}, '[]') as {quote_identifier(embed.label)}"] if _shows_anything(embed.node) else []
    return lateral, shown


def _shows_anything(node: ReadNode) -> bool:
    return bool(node.items) or any(_shows_anything(embed.node) for embed in node.embeds)


def _spread_columns(embed: Embed) -> list[tuple[str, str]]:
    """(quoted name inside the embed, quoted name shown) of what a spread hands to its parent."""
    names: list[str] = []
    for item in embed.node.items:
        if item.field.name == "*" and not item.field.steps:
            names.extend(embed.node.columns)
        else:
            names.append(item.alias or _label(item.field))
    columns = [(quote_identifier(name), quote_identifier(name)) for name in names]
    for child in embed.node.embeds:
        if child.item.is_spread:
            columns.extend((label, label) for _, label in _spread_columns(child))
        elif _shows_anything(child.node):
            columns.append((quote_identifier(child.label), quote_identifier(child.label)))
    return columns


def _order_terms(node: ReadNode, scope: Scope, parameters: Parameters) -> list[str]:
    terms = []
    for term in node.order:
        if term.relation is None:
            terms.append(order_sql(term, field_sql(term.field, scope, parameters)))
            continue
        number, embed = next(pair for pair in enumerate(node.embeds) if pair[1] is node.embed_labelled(term.relation))
        # The related row is read again by its key: the embed itself may not show the column that sorts.
        child = Scope(f"{node.alias}o{number}", embed.node.types)
        condition = _join_condition(node.row, embed.relationship, child.alias, f"{child.alias}j")
        expression = field_sql(term.field, child, parameters)
        target = qualified(*embed.relationship.target)
        terms.append(order_sql(term, f"(select {expression} from {target} as {child.alias} where {condition} limit 1)"))
    return terms


def _range_sql(node: ReadNode, parameters: Parameters, cap: int | None) -> str:
    limits = [limit for limit in (node.limit, cap) if limit is not None]
    # As text first: a number beyond bigint is then PostgreSQL's to refuse, with its own code.
    parts = [f"limit {parameters.add(str(min(limits)))}::text::bigint"] if limits else []
    if node.offset:
        parts.append(f"offset {parameters.add(Operand.at(node.offset_slot, str(node.offset)))}::text::bigint")
    return " ".join(parts)

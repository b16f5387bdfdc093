"""A planned read as one SQL statement that lets PostgreSQL build the JSON.

Each level is a SELECT whose embeds are lateral joins: an object for a to-one relationship, an array for a to-many one.
"""

from __future__ import annotations

from isobase_platform.sql import qualified, quote_identifier
from isobase_services.database.query.ast import ColumnItem, Field, JsonStep
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import Embed, ReadNode
from isobase_services.database.query.schema_cache import Relationship
from isobase_services.database.query.sql_filter import Parameters, Scope, field_sql, logic_sql, order_sql

__all__ = ["count_sql", "read_sql"]


def read_sql(node: ReadNode, parameters: Parameters, *, join: str | None = None) -> str:
    """The SELECT of a node. ``join`` is the condition that ties a child to its parent's row."""
    scope = _scope(node)
    shown = [_column_sql(item, scope, parameters) for item in node.items]
    joins = []
    for number, embed in enumerate(node.embeds):
        lateral, expressions = _embed_sql(node, embed, f"{node.alias}e{number}", parameters)
        joins.append(lateral)
        shown.extend(expressions)
    source = quote_identifier(node.source) if node.source else qualified(*node.relation)
    parts = [f"select {', '.join(shown) or '1'} from {source} as {node.alias}", *joins]
    conditions = [*([join] if join else []), *(logic_sql(one, scope, parameters) for one in node.filters)]
    if conditions:
        parts.append(f"where {' and '.join(conditions)}")
    if node.order:
        parts.append("order by " + ", ".join(_order_term(node, scope, parameters)))
    parts.append(_range_sql(node, parameters))
    return " ".join(part for part in parts if part)


def count_sql(node: ReadNode, parameters: Parameters) -> str:
    """``select ... `` of all rows that the filters and inner embeds let through, whatever the limit."""
    scope = _scope(node)
    joins = [
        _embed_sql(node, embed, f"{node.alias}e{number}", parameters)[0] for number, embed in enumerate(node.embeds)
    ]
    conditions = [logic_sql(one, scope, parameters) for one in node.filters]
    where = f" where {' and '.join(conditions)}" if conditions else ""
    source = quote_identifier(node.source) if node.source else qualified(*node.relation)
    return f"select 1 from {source} as {node.alias} {' '.join(joins)}{where}"


def _scope(node: ReadNode) -> Scope:
    def embed_is_null(name: str) -> str | None:
        if name in node.columns:
            return None
        for number, embed in enumerate(node.embeds):
            if embed.label == name:
                return f"{node.alias}e{number}.data is null"
        return None

    return Scope(node.alias, node.columns, embed_is_null)


def _column_sql(item: ColumnItem, scope: Scope, parameters: Parameters) -> str:
    if item.aggregate is not None:
        raise RequestError("Use of aggregate functions is not allowed", code="PGRST123")
    if item.field.name == "*" and not item.field.steps:
        return f"{scope.alias}.*"
    expression = field_sql(item.field, scope, parameters)
    if item.cast is not None:
        expression = f"cast({expression} as {item.cast})"
    label = item.alias or _label(item.field)
    if label == item.field.name and not item.field.steps and item.cast is None:
        return expression
    return f"{expression} as {quote_identifier(label)}"


def _label(target: Field) -> str:
    """The last key of a JSON path names the result; an index hands over to the key before it."""
    keys: list[JsonStep] = [step for step in target.steps if not step.is_index]
    return keys[-1].key if keys else target.name


def _join_condition(parent: str, relationship: Relationship, child: str) -> str:
    """What ties the child's rows to one row of the parent."""
    if relationship.junction is None:
        return " and ".join(
            f"{child}.{quote_identifier(theirs)} = {parent}.{quote_identifier(ours)}"
            for ours, theirs in relationship.pairs
        )
    junction = relationship.junction
    alias = f"{child}j"
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


def _embed_sql(parent: ReadNode, embed: Embed, alias: str, parameters: Parameters) -> tuple[str, list[str]]:
    """The lateral join of an embed, and what the parent selects from it."""
    condition = _join_condition(parent.alias, embed.relationship, embed.node.alias)
    inner = read_sql(embed.node, parameters, join=condition)
    kind = "inner" if embed.is_inner else "left"
    if embed.relationship.is_to_one:
        lateral = (
            f"{kind} join lateral (select row_to_json(r) as data, r.* from ({inner} limit 1) as r) as {alias} on true"
            if embed.item.is_spread
            else f"{kind} join lateral (select row_to_json(r) as data from ({inner} limit 1) as r) as {alias} on true"
        )
        if embed.node.limit is not None:
            lateral = lateral.replace(" limit 1) as r", ") as r")
        if embed.item.is_spread:
            return lateral, _spread_columns(embed, alias)
        shown = [f"{alias}.data as {quote_identifier(embed.label)}"] if _shows_anything(embed.node) else []
        return lateral, shown
    lateral = f"{kind} join lateral (select json_agg(r) as data from ({inner}) as r) as {alias} on " + (
        f"{alias}.data is not null" if embed.is_inner else "true"
    )
    shown = (
        [f"coalesce({alias}.data, '[]'::json) as {quote_identifier(embed.label)}"]
        if _shows_anything(embed.node)
        else []
    )
    return lateral, shown


def _shows_anything(node: ReadNode) -> bool:
    return bool(node.items or node.embeds)


def _spread_columns(embed: Embed, alias: str) -> list[str]:
    columns: list[str] = []
    for item in embed.node.items:
        if item.field.name == "*" and not item.field.steps:
            columns.extend(f"{alias}.{quote_identifier(name)}" for name in embed.node.columns)
        else:
            columns.append(f"{alias}.{quote_identifier(item.alias or _label(item.field))}")
    for child in embed.node.embeds:
        if child.item.is_spread:
            columns.extend(f"{alias}.{column.rpartition('.')[2]}" for column in _spread_columns(child, "x"))
        else:
            columns.append(f"{alias}.{quote_identifier(child.label)}")
    return columns


def _order_term(node: ReadNode, scope: Scope, parameters: Parameters) -> list[str]:
    terms = []
    for term in node.order:
        if term.relation is None:
            terms.append(order_sql(term, field_sql(term.field, scope, parameters)))
            continue
        number, embed = next(
            (number, embed) for number, embed in enumerate(node.embeds) if embed is node.embed_named(term.relation)
        )
        # The related row is read again by its key: the embed itself may not show the column that sorts.
        child = Scope(f"{node.alias}o{number}", embed.node.columns)
        condition = _join_condition(node.alias, embed.relationship, child.alias)
        expression = field_sql(term.field, child, parameters)
        related = f"(select {expression} from {qualified(*embed.relationship.target)} as {child.alias} where {condition} limit 1)"
        terms.append(order_sql(term, related))
    return terms


def _range_sql(node: ReadNode, parameters: Parameters) -> str:
    parts = []
    if node.limit is not None:
        parts.append(f"limit {parameters.add(node.limit)}")
    if node.offset:
        parts.append(f"offset {parameters.add(node.offset)}")
    return " ".join(parts)

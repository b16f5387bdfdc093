"""Filters, JSON paths and order terms as SQL with parameters: names through the one quoting helper, values never in text.

Source: PostgREST v14 ``Query/SqlFragment.hs`` for the meaning of each operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isobase_services.database.query.ast import Field, Filter, LogicTree, OrderTerm
from isobase_services.database.query.names import identifier
from isobase_services.database.query.parameters import Parameters, like_pattern, list_literal
from isobase_services.database.query.representations import Representation, converted

__all__ = ["Scope", "field_sql", "filter_sql", "logic_sql", "order_sql"]

_COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
    "cs": "@>",
    "cd": "<@",
    "ov": "&&",
    "sl": "<<",
    "sr": ">>",
    "nxr": "&<",
    "nxl": "&>",
    "adj": "-|-",
    "isdistinct": "is distinct from",
}
_TEXT_SEARCH = {
    "fts": "to_tsquery",
    "plfts": "plainto_tsquery",
    "phfts": "phraseto_tsquery",
    "wfts": "websearch_to_tsquery",
}
_IS = {"null": "is null", "not_null": "is not null", "true": "is true", "false": "is false", "unknown": "is unknown"}
_UNREPRESENTED = frozenset({"like", "ilike", "isdistinct"})
"""Operators whose value upstream takes as it is, also for a column with a representation."""


@dataclass(slots=True, frozen=True)
class Scope:
    """What names mean at one level: the alias of its rows, their types (empty where not known), its embeds' null tests.

    ``representations``: the columns whose values are shown and read through functions.
    """

    alias: str
    types: Mapping[str, str]
    embed_test: Callable[[str, bool], str | None] = lambda _name, _is_negated: None
    representations: Mapping[str, Representation] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """The quoted column reference."""
        return f"{self.alias}.{identifier(name)}"

    def is_vector(self, target: Field) -> bool:
        """Whether full-text search takes the column as it is."""
        return not target.steps and self.types.get(target.name) == "tsvector"


def field_sql(target: Field, scope: Scope, parameters: Parameters) -> str:
    """A column reference with its JSON steps; a JSON path into a composite or text column goes through to_jsonb."""
    column = scope.column(target.name)
    if not target.steps:
        return column
    base = column if scope.types.get(target.name) in {"json", "jsonb"} else f"to_jsonb({column})"
    for step in target.steps:
        arrow = "->>" if step.as_text else "->"
        base = f"{base}{arrow}{parameters.add(step.key)}{'::int' if step.is_index else ''}"
    return f"({base})"


def filter_sql(one: Filter, scope: Scope, parameters: Parameters) -> str:
    """One filter as a boolean expression. An ``is.null`` on an embed's name tests whether it has rows."""
    if one.operator == "is" and not one.field.steps and one.value == "null":
        test = scope.embed_test(one.field.name, one.is_negated)
        if test is not None:
            return test
    left = field_sql(one.field, scope, parameters)
    known = scope.representations.get(one.field.name)
    condition = None
    if known is not None and known.from_text is not None:
        condition = _represented_condition(one, left, known.from_text, parameters)
    if condition is None:
        condition = _condition(one, left, parameters, is_vector=scope.is_vector(one.field))
    return f"not ({condition})" if one.is_negated else condition


def _condition(one: Filter, left: str, parameters: Parameters, *, is_vector: bool) -> str:
    """One comparison. Its value has the type that PostgreSQL finds for it, as a literal would: the operator decides."""
    if one.operator == "is":
        return f"{left} {_IS[one.value]}"
    if one.operator == "in":
        return f"{left} = any ({_members(one, parameters)})"
    if one.operator in _TEXT_SEARCH:
        language = f"{parameters.add(one.language)}, " if one.language else ""
        vector = left if is_vector else f"to_tsvector({language}{left})"
        return f"{vector} @@ {_TEXT_SEARCH[one.operator]}({language}{parameters.add(one.value)})"
    placeholder = parameters.add(one.value, like_pattern if one.operator in {"like", "ilike"} else None)
    if one.quantifier is not None:
        placeholder = f"{one.quantifier} ({placeholder})"
    return f"{left} {_COMPARISONS[one.operator]} {placeholder}"


def _members(one: Filter, parameters: Parameters) -> str:
    """The values of ``in`` as one array: any number of them is one parameter and one plan."""
    return parameters.add(one.value, list_literal) if one.value else parameters.add(one.values)


def _represented_condition(one: Filter, left: str, parse: tuple[str, str], parameters: Parameters) -> str | None:
    """The filter of a column whose values are read from text by a function; None for operators that compare no values."""
    if one.operator not in _COMPARISONS or one.operator in _UNREPRESENTED:
        if one.operator != "in":
            return None
        operator, quantifier = "=", "any"
    else:
        operator, quantifier = _COMPARISONS[one.operator], one.quantifier or ""
    if not quantifier:
        return f"{left} {operator} {converted(parse, f'{parameters.add(one.value)}::text')}"
    values = _members(one, parameters) if one.operator == "in" else parameters.add(one.value)
    each = converted(parse, f"unnest({values}::text[])")
    return f"{left} {operator} {quantifier} (select {each})"


def logic_sql(tree: Filter | LogicTree, scope: Scope, parameters: Parameters) -> str:
    """A filter or a tree of them."""
    if isinstance(tree, Filter):
        return filter_sql(tree, scope, parameters)
    joined = f" {tree.operator} ".join(logic_sql(member, scope, parameters) for member in tree.members)
    return f"not ({joined})" if tree.is_negated else f"({joined})"


def order_sql(term: OrderTerm, expression: str) -> str:
    """One ORDER BY item over an expression that is SQL already."""
    nulls = f" nulls {term.nulls}" if term.nulls else ""
    return f"{expression} {term.direction or ''}{nulls}".strip()

"""Filters, JSON paths and order terms as SQL with parameters. Identifiers through the one quoting helper, values never in text.

Source: PostgREST v14 ``Query/SqlFragment.hs`` for the meaning of each operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isobase_platform.sql import quote_identifier
from isobase_services.database.query.ast import Field, Filter, LogicTree, OrderTerm
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.schema_cache import Column

__all__ = ["Parameters", "Scope", "field_sql", "filter_sql", "logic_sql", "order_sql"]

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
_TEXT_OPERATORS = frozenset({"like", "ilike", "match", "imatch"})


@dataclass(slots=True)
class Parameters:
    """The values of a statement, in the order of their numbers."""

    values: list[object] = field(default_factory=list)

    def add(self, value: object) -> str:
        """Append and return the placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


@dataclass(slots=True, frozen=True)
class Scope:
    """What names mean at one level: the alias of its rows, its columns (empty where not known), its embeds' null tests."""

    alias: str
    columns: Mapping[str, Column]
    embed_is_null: Callable[[str], str | None] = lambda _name: None

    def column(self, name: str) -> str:
        """The quoted column reference."""
        return f"{self.alias}.{quote_identifier(name)}"

    def type_of(self, target: Field) -> str:
        """The SQL type that a value compared with ``target`` must have."""
        if target.steps:
            return "text" if target.steps[-1].as_text else "jsonb"
        column = self.columns.get(target.name)
        return column.base_type if column is not None else "text"


def field_sql(target: Field, scope: Scope, parameters: Parameters) -> str:
    """A column reference with its JSON steps; a JSON path into a composite or text column goes through to_jsonb."""
    column = scope.column(target.name)
    if not target.steps:
        return column
    known = scope.columns.get(target.name)
    base = column if known is not None and known.base_type in {"json", "jsonb"} else f"to_jsonb({column})"
    for step in target.steps:
        arrow = "->>" if step.as_text else "->"
        kind = "int" if step.is_index else "text"
        base = f"{base}{arrow}{parameters.add(int(step.key) if step.is_index else step.key)}::{kind}"
    return f"({base})"


def filter_sql(one: Filter, scope: Scope, parameters: Parameters) -> str:
    """One filter as a boolean expression. An ``is.null`` on an embed's name tests whether it has rows."""
    if one.operator == "is" and not one.field.steps and one.value in {"null", "not_null"}:
        test = scope.embed_is_null(one.field.name)
        if test is not None:
            is_null = (one.value == "null") != one.is_negated
            return test if is_null else f"not ({test})"
    left = field_sql(one.field, scope, parameters)
    negation = "not " if one.is_negated else ""
    if one.operator == "is":
        return f"{negation}{left} {_IS[one.value]}"
    kind = scope.type_of(one.field)
    if one.operator == "in":
        # One text array that PostgreSQL casts: any number of values is one parameter and one plan.
        return f"{negation}{left} = any ({parameters.add(list(one.values))}::text[]::{_array_of(kind)})"
    if one.operator in _TEXT_SEARCH:
        function = _TEXT_SEARCH[one.operator]
        language = f"{parameters.add(one.language)}::text::regconfig, " if one.language else ""
        is_vector = kind == "tsvector"
        vector = left if is_vector else f"to_tsvector({language}{left})"
        return f"{negation}{vector} @@ {function}({language}{parameters.add(one.value)}::text)"
    operator = _COMPARISONS[one.operator]
    value = one.value.replace("*", "%") if one.operator in {"like", "ilike"} else one.value
    if one.operator in _TEXT_OPERATORS:
        kind = "text"
    if one.quantifier is not None:
        return f"{negation}{left} {operator} {one.quantifier} ({parameters.add(value)}::text::{_array_of(kind)})"
    if kind in {"json"} and not one.field.steps:
        kind = "text"
    return f"{negation}{left} {operator} {parameters.add(value)}::text::{kind}"


def _array_of(kind: str) -> str:
    if kind.endswith("[]"):
        raise RequestError("in, any and all do not compare arrays", code="PGRST100")
    return f"{kind}[]"


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

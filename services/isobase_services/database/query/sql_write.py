"""Writes and function calls as CTEs named ``written``; what they return is then read like a relation.

The payload is one JSON parameter that PostgreSQL itself turns into typed rows. Source: PostgREST v14 ``Query/QueryBuilder.hs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isobase_platform.sql import qualified, quote_identifier
from isobase_services.database.query.ast import Filter, LogicTree
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.plan import ReadNode
from isobase_services.database.query.schema_cache import Function, Relation
from isobase_services.database.query.sql_filter import Parameters, Scope, logic_sql

__all__ = ["Upsert", "call_sql", "delete_sql", "insert_sql", "returning_columns", "update_sql"]


@dataclass(slots=True, frozen=True)
class Upsert:
    """What to do with a row that is there already; ``merges`` False ignores the new one."""

    target: tuple[str, ...]
    merges: bool


def returning_columns(node: ReadNode, relation: Relation) -> list[str]:
    """The columns that the answer needs of a written row: RETURNING asks for the right to read no more than these."""
    wanted: dict[str, None] = {}
    for item in node.items:
        if item.field.name == "*":
            return list(relation.columns)
        wanted[item.field.name] = None
    for embed in node.embeds:
        wanted |= {ours: None for ours, _ in embed.relationship.pairs}
    wanted |= {term.field.name: None for term in node.order if term.relation is None}
    return list(wanted)


def _typed(relation: Relation, names: Sequence[str]) -> str:
    parts = []
    for name in names:
        column = relation.columns.get(name)
        if column is None:
            raise RequestError(
                f"Could not find the '{name}' column of '{relation.name}' in the schema cache", code="PGRST204"
            )
        parts.append(f"{quote_identifier(name)} {column.type}")
    return ", ".join(parts)


def insert_sql(
    relation: Relation,
    names: Sequence[str],
    payload: str,
    parameters: Parameters,
    *,
    is_object: bool,
    upsert: Upsert | None,
    fills_defaults: bool,
    returning: Sequence[str],
) -> str:
    """INSERT of a JSON object or array; an empty ``names`` inserts one row of defaults per object."""
    target = qualified(*relation.key)
    data = f"{parameters.add(payload)}::json"
    rows = f"json_build_array({data})" if is_object else data
    tail = _conflict(upsert, names) + _returning(returning)
    if not names:
        if is_object:
            return f"insert into {target} default values{tail}"
        return f"insert into {target} select from json_array_elements({rows}) limit 0{tail}"
    quoted = ", ".join(quote_identifier(name) for name in names)
    shape = _typed(relation, names)
    if not fills_defaults:
        return f"insert into {target} ({quoted}) select {quoted} from json_to_recordset({rows}) as r ({shape}){tail}"
    filled = ", ".join(
        f"case when e.value::jsonb ? {parameters.add(name)}::text then r.{quote_identifier(name)} "
        f"else {relation.columns[name].default or 'null'} end"
        for name in names
    )
    source = f"json_array_elements({rows}) as e, lateral json_to_record(e.value) as r ({shape})"
    return f"insert into {target} ({quoted}) select {filled} from {source}{tail}"


def _conflict(upsert: Upsert | None, names: Sequence[str]) -> str:
    if upsert is None or not upsert.target:
        return ""
    target = ", ".join(quote_identifier(name) for name in upsert.target)
    if not upsert.merges or not names:
        return f" on conflict ({target}) do nothing"
    updates = ", ".join(f"{quote_identifier(name)} = excluded.{quote_identifier(name)}" for name in names)
    return f" on conflict ({target}) do update set {updates}"


def _returning(names: Sequence[str]) -> str:
    return " returning " + (", ".join(quote_identifier(name) for name in names) if names else "1")


def update_sql(
    relation: Relation,
    names: Sequence[str],
    payload: str,
    filters: Sequence[Filter | LogicTree],
    parameters: Parameters,
    returning: Sequence[str],
) -> str:
    """UPDATE of the rows that the filters let through; nothing to set updates nothing."""
    target = qualified(*relation.key)
    if not names:
        shown = ", ".join(quote_identifier(name) for name in returning) or "1"
        return f"select {shown} from {target} where false"
    shape = _typed(relation, names)
    sets = ", ".join(f"{quote_identifier(name)} = r.{quote_identifier(name)}" for name in names)
    source = f"json_to_record({parameters.add(payload)}::json) as r ({shape})"
    where = _where(relation, filters, parameters)
    shown = ", ".join(f"w.{quote_identifier(name)}" for name in returning) or "1"
    return f"update {target} as w set {sets} from {source}{where} returning {shown}"


def delete_sql(
    relation: Relation, filters: Sequence[Filter | LogicTree], parameters: Parameters, returning: Sequence[str]
) -> str:
    """DELETE of the rows that the filters let through."""
    where = _where(relation, filters, parameters)
    shown = ", ".join(f"w.{quote_identifier(name)}" for name in returning) or "1"
    return f"delete from {qualified(*relation.key)} as w{where} returning {shown}"


def _where(relation: Relation, filters: Sequence[Filter | LogicTree], parameters: Parameters) -> str:
    scope = Scope("w", relation.columns)
    conditions = [logic_sql(one, scope, parameters) for one in filters]
    return f" where {' and '.join(conditions)}" if conditions else ""


def call_sql(
    function: Function, names: Sequence[str], payload: str, parameters: Parameters, *, is_whole_body: bool
) -> str:
    """``select`` over a call with named arguments out of a JSON object, or with the whole body as the one argument."""
    target = qualified(function.schema, function.name)
    shown = "r.*" if not function.is_scalar else "r as pgrst_scalar"
    if is_whole_body:
        call = f"{target}({parameters.add(payload)}::{function.arguments[0].type})"
        return f"select {shown} from {call} as r"
    if not names:
        return f"select {shown} from {target}() as r"
    arguments = {argument.name: argument for argument in function.arguments}
    shape = ", ".join(f"{quote_identifier(name)} {arguments[name].type}" for name in names)
    passed = ", ".join(
        f"{'variadic ' if arguments[name].is_variadic else ''}{quote_identifier(name)} := a.{quote_identifier(name)}"
        for name in names
    )
    source = f"json_to_record({parameters.add(payload)}::json) as a ({shape})"
    return f"select {shown} from {source}, lateral {target}({passed}) as r"

"""Writes and function calls as CTEs named ``written``; what they return is then read like a relation.

The payload is one JSON parameter that PostgreSQL itself turns into typed rows.
Source: PostgREST v14 ``Query/QueryBuilder.hs``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isobase_platform.sql import qualified, quote_identifier
from isobase_platform.wire_messages import Binary
from isobase_services.database.query.ast import Filter, LogicTree
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.names import identifier
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import ReadNode
from isobase_services.database.query.representations import converted
from isobase_services.database.query.schema_cache import Function, Relation
from isobase_services.database.query.sql_filter import Scope, logic_sql

__all__ = [
    "INSERTED_SETTING",
    "Payload",
    "Upsert",
    "call_sql",
    "call_whole_sql",
    "delete_sql",
    "insert_sql",
    "returning_columns",
    "update_sql",
]

INSERTED_SETTING = "isobase.inserted"
"""Counts, in the transaction, the rows that an upsert inserted and did not merge."""

# The payload's rows; always used with a dot. PostgreSQL's errors tell the name, so it is upstream's.
_BODY = "pgrst_body"


@dataclass(slots=True, frozen=True)
class Upsert:
    """What to do with a row that is there already; ``merges`` False ignores the new one."""

    target: tuple[str, ...]
    merges: bool


@dataclass(slots=True, frozen=True)
class Payload:
    """The rows to write: JSON text of an object or an array of objects, and the columns that are taken from it."""

    json: str | bytes
    is_object: bool
    columns: tuple[str, ...]
    fills_defaults: bool = False
    """Whether a key that a row lacks means the column's default; else it means NULL."""


def returning_columns(node: ReadNode) -> list[str]:
    """The columns that the answer needs of a row that was written or that a function returned."""
    wanted: dict[str, None] = {}
    for item in node.items:
        if item.field.name == "*":
            return ["*"]
        wanted[item.field.name] = None
    if not node.items and not node.embeds:
        return ["*"]
    if any(embed.relationship.function is not None for embed in node.embeds):
        return ["*"]  # the function takes the whole row
    for embed in node.embeds:
        wanted |= {ours: None for ours, _ in embed.relationship.pairs}
    wanted |= {term.field.name: None for term in node.order if term.relation is None}
    for one in node.filters:
        wanted |= dict.fromkeys(_filtered_names(one))
    labels = {embed.label for embed in node.embeds}
    return [name for name in wanted if name not in labels or name in node.types]


def _filtered_names(tree: Filter | LogicTree) -> list[str]:
    if isinstance(tree, Filter):
        return [tree.field.name]
    return [name for member in tree.members for name in _filtered_names(member)]


def _rows(relation: Relation, payload: Payload, parameters: Parameters, *, only_first: bool = False) -> str:
    """A FROM item: the payload as rows with the relation's types."""
    if payload.is_object and not payload.columns:
        return f"(values (1)) as {_BODY}"  # and no parameter: a value that no placeholder takes is an error
    data = f"{parameters.add(payload.json)}::json"
    if not payload.columns:
        return f"json_array_elements({data}) as {_BODY}"
    for name in payload.columns:
        if name not in relation.columns:
            raise RequestError(
                f"Could not find the '{name}' column of '{relation.name}' in the schema cache", code="PGRST204"
            )
    parses = {name: known.from_json for name, known in relation.representations.items() if known.from_json is not None}
    shape = ", ".join(
        f"{quote_identifier(name)} {'json' if name in parses else relation.columns[name].type}"
        for name in payload.columns
    )
    cut = " limit 1" if only_first else ""
    parsed = {name: converted(parses.get(name), f"r.{quote_identifier(name)}") for name in payload.columns}
    if not payload.fills_defaults:
        source = "json_to_record" if payload.is_object else "json_to_recordset"
        shown = ", ".join(f"{value} as {quote_identifier(name)}" for name, value in parsed.items())
        return f"(select {shown} from {source}({data}) as r ({shape}){cut}) as {_BODY}"
    elements = f"json_array_elements(json_build_array({data}))" if payload.is_object else f"json_array_elements({data})"
    # As upstream every default is computed for every row, also where it is not needed: a sequence goes on all the same.
    defaults = {name: relation.columns[name].default for name in payload.columns}
    places = {name: f"d{number}" for number, name in enumerate(payload.columns) if defaults[name] is not None}
    computed = "".join([f", {defaults[name]} as {place}" for name, place in places.items()])
    filled = ", ".join(
        f"case when e.value::jsonb ? {parameters.add(name)}::text then {parsed[name]} "
        f"else {f'e.{places[name]}' if name in places else 'null'} end as {quote_identifier(name)}"
        for name in payload.columns
    )
    rows = f"(select e.value{computed} from {elements} as e (value)) as e"
    return f"(select {filled} from {rows}, lateral json_to_record(e.value) as r ({shape}){cut}) as {_BODY}"


def insert_sql(
    relation: Relation,
    payload: Payload,
    parameters: Parameters,
    *,
    upsert: Upsert | None,
    returning: Sequence[str],
    conditions: Sequence[Filter | LogicTree] = (),
) -> str:
    """INSERT of a JSON object or array; an empty object inserts a row of defaults.

    ``conditions`` hold back payload rows that do not fulfil them (a PUT whose body speaks of another key).
    """
    source = _rows(relation, payload, parameters)
    names = ", ".join(quote_identifier(name) for name in payload.columns)
    columns = f" ({names})" if names else ""
    shown = ", ".join(f"{_BODY}.{quote_identifier(name)}" for name in payload.columns)
    counts = bool(conditions) or (upsert is not None and upsert.merges)
    scope = Scope(_BODY, relation.types, representations=relation.representations)
    where = [_counted(1)] if counts else []
    where += [logic_sql(one, scope, parameters) for one in conditions]
    only = f" where {' and '.join(where)}" if where else ""
    return (
        f"insert into {qualified(*relation.key)} as {_target(relation)}{columns} select {shown} from {source}{only}"
        f"{_conflict(upsert, payload.columns)}{_returning(relation, returning)}"
    )


def _conflict(upsert: Upsert | None, names: Sequence[str]) -> str:
    if upsert is None or not upsert.target:
        return ""
    target = ", ".join(identifier(name) for name in upsert.target)
    if not upsert.merges or not names:
        return f" on conflict ({target}) do nothing"
    updates = ", ".join(f"{quote_identifier(name)} = excluded.{quote_identifier(name)}" for name in names)
    return f" on conflict ({target}) do update set {updates} where {_counted(-1)}"


def _counted(change: int) -> str:
    """Always true; adds ``change`` to the count of inserted rows as a side effect."""
    return (
        f"set_config('{INSERTED_SETTING}', (coalesce(nullif(current_setting('{INSERTED_SETTING}', true), '')::int, 0)"
        f" + {change:d})::text, true) is not null"
    )


def _target(relation: Relation) -> str:
    """The name that the written rows go by: PostgreSQL's errors tell it, so it is the relation's."""
    return quote_identifier(relation.name)


def _returning(relation: Relation, names: Sequence[str]) -> str:
    row = _target(relation)
    shown = ", ".join(f"{row}.*" if name == "*" else f"{row}.{identifier(name)}" for name in names)
    return f" returning {shown or '1'}"


def update_sql(
    relation: Relation,
    payload: Payload,
    filters: Sequence[Filter | LogicTree],
    parameters: Parameters,
    returning: Sequence[str],
) -> str:
    """UPDATE of the rows that the filters let through with the payload's (first) row; nothing to set updates nothing."""
    target = f"{qualified(*relation.key)} as {_target(relation)}"
    if not payload.columns:
        shown = _returning(relation, returning).removeprefix(" returning ")
        return f"select {shown} from {target} where false"
    source = _rows(relation, payload, parameters, only_first=True)
    sets = ", ".join(f"{quote_identifier(name)} = {_BODY}.{quote_identifier(name)}" for name in payload.columns)
    where = _where(relation, filters, parameters)
    return f"update {target} set {sets} from {source}{where}{_returning(relation, returning)}"


def delete_sql(
    relation: Relation, filters: Sequence[Filter | LogicTree], parameters: Parameters, returning: Sequence[str]
) -> str:
    """DELETE of the rows that the filters let through."""
    where = _where(relation, filters, parameters)
    return f"delete from {qualified(*relation.key)} as {_target(relation)}{where}{_returning(relation, returning)}"


def _where(relation: Relation, filters: Sequence[Filter | LogicTree], parameters: Parameters) -> str:
    scope = Scope(_target(relation), relation.types, representations=relation.representations)
    conditions = [logic_sql(one, scope, parameters) for one in filters]
    return f" where {' and '.join(conditions)}" if conditions else ""


def call_whole_sql(function: Function, body: bytes, parameters: Parameters, returning: Sequence[str] = ("*",)) -> str:
    """``select`` over a call with the whole body as the one unnamed argument: ``Binary`` for bytea, text for the others."""
    kind = function.arguments[0].type
    # Bytes in binary format are those of a text, whatever the argument's own binary format is.
    cast = f"text::{kind}" if isinstance(body, Binary) and kind != "bytea" else kind
    call = f"{qualified(function.schema, function.name)}({parameters.add(body)}::{cast})"
    return _selected(function, call, returning)


def call_sql(
    function: Function,
    names: Sequence[str],
    values: Mapping[str, str | list[str]] | bytes,
    parameters: Parameters,
    *,
    is_object: bool = True,
    returning: Sequence[str] = ("*",),
) -> str:
    """``select`` of the columns ``returning`` over a call with the named arguments.

    ``values`` are PostgreSQL's own text forms by name (a list for a variadic one), or JSON text: an object, or an array whose
    first member counts.
    """
    target = qualified(function.schema, function.name)
    arguments = [argument for argument in function.arguments if argument.name in names]
    if not arguments:
        return _selected(function, f"{target}()", returning)
    passed = []
    for argument in arguments:
        name = quote_identifier(argument.name)
        if isinstance(values, bytes):
            value = f"a.{name}"
        else:
            given = values[argument.name]
            # A parameter of the argument's own type: its value is read before the call, also where nobody asks for a result.
            value = f"{parameters.add(given)}::{argument.type}"
        passed.append(f"{'variadic ' if argument.is_variadic else ''}{name} := {value}")
    call = f"{target}({', '.join(passed)})"
    if not isinstance(values, bytes):
        return _selected(function, call, returning)
    shape = ", ".join(f"{quote_identifier(argument.name)} {argument.type}" for argument in arguments)
    source = "json_to_record" if is_object else "json_to_recordset"
    rows = f"(select * from {source}({parameters.add(values)}::json) as r ({shape}) limit 1) as a"
    return _selected(function, call, returning, f"{rows}, lateral ")


def _selected(function: Function, call: str, returning: Sequence[str], before: str = "") -> str:
    # The name of the call is upstream's: errors about columns show it ("column pgrst_call.x does not exist").
    if function.is_scalar:
        return f"select pgrst_call.pgrst_scalar from {before}(select {call} as pgrst_scalar) as pgrst_call"
    # Named one by one where the request names them: a computed column exists on the function's own row type only.
    shown = ", ".join("pgrst_call.*" if name == "*" else f"pgrst_call.{identifier(name)}" for name in returning)
    return f"select {shown or 'pgrst_call.*'} from {before}{call} as pgrst_call"

"""The SQL that reads and writes rows, as pure functions of a pair of tables.

A row travels as one text: its columns in the target's order between parentheses, as PostgreSQL itself writes a row
(``row(a, b)::text``), with each value in its type's own output; at the target that text is read as a value of the
table's row type. So every value passes through its type's output and input functions and nothing else, whatever the
type; the settings that outputs depend on are those of ``database.EXACT``.
"""

from __future__ import annotations

from isobase_adapter.rows.pairs import Pair
from isobase_adapter.rows.quoting import columns_list, qualified, quote_identifier
from isobase_adapter.rows.tables import Identity, Table
from isobase_adapter.sides import Side

__all__ = [
    "common_columns",
    "delete_rows",
    "fingerprint_of",
    "given_keys",
    "given_rows",
    "has_arbiter",
    "image_of",
    "is_remade",
    "key_equals",
    "laid_over",
    "read_rows",
    "remake_rows",
    "row_text",
    "same_key",
    "upsert_rows",
]


def row_text(pair: Pair, target: Side, alias: str) -> str:
    """Give the expression of a row's text, as it is carried to ``target``; null stands for what is not carried."""
    carried = set(pair.carried(target))
    parts = (
        f"{alias}.{quote_identifier(column.name)}" if column.name in carried else "null"
        for column in pair.at(target).columns
    )
    return f'row({", ".join(parts)})::text collate "C"'


def fingerprint_of(pair: Pair, alias: str) -> str:
    """Give the expression of a row's text that is the same at both sides when the row is."""
    return f'row({columns_list(common_columns(pair), alias)})::text collate "C"'


def image_of(pair: Pair, alias: str) -> str:
    """Give the expression of a row as a JSON object, for people."""
    parts = ", ".join(f"{alias}.{quote_identifier(name)}" for name in common_columns(pair))
    return f"(select to_jsonb(x) from (select {parts}) as x)"


def common_columns(pair: Pair) -> list[str]:
    """Give the columns that are carried in both directions, in one order for both sides."""
    return sorted(set(pair.carried(Side.SUPABASE)) & set(pair.carried(Side.ISOBASE)))


def laid_over(pair: Pair, target: Side) -> str:
    """Give the query of a row's text: the row of the text in ``$1`` (or none) with the values of the JSON in ``$2``."""
    table = pair.at(target)
    return (
        f"select {row_text(pair, target, 'x')} as row from (select u.r from (select "
        f"jsonb_populate_record($1::text::{qualified(table.schema, table.name)}, $2::text::jsonb) as r) as u) as y, "
        f"lateral (select (y.r).*) as x"
    )


def given_keys(table: Table, key: tuple[str, ...], first_parameter: int = 1) -> str:
    """Give the FROM item ``u(k1, k2, .., n)`` of keys that come as one array of texts per column of the key."""
    arrays = ", ".join(f"${first_parameter + i}::text[]" for i in range(len(key)))
    names = ", ".join(f"k{i}" for i in range(len(key)))
    return f"unnest({arrays}) with ordinality as u({names}, n)"


def key_equals(table: Table, key: tuple[str, ...], alias: str, other: str = "u") -> str:
    """Give the condition that ``alias`` (a row of ``table``) has the key that ``given_keys`` names."""
    parts = []
    for i, name in enumerate(key):
        column = table.column(name)
        assert column is not None
        parts.append(f"{alias}.{quote_identifier(name)} {column.equals} {other}.k{i}::{column.cast}")
    return " and ".join(parts)


def read_rows(pair: Pair, side: Side, text: str) -> str:
    """Give the statement that reads rows by key: ``n`` (the key's number, from 1) and ``row`` (by ``text`` of ``t``)."""
    table = pair.at(side)
    return (
        f"select u.n::int as n, {text} as row from {given_keys(table, pair.key)} "
        f"join {qualified(table.schema, table.name)} as t on {key_equals(table, pair.key, 't')}"
    )


def delete_rows(pair: Pair, target: Side) -> str:
    """Give the statement that deletes rows by key."""
    table = pair.at(target)
    return (
        f"delete from {qualified(table.schema, table.name)} as t using {given_keys(table, pair.key)} "
        f"where {key_equals(table, pair.key, 't')}"
    )


def given_rows(pair: Pair, target: Side) -> str:
    """Give the query of the rows that come as texts in ``$1``, one column for each that is carried."""
    table = pair.at(target)
    parts = ", ".join(f"(x.r).{quote_identifier(name)}" for name in pair.carried(target))
    # Without the fence the text would be read again for each column.
    return (
        f"select {parts} from (select u.t::{qualified(table.schema, table.name)} as r "
        f"from unnest($1::text[]) as u(t) offset 0) as x"
    )


def upsert_rows(pair: Pair, target: Side) -> str:
    """Give the statement that makes rows what the texts in ``$1`` say and leaves alone those that are it already."""
    table = pair.at(target)
    name, carried = qualified(table.schema, table.name), pair.carried(target)
    insert = (
        f"insert into {name} as t ({columns_list(carried)}) overriding system value select {columns_list(carried)} "
        f"from given as g"
    )
    settable = [column for column in carried if not _is_fixed(table, column)]
    if has_arbiter(pair, target):
        changes = ", ".join(f"{quote_identifier(column)} = excluded.{quote_identifier(column)}" for column in settable)
        then = (
            f"update set {changes} where {row_text(pair, target, 't')} is distinct from "
            f"{row_text(pair, target, 'excluded')}"
            if changes
            else "nothing"
        )
        return f"with given as ({given_rows(pair, target)}) {insert} on conflict ({columns_list(pair.key)}) do {then}"
    return (
        f"with given as materialized ({given_rows(pair, target)}) {insert} "
        f"where not exists (select from {name} as t where {same_key(pair, table, 't', 'g')})"
    )


def remake_rows(pair: Pair, target: Side) -> str:
    """Give the statement that deletes the rows of the texts in ``$1`` that differ, so that they can be inserted anew.

    That is how a row changes in a column that takes no update (``generated always as identity``), and how rows swap
    unique values.
    """
    table = pair.at(target)
    return (
        f"with given as materialized ({given_rows(pair, target)}) "
        f"delete from {qualified(table.schema, table.name)} as t using given as g "
        f"where {same_key(pair, table, 't', 'g')} and "
        f"{row_text(pair, target, 't')} is distinct from {row_text(pair, target, 'g')}"
    )


def has_arbiter(pair: Pair, target: Side) -> bool:
    """Whether the target has a unique index over the key that an upsert may go by."""
    table = pair.at(target)
    return set(table.key) == set(pair.key) and not table.is_key_deferrable


def is_remade(pair: Pair, target: Side) -> bool:
    """Whether rows must be deleted and inserted to change: the target has no arbiter, or columns that take no update."""
    table = pair.at(target)
    fixed = any(_is_fixed(table, name) and name not in pair.key for name in pair.carried(target))
    return fixed or not has_arbiter(pair, target)


def _is_fixed(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and column.identity is Identity.ALWAYS


def same_key(pair: Pair, table: Table, left: str, right: str) -> str:
    """Give the condition that two rows of a table have the same key."""
    parts = []
    for name in pair.key:
        column = table.column(name)
        assert column is not None
        quoted = quote_identifier(name)
        parts.append(f"{left}.{quoted} {column.equals} {right}.{quoted}")
    return " and ".join(parts)

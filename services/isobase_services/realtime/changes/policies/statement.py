"""A rule as one statement over rows of the log: the policies run on the rows as they were written, not on the table.

The rows travel as one array per column that the policies read, and get the table's name, so that the policies' own text can
be used as it is. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from isobase_platform.sql import qualified, quote_identifier
from isobase_services.realtime.changes.policies.rule import Rule

__all__ = ["RowStatement", "StatementColumn", "array_literal", "row_statement"]

Row: TypeAlias = Mapping[str, "str | None"]


class StatementColumn(Protocol):
    """What a statement needs to know of a column; see ``tables.Column``."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def type_sql(self) -> str:
        """Its type, quoted for a statement."""
        ...

    @property
    def array_sql(self) -> str | None:
        """The type of a flat array of its values, or None."""
        ...

    @property
    def collation_sql(self) -> str | None:
        """Its collation, quoted for a statement, where that is not its type's."""
        ...


@dataclass(slots=True, frozen=True, eq=False, weakref_slot=True)
class RowStatement:
    """``sql`` answers one row with one text: the numbers (from 1) of the rows that pass, joined by commas, or NULL.

    ``columns``: what a row must hold for it. ``is_whole``: the rows travel as composite values of the table's type.
    """

    sql: str
    columns: tuple[StatementColumn, ...]
    is_whole: bool

    def parameters(self, rows: Sequence[Row]) -> list[str]:
        """The statement's parameters for these rows."""
        if self.is_whole:
            return [array_literal([_composite([row[column.name] for column in self.columns]) for row in rows])]
        if not self.columns:
            return [str(len(rows))]
        return [array_literal([row[column.name] for row in rows]) for column in self.columns]


def row_statement(schema: str, table: str, columns: Mapping[str, StatementColumn], rule: Rule) -> RowStatement:
    """The statement of a rule. ``columns`` are the table's, in its order."""
    name = quote_identifier(table)
    if rule.reads_whole_row:
        source = (
            "pg_catalog.unnest($1::pg_catalog.text[]) with ordinality as isobase_input (isobase_row, isobase_position)"
            f" cross join lateral pg_catalog.unnest(array[isobase_input.isobase_row::{qualified(schema, table)}]) as {name}"
        )
        return RowStatement(_select("isobase_input", source, rule), tuple(columns.values()), is_whole=True)
    read = tuple(column for column in columns.values() if column.name in rule.columns)
    if not read:
        source = f"pg_catalog.generate_series(1, $1::pg_catalog.int4) as {name} (isobase_position)"
    else:
        arrays = ", ".join(
            f"${number}::{column.array_sql or 'pg_catalog.text[]'}" for number, column in enumerate(read, 1)
        )
        # With several arguments unnest is a piece of syntax, which takes no schema.
        unnest = f"{'pg_catalog.' if len(read) == 1 else ''}unnest({arrays}) with ordinality"
        names = [quote_identifier(column.name) for column in read]
        if all(column.array_sql and column.collation_sql is None for column in read):
            source = f"{unnest} as {name} ({', '.join(names)}, isobase_position)"
        else:
            casts = ", ".join(
                f"{_value_sql(column, f'isobase_input.c{number}')} as {target}"
                for number, (column, target) in enumerate(zip(read, names, strict=True), 1)
            )
            inner = ", ".join(f"c{number}" for number in range(1, len(read) + 1))
            source = (
                f"(select {casts}, isobase_input.isobase_position from {unnest}"  # noqa: S608  built of quoted names
                f" as isobase_input ({inner}, isobase_position)) as {name}"
            )
    return RowStatement(_select(name, source, rule), read, is_whole=False)


def _value_sql(column: StatementColumn, text_sql: str) -> str:
    """A value as its column has it: policies compare texts by the column's collation, which an array does not carry."""
    typed = text_sql if column.array_sql else f"{text_sql}::{column.type_sql}"
    return typed if column.collation_sql is None else f"({typed}) collate {column.collation_sql}"


def _select(positions: str, source: str, rule: Rule) -> str:
    return (
        f"select pg_catalog.string_agg({positions}.isobase_position::pg_catalog.text, ',')"  # noqa: S608  the policies' own text
        f" from {source} where {rule.condition_sql}"
    )


def array_literal(values: Sequence[str | None]) -> str:
    """A one-dimensional array as PostgreSQL reads it."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if value.isalnum() and value.isascii() and value.upper() != "NULL":
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _composite(values: Sequence[str | None]) -> str:
    return "(" + ",".join(["" if value is None else _quoted_field(value) for value in values]) + ")"


def _quoted_field(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'

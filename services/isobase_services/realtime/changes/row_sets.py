"""Rows of one table as questions to PostgreSQL: which of them may a caller see? Pure.

A row that holds what the policies read is asked about as it was written, any other by its primary key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from isobase_platform.sql import quote_identifier
from isobase_platform.wire_messages import Step, packed
from isobase_services.realtime.changes.policies.statement import RowStatement, array_literal
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.tables import RoleRights, Table

__all__ = ["Part", "RowSet"]


class RowSet:
    """Rows that somebody's policies are asked about; shared by all callers of a role who ask for the same.

    ``broken``: statements that are known to fail, so that the key is asked at once. ``parts``: the questions.
    """

    def __init__(self, table: Table, rights: RoleRights, rows: Sequence[Row], broken: Collection[RowStatement]) -> None:
        self.table = table
        self.rows = rows
        as_written: list[int] = []
        by_key = list(range(len(rows)))
        statement = rights.statement
        if statement is not None and statement not in broken:
            names = [column.name for column in statement.columns]
            as_written = [place for place in by_key if all(name in rows[place].judged for name in names)]
            held = set(as_written)
            by_key = [place for place in by_key if place not in held]
        parts = (Part(self, tuple(as_written), statement), Part(self, tuple(by_key), None))
        self.parts = tuple(part for part in parts if part.places)


@dataclass(slots=True, eq=False)
class Part:
    """Some rows of a set, asked as they were written (by ``statement``) or by their keys (None)."""

    rows: RowSet
    places: tuple[int, ...]
    statement: RowStatement | None
    _question: tuple[str, list[str]] | None = field(default=None, init=False)
    _step: Step | None = field(default=None, init=False)

    @property
    def question(self) -> tuple[str, list[str]]:
        """The statement and its parameters, made once. It answers one text: the numbers of the rows, or NULL."""
        if self._question is None:
            rows = [self.rows.rows[place] for place in self.places]
            if self.statement is not None:
                self._question = self.statement.sql, self.statement.parameters([row.record for row in rows])
            else:
                keys = zip(*[row.key or () for row in rows], strict=True)
                self._question = _by_key_sql(self.rows.table), [array_literal(column) for column in keys]
        return self._question

    @property
    def step(self) -> Step:
        """The same as the door sends it."""
        if self._step is None:
            sql, values = self.question
            self._step = sql, packed(values)
        return self._step

    def places_of(self, answer: str | None) -> list[int]:
        """The rows that an answer names."""
        return [self.places[int(number) - 1] for number in answer.split(",")] if answer else []

    def halves(self) -> tuple[Part, Part]:
        """The same question about fewer rows."""
        middle = len(self.places) // 2
        first, second = self.places[:middle], self.places[middle:]
        return Part(self.rows, first, self.statement), Part(self.rows, second, self.statement)

    def by_key(self) -> Part:
        """The same rows by their keys."""
        return Part(self.rows, self.places, None)


def _by_key_sql(table: Table) -> str:
    """One statement for any number of keys: a text array per key column, each element looked up through the index.

    LIMIT keeps the planner from joining the whole table, which would run the policy on rows that nobody asked for.
    """
    names = [f"k{number}" for number in range(1, len(table.key) + 1)]
    arrays = ", ".join(f"${number}::text[]" for number in range(1, len(table.key) + 1))
    matches = " and ".join(
        f"t.{quote_identifier(column.name)} = k.{name}::{column.type_sql}"
        for column, name in zip(table.key, names, strict=True)
    )
    return (
        f"select pg_catalog.string_agg(k.position::text, ',')"  # noqa: S608  built of quoted names
        f" from unnest({arrays}) with ordinality as k ({', '.join(names)}, position)"
        f" cross join lateral (select from {table.sql_name} as t where {matches} limit 1) as v"
    )

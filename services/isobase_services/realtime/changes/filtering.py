"""The filters of one batch: local ones decide at once, the others are answered for all values of the batch together."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from isobase_services.realtime.changes.predicates import Predicate, local_predicate
from isobase_services.realtime.changes.questions import Questions
from isobase_services.realtime.changes.request import Filter
from isobase_services.realtime.changes.rows import Action, Row
from isobase_services.realtime.changes.tables import Table

__all__ = ["Filters", "filterable"]


def filterable(row: Row) -> Mapping[str, str | None]:
    """What filters look at: the new row without what the log left out, or what the log holds of a deleted one."""
    return row.old if row.action is Action.DELETE else row.fresh


class Filters:
    """``ask_for`` every row, ``answer``, then ``pass_``."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._local: dict[tuple[int, Filter], Predicate | None] = {}
        self._asked: dict[tuple[int, Filter], set[str | None]] = {}
        self._answers: dict[tuple[int, Filter], frozenset[str | None]] = {}

    def ask_for(self, row: Row, filters: tuple[Filter, ...]) -> None:
        """Note the values that the server must judge for this row."""
        values = filterable(row)
        for item in filters:
            column = row.table.columns.get(item.column)
            if column is None or item.column not in values:
                continue
            key = (row.table.oid, item)
            if key not in self._local:
                self._local[key] = local_predicate(item, column)
            if self._local[key] is None and item.column not in row.recast:
                self._asked.setdefault(key, set()).add(values[item.column])

    async def answer(self, tables: Mapping[int, Table]) -> None:
        """Ask the server what was noted. What a filter fails on does not pass. Raises ``Unavailable``."""
        asked = [(item, tables[oid].columns[item.column], values) for (oid, item), values in self._asked.items()]
        if asked:
            self._answers.update(zip(self._asked, await self._questions.passing(asked), strict=True))

    def pass_(self, row: Row, filters: tuple[Filter, ...], readable: Collection[str], *, by_key_only: bool) -> bool:
        """True when the row passes all filters; a filter on a column that the log does not hold is not passed.

        Nor is one on a column that is not ``readable``: who passes or not would tell what it holds. ``by_key_only``: nor
        is one on a column outside the primary key.
        """
        values = filterable(row)
        for item in filters:
            column = row.table.columns.get(item.column)
            if column is None or item.column not in values or (by_key_only and not column.is_key):
                return False
            if item.column not in readable:
                return False
            value = values[item.column]
            predicate = self._local[row.table.oid, item]
            if predicate is not None:
                if not predicate(value):
                    return False
            elif item.column in row.recast or value not in self._answers[row.table.oid, item]:
                return False
        return True

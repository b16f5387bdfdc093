"""Questions about values that only PostgreSQL answers, asked once per batch: which pass a filter, what is their JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.rls import RlsDoor
from isobase_platform.wire_messages import Step, packed
from isobase_services.realtime.changes.policies.statement import array_literal
from isobase_services.realtime.changes.predicates import sql_condition
from isobase_services.realtime.changes.request import Filter, Operator
from isobase_services.realtime.changes.tables import Column
from isobase_services.realtime.changes.values import quote_json

__all__ = ["Questions"]

FILTER_TIMEOUT = "500ms"
QUERY_CANCELED = "57014"
FAILED_FILTER_PAUSE_S = 60.0
PATTERNS_BUDGET_S = 2.0
"""How long all regular expressions of one batch may take; those that are left then are given up like failed ones."""
MAX_TOGETHER = 100
"""How many filters are asked in one exchange."""
MAX_ANSWERED = 10_000
"""Regular expressions that are remembered to have been answered in time; beyond it all are forgotten."""

_PATTERNS = frozenset({Operator.MATCH, Operator.IMATCH})
_Key: TypeAlias = tuple[str, Filter]
"""A type as SQL, and a filter on a column of it."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class _Question:
    place: int
    item: Filter
    column: Column
    values: Sequence[str | None]
    sql: str


class Questions:
    """Asks the database. ``search_path`` is where types' unqualified names are found, as in the data API."""

    def __init__(self, door: RlsDoor, search_path: tuple[str, ...]) -> None:
        self._door = door
        self._search_path = search_path
        self._paused_until_s: dict[_Key, float] = {}
        self._answered: set[_Key] = set()

    # -- filters ------------------------------------------------------------------------------------------------------

    async def passing(
        self, asked: Sequence[tuple[Filter, Column, Iterable[str | None]]]
    ) -> list[frozenset[str | None]]:
        """Which values (the log's texts) each filter lets through; none of them when its condition raises.

        Everybody's changes wait for the answers. Comparisons are quick and go many at a time. A regular expression may take
        for ever: each is asked by itself, those that were answered before first, and all of a batch have
        ``PATTERNS_BUDGET_S``. Raises ``Unavailable`` when the database could not be asked: then nothing is known.
        """
        questions = [
            _Question(place, item, column, list(values), self._sql(item, column))
            for place, (item, column, values) in enumerate(asked)
            if not self._is_paused((column.type_sql, item))
        ]
        answers: list[frozenset[str | None]] = [frozenset()] * len(asked)
        quick = [question for question in questions if question.item.operator not in _PATTERNS]
        for start in range(0, len(quick), MAX_TOGETHER):
            await self._ask(quick[start : start + MAX_TOGETHER], answers)
        patterns = [question for question in questions if question.item.operator in _PATTERNS]
        patterns.sort(key=lambda question: (question.column.type_sql, question.item) not in self._answered)
        until_s = time.monotonic() + PATTERNS_BUDGET_S
        for number, question in enumerate(patterns):
            if time.monotonic() >= until_s:
                for late in patterns[number:]:
                    self._pause((late.column.type_sql, late.item))
                _log.warning("regular expressions in filters take too long", extra={"given_up": len(patterns) - number})
                break
            await self._ask([question], answers)
        return answers

    async def _ask(
        self, questions: Sequence[_Question], answers: list[frozenset[str | None]], *, is_second: bool = False
    ) -> None:
        """Put the answers in their places; one by one where not all can be answered together, and twice what was too slow."""
        steps: list[Step] = [
            (question.sql, packed((array_literal(question.values), question.item.value))) for question in questions
        ]
        try:
            found = await self._door.once(
                Caller.service(),
                steps,
                read_only=True,
                search_path=self._search_path,
                settings={"statement_timeout": FILTER_TIMEOUT},
            )
        except DatabaseError as error:
            is_late = error.sqlstate == QUERY_CANCELED
            if len(questions) > 1:
                for question in questions:
                    await self._ask([question], answers, is_second=is_late)
            elif is_late and not is_second:
                # The server may have stood still for a moment, for which the filter can do nothing.
                await self._ask(questions, answers, is_second=True)
            else:
                self._give_up(questions[0], error)
            return
        for question, rows in zip(questions, found, strict=True):
            text = (rows[0][0] or b"").decode()
            answers[question.place] = frozenset(question.values[int(part) - 1] for part in text.split(",") if part)
            if question.item.operator in _PATTERNS:
                if len(self._answered) >= MAX_ANSWERED:
                    self._answered.clear()
                self._answered.add((question.column.type_sql, question.item))

    @staticmethod
    def _sql(item: Filter, column: Column) -> str:
        condition = sql_condition(item, column, "k.value", "$2::text")
        return (
            "select pg_catalog.string_agg(k.position::pg_catalog.text, ',')"  # noqa: S608  built of quoted names
            f" from pg_catalog.unnest($1::pg_catalog.text[]) with ordinality as k (value, position) where {condition}"
        )

    def _is_paused(self, key: _Key) -> bool:
        return self._paused_until_s.get(key, 0.0) > time.monotonic()

    def _give_up(self, question: _Question, error: DatabaseError) -> None:
        """A filter that failed, or was late twice, is not asked again for a while: everybody would wait for it."""
        key = (question.column.type_sql, question.item)
        self._answered.discard(key)
        self._pause(key)
        _log.warning(
            "a filter on row changes failed",
            extra={
                "column": question.column.name,
                "operator": question.item.operator.value,
                "reason": error.message,
            },
        )

    def _pause(self, key: _Key) -> None:
        now_s = time.monotonic()
        self._paused_until_s = {name: until_s for name, until_s in self._paused_until_s.items() if until_s > now_s}
        self._paused_until_s[key] = now_s + FAILED_FILTER_PAUSE_S

    # -- values -------------------------------------------------------------------------------------------------------

    async def json_values(self, column: Column, values: Iterable[str]) -> Mapping[str, str]:
        """JSON text by the log's text, for a type that has no converter. What has no JSON stays text."""
        asked = list(values)
        sql = (
            f"select k.position, to_jsonb(k.value::{column.type_sql})::text as json"  # noqa: S608  built of quoted names
            " from unnest($1::text[]) with ordinality as k (value, position)"
        )
        try:
            async with self._door.transaction(
                Caller.service(), read_only=True, rollback=True, search_path=self._search_path
            ) as connection:
                rows = await connection.fetch(sql, asked)
        except (DatabaseError, Unavailable) as error:
            _log.warning(
                "a value could not be turned into JSON", extra={"type": column.type_name, "reason": error.message}
            )
            return {value: quote_json(value) for value in asked}
        return {asked[row["position"] - 1]: row["json"] for row in rows}

"""Which callers may see which rows, where only PostgreSQL can say: asked once per caller and batch, through the RLS door.

The policies run on the rows as they were written to the log (``policies.statement``), so that a row's old content never goes
to who may see only its new one, and a row that is deleted at once is still told. What they read of other tables, and of their
own by a subquery, is as of now. Rows that the log does not hold whole, and policies that cannot run so, are looked up by
primary key as they are now, as upstream does. A policy that raises hides the rows that make it raise, from its callers alone.
Source: contracts/realtime.md 5.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakSet

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import Answer, RlsDoor
from isobase_services.realtime.changes.delivery_figures import DeliveryFigures
from isobase_services.realtime.changes.policies.statement import RowStatement
from isobase_services.realtime.changes.row_sets import Part, RowSet
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.tables import RoleRights, Table

__all__ = ["Check", "Visibility"]

LANES = 4
"""Connections at most that answer one batch's policy checks side by side."""
MAX_TOGETHER = 250
MIN_TOGETHER = 3
"""How many callers are asked for in one exchange; for fewer an exchange each is as quick."""
POLICY_TIMEOUT_S = 5.0
"""How long one exchange may take."""
MAX_SEARCH_S = 10.0
MAX_SEARCH_STATEMENTS = 64
"""How long, and with how many statements, the rows that make a policy fail are searched for; what is not cleared by then is
not delivered to the caller."""
SLOW_POLICY_TIMEOUT_S = 0.25
SLOW_POLICY_PAUSE_S = 60.0
"""A table on which a search ran out of time has this short a time for each caller, and no search, for so long."""
LOG_INTERVAL_S = 60.0
"""How often the same failure of a table's policies is told in the log."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class Check:
    """Which rows of a set may a caller see? ``who`` is the same for callers whom policies cannot tell apart."""

    who: tuple[str, str]
    caller: Caller
    rows: RowSet


@dataclass(slots=True)
class _Search:
    """What is left for finding the rows that make a policy fail."""

    until_s: float
    statements: int

    @property
    def is_over(self) -> bool:
        return self.statements <= 0 or time.monotonic() >= self.until_s


class Visibility:
    """Asks policies. ``search_path`` is where policies' functions find unqualified names, as in the data API."""

    def __init__(self, door: RlsDoor, search_path: tuple[str, ...], figures: DeliveryFigures) -> None:
        self._door = door
        self._search_path = search_path
        self._figures = figures
        self._broken: WeakSet[RowStatement] = WeakSet()
        self._slow_until_s: dict[int, float] = {}
        self._logged_at_s: dict[tuple[int, str, str], float] = {}

    def row_set(self, table: Table, rights: RoleRights, rows: Sequence[Row]) -> RowSet:
        """Rows to ask about, under the rights of one role."""
        return RowSet(table, rights, rows, self._broken)

    async def seen(self, checks: Sequence[Check]) -> list[frozenset[int]]:
        """The rows (by their places in the set) that each check's caller may see, in the order of the checks.

        Never raises for a policy: its rows are then not visible. Raises ``Unavailable`` when the database could not be asked:
        then nothing is known, and the batch is tried again.
        """
        results: list[frozenset[int]] = [frozenset()] * len(checks)
        self._figures.asked(len(checks))
        jobs = _jobs(checks)

        async def work() -> None:
            while jobs:
                is_one_question, numbers = jobs.pop()
                asked = [checks[number] for number in numbers]
                answers = await (self._ask_together(asked) if is_one_question else self._ask_caller(asked))
                for number, answer in zip(numbers, answers, strict=True):
                    results[number] = frozenset(answer)

        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(LANES, len(jobs))):
                    lanes.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return results

    async def _ask_together(self, checks: Sequence[Check]) -> list[list[int]]:
        """The same rows for several callers."""
        rows = checks[0].rows
        callers = [check.caller for check in checks]
        found: list[list[int]] = [[] for _ in checks]
        search = self._search(rows.table.oid)
        for part in rows.parts:
            for places, more in zip(found, await self._answer(callers, part, search), strict=True):
                places += more
        self._note_slowness(rows.table.oid, search)
        return found

    async def _ask_caller(self, checks: Sequence[Check]) -> list[list[int]]:
        """All checks of one caller in one exchange; one by one where that fails."""
        caller = checks[0].caller
        parts = [part for check in checks for part in check.rows.parts]
        try:
            rows = await self._door.once(
                caller,
                [part.step for part in parts],
                read_only=True,
                search_path=self._search_path,
                settings=self._settings(parts),
            )
        except DatabaseError:
            return [(await self._ask_together([check]))[0] for check in checks]
        answers = iter(rows)
        return [
            [place for part in check.rows.parts for place in part.places_of(_text(next(answers)[0][0]))]
            for check in checks
        ]

    def _settings(self, parts: Sequence[Part]) -> dict[str, str]:
        is_slow = any(self._is_slow(part.rows.table.oid) for part in parts)
        settings = {
            "statement_timeout": f"{round((SLOW_POLICY_TIMEOUT_S if is_slow else POLICY_TIMEOUT_S) * 1000)}ms",
            "jit": "off",
        }
        if any(part.statement is None for part in parts):
            # Even a small table is read through its key: a policy must run on the rows in question and on no other.
            settings["enable_seqscan"] = "off"
        return settings

    def _is_slow(self, oid: int) -> bool:
        return self._slow_until_s.get(oid, 0.0) > time.monotonic()

    async def _ask_each(self, callers: Sequence[Caller], part: Part) -> list[Answer]:
        sql, values = part.question
        return await self._door.ask_for_each(
            callers, sql, values, search_path=self._search_path, settings=self._settings([part])
        )

    # -- when a policy fails ------------------------------------------------------------------------------------------

    def _search(self, oid: int) -> _Search:
        return _Search(time.monotonic() + MAX_SEARCH_S, 1 if self._is_slow(oid) else MAX_SEARCH_STATEMENTS)

    def _note_slowness(self, oid: int, search: _Search) -> None:
        now_s = time.monotonic()
        if now_s >= search.until_s:
            self._slow_until_s = {key: until_s for key, until_s in self._slow_until_s.items() if until_s > now_s}
            self._slow_until_s[oid] = now_s + SLOW_POLICY_PAUSE_S

    async def _answer(self, callers: Sequence[Caller], part: Part, search: _Search) -> list[list[int]]:
        """The rows that each caller sees. What fails is asked by key, or for fewer callers or rows, until it stands alone."""
        search.statements -= 1
        try:
            answers = await self._ask_each(callers, part)
        except DatabaseError as error:
            self._report(part, callers[0], error)
            if _is_lasting(error):
                return await self._answer_by_key(callers, part, search)
            if search.is_over:
                return [[] for _ in callers]
            if len(callers) > 1:
                middle = len(callers) // 2
                return [
                    *await self._answer(callers[:middle], part, search),
                    *await self._answer(callers[middle:], part, search),
                ]
            return await self._answer_halves(callers, part, search)
        found = [part.places_of(answer.text) for answer in answers]
        lasting: list[int] = []
        failed: list[int] = []
        for number, answer in enumerate(answers):
            if answer.error is not None:
                self._report(part, callers[number], answer.error)
                (lasting if _is_lasting(answer.error) else failed).append(number)
        for numbers, ask in ((lasting, self._answer_by_key), (failed, self._answer_halves)):
            if numbers:
                more = await ask([callers[number] for number in numbers], part, search)
                for number, places in zip(numbers, more, strict=True):
                    found[number] = places
        return found

    async def _answer_by_key(self, callers: Sequence[Caller], part: Part, search: _Search) -> list[list[int]]:
        """For what cannot be said of the rows themselves: a schema that the role may not use, a system column."""
        if part.statement is None or search.is_over:
            return [[] for _ in callers]  # a missing grant or a broken policy: it fails for every row
        found = await self._answer(callers, part.by_key(), search)
        if any(found):
            self._broken.add(part.statement)
        return found

    async def _answer_halves(self, callers: Sequence[Caller], part: Part, search: _Search) -> list[list[int]]:
        """Until the rows that make the policy fail stand alone."""
        found: list[list[int]] = [[] for _ in callers]
        if len(part.places) > 1:
            for half in part.halves():
                if not search.is_over:
                    for places, more in zip(found, await self._answer(callers, half, search), strict=True):
                        places += more
        return found

    def _report(self, part: Part, caller: Caller, error: DatabaseError) -> None:
        self._figures.failed()
        table = part.rows.table
        key = (table.oid, caller.role, error.sqlstate)
        now_s = time.monotonic()
        if now_s - self._logged_at_s.get(key, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            return
        self._logged_at_s = {name: at_s for name, at_s in self._logged_at_s.items() if now_s - at_s < LOG_INTERVAL_S}
        self._logged_at_s[key] = now_s
        _log.warning(
            "a policy failed while row changes were checked",
            extra={
                "table": f"{table.schema}.{table.name}",
                "role": caller.role,
                "sqlstate": error.sqlstate,
                "reason": error.message,
                "asked": "the key" if part.statement is None else "the row as written",
            },
        )


def _is_lasting(error: DatabaseError) -> bool:
    """True for a missing right, a name that is not there and the like: it fails for every row."""
    return error.sqlstate.startswith("42")


def _text(answer: bytes | None) -> str | None:
    return None if answer is None else answer.decode()


def _jobs(checks: Sequence[Check]) -> list[tuple[bool, list[int]]]:
    """The numbers of the checks of each exchange: True for callers with the same rows, False for one caller."""
    by_rows: dict[RowSet, list[int]] = {}
    for number, check in enumerate(checks):
        by_rows.setdefault(check.rows, []).append(number)
    jobs: list[tuple[bool, list[int]]] = []
    by_caller: dict[tuple[str, str], list[int]] = {}
    for numbers in by_rows.values():
        if len(numbers) < MIN_TOGETHER:
            for number in numbers:
                by_caller.setdefault(checks[number].who, []).append(number)
            continue
        size = min(MAX_TOGETHER, max(MIN_TOGETHER, -(-len(numbers) // LANES)))
        jobs.extend((True, numbers[start : start + size]) for start in range(0, len(numbers), size))
    jobs.extend((False, numbers) for numbers in by_caller.values())
    return jobs[::-1]

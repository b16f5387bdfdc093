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
from dataclasses import dataclass, field
from weakref import WeakSet

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import RlsDoor
from isobase_platform.sql import quote_identifier
from isobase_platform.wire_messages import Step, packed
from isobase_services.realtime.changes.policies.statement import RowStatement, array_literal
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.tables import RoleRights, Table

__all__ = ["Check", "RowSet", "Visibility"]

LANES = 4
"""Connections at most that answer one batch's policy checks side by side."""
POLICY_TIMEOUT_S = 5.0
"""How long one statement of policies may take."""
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


class RowSet:
    """Rows of one table that somebody's policies are asked about; shared by all callers of a role who ask for the same."""

    def __init__(self, table: Table, rights: RoleRights, rows: Sequence[Row], broken: WeakSet[RowStatement]) -> None:
        self.table = table
        self.rights = rights
        self.rows = rows
        statement = rights.statement
        self._parts: list[_Part] = []
        as_written: list[int] = []
        by_key = list(range(len(rows)))
        if statement is not None and statement not in broken:
            names = [column.name for column in statement.columns]
            as_written = [place for place in by_key if all(name in rows[place].record for name in names)]
            held = set(as_written)
            by_key = [place for place in by_key if place not in held]
        if statement is not None and as_written:
            self._parts.append(_Part(self, tuple(as_written), statement))
        if by_key:
            self._parts.append(_Part(self, tuple(by_key), None))

    @property
    def parts(self) -> Sequence[_Part]:
        """The questions to ask."""
        return self._parts


@dataclass(slots=True, eq=False)
class _Part:
    """Some rows of a set, asked as they were written (by ``statement``) or by their keys."""

    rows: RowSet
    places: tuple[int, ...]
    statement: RowStatement | None
    _step: Step | None = field(default=None, init=False)

    @property
    def step(self) -> Step:
        """The statement with its parameters, made once."""
        if self._step is None:
            rows = [self.rows.rows[place] for place in self.places]
            if self.statement is not None:
                sql, values = self.statement.sql, self.statement.parameters([row.record for row in rows])
            else:
                keys = zip(*[row.key or () for row in rows], strict=True)
                sql, values = _by_key_sql(self.rows.table), [array_literal(column) for column in keys]
            self._step = (sql, packed(values))
        return self._step

    def places_of(self, answer: bytes | None) -> list[int]:
        """The rows that an answer names."""
        return [self.places[int(number) - 1] for number in answer.split(b",")] if answer else []

    def halves(self) -> tuple[_Part, _Part]:
        """The same question about fewer rows."""
        middle = len(self.places) // 2
        first, second = self.places[:middle], self.places[middle:]
        return _Part(self.rows, first, self.statement), _Part(self.rows, second, self.statement)

    def by_key(self) -> _Part:
        """The same rows by their keys."""
        return _Part(self.rows, self.places, None)


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

    def __init__(self, door: RlsDoor, search_path: tuple[str, ...]) -> None:
        self._door = door
        self._search_path = search_path
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
        by_caller: dict[tuple[str, str], list[int]] = {}
        for number, check in enumerate(checks):
            by_caller.setdefault(check.who, []).append(number)
        # A transaction for each caller: a policy's functions may keep things in transaction-local settings, which must
        # never be there for the next caller.
        pending = list(by_caller.values())[::-1]

        async def work() -> None:
            while pending:
                numbers = pending.pop()
                answers = await self._ask_caller([checks[number] for number in numbers])
                for number, answer in zip(numbers, answers, strict=True):
                    results[number] = answer

        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(LANES, len(pending))):
                    lanes.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return results

    async def _ask_caller(self, checks: Sequence[Check]) -> list[frozenset[int]]:
        """All checks of one caller in one exchange; one by one where that fails."""
        caller = checks[0].caller
        parts = [part for check in checks for part in check.rows.parts]
        try:
            answers = iter(await self._ask(caller, parts))
        except DatabaseError:
            return [await self._answer_alone(check) for check in checks]
        return [frozenset(place for _ in check.rows.parts for place in next(answers)) for check in checks]

    async def _ask(self, caller: Caller, parts: Sequence[_Part]) -> list[list[int]]:
        is_slow = any(self._slow_until_s.get(part.rows.table.oid, 0.0) > time.monotonic() for part in parts)
        settings = {
            "statement_timeout": f"{round((SLOW_POLICY_TIMEOUT_S if is_slow else POLICY_TIMEOUT_S) * 1000)}ms",
            "jit": "off",
        }
        if any(part.statement is None for part in parts):
            # Even a small table is read through its key: a policy must run on the rows in question and on no other.
            settings["enable_seqscan"] = "off"
        answers = await self._door.once(
            caller, [part.step for part in parts], read_only=True, search_path=self._search_path, settings=settings
        )
        return [part.places_of(rows[0][0]) for part, rows in zip(parts, answers, strict=True)]

    # -- when a policy fails ------------------------------------------------------------------------------------------

    async def _answer_alone(self, check: Check) -> frozenset[int]:
        oid = check.rows.table.oid
        is_slow = self._slow_until_s.get(oid, 0.0) > time.monotonic()
        search = _Search(time.monotonic() + MAX_SEARCH_S, 1 if is_slow else MAX_SEARCH_STATEMENTS)
        found: list[int] = []
        for part in check.rows.parts:
            found += await self._narrow(check.caller, part, search)
        if time.monotonic() >= search.until_s:
            now_s = time.monotonic()
            self._slow_until_s = {key: until_s for key, until_s in self._slow_until_s.items() if until_s > now_s}
            self._slow_until_s[oid] = now_s + SLOW_POLICY_PAUSE_S
        return frozenset(found)

    async def _narrow(self, caller: Caller, part: _Part, search: _Search) -> list[int]:
        """Ask; where that fails by the keys, or for halves, until the rows that make the policy fail stand alone."""
        search.statements -= 1
        try:
            return (await self._ask(caller, [part]))[0]
        except DatabaseError as error:
            self._report(part, caller, error)
            is_lasting = error.sqlstate.startswith("42")
        if is_lasting and part.statement is not None:
            # What cannot be said of the rows themselves (a schema that the role may not use, a system column).
            try:
                found = (await self._ask(caller, [part.by_key()]))[0]
            except DatabaseError as error:
                self._report(part, caller, error)
                return []
            self._broken.add(part.statement)
            return found
        if is_lasting or len(part.places) == 1 or search.is_over:
            return []  # a missing grant or a broken policy fails for every row
        found = []
        for half in part.halves():
            if not search.is_over:
                found += await self._narrow(caller, half, search)
        return found

    def _report(self, part: _Part, caller: Caller, error: DatabaseError) -> None:
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

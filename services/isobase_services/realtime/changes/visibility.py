"""The questions that only PostgreSQL answers, asked once per batch: who may see which rows, which values pass a filter, what
is the JSON of an exotic value. All of them run through the RLS door.

Rows are looked up by primary key as the caller, as they are now (as upstream). A policy that raises affects the callers whose
check it broke, and among their rows only the ones that make it raise. Source: contracts/realtime.md 5.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable
from isobase_platform.rls import RlsDoor
from isobase_platform.sql import quote_identifier
from isobase_services.realtime.changes.catalog import Column, Table
from isobase_services.realtime.changes.predicates import sql_condition
from isobase_services.realtime.changes.request import Filter
from isobase_services.realtime.changes.values import quote_json

__all__ = ["KeyCheck", "Questions"]

LANES = 4
"""Connections at most that answer one batch's policy checks side by side."""
MAX_FAILING_STATEMENTS = 64
"""Statements at most that look for the rows which make a policy raise; rows not cleared by then are not delivered."""
FILTER_TIMEOUT = "500ms"
FAILED_FILTER_PAUSE_S = 60.0

_BY_INDEX = {"enable_seqscan": "off"}
"""Even a small table is read through its key: a policy must run on the rows in question and on no other."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class KeyCheck:
    """Which of ``keys`` (primary keys of ``table``, as text) may ``caller`` see."""

    table: Table
    caller: Caller
    keys: tuple[tuple[str, ...], ...]


class Questions:
    """Asks the database. ``search_path`` is where policies' and types' unqualified names are found, as in the data API."""

    def __init__(self, door: RlsDoor, search_path: tuple[str, ...]) -> None:
        self._door = door
        self._search_path = search_path
        self._paused_until_s: dict[tuple[str, Filter], float] = {}

    # -- policies -----------------------------------------------------------------------------------------------------

    async def visible_keys(self, checks: Sequence[KeyCheck]) -> list[frozenset[tuple[str, ...]]]:
        """The visible keys of each check, in order. Never raises for a policy: its rows are then not visible.

        Raises ``Unavailable`` when the database could not be asked: then nothing is known, and the batch is tried again.
        """
        results: list[frozenset[tuple[str, ...]]] = [frozenset()] * len(checks)
        pending = list(range(len(checks)))[::-1]

        async def work() -> None:
            while pending:
                index = pending.pop()
                check = checks[index]
                try:
                    results[index] = await self._ask(check.table, check.caller, check.keys)
                except IsobaseError as error:
                    results[index] = await self._answer_alone(check, error)

        # A transaction for each caller: a policy's functions may keep things in transaction-local settings, which must
        # never be there for the next caller.
        await asyncio.gather(*(work() for _ in range(min(LANES, len(checks)))))
        return results

    async def _answer_alone(self, check: KeyCheck, error: IsobaseError) -> frozenset[tuple[str, ...]]:
        """Answer a check whose first attempt failed."""
        if isinstance(error, DatabaseError):
            _log.warning(
                "a policy failed while row changes were checked",
                extra={
                    "table": f"{check.table.schema}.{check.table.name}",
                    "role": check.caller.role,
                    "sqlstate": error.sqlstate,
                    "reason": error.message,
                },
            )
            if error.sqlstate.startswith("42"):
                return frozenset()  # a missing grant or a broken policy: it fails for every row
            return await self._halve(check.table, check.caller, check.keys, [MAX_FAILING_STATEMENTS])
        raise error

    async def _halve(
        self, table: Table, caller: Caller, keys: tuple[tuple[str, ...], ...], budget: list[int]
    ) -> frozenset[tuple[str, ...]]:
        """Ask for halves until the rows that make the policy raise stand alone."""
        if len(keys) == 1 or budget[0] <= 0:
            return frozenset()
        found: set[tuple[str, ...]] = set()
        middle = len(keys) // 2
        for half in (keys[:middle], keys[middle:]):
            if budget[0] <= 0:
                break
            budget[0] -= 1
            try:
                found |= await self._ask(table, caller, half)
            except DatabaseError:
                found |= await self._halve(table, caller, half, budget)
        return frozenset(found)

    async def _ask(self, table: Table, caller: Caller, keys: tuple[tuple[str, ...], ...]) -> frozenset[tuple[str, ...]]:
        async with self._door.transaction(
            caller, read_only=True, rollback=True, search_path=self._search_path, settings=_BY_INDEX
        ) as connection:
            rows = await connection.fetch(_visible_sql(table), *_key_columns(keys))
        return frozenset(keys[row["position"] - 1] for row in rows)

    # -- filters ------------------------------------------------------------------------------------------------------

    async def passing_values(self, item: Filter, column: Column, values: Iterable[str | None]) -> frozenset[str | None]:
        """Which of ``values`` (the log's texts) the filter lets through; none of them when the condition raises."""
        asked = list(values)
        if self._paused_until_s.get((column.type_sql, item), 0.0) > time.monotonic():
            return frozenset()
        condition = sql_condition(item, column, "k.value", "$2::text")
        sql = (
            "select k.position from unnest($1::text[]) with ordinality as k (value, position)"  # noqa: S608  built of quoted names
            f" where {condition}"
        )
        try:
            async with self._door.transaction(
                Caller.service(),
                read_only=True,
                rollback=True,
                search_path=self._search_path,
                settings={"statement_timeout": FILTER_TIMEOUT},
            ) as connection:
                rows = await connection.fetch(sql, asked, item.value)
        except (DatabaseError, Unavailable) as error:
            # Everybody's changes wait for this answer: a filter that fails once (a regular expression that takes for ever)
            # is not asked again for a while.
            self._pause((column.type_sql, item))
            _log.warning(
                "a filter on row changes failed",
                extra={"column": column.name, "operator": item.operator.value, "reason": error.message},
            )
            return frozenset()
        return frozenset(asked[row["position"] - 1] for row in rows)

    def _pause(self, key: tuple[str, Filter]) -> None:
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


def _visible_sql(table: Table) -> str:
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
        f"select k.position from unnest({arrays}) with ordinality as k ({', '.join(names)}, position)"  # noqa: S608  as above
        f" cross join lateral (select from {table.sql_name} as t where {matches} limit 1) as v"
    )


def _key_columns(keys: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)]

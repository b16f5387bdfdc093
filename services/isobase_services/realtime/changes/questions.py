"""Questions about values that only PostgreSQL answers, asked once per batch: which pass a filter, what is their JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.rls import RlsDoor
from isobase_services.realtime.changes.predicates import sql_condition
from isobase_services.realtime.changes.request import Filter
from isobase_services.realtime.changes.tables import Column
from isobase_services.realtime.changes.values import quote_json

__all__ = ["Questions"]

FILTER_TIMEOUT = "500ms"
FAILED_FILTER_PAUSE_S = 60.0

_log = logging.getLogger("isobase.realtime")


class Questions:
    """Asks the database. ``search_path`` is where types' unqualified names are found, as in the data API."""

    def __init__(self, door: RlsDoor, search_path: tuple[str, ...]) -> None:
        self._door = door
        self._search_path = search_path
        self._paused_until_s: dict[tuple[str, Filter], float] = {}

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

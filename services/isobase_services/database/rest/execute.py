"""Execute: a request's transaction at the RLS door, and what all kinds of requests share around it.

Source: PostgREST v14 ``MainTx.hs`` and ``Query/PreQuery.hs``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from starlette.responses import Response

from isobase_platform.caller import Caller
from isobase_platform.config import RestSettings
from isobase_platform.rls import DoorConnection, RlsDoor
from isobase_platform.wire_messages import Row, Step
from isobase_services.database.idempotency import KeyedWrite
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import ReadNode, plan_read
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.media import Media, negotiate
from isobase_services.database.rest.prepared import Given, Prepared
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import Outcome, explain_sql, planned_rows, pre_request_sql

__all__ = ["Engine", "choose_media", "plan_tree"]

_queries = logging.getLogger("isobase.queries")


@dataclass(slots=True, frozen=True)
class Engine:
    """What every request needs: the door and the settings."""

    door: RlsDoor
    settings: RestSettings

    def rolls_back(self, request: ApiRequest) -> bool:
        """Whether the request's transaction leaves nothing, as ``rest.tx_end`` or ``Prefer: tx`` says."""
        return (request.preferences.tx or self.settings.tx_end.partition("-")[0]) == "rollback"

    def search_path(self, request: ApiRequest) -> tuple[str, ...]:
        """The request's schema, then the extra ones."""
        return (request.schema, *self.settings.extra_search_path)

    def transaction_settings(self, request: ApiRequest, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """What is set for the request's transaction: ``settings`` of the function called, the app's, the time zone."""
        wanted = {**(settings or {}), **self.settings.app_settings}
        if request.preferences.timezone is not None:
            wanted["timezone"] = request.preferences.timezone
        return wanted

    def prepared(
        self,
        request: ApiRequest,
        sql: str,
        parameters: Parameters,
        media: Media,
        finish: Callable[[Outcome, Given], Response],
        *,
        read_only: bool = False,
        settings: Mapping[str, str] | None = None,
        check: Callable[[Outcome], None] | None = None,
        has_veto: bool = False,
        also: tuple[str, Parameters] | None = None,
    ) -> Prepared:
        """The plan of ``request``: ``sql`` as ``answer_sql`` makes it, and perhaps a second statement ``also``.

        ``check``, ``has_veto`` and ``finish`` as in ``Prepared``; ``settings`` those of the function that is called.
        """
        first = sql if media.explain is None else explain_sql(sql, media.explain)
        steps = [(first, parameters.bound())]
        if also is not None and media.explain is None:
            steps.append((also[0], also[1].bound()))
        return Prepared(
            steps=tuple(steps),
            read_only=read_only,
            search_path=self.search_path(request),
            settings=self.transaction_settings(request, settings),
            rolls_back=self.rolls_back(request),
            explained=media if media.explain is not None else None,
            check=check,
            has_veto=has_veto,
            finish=finish,
        )

    async def answer(self, prepared: Prepared, given: Given, caller: Caller) -> Response:
        """Run a prepared request for ``caller``. Raises ``DatabaseError``, ``Unavailable`` and what its check raises."""
        stopwatch = given.stopwatch
        steps = self._steps(prepared, given, caller)
        if prepared.takes_one_exchange:
            outcome = await self._exchange(prepared, steps, caller)
        else:
            outcome = await self._transaction(prepared, steps, caller)
        if stopwatch is not None:
            stopwatch.mark("transaction")
        return prepared.finish(outcome, given)

    async def answer_keyed(self, prepared: Prepared, given: Given, caller: Caller, write: KeyedWrite) -> Response:
        """The same for a write that has a key: its answer is made before the commit, and kept by it. Errors as ``answer``."""
        before = self._before()
        responses: list[Response] = []

        def settle(rows: list[list[Row]]) -> list[Step]:
            outcome = _outcome(prepared, rows[len(before) :])
            if prepared.check is not None:
                prepared.check(outcome)
            responses.append(prepared.finish(outcome, given))
            return [write.keep(responses[-1])]

        await self.door.settled(
            caller,
            [write.claim],
            [*before, *self._steps(prepared, given, caller)],
            settle,
            search_path=prepared.search_path,
            settings=prepared.settings,
        )
        if given.stopwatch is not None:
            given.stopwatch.mark("transaction")
        return responses[-1]

    def _steps(self, prepared: Prepared, given: Given, caller: Caller) -> list[Step]:
        if given.stopwatch is not None:
            given.stopwatch.mark("plan")
        steps: list[Step] = [(sql, bound.bind(given.operands, given.body)) for sql, bound in prepared.steps]
        if self.settings.log_query:
            for sql, _ in steps:
                # Values are parameters, and so nobody's data is in the text.
                _queries.log(_queries.getEffectiveLevel(), "query", extra={"sql": sql, "role": caller.role})
        return steps

    def _before(self) -> list[Step]:
        return [(pre_request_sql(self.settings.pre_request), ())] if self.settings.pre_request else []

    async def _exchange(self, prepared: Prepared, steps: list[Step], caller: Caller) -> Outcome:
        before = self._before()
        rows = await self.door.once(
            caller,
            [*before, *steps],
            read_only=prepared.read_only,
            search_path=prepared.search_path,
            settings=prepared.settings,
        )
        outcome = _outcome(prepared, rows[len(before) :])
        if prepared.check is not None:
            prepared.check(outcome)
        return outcome

    async def _transaction(self, prepared: Prepared, steps: list[Step], caller: Caller) -> Outcome:
        async with self.door.transaction(
            caller,
            read_only=prepared.read_only,
            rollback=prepared.rolls_back,
            search_path=prepared.search_path,
            settings=prepared.settings,
        ) as connection:
            if self.settings.pre_request:
                await connection.run(pre_request_sql(self.settings.pre_request))
            outcome = _outcome(prepared, [await connection.run(*step) for step in steps])
            if prepared.check is not None:
                prepared.check(outcome)
            if prepared.rolls_back:
                # What COMMIT would refuse (deferred constraints) shall be seen though nothing is kept.
                await connection.execute("set constraints all immediate")
        return outcome

    @asynccontextmanager
    async def transaction(
        self, request: ApiRequest, caller: Caller, *, read_only: bool = False
    ) -> AsyncIterator[DoorConnection]:
        """The request's transaction, for statements of asyncpg's kind; errors as ``RlsDoor.transaction``."""
        async with self.door.transaction(
            caller,
            read_only=read_only,
            rollback=self.rolls_back(request),
            search_path=self.search_path(request),
            settings=self.transaction_settings(request),
        ) as connection:
            if self.settings.pre_request:
                await connection.execute(pre_request_sql(self.settings.pre_request))
            yield connection


def _outcome(prepared: Prepared, rows: Sequence[Sequence[Row]]) -> Outcome:
    """What the steps gave. Raises as ``Outcome.from_row``."""
    if prepared.explained is not None:
        return Outcome.from_plan(rows[0], prepared.explained)
    outcome = Outcome.from_row(rows[0][0])
    if len(rows) > 1:
        outcome = replace(outcome, planned=planned_rows(rows[1][0]))
    return outcome


def plan_tree(
    cache: SchemaCache,
    relation: tuple[str, str],
    columns: Sequence[str],
    types: Mapping[str, str],
    request: ApiRequest,
    settings: RestSettings,
    *,
    source: str | None = None,
) -> ReadNode:
    """The tree that a request's ``select`` and its parameters ask for; errors as ``plan_read``.

    Over what a write returned (``source`` with no GET, HEAD or call) the filters and ranges at the top do not count again,
    and no range does, as upstream.
    """
    is_write = request.target.kind == "relation" and not request.is_read
    filters = {path: found for path, found in request.filters.items() if path} if is_write else request.filters
    node = plan_read(
        cache,
        relation,
        columns,
        types,
        select=request.select,
        filters=filters,
        orders=request.orders,
        ranges={} if is_write else request.ranges,
        max_rows=None if is_write else settings.max_rows,
        source=source,
        allows_aggregates=settings.aggregates_enabled,
    )
    node.offset_slot = None if is_write else request.offset_slot
    return node


def choose_media(
    engine: Engine, request: ApiRequest, cache: SchemaCache, target: tuple[str, str], node: ReadNode
) -> Media:
    """The representation of ``target``, read as ``node``, that the request gets; errors as ``negotiate``."""
    selects_all = not node.embeds and not node.has_formats and [item.field.name for item in node.items] in ([], ["*"])
    return negotiate(
        request.accept,
        cache.media_handlers,
        target,
        selects_all=selects_all,
        allows_explain=engine.settings.plan_enabled,
    )

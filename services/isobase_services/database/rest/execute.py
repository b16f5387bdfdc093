"""Execute: a request's transaction at the RLS door, and what all kinds of requests share around it.

Source: PostgREST v14 ``MainTx.hs`` and ``Query/PreQuery.hs``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isobase_platform.caller import Caller
from isobase_platform.config import RestSettings
from isobase_platform.rls import DoorConnection, RlsDoor
from isobase_services.database.query.plan import ReadNode, plan_read
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.query.sql_filter import Parameters
from isobase_services.database.rest.media import Media, negotiate
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.statement import Outcome, explain_sql, pre_request_sql

__all__ = ["Engine", "choose_media", "plan_tree", "run"]


@dataclass(slots=True, frozen=True)
class Engine:
    """What every request needs: the door and the settings."""

    door: RlsDoor
    settings: RestSettings

    @asynccontextmanager
    async def transaction(
        self,
        request: ApiRequest,
        caller: Caller,
        *,
        read_only: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> AsyncIterator[DoorConnection]:
        """The request's transaction: its schema first on the path, its time zone, the pre-request function called.

        Ends as ``rest.tx_end`` says and, where that allows it, as ``Prefer: tx`` asks. ``settings`` are those of the
        function that is called. Errors as ``RlsDoor.transaction``.
        """
        if request.stopwatch is not None:
            request.stopwatch.mark("plan")
        wanted = {**(settings or {}), **self.settings.app_settings}
        if request.preferences.timezone is not None:
            wanted["timezone"] = request.preferences.timezone
        rolls_back = (request.preferences.tx or self.settings.tx_end.partition("-")[0]) == "rollback"
        async with self.door.transaction(
            caller,
            read_only=read_only,
            rollback=rolls_back,
            search_path=(request.schema, *self.settings.extra_search_path),
            settings=wanted,
        ) as connection:
            if self.settings.pre_request:
                await connection.execute(pre_request_sql(self.settings.pre_request))
            yield connection
            if rolls_back:
                # What COMMIT would refuse (deferred constraints) shall be seen though nothing is kept.
                await connection.execute("set constraints all immediate")
        if request.stopwatch is not None:
            request.stopwatch.mark("transaction")


def plan_tree(
    cache: SchemaCache,
    relation: tuple[str, str],
    columns: Sequence[str],
    types: Mapping[str, str],
    request: ApiRequest,
    *,
    max_rows: int | None,
    source: str | None = None,
) -> ReadNode:
    """The tree that a request's ``select`` and its parameters ask for; errors as ``plan_read``.

    Over what a write returned (``source`` with no GET, HEAD or call) the filters and ranges at the top do not count again,
    and no range does, as upstream.
    """
    is_write = request.target.kind == "relation" and not request.is_read
    filters = {path: found for path, found in request.filters.items() if path} if is_write else request.filters
    return plan_read(
        cache,
        relation,
        columns,
        types,
        select=request.select,
        filters=filters,
        orders=request.orders,
        ranges={} if is_write else request.ranges,
        max_rows=None if is_write else max_rows,
        source=source,
    )


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


async def run(connection: DoorConnection, sql: str, parameters: Parameters, media: Media) -> Outcome:
    """Run the statement of ``answer_sql``; for a media type that asks for the plan, have it explained instead.

    Raises ``DatabaseError``, and ``RequestError`` as ``Outcome.from_record``.
    """
    if media.explain is not None:
        rows = await connection.fetch(explain_sql(sql, media.explain), *parameters.values)
        return Outcome.from_plan([row[0] for row in rows], media)
    return Outcome.from_record(await connection.fetchrow(sql, *parameters.values))

"""From a batch of row changes to frames in outboxes: plan who may be concerned, ask the database once, render, fan out.

A batch holds changes in the order of the log, and is delivered in that order before the next one is looked at. Nothing in
here waits for a socket.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.delivery_figures import DeliveryFigures
from isobase_services.realtime.changes.filtering import Filters, filterable
from isobase_services.realtime.changes.groups import Section, Subscriptions
from isobase_services.realtime.changes.judging import Hit, Planned, judge
from isobase_services.realtime.changes.pgoutput import Relation
from isobase_services.realtime.changes.questions import Questions
from isobase_services.realtime.changes.render import NO_KEY, UNAUTHORIZED, ExoticJson
from isobase_services.realtime.changes.rows import Action, Row
from isobase_services.realtime.changes.sending import send_all
from isobase_services.realtime.changes.snapshot import Moments
from isobase_services.realtime.changes.tables import Column, RoleRights, Table
from isobase_services.realtime.changes.visibility import Visibility

__all__ = ["Delivery"]

_log = logging.getLogger("isobase.realtime")


class Delivery:
    """The pipeline of one process."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        catalog: Catalog,
        *,
        moments: Moments,
        questions: Questions,
        visibility: Visibility,
        figures: DeliveryFigures,
    ) -> None:
        self._subscriptions = subscriptions
        self._catalog = catalog
        self._moments = moments
        self._questions = questions
        self._visibility = visibility
        self._figures = figures

    async def deliver(self, rows: Sequence[Row]) -> None:
        """Deliver a batch. Raises ``Unavailable`` or ``DatabaseError`` only before anything of it was delivered."""
        await self._run(rows, self._subscriptions)

    async def replay(self, rows: Sequence[Row], subscriptions: Subscriptions) -> int:
        """Deliver a batch to ``subscriptions`` alone, as they may see it now; returns the number of messages.

        For who missed it: a registry of one subscriber's own. Errors as ``deliver``.
        """
        return await self._run(rows, subscriptions)

    async def _run(self, rows: Sequence[Row], subscriptions: Subscriptions) -> int:
        wanted = [row for row in rows if subscriptions.wants(row.table.schema, row.table.name)]
        if not wanted:
            return 0
        figures = self._figures
        with figures.timed("moment"):
            current = await self._as_of_now(wanted)
        with subscriptions.held():
            sent = await self._send(current, subscriptions)
        figures.delivered(len(wanted), sent)
        return sent

    async def _send(self, rows: Sequence[Row], subscriptions: Subscriptions) -> int:
        figures = self._figures
        with figures.timed("filters"):
            planned = await self._plan(rows, subscriptions)
        if not planned:
            return 0
        with figures.timed("policies"):
            await judge(planned, self._visibility)
        with figures.timed("values"):
            exotic = await self._exotic_json(planned)
        with figures.timed("send"):
            return await send_all(planned, exotic)

    # -- plan ---------------------------------------------------------------------------------------------------------

    async def _as_of_now(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, once their transactions are visible, with what is known of their tables at that time."""
        moment = await self._moments.after({row.xid for row in rows}, {row.table.oid for row in rows})
        self._catalog.confirm(moment)
        current: list[Row] = []
        recast: dict[tuple[int, int], frozenset[str]] = {}
        for row in rows:
            table = await self._catalog.table(row.table.oid)
            if table is None:
                continue  # a table that is gone has no policies to ask
            name = (id(row.relation), table.oid)
            altered = recast.get(name)
            if altered is None:
                altered = recast[name] = _altered(row.relation, table)
            is_current = table is row.table and not altered
            current.append(row if is_current else replace(row, table=table, recast=altered))
        return current

    async def _plan(self, rows: Sequence[Row], subscriptions: Subscriptions) -> list[Planned]:
        filters = Filters(self._questions)
        wanted: list[tuple[Row, list[Section]]] = []
        tables: dict[int, Table] = {}
        for row in rows:
            sections = subscriptions.sections_for(row.table, row.action.value, filterable(row))
            if not sections:
                continue
            wanted.append((row, sections))
            tables[row.table.oid] = row.table
            for section in sections:
                filters.ask_for(row, section.request.filters)
        await filters.answer(tables)
        planned: list[Planned] = []
        for row, sections in wanted:
            item = Planned(row)
            for section in sections:
                rights = await self._catalog.rights(row.table.oid, section.role)
                hit = _plan_hit(row, section, rights, filters)
                if hit is not None:
                    item.hits.append(hit)
            if item.hits:
                planned.append(item)
        return planned

    # -- execute ------------------------------------------------------------------------------------------------------

    async def _exotic_json(self, planned: Sequence[Planned]) -> ExoticJson:
        """The JSON of all values of the batch that have no converter, where somebody sees them."""
        texts: dict[str, tuple[Column, set[str]]] = {}
        for item in planned:
            recast = item.row.recast
            columns = [
                column
                for column in item.row.table.columns.values()
                if column.converter is None and column.name not in recast
            ]
            if not columns or not any(hit.seen_by for hit in item.hits):
                continue
            for column in columns:
                for values in (item.row.record, item.row.old):
                    text = values.get(column.name)
                    if text is not None:
                        texts.setdefault(column.type_sql, (column, set()))[1].add(text)
        found: dict[tuple[str, str], str] = {}
        for type_sql, (column, asked) in texts.items():
            answers = await self._questions.json_values(column, asked)
            found.update({(type_sql, text): json for text, json in answers.items()})
        return found


def _altered(relation: Relation, table: Table) -> frozenset[str]:
    """The columns whose type is not what it was when the change was written."""
    return frozenset(
        column.name
        for column in relation.columns
        if column.name in table.columns and table.columns[column.name].type_oid != column.type_oid
    )


def _plan_hit(row: Row, section: Section, rights: RoleRights, filters: Filters) -> Hit | None:
    """Whether and how a row concerns a section, before policies (1.10 for the refusals)."""
    if row.action is not Action.DELETE:
        if not row.table.key:
            return Hit(section, rights, None, refusal=NO_KEY)
        if any(column.name not in rights.columns for column in row.table.key):
            return Hit(section, rights, None, refusal=UNAUTHORIZED)
    elif not rights.columns:
        return None
    # A deleted row is shown by its key alone, because no policy can be asked about it. A filter on another column would tell
    # a stranger what the row held, one question per filter.
    is_hidden = rights.rule is not None and row.action is Action.DELETE
    if not filters.pass_(row, section.request.filters, rights.columns, by_key_only=is_hidden):
        return None
    return Hit(section, rights, None if is_hidden else rights.rule)

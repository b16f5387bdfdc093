"""From a batch of row changes to frames in outboxes: plan who may be concerned, ask the database once, render, fan out.

A batch holds changes in the order of the log, and is delivered in that order before the next one is looked at. Nothing in
here waits for a socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from isobase_services.realtime.changes.catalog import Catalog, Column, RoleRights, Table
from isobase_services.realtime.changes.groups import Audience, Section, Subscriber, Subscriptions
from isobase_services.realtime.changes.predicates import Predicate, local_predicate
from isobase_services.realtime.changes.render import NO_KEY, UNAUTHORIZED, ExoticJson, render_change, render_refusal
from isobase_services.realtime.changes.request import ANY, Filter
from isobase_services.realtime.changes.rows import Action, Row
from isobase_services.realtime.changes.snapshot import VisibleTransactions
from isobase_services.realtime.changes.visibility import KeyCheck, Questions
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import Codec

__all__ = ["Delivery"]

STEPS_BETWEEN_YIELDS = 500
"""Receivers served before the event loop gets a turn, so that heartbeats and reads stay prompt."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, eq=False)
class _Hit:
    """A section that a row concerns. ``refusal`` is the error that takes the place of the row's content."""

    section: Section
    rights: RoleRights
    needs_check: bool
    refusal: str | None = None


@dataclass(slots=True, eq=False)
class _Planned:
    """A row with the sections it concerns."""

    row: Row
    hits: list[_Hit] = field(default_factory=list)


class _Filters:
    """The filters of one batch: local ones decide at once, the others are answered for all values of the batch together."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._local: dict[tuple[int, Filter], Predicate | None] = {}
        self._asked: dict[tuple[int, Filter], set[str | None]] = {}
        self._answers: dict[tuple[int, Filter], frozenset[str | None]] = {}

    def ask_for(self, row: Row, filters: tuple[Filter, ...]) -> None:
        """Note the values that the server must judge for this row."""
        values = _filterable(row)
        for item in filters:
            column = row.table.columns.get(item.column)
            if column is None or item.column not in values:
                continue
            key = (row.table.oid, item)
            if key not in self._local:
                self._local[key] = local_predicate(item, column)
            if self._local[key] is None:
                self._asked.setdefault(key, set()).add(values[item.column])

    async def answer(self, tables: dict[int, Table]) -> None:
        """Ask the server what was noted."""
        for (oid, item), values in self._asked.items():
            column = tables[oid].columns[item.column]
            self._answers[oid, item] = await self._questions.passing_values(item, column, values)

    def pass_(self, row: Row, filters: tuple[Filter, ...], *, by_key_only: bool) -> bool:
        """True when the row passes all filters; a filter on a column that the log does not hold is not passed.

        ``by_key_only``: nor is one on a column outside the primary key.
        """
        values = _filterable(row)
        for item in filters:
            column = row.table.columns.get(item.column)
            if column is None or item.column not in values or (by_key_only and not column.is_key):
                return False
            value = values[item.column]
            predicate = self._local[row.table.oid, item]
            if predicate is not None:
                if not predicate(value):
                    return False
            elif value not in self._answers[row.table.oid, item]:
                return False
        return True


def _filterable(row: Row) -> dict[str, str | None]:
    return row.old if row.action is Action.DELETE else row.fresh


class Delivery:
    """The pipeline of one process."""

    def __init__(
        self, subscriptions: Subscriptions, catalog: Catalog, questions: Questions, transactions: VisibleTransactions
    ) -> None:
        self._subscriptions = subscriptions
        self._catalog = catalog
        self._questions = questions
        self._transactions = transactions

    async def deliver(self, rows: Sequence[Row]) -> None:
        """Deliver a batch. Raises ``Unavailable`` or ``DatabaseError`` only before anything of it was delivered."""
        await self._run(rows, self._subscriptions)

    async def replay(self, rows: Sequence[Row], subscriptions: Subscriptions) -> int:
        """Deliver a batch to ``subscriptions`` alone, as they may see it now; returns the number of messages.

        For who missed it: a registry of one subscriber's own. Errors as ``deliver``.
        """
        return await self._run(rows, subscriptions)

    async def _run(self, rows: Sequence[Row], subscriptions: Subscriptions) -> int:
        planned = await self._plan(rows, subscriptions)
        if not planned:
            return 0
        await self._transactions.wait_for({item.row.xid for item in planned})
        visible = await self._check(planned)
        exotic = await self._exotic_json(planned)
        sent = steps = 0
        for item in planned:
            receivers = self._send(item, visible, exotic)
            sent += receivers
            steps += receivers
            if steps >= STEPS_BETWEEN_YIELDS:
                steps = 0
                await asyncio.sleep(0)
        return sent

    # -- plan ---------------------------------------------------------------------------------------------------------

    async def _plan(self, rows: Sequence[Row], subscriptions: Subscriptions) -> list[_Planned]:
        filters = _Filters(self._questions)
        wanted: list[tuple[Row, list[Section]]] = []
        tables: dict[int, Table] = {}
        for row in rows:
            sections = [
                section
                for section in subscriptions.sections_for(row.table.schema, row.table.name)
                if section.request.event in (ANY, row.action.value)
            ]
            if not sections:
                continue
            wanted.append((row, sections))
            tables[row.table.oid] = row.table
            for section in sections:
                filters.ask_for(row, section.request.filters)
        await filters.answer(tables)
        planned: list[_Planned] = []
        for row, sections in wanted:
            item = _Planned(row)
            for section in sections:
                rights = await self._catalog.rights(row.table.oid, section.role)
                hit = _plan_hit(row, section, rights, filters)
                if hit is not None:
                    item.hits.append(hit)
            if item.hits:
                planned.append(item)
        return planned

    # -- execute ------------------------------------------------------------------------------------------------------

    async def _check(
        self, planned: Sequence[_Planned]
    ) -> dict[tuple[int, tuple[str, str]], frozenset[tuple[str, ...]]]:
        """(table, audience) -> the keys that it may see: one question per pair, whatever the number of rows."""
        keys: dict[tuple[int, tuple[str, str]], dict[tuple[str, ...], None]] = {}
        subjects: dict[tuple[int, tuple[str, str]], tuple[Table, Audience]] = {}
        for row, hit in _pairs(planned):
            key = row.key
            if not hit.needs_check or key is None:
                continue
            for audience in hit.section.audiences.values():
                subject = (row.table.oid, audience.key)
                keys.setdefault(subject, {})[key] = None
                subjects[subject] = (row.table, audience)
        checks = [
            KeyCheck(table=table, caller=audience.caller, keys=tuple(keys[subject]))
            for subject, (table, audience) in subjects.items()
        ]
        answers = await self._questions.visible_keys(checks)
        return dict(zip(subjects, answers, strict=True))

    async def _exotic_json(self, planned: Sequence[_Planned]) -> ExoticJson:
        """The JSON of all values of the batch that have no converter."""
        texts: dict[str, tuple[Column, set[str]]] = {}
        for item in planned:
            for column in item.row.table.columns.values():
                if column.converter is not None:
                    continue
                for values in (item.row.record, item.row.old):
                    text = values.get(column.name)
                    if text is not None:
                        texts.setdefault(column.type_sql, (column, set()))[1].add(text)
        found: dict[tuple[str, str], str] = {}
        for type_sql, (column, asked) in texts.items():
            answers = await self._questions.json_values(column, asked)
            found.update({(type_sql, text): json for text, json in answers.items()})
        return found

    # -- render and fan out -------------------------------------------------------------------------------------------

    def _send(
        self,
        item: _Planned,
        visible: dict[tuple[int, tuple[str, str]], frozenset[tuple[str, ...]]],
        exotic: ExoticJson,
    ) -> int:
        """Put one row to everybody who may see it; returns the number of receivers."""
        row = item.row
        # What is shown depends on the role and the selection; whoever shares them shares the text.
        receivers: dict[tuple[str, tuple[str, ...] | None, bool], tuple[_Hit, dict[Subscriber, list[int]]]] = {}
        key = row.key
        for hit in item.hits:
            variant = (hit.section.role, hit.section.request.columns, hit.section.with_position)
            for audience in hit.section.audiences.values():
                if hit.needs_check and key not in visible.get((row.table.oid, audience.key), ()):
                    continue
                members = receivers.setdefault(variant, (hit, {}))[1]
                for subscriber, identifiers in audience.members.items():
                    members.setdefault(subscriber, []).extend(identifiers)
        count = 0
        for hit, members in receivers.values():
            data = (
                render_change(
                    row, hit.rights, hit.section.request.columns, exotic, with_position=hit.section.with_position
                )
                if hit.refusal is None
                else render_refusal(row, hit.refusal, with_position=hit.section.with_position)
            )
            _fan_out(members, data)
            count += len(members)
        return count


def _plan_hit(row: Row, section: Section, rights: RoleRights, filters: _Filters) -> _Hit | None:
    """Whether and how a row concerns a section, before policies (1.10 for the refusals)."""
    if row.action is not Action.DELETE:
        if not row.table.key:
            return _Hit(section, rights, needs_check=False, refusal=NO_KEY)
        if any(column.name not in rights.columns for column in row.table.key):
            return _Hit(section, rights, needs_check=False, refusal=UNAUTHORIZED)
    elif not rights.columns:
        return None
    is_under_policies = row.table.has_row_security and not rights.bypasses_rls
    # A deleted row is shown by its key alone, because no policy can be asked about it. A filter on another column would tell
    # a stranger what the row held, one question per filter.
    is_hidden = is_under_policies and row.action is Action.DELETE
    if not filters.pass_(row, section.request.filters, by_key_only=is_hidden):
        return None
    return _Hit(section, rights, needs_check=is_under_policies and not is_hidden)


def _pairs(planned: Sequence[_Planned]) -> Iterator[tuple[Row, _Hit]]:
    for item in planned:
        for hit in item.hits:
            yield item.row, hit


def _fan_out(members: dict[Subscriber, list[int]], data: str) -> None:
    frames: dict[tuple[Codec, str, tuple[int, ...]], Frame] = {}
    for subscriber, identifiers in members.items():
        ids = tuple(dict.fromkeys(identifiers))
        key = (subscriber.codec, subscriber.wire_topic, ids)
        frame = frames.get(key)
        if frame is None:
            payload = f'{{"ids":[{",".join(map(str, ids))}],"data":{data}}}'
            frame = frames[key] = subscriber.codec.fan_out(
                topic=subscriber.wire_topic, event="postgres_changes", payload=payload
            )
        subscriber.put(frame)

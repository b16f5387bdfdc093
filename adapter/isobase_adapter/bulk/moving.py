"""The whole copy of a project: schema, users, rows, what changed meanwhile, the rest of the schema, objects.

Each step may be done again: what is there is left alone or compared. So an interrupted copy is simply begun again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import asyncpg

from isobase_adapter.auth.copy import copy_users
from isobase_adapter.bulk.connections import Connection, connected
from isobase_adapter.bulk.copy import CopyReport, copy_tables
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.everything import sync_of
from isobase_adapter.bulk.owing import Owed
from isobase_adapter.bulk.parts import Parts
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.replicating import replicate_tables
from isobase_adapter.bulk.report import Page, Section, duration_text, size_text
from isobase_adapter.bulk.schema import SchemaReport, make_definitions
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.bulk.sync_book import only_one
from isobase_adapter.reasons import reason_of
from isobase_adapter.rows.sequences import move_sequences
from isobase_adapter.sides import Side
from isobase_adapter.storage.copy import copy_storage
from isobase_adapter.storage.report import BucketReport

__all__ = ["Method", "MoveOptions", "MoveReport", "RowsBy", "Step", "move", "steps_of"]

logger = logging.getLogger("isobase.migration.bulk")


class Step(StrEnum):
    """The parts of a copy."""

    SCHEMA = "schema"
    USERS = "users"
    ROWS = "rows"
    OBJECTS = "objects"


class RowsBy(StrEnum):
    """What brings the rows."""

    COPY = "copy"
    """COPY in parallel ranges, through this process."""
    REPLICATION = "replication"
    """A subscription of Isobase's server; what it cannot take goes by COPY."""


class Method(StrEnum):
    """How what changed during a copy, and after it, is found."""

    LOG = "log"
    """From the databases' logs (a replication slot on either side)."""
    POLLING = "polling"
    """By comparing: no slot is needed."""


@dataclass(slots=True, frozen=True)
class MoveOptions:
    """What to copy. ``tables``, ``without``: ``schema.table``; ``parallel``: ranges at a time."""

    steps: frozenset[Step] = frozenset(Step)
    tables: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    parallel: int = 4
    method: Method = Method.LOG
    rows_by: RowsBy = RowsBy.COPY
    replication_url: str | None = None
    """How Isobase's server reaches Supabase's database, where that is another way than from here."""


@dataclass(slots=True)
class MoveReport:
    """What a copy came to."""

    schema: SchemaReport | None = None
    rows: CopyReport | None = None
    sequences: int | None = None
    users: int | None = None
    buckets: int | None = None
    objects: int | None = None
    compared: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is at the target."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self) | {"is_complete": self.is_complete}

    def page(self) -> Page:
        """Give it as a page."""
        facts: list[tuple[str, Any]] = [("Time", duration_text(self.seconds))]
        sections = []
        if self.rows is not None:
            rate = self.rows.bytes / max(self.rows.seconds, 0.001)
            facts += [("Rows", self.rows.rows), ("Bytes", size_text(self.rows.bytes)), ("Rate", f"{size_text(rate)}/s")]
            sections.append(
                Section(
                    "Tables",
                    ("Table", "Rows", "Bytes", "Seconds", "Ranges", "Done before", "Beside rows", "Problem"),
                    [
                        (
                            t.name,
                            t.rows,
                            size_text(t.bytes),
                            round(t.seconds, 1),
                            t.ranges,
                            t.resumed,
                            t.beside,
                            t.error or "",
                        )
                        for t in self.rows.tables
                    ],
                )
            )
        facts += [("Users", self.users)] if self.users is not None else []
        facts += [("Buckets", self.buckets), ("Objects", self.objects)] if self.buckets is not None else []
        if self.schema is not None:
            facts.append(("Definitions", f"{len(self.schema.made)} made, {self.schema.present} there already"))
            sections += [
                Section(
                    "Refused by the target", ("What", "Why"), [(one.name, one.reason) for one in self.schema.failed]
                ),
                Section(
                    "Defined otherwise at the target, and left so",
                    ("What", "Source", "Target"),
                    [(one.name, one.source, one.target) for one in self.schema.differing],
                ),
            ]
        sections.insert(0, Section("What is left to do", ("Problem",), [(one,) for one in self.problems]))
        verdict, tone = "Complete.", "good"
        if not self.is_complete:
            verdict, tone = f"Not complete: {len(self.problems)} problem(s).", "bad"
        elif self.schema is not None and self.schema.differing:
            verdict = f"Complete, but {len(self.schema.differing)} definition(s) are others at the target."
            tone = "warn"
        return Page("Copy of a project to Isobase", verdict, tone, facts, sections)


async def move(parts: Parts, options: MoveOptions, progress: Progress = NO_PROGRESS) -> MoveReport:
    """Copy a project from Supabase to Isobase.

    Raises ``Refused`` where the sides do not allow it, and what the servers raise when they are lost.
    """
    started_s = time.monotonic()
    report = MoveReport()
    async with connected(parts.dsns[Side.ISOBASE], "copy, control") as control:
        await only_one(control)
        await _require_first_writer(control)
        sync = sync_of(parts, control, progress, only_rows=True)
        without = set(options.without)
        if Step.SCHEMA in options.steps:
            progress.say("Making the schema")
            report.schema = await _make(parts, Phase.BEFORE)
            without |= {name.replace('"', "") for name in report.schema.unguarded()}
        owed = Owed()
        if Step.ROWS in options.steps and options.method is Method.LOG:
            await sync.prepare([Side.SUPABASE])
            owed = await sync.owed(Side.SUPABASE)
        if Step.USERS in options.steps:
            report.users = await _copy_users(parts, report, progress)
        if Step.ROWS in options.steps:
            report.rows = await _copy_rows(parts, options, sorted(without), progress)
            await _catch_up(sync, options, report, progress, owed)
        if Step.SCHEMA in options.steps:
            assert report.schema is not None
            progress.say("Making indexes, foreign keys and triggers")
            _add(report.schema, await _make(parts, Phase.AFTER))
        if Step.ROWS in options.steps:
            await _finish(parts, report)
            report.sequences = len(await move_sequences(parts.rows.pairs, Side.ISOBASE))
        if Step.OBJECTS in options.steps:
            report.buckets = await _copy_objects(parts, report, progress, options.parallel)
    _collect_problems(report)
    report.seconds = time.monotonic() - started_s
    return report


async def _require_first_writer(control: Connection) -> None:
    """Refuse where Isobase is written first already: what Supabase has is older there."""
    moved = [
        row["pattern"] for row in await control.fetch("select pattern from isobase.writers where side = 'isobase'")
    ]
    if moved:
        raise Refused(
            f"Isobase is written first for {', '.join(sorted(moved))}: a copy would bring older rows",
            hint="sync keeps both sides equal in either direction; verify --repair carries what differs",
        )


async def _make(parts: Parts, phase: Phase) -> SchemaReport:
    async with (
        connected(parts.dsns[Side.SUPABASE], "schema") as source,
        connected(parts.dsns[Side.ISOBASE], "schema") as target,
    ):
        return await make_definitions(source, target, phase)


def _add(report: SchemaReport, other: SchemaReport) -> None:
    report.made += other.made
    report.present += other.present
    report.differing += other.differing
    report.failed += other.failed


async def _copy_users(parts: Parts, report: MoveReport, progress: Progress) -> int:
    copied = await copy_users(parts.databases, progress=progress)
    for users in copied.conflicts:
        report.problems.append(f"users of both sides have the same address, phone or identity: {', '.join(users)}")
    return copied.users


async def _copy_rows(parts: Parts, options: MoveOptions, without: list[str], progress: Progress) -> CopyReport:
    if options.rows_by is RowsBy.COPY:
        return await copy_tables(
            parts.dsns, only=options.tables, without=without, parallel=options.parallel, progress=progress
        )
    report = await replicate_tables(
        parts.dsns, only=options.tables, without=without, source_url=options.replication_url, progress=progress
    )
    left = [one.name for one in report.tables if one.error is not None]
    if left:
        rest = await copy_tables(parts.dsns, only=left, parallel=options.parallel, progress=progress)
        report.tables = [one for one in report.tables if one.error is None] + rest.tables
        report.seconds += rest.seconds
    return report


async def _catch_up(sync: Sync, options: MoveOptions, report: MoveReport, progress: Progress, owed: Owed) -> None:
    """Carry what changed while the rows were on their way: from the log, or by comparing."""
    assert report.rows is not None
    copied = [one for one in report.rows.tables if one.error is None]
    if options.method is Method.POLLING:
        again = [one.name for one in copied]
    else:
        # The log knows nothing of rows that were there before it, nor of ranges that were copied before it.
        again = [one.name for one in copied if one.beside or (one.resumed and owed.has_to_be_compared(one.name))]
    if again:
        await sync.sweep(again)
        report.compared = again
    if options.method is Method.LOG:
        # What was left out is compared by whoever follows the log from here on.
        failed = [one.name for one in report.rows.tables if one.error is not None] + report.rows.missing
        await sync.settle_copied(Side.SUPABASE, [one.name for one in copied], failed)
        progress.say("Carrying what changed meanwhile")
        await sync.run(until_caught_up=True, is_after_copy=True)


async def _finish(parts: Parts, report: MoveReport) -> None:
    """Statistics for the planner, and views that hold rows."""
    async with (
        connected(parts.dsns[Side.SUPABASE], "finish") as source,
        connected(parts.dsns[Side.ISOBASE], "finish") as target,
    ):
        question = (
            "select format('%I.%I', n.nspname, c.relname) as quoted from pg_class as c"
            " join pg_namespace as n on n.oid = c.relnamespace"
            " where c.relkind = 'm' and c.relispopulated = $1 and n.nspname !~ '^pg_' order by c.oid"
        )
        filled = {row["quoted"] for row in await source.fetch(question, True)}
        for row in await target.fetch(question, False):
            if row["quoted"] in filled:
                try:
                    await target.execute(f"refresh materialized view {row['quoted']}")
                except asyncpg.PostgresError as error:
                    report.problems.append(f"materialized view {row['quoted']} is empty: {reason_of(error)}")
        assert report.rows is not None
        for one in report.rows.tables:
            if one.error is None and one.rows:
                schema, _, table = one.name.partition(".")
                await target.execute(
                    await target.fetchval("select format('analyze %I.%I', $1::text, $2::text)", schema, table)
                )


async def _copy_objects(parts: Parts, report: MoveReport, progress: Progress, parallel: int) -> int | None:
    if parts.objects is None:
        report.problems.append(
            "objects were not copied: the APIs' URLs and service-role keys of both sides are needed for that"
        )
        return None
    told: dict[str, int] = {}

    def show(bucket: BucketReport) -> None:
        part = f"bucket {bucket.bucket}"
        if part not in told:
            progress.begin(part, bucket.total_bytes or 0, "bytes")
        progress.advance(part, bucket.seen_bytes - told.get(part, 0))
        told[part] = bucket.seen_bytes

    done = await copy_storage(parts.objects, Side.ISOBASE, parallel=parallel, progress=show)
    for bucket in done.buckets:
        progress.end(f"bucket {bucket.bucket}", f"{bucket.seen_objects} objects, {bucket.carried_objects} carried")
    report.problems += [f"object {one.bucket}/{one.key}: {one.what}" for one in done.troubles]
    report.problems += [f"bucket {name}: its settings differ" for name in done.settings_differ]
    report.objects = sum(bucket.seen_objects for bucket in done.buckets)
    return len(done.buckets)


def _collect_problems(report: MoveReport) -> None:
    if report.schema is not None:
        report.problems += [f"{one.name} was refused: {one.reason}" for one in report.schema.failed]
    if report.rows is not None:
        report.problems += [f"table {name} is not at the target" for name in report.rows.missing]
        report.problems += [f"table {one.name}: {one.error}" for one in report.rows.tables if one.error is not None]


def steps_of(names: Sequence[str]) -> frozenset[Step]:
    """Give the steps by their names; all where none is named. Raises ``Refused``."""
    try:
        return frozenset(Step(name) for name in names) or frozenset(Step)
    except ValueError as error:
        raise Refused(f"no step of a copy: {error}") from error

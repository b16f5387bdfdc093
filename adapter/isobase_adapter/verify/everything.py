"""Verifies a whole project: definitions, rows, users and objects, each against the side that is written first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isobase_adapter.auth.verify import UsersReport, verify_users
from isobase_adapter.bulk.parts import Parts
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.report import Page, Section, duration_text, moment_text
from isobase_adapter.capabilities import Capability, Kind, most_specific
from isobase_adapter.sides import Side
from isobase_adapter.storage.report import StorageReport
from isobase_adapter.storage.verify import Depth, verify_storage
from isobase_adapter.verify.journal import Journal
from isobase_adapter.verify.keeping import keep, keep_only, of_bucket, of_definitions, of_table, of_users
from isobase_adapter.verify.results import TableResult, VerifyResult
from isobase_adapter.verify.schema import compare_schemas
from isobase_adapter.verify.tables import TableVerifier, VerifyOptions
from isobase_adapter.verify.told import BucketProgress, TableProgress

__all__ = ["Everything", "EverythingOptions", "Part", "verify_everything"]

PARTS = ("schema", "rows", "users", "objects")
Part = str
WAITING = """
select distinct case when o.thing ->> 'kind' in ('row', 'table') then 'table' else 'bucket' end as kind,
       o.thing ->> 'resource' as resource, o.target
  from isobase.outbox as o
 where o.state in ('pending', 'dead') and o.thing ->> 'kind' in ('row', 'table', 'object', 'objects', 'bucket')
"""


@dataclass(slots=True, frozen=True)
class EverythingOptions:
    """What to verify. ``tables``: ``schema.table``, empty for all. ``resume``: a file to go on from, None for none.

    again: begin anew, whatever the file holds.
    """

    parts: tuple[Part, ...] = PARTS
    tables: tuple[str, ...] = ()
    depth: Depth = Depth.FACTS
    rows: VerifyOptions = field(default_factory=VerifyOptions)
    resume: Path | None = None
    again: bool = False


@dataclass(slots=True)
class Everything:
    """What a verification found. Parts that were not asked for, or cannot be reached, are None."""

    database: VerifyResult = field(default_factory=VerifyResult)
    users: UsersReport | None = None
    objects: dict[str, StorageReport] = field(default_factory=dict)
    """By bucket."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing stands in the way of a cutover."""
        return (
            self.database.is_equal
            and (self.users is None or self.users.is_equal)
            and all(report.is_equal for report in self.objects.values())
        )

    @property
    def as_of(self) -> str | None:
        """When the oldest part of it was compared, where that was an earlier run."""
        return min((table.as_of for table in self.database.tables if table.as_of is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Give it for a report."""
        return {
            **self.database.as_json(),
            "is_equal": self.is_equal,
            "as_of": self.as_of,
            "users": None if self.users is None else self.users.as_json(),
            "objects": {bucket: report.as_json() for bucket, report in self.objects.items()},
            "notes": self.notes,
        }

    def page(self) -> Page:
        """Give it for people."""
        tables = self.database.tables
        verdict, tone = ("Both sides are equal", "good") if self.is_equal else ("The sides are not equal", "bad")
        if (as_of := self.as_of) is not None:
            verdict += f"; a part of this was compared by an earlier run, the oldest at {moment_text(as_of)}"
            tone = "warn" if self.is_equal else tone
        facts: list[tuple[str, Any]] = [
            ("tables", f"{len(tables)}, {sum(not table.is_equal for table in tables)} not equal"),
            ("rows at Supabase", f"{sum(table.rows.get('supabase', 0) for table in tables):,}"),
            ("rows repaired", sum(table.repaired for table in tables)),
            ("definitions that differ", len(self.database.schema)),
        ]
        if self.users is not None:
            facts.append(("users", f"{self.users.users}, {self.users.differing - self.users.repaired} not equal"))
        if self.objects:
            facts.append(
                ("buckets", f"{len(self.objects)}, {sum(not r.is_equal for r in self.objects.values())} not equal")
            )
        facts += [("note", note) for note in self.notes]
        return Page("Verification", verdict, tone, facts, self._sections())

    def _sections(self) -> list[Section]:
        tables = self.database.tables
        differing = [table for table in tables if not table.is_equal]
        return [
            Section(
                "Tables that are not equal",
                ("table", "missing", "extra", "different", "why"),
                [(t.table, t.missing, t.extra, t.different, t.error or "") for t in differing],
            ),
            Section(
                "Rows",
                ("table", "how", "key", "columns"),
                [
                    (t.table, str(row.kind), ", ".join(map(str, row.key)), ", ".join(row.columns))
                    for t in differing
                    for row in t.named
                ],
                "The first of each table; keys and columns alone, no values.",
            ),
            Section(
                "Definitions",
                ("severity", "difference"),
                [(str(difference.severity), str(difference)) for difference in self.database.schema],
            ),
            Section(
                "Users",
                ("user", "difference"),
                [
                    (user.user, f"at {user.only} alone" if user.only else ", ".join(user.differences))
                    for user in (self.users.named if self.users is not None else [])
                ],
            ),
            Section(
                "Objects",
                ("bucket", "object", "difference"),
                [
                    *((bucket, "", "its settings differ") for bucket, r in self.objects.items() if r.settings_differ),
                    *(
                        (t.bucket, t.key, ": ".join([t.what, *t.detail]))
                        for r in self.objects.values()
                        for t in r.troubles
                    ),
                ],
            ),
            Section(
                "Compared by an earlier run",
                ("table", "what"),
                [(t.table, what) for t in tables for what in t.older],
                "What was equal then may differ now. A cutover's gates compare everything anew; so does --again.",
            ),
            Section(
                "All tables",
                ("table", "right side", "rows at Supabase", "rows at Isobase", "in flight", "repaired", "time"),
                [
                    (
                        t.table,
                        str(t.source),
                        t.rows.get("supabase", 0),
                        t.rows.get("isobase", 0),
                        t.in_flight,
                        t.repaired,
                        duration_text(t.seconds),
                    )
                    for t in tables
                ],
            ),
        ]


class _Writers:
    """Who is written first, from the control store."""

    def __init__(self, records: Mapping[str, tuple[Side, int]]) -> None:
        self._records = records

    def of(self, capability: Capability) -> tuple[Side, int]:
        pattern = most_specific(self._records, capability)
        return (Side.SUPABASE, 0) if pattern is None else self._records[pattern]


async def verify_everything(parts: Parts, options: EverythingOptions, progress: Progress = NO_PROGRESS) -> Everything:
    """Verify what ``options`` names. Repairs hold the writer's fence. Raises ``WriterMoved`` and the sides' errors."""
    result = Everything()
    records = await parts.outbox.pool.fetch("select pattern, side, epoch from isobase.writers")
    writers = _Writers({row["pattern"]: (Side(row["side"]), row["epoch"]) for row in records})
    if "schema" in options.parts:
        progress.say("Comparing definitions")
        writer, _ = writers.of(Capability(Kind.TABLE, ""))
        result.database.schema = await compare_schemas(parts.rows.pairs, writer=writer)
        await keep(parts.outbox.pool, of_definitions(result.database.schema))
    waiting = await _waiting(parts, writers) if options.rows.repair else set()
    if "rows" in options.parts:
        result.database.tables = await _verify_tables(parts, options, writers, waiting, progress)
    if "users" in options.parts:
        writer, _ = writers.of(Capability(Kind.AUTH))
        result.users = await verify_users(
            parts.databases, writer=writer, repairs=options.rows.repair, progress=progress
        )
        await keep(parts.outbox.pool, of_users(result.users))
    if "objects" in options.parts:
        if parts.objects is None:
            result.notes.append("objects were not compared: both APIs' URLs and service-role keys are needed")
        else:
            result.objects = await _verify_objects(parts, options, writers, waiting, progress)
    for capability in sorted(waiting, key=str):
        side, _ = writers.of(capability)
        result.notes.append(
            f"{capability} is not repaired: what {side.other} took waits for {side} (isobase migrate outbox)"
        )
    return result


async def _waiting(parts: Parts, writers: _Writers) -> set[Capability]:
    """Tables and buckets that are not to be repaired: after a failover the other side has writes of them that the side
    which is written first has not got yet.
    """
    rows = await parts.outbox.pool.fetch(WAITING)
    found = {(Capability(Kind(row["kind"]), row["resource"]), row["target"]) for row in rows}
    return {capability for capability, target in found if target == writers.of(capability)[0]}


async def _verify_tables(
    parts: Parts, options: EverythingOptions, writers: _Writers, waiting: set[Capability], progress: Progress
) -> list[TableResult]:
    verifier, journal = TableVerifier(parts.rows, options.rows), Journal(options.resume, again=options.again)
    looking = TableVerifier(parts.rows, replace(options.rows, repair=False))
    shared, missing = await verifier.tables()
    wanted: Sequence[str] = options.tables or sorted([*shared, *missing])
    results: list[TableResult] = []
    for name in wanted:
        capability = Capability(Kind.TABLE, name)
        source, epoch = writers.of(capability)
        version = await _version(parts, name)
        if (done := journal.done(name, version)) is not None:
            as_of = done.as_of.isoformat(timespec="seconds")
            results.append(
                TableResult(name, source, done.rows, as_of=as_of, older=[f"all of it, as of {moment_text(as_of)}"])
            )
            progress.say(f"{name}: equal as of {moment_text(as_of)}, by an earlier run")
            continue
        told, began_at = TableProgress(progress, name), datetime.now(UTC)
        fence = parts.outbox.writer_fence(capability, source.other, epoch)
        try:
            result = await (looking if capability in waiting else verifier).verify(
                name, source, fence=fence, on_progress=told, on_judged=told.judged, kept=journal.begin(name, version)
            )
        except BaseException:
            journal.keep()
            raise
        told.end(("equal" if result.is_equal else "not equal") + _of_an_earlier_run(result))
        results.append(result)
        await keep(parts.outbox.pool, of_table(result))
        as_of_all = began_at if result.as_of is None else datetime.fromisoformat(result.as_of)
        journal.end(name, version, result.rows if result.is_equal else None, as_of_all)
    if not options.tables:
        await keep_only(parts.outbox.pool, Kind.TABLE, wanted)
    journal.finish()
    return results


def _of_an_earlier_run(result: TableResult) -> str:
    return "" if result.as_of is None else f"; parts of it as of {moment_text(result.as_of)}, by an earlier run"


async def _version(parts: Parts, name: str) -> str:
    views = [await database.catalog.view() for database in parts.databases.values()]
    return "/".join(view.tables[name].version if name in view.tables else "-" for view in views)


async def _verify_objects(
    parts: Parts, options: EverythingOptions, writers: _Writers, waiting: set[Capability], progress: Progress
) -> dict[str, StorageReport]:
    assert parts.objects is not None
    names = {bucket.id for store in parts.stores.values() for bucket in await store.buckets()}
    reports: dict[str, StorageReport] = {}
    for name in sorted(names):
        told = BucketProgress(progress, name, options.depth)
        capability = Capability(Kind.BUCKET, name)
        source, epoch = writers.of(capability)
        reports[name] = await verify_storage(
            parts.objects,
            source.other,
            buckets=[name],
            depth=options.depth,
            repairs=options.rows.repair and capability not in waiting,
            fence=parts.outbox.writer_fence(capability, source.other, epoch),
            progress=told,
        )
        told.end("equal" if reports[name].is_equal else "not equal")
        await keep(parts.outbox.pool, of_bucket(name, reports[name], options.depth))
    await keep_only(parts.outbox.pool, Kind.BUCKET, names)
    return reports

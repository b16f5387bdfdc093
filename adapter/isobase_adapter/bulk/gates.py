"""The gates of a cutover: what must hold before Isobase is written first, each with the value that was found."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from isobase_adapter.auth.verify import verify_users
from isobase_adapter.bulk.capture import read_slot
from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.parts import Parts
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.written import tables_written_by
from isobase_adapter.capabilities import Capability, Kind, fits, most_specific
from isobase_adapter.contracts import Flag, Snapshot
from isobase_adapter.control.changes import effective_flag, effective_writer
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.store import summed
from isobase_adapter.handover import Handover
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.report import StorageReport
from isobase_adapter.storage.verify import Depth, verify_storage
from isobase_adapter.verify.concerning import concerned_by
from isobase_adapter.verify.keeping import Verified, keep, of_bucket, of_definitions, of_table, of_users, read_verified
from isobase_adapter.verify.results import Severity
from isobase_adapter.verify.schema import compare_schemas
from isobase_adapter.verify.tables import TableVerifier
from isobase_adapter.verify.told import BucketProgress, TableProgress

__all__ = [
    "Compared",
    "Gate",
    "GateLimits",
    "Gates",
    "check_gates",
    "compared_gates",
    "control_gates",
    "objects_gate",
    "tables_of",
]

MAX_NAMED = 10
OUTBOX_PATIENCE_S = 10.0
"""How long is waited for a moment in which nothing is on its way."""
OUTBOX_POLL_S = 0.05
STOP_CAPTURE = (
    "wait until it has read the log; one that goes by polling reads none: isobase migrate sync --stop-capture"
)
_TRIGGER_SOURCES = """
select distinct p.prosrc as source
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid
 where not t.tgisinternal and t.tgenabled <> 'D' and n.nspname || '.' || c.relname = any($1::text[])
"""


@dataclass(slots=True, frozen=True)
class GateLimits:
    """What a cutover asks for. ``calls``: so many reads compared, within ``hours``, with no unexplained mismatch.

    failed_percent: of the reads that were to be compared, so many may have had no answer from Isobase. max_lag_bytes: of the
    log that ``sync`` has not read. depth: how objects are compared.
    """

    calls: int = 1000
    hours: float = 24.0
    failed_percent: float = 1.0
    max_lag_bytes: int = 16 * 1024 * 1024
    verifies: bool = True
    depth: Depth = Depth.FACTS


@dataclass(slots=True, frozen=True)
class Gate:
    """One gate. ``value``: what was found; ``wanted``: what must be found; ``todo``: where it is not met."""

    name: str
    is_met: bool
    value: str
    wanted: str
    todo: str = ""


@dataclass(slots=True)
class Gates:
    """All gates of a pattern."""

    pattern: str
    gates: list[Gate] = field(default_factory=list)

    @property
    def are_met(self) -> bool:
        """Whether nothing stands in the way."""
        return all(gate.is_met for gate in self.gates)

    def as_json(self) -> dict[str, Any]:
        """Give them as JSON values."""
        return asdict(self) | {"are_met": self.are_met}


async def check_gates(
    pattern: str,
    parts: Parts,
    operator: Operator,
    handover: Handover,
    limits: GateLimits,
    progress: Progress = NO_PROGRESS,
) -> Gates:
    """Look at every gate of a cutover of ``pattern``; changes nothing, but what it found is kept for ``status``."""
    gates = Gates(pattern)
    snapshot = await operator.store.read_snapshot()
    gates.gates += await control_gates(pattern, snapshot, operator, handover, limits)
    gates.gates.append(await _sync(parts, operator, limits))
    compared = Compared(parts.rows, parts.databases, parts.objects, parts.outbox.pool)
    gates.gates += await compared_gates(pattern, compared, await tables_of(pattern, parts), snapshot, limits, progress)
    return gates


@dataclass(slots=True, frozen=True)
class Compared:
    """What is compared. ``keeps``: where what was found is kept for ``status``; None: nowhere."""

    rows: RowCarrier
    databases: Mapping[Side, SideDatabase]
    objects: ObjectCarrier | None
    keeps: asyncpg.Pool | None


async def compared_gates(
    pattern: str,
    compared: Compared,
    tables: Sequence[str],
    snapshot: Snapshot,
    limits: GateLimits,
    progress: Progress = NO_PROGRESS,
) -> list[Gate]:
    """Look at the gates that both databases and both stores of objects know of. tables: that the pattern means."""
    writer = effective_writer(snapshot, pattern).side
    gates = [
        await _together(pattern, compared.databases[Side.SUPABASE], tables, snapshot),
        await _definitions(pattern, compared, writer),
    ]
    if limits.verifies:
        progress.say(f"Verifying {pattern}")
        gates += await _equal(pattern, compared, tables, writer, limits.depth, progress)
    return gates


async def control_gates(
    pattern: str, snapshot: Snapshot, operator: Operator, handover: Handover, limits: GateLimits
) -> list[Gate]:
    """Look at the gates that the control store and the outbox know of."""
    return [
        *_stage(pattern, snapshot),
        await _clients(operator),
        await _outbox(pattern, handover),
        *await _mismatches(pattern, operator, limits),
    ]


async def tables_of(pattern: str, parts: Parts) -> list[str]:
    """Give the tables that both sides have and that ``pattern`` means."""
    views = [await database.catalog.reload() for database in parts.databases.values()]
    both = views[0].tables.keys() & views[1].tables.keys()
    return sorted(name for name in both if fits(pattern, Capability(Kind.TABLE, name)))


def _stage(pattern: str, snapshot: Snapshot) -> list[Gate]:
    flag, writer = effective_flag(snapshot, pattern), effective_writer(snapshot, pattern)
    is_fitting = flag.stage is Stage.LIVE or (flag.stage is Stage.SHADOW_READ and flag.is_for_all)
    share = "everybody" if flag.is_for_all else f"{flag.share_percent:g} %"
    return [
        Gate(
            "stage",
            is_fitting,
            f"{flag.stage} for {share}",
            "shadow_read for everybody, or live",
            _to_shadow_read(pattern, flag),
        ),
        Gate(
            "writer",
            not writer.is_handing_over,
            f"{writer.side}{', being handed over' if writer.is_handing_over else ''}",
            "not being handed over",
            "wait until the other handover has ended",
        ),
    ]


def _to_shadow_read(pattern: str, flag: Flag) -> str:
    """Give the next command on the way to ``shadow_read`` for everybody."""
    stages = {Stage.OFF: Stage.DUAL_WRITE, Stage.DUAL_WRITE: Stage.SHADOW_READ, Stage.SHADOW_READ: Stage.SHADOW_READ}
    if (stage := stages.get(flag.stage)) is None:
        return "it is past that already: there is nothing to cut over"
    return f"isobase migrate flags set {shlex.quote(pattern)} {stage if flag.is_for_all else flag.stage}"


async def _clients(operator: Operator) -> Gate:
    clients = await operator.clients()
    silent = [client for client in clients if client.is_silent]
    spooled = sum(client.spooled for client in clients)
    names = ", ".join(f"{client.name} on {client.host} ({client.id})" for client in silent[:MAX_NAMED])
    value = f"{len(clients)} clients, {len(silent)} silent, {spooled} writes of their own"
    return Gate(
        "clients",
        not silent and not spooled,
        value,
        "all heard, nothing spooled",
        f"start again or forget (--forget-client): {names}" if silent else "wait until they have brought their writes",
    )


async def _outbox(pattern: str, handover: Handover) -> Gate:
    # While an app writes, something is on its way at most moments; what matters is that it arrives.
    give_up_at = time.monotonic() + OUTBOX_PATIENCE_S
    backlog = await handover.backlog(pattern)
    while (backlog.pending or backlog.slow) and not backlog.dead and time.monotonic() < give_up_at:
        await asyncio.sleep(OUTBOX_POLL_S)
        backlog = await handover.backlog(pattern)
    value = f"{backlog.pending} waiting, {backlog.dead} dead, {backlog.slow} of unknown end"
    is_met = not (backlog.pending or backlog.dead or backlog.slow)
    return Gate(
        "outbox",
        is_met,
        value,
        "empty",
        "isobase migrate outbox shows what waits; drain it, retry or drop dead letters",
    )


async def _mismatches(pattern: str, operator: Operator, limits: GateLimits) -> list[Gate]:
    since = datetime.now(UTC) - timedelta(hours=limits.hours)
    counts = summed(await operator.store.read_counts(since))
    mine = [names for capability, names in counts.items() if _means(pattern, capability)]
    compared = sum(names.get("compared", 0) for names in mine)
    noise = sum(names.get("noise_mismatched", 0) for names in mine)
    noise_compared = sum(names.get("noise_compared", 0) for names in mine)
    groups = [
        group
        for group in await operator.store.read_mismatches(None, since=since)
        if not group.is_noise and group.explained is None and _means(pattern, group.capability)
    ]
    shown = ", ".join(f"{group.capability}: {group.fingerprint} ({group.id})" for group in groups[:MAX_NAMED])
    failed, dropped = (sum(names.get(name, 0) for names in mine) for name in ("failed", "dropped"))
    failed_percent = 100 * failed / (compared + failed) if failed else 0.0
    floor = f"; noise floor {noise} of {noise_compared}" if noise_compared else ""
    return [
        Gate(
            "compared reads",
            compared >= limits.calls,
            f"{compared} in {limits.hours:g} h",
            f"{limits.calls} or more",
            "stay in shadow_read until enough reads were compared, or ask for fewer with --calls",
        ),
        Gate(
            "failed reads",
            failed_percent <= limits.failed_percent,
            f"{failed} of {compared + failed} had no answer from Isobase; {dropped} were left out",
            f"at most {limits.failed_percent:g} %",
            "see why Isobase is slow or refuses, and wait until --hours are over; --failed says how many may",
        ),
        Gate(
            "mismatches",
            not groups,
            f"{len(groups)} causes unexplained{floor}",
            "none unexplained",
            f"mend or explain: {shown}",
        ),
    ]


async def _sync(parts: Parts, operator: Operator, limits: GateLimits) -> Gate:
    async with connected(parts.dsns[Side.SUPABASE], "cutover") as source:
        slot = await read_slot(source)
    state = await operator.store.read_sync()
    is_running = bool(state.get("is_running"))
    aside = sorted(state.get("set_aside", {}))
    if slot is None and state.get("method") == "polling":
        value = f"by polling, {'running' if is_running else 'not running'}"
        if aside:
            value += f"; refused by the target: {', '.join(aside[:MAX_NAMED])}"
        return Gate("sync", is_running and not aside, value, "running", "isobase migrate sync --method polling")
    if slot is None:
        return Gate("sync", True, "not used", "not used, or up to date")
    is_met = is_running and not aside and slot.held_bytes <= limits.max_lag_bytes and not slot.is_lost
    value = f"{'running' if is_running else 'not running'}, {slot.held_bytes} bytes behind, slot {slot.wal_status}"
    if aside:
        value += f"; refused by the target: {', '.join(aside[:MAX_NAMED])}"
    wanted = f"running, at most {limits.max_lag_bytes} bytes behind"
    return Gate("sync", is_met, value, wanted, STOP_CAPTURE if is_running and not aside else "isobase migrate sync")


async def _together(pattern: str, supabase: SideDatabase, tables: Sequence[str], snapshot: Snapshot) -> Gate:
    """Tables that triggers and foreign keys of the pattern's tables write change their writer with it, in the same moment.

    Else they write at a side that is not their writer: a trigger's rows are carried nowhere, and take numbers that the
    other side gives out as well; rows that a foreign key changed are carried over what the other side has of them.
    """
    view = supabase.catalog.known
    known = view.tables.keys()
    patterns = [*snapshot.flags, pattern]
    wrong = {
        foreign.resource
        for name in tables
        for foreign in view.referring.get(name, ())
        if most_specific(patterns, Capability(Kind.TABLE, foreign.resource)) != pattern
    }
    for row in await supabase.fetch(_TRIGGER_SOURCES, list(tables)):
        for name in tables_written_by(row["source"], known):
            if most_specific(patterns, Capability(Kind.TABLE, name)) != pattern:
                wrong.add(name)
    value = f"{len(wrong)} elsewhere" + (f": {', '.join(sorted(wrong)[:MAX_NAMED])}" if wrong else "")
    todo = "set one flag that means them too, such as table:public.*, and cut that over"
    return Gate(
        "together", not wrong, value, "tables that its triggers and foreign keys write are under the same flag", todo
    )


async def _definitions(pattern: str, compared: Compared, writer: Side) -> Gate:
    pairs = compared.rows.pairs
    differences = await compare_schemas(pairs, writer=writer)
    if compared.keeps is not None:
        await keep(compared.keeps, of_definitions(differences))
    found = [one for one in differences if one.severity is Severity.STOPS]
    concerned = await concerned_by(pattern, pairs) if found else None
    wrong = [one for one in found if concerned is not None and concerned.has(one)]
    value = f"{len(wrong)} differ"
    if wrong:
        value += f": {', '.join(f'{one.kind} {one.name}' for one in wrong[:MAX_NAMED])}"
    todo = "isobase migrate copy --step schema makes what is missing; mend the rest by hand"
    return Gate("definitions", not wrong, value, "those of the writer", todo)


async def _equal(
    pattern: str, compared: Compared, tables: Sequence[str], writer: Side, depth: Depth, progress: Progress
) -> list[Gate]:
    gates: list[Gate] = []
    verifier = TableVerifier(compared.rows)
    if tables:
        results = []
        for name in tables:
            told = TableProgress(progress, name)
            results.append(await verifier.verify(name, writer, on_progress=told, on_judged=told.judged))
            told.end("equal" if results[-1].is_equal else "not equal")
        rows = sum(one.rows.get(str(writer), 0) for one in results)
        gates.append(
            await _kept(compared.keeps, "rows", f"{len(results)} tables, {rows} rows", list(map(of_table, results)))
        )
    if fits(pattern, Capability(Kind.AUTH)):
        users = await verify_users(compared.databases, writer=writer)
        gates.append(await _kept(compared.keeps, "users", f"{users.users} users", [of_users(users)]))
    if compared.objects is not None:
        if await buckets_of(pattern, compared.objects):
            gates.append(await objects_gate(pattern, compared.objects, writer, depth, compared.keeps, progress))
    elif pattern == "*" or pattern.startswith("bucket:"):
        gates.append(Gate("objects", False, "not looked at", "equal", "set both APIs' URLs and service-role keys"))
    return gates


async def buckets_of(pattern: str, objects: ObjectCarrier) -> list[str]:
    """Give the buckets of either side that ``pattern`` means."""
    names = {bucket.id for side in Side for bucket in await objects.store(side).buckets()}
    return sorted(name for name in names if fits(pattern, Capability(Kind.BUCKET, name)))


async def objects_gate(
    pattern: str,
    objects: ObjectCarrier,
    writer: Side,
    depth: Depth,
    keeps: asyncpg.Pool | None,
    progress: Progress = NO_PROGRESS,
) -> Gate:
    """Compare the objects of all buckets that ``pattern`` means. keeps: see ``Compared``."""
    mine = await buckets_of(pattern, objects)
    reports: dict[str, StorageReport] = {}
    for name in mine:
        told = BucketProgress(progress, name, depth)
        reports[name] = await verify_storage(objects, writer.other, buckets=[name], depth=depth, progress=told)
        told.end("equal" if reports[name].is_equal else "not equal")
    count = sum(one.seen_objects for report in reports.values() for one in report.buckets)
    found = [of_bucket(name, report, depth) for name, report in reports.items()]
    return await _kept(keeps, "objects", f"{count} objects", found)


async def _kept(pool: asyncpg.Pool | None, gate: str, counted: str, found: Sequence[Verified]) -> Gate:
    """Keep what was found; what is kept of a deeper look counts as well."""
    wrong: list[str] = []
    for one in found:
        last = [one]
        if pool is not None:
            await keep(pool, one)
            last = await read_verified(pool, one.part)
        wrong += [str(each) for each in last if not each.is_equal]
    value = f"{counted}; not equal: {' | '.join(wrong[:MAX_NAMED])}" if wrong else f"{counted}, all equal"
    return Gate(gate, not wrong, value, "equal", "isobase migrate verify --repair")


def _means(pattern: str, capability: str) -> bool:
    return capability == pattern or (pattern.endswith("*") and capability.startswith(pattern[:-1]))

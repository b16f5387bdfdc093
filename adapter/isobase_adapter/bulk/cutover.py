"""Cutover and rollback: the two commands that change who is written first, with what has to hold before.

A cutover looks at its gates, lets everybody read from Isobase (``live``), and hands the writer over. A rollback takes
any stage back to the one before it; where Isobase is written first already, the writer goes back first, and everything
that waits for Supabase arrives there before it does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import asyncpg

from isobase_adapter.auth.verify import verify_users
from isobase_adapter.bulk.catching_up import wait_until_polled, wait_until_read
from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.everything import sync_of
from isobase_adapter.bulk.gates import Gate, GateLimits, Gates, check_gates, tables_of
from isobase_adapter.bulk.parts import Parts
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.report import Page, Section, duration_text
from isobase_adapter.capabilities import Capability, Kind, fits, patterns_of
from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Carrier, Event, OutboxAway
from isobase_adapter.control.changes import BEHIND, behind_of, covering, effective_flag, effective_writer
from isobase_adapter.control.errors import ChangeRefused
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover import HandedOver, Handover, HandoverRefused
from isobase_adapter.http.probing import answering
from isobase_adapter.outbox.ending import LongWell
from isobase_adapter.rows.sequences import FALLBACK_GAP, SequenceFull, SequenceMove, move_sequences
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.storage.verify import Depth, verify_storage
from isobase_adapter.things import ThingKind
from isobase_adapter.verify.keeping import of_bucket, of_users

__all__ = ["Change", "Cutover", "carriers_of", "opened_cutover", "page_of"]


@dataclass(slots=True)
class Change:
    """What a cutover or rollback of a pattern came to. ``held_up_s``: how long no write was let in."""

    pattern: str
    action: str
    stage_before: str
    stage: str
    writer: str
    gates: list[Gate] = field(default_factory=list)
    sequences: list[SequenceMove] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    """Patterns below it that have flags and writers of their own: they stay where they are."""
    held_up_s: float | None = None
    is_done: bool = False
    reason: str = ""
    """Why it was refused; empty where it was done, or only looked at."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)


class Cutover:
    """Cuts over and rolls back. Make it with ``opened_cutover``."""

    def __init__(self, parts: Parts, operator: Operator, handover: Handover, progress: Progress) -> None:
        self._parts = parts
        self._operator = operator
        self._handover = handover
        self._progress = progress
        self._moved: list[SequenceMove] = []

    async def meant(self, text: str) -> list[str]:
        """Give the patterns that ``text`` means: of several those that have a flag. Raises ``ValueError``."""
        patterns = list(patterns_of(text))
        flags = (await self._operator.store.read_snapshot()).flags
        return [pattern for pattern in patterns if pattern in flags] or patterns[:1]

    async def gates(self, pattern: str, limits: GateLimits) -> Gates:
        """Look at the gates; changes nothing."""
        return await check_gates(pattern, self._parts, self._operator, self._handover, limits, self._progress)

    async def cut_over(
        self,
        pattern: str,
        limits: GateLimits,
        *,
        reason: str = "",
        is_dry_run: bool = False,
        forget_clients: Collection[UUID] = (),
    ) -> Change:
        """Make Isobase the side that is written first and read by everybody.

        The change's ``reason`` says why it was refused; then everything is as before, but for a stage that may have gone on
        to ``live`` (Supabase still written first), from which the same command goes on.
        """
        started_s = time.monotonic()
        gates = await self.gates(pattern, limits)
        change = await self._change(pattern, "cutover")
        change.gates = [gate for gate in gates.gates if not (forget_clients and gate.name == "clients")]
        unmet = [gate.name for gate in change.gates if not gate.is_met]
        if unmet:
            change.reason = f"gates that are not met: {', '.join(unmet)}"
        elif not is_dry_run:
            await self._go_live(change, reason, forget_clients)
        change.seconds = time.monotonic() - started_s
        return change

    async def roll_back(self, pattern: str, *, reason: str = "", forget_clients: Collection[UUID] = ()) -> Change:
        """Take a pattern's stage back to the one before, with the writer where that stage asks for it."""
        started_s = time.monotonic()
        change = await self._change(pattern, "rollback")
        snapshot = await self._operator.store.read_snapshot()
        flag, writer = effective_flag(snapshot, pattern), effective_writer(snapshot, pattern)
        if flag.stage is Stage.OFF:
            raise Refused(f"{pattern} is off: there is no stage before it")
        before = flag.before if not flag.is_for_all else list(Stage)[list(Stage).index(flag.stage) - 1]
        try:
            if writer.side is Side.ISOBASE and before in (Stage.OFF, Stage.DUAL_WRITE, Stage.SHADOW_READ):
                await self._hand_over(change, Side.SUPABASE, forget_clients)
            if flag.stage is Stage.RAMP_DOWN and behind_of(snapshot, pattern):
                await self._level(change, flag.version)
            done = await self._operator.set_flag(pattern, before, reason=reason)
            if flag.stage is Stage.COMPLETE and writer.side is Side.ISOBASE:
                # Nothing was carried while it was complete: from now on writes are, and this brings the rest.
                await self._level(change, done.view.flag.version)
        except (ChangeRefused, HandoverRefused, OutboxAway, SequenceFull) as error:
            change.reason = str(error)
        else:
            change.is_done = True
        await self._tell_where(change)
        change.seconds = time.monotonic() - started_s
        return change

    async def _go_live(self, change: Change, reason: str, forget_clients: Collection[UUID]) -> None:
        try:
            snapshot = await self._operator.store.read_snapshot()
            flag = effective_flag(snapshot, change.pattern)
            if flag.stage is not Stage.LIVE or not flag.is_for_all or change.pattern not in snapshot.flags:
                await self._operator.set_flag(change.pattern, Stage.LIVE, reason=reason or "cutover")
            await self._hand_over(change, Side.ISOBASE, forget_clients)
        except (ChangeRefused, HandoverRefused, OutboxAway, SequenceFull) as error:
            change.reason = str(error)
        else:
            change.is_done = True
        await self._tell_where(change)

    async def _hand_over(self, change: Change, to: Side, forget_clients: Collection[UUID]) -> None:
        self._progress.say(f"Handing {change.pattern} over to {to}")
        self._moved = []
        done: HandedOver = await self._handover.hand_over(
            change.pattern, to, by=self._operator.by, forget_clients=forget_clients
        )
        change.held_up_s = round(done.held_up_s, 3)
        event = Event("handover", change.pattern, {"to": str(to), "epoch": done.writer.epoch, "by": self._operator.by})
        await self._operator.store.add_events([(datetime.now(UTC), event)], None)
        change.sequences = [move for move in self._moved if move.after != move.before]

    async def _level(self, change: Change, version: int) -> None:
        """Carry to Supabase what Isobase alone has since it was complete.

        Every client acts upon the flag's change ``version`` first, or what it wrote after the comparison would be missed.
        Raises ``ChangeRefused`` where something is not equal in the end; until it is, no stage rests on Supabase.
        """
        pattern = change.pattern
        _, late = await self._operator.wait_until_heard(version)
        if late:
            names = ", ".join(f"{client.name} ({client.id})" for client in late)
            raise ChangeRefused(
                f"{pattern}: not carried to Supabase yet, as these clients still write without it: {names}"
            )
        change.compared, left = await self._carry_all(pattern)
        if left:
            raise ChangeRefused(
                f"{pattern}: not equal at Supabase yet: {' | '.join(left)}; mend it and call this again"
            )
        snapshot = await self._operator.store.read_snapshot()
        for marked in behind_of(snapshot, pattern):
            if covering([pattern], marked) is not None:
                await self._operator.set_rule(marked, BEHIND, None)

    async def _carry_all(self, pattern: str) -> tuple[list[str], list[str]]:
        """Carry rows, users and objects to Supabase; gives the tables, and what is not equal afterwards."""
        parts = self._parts
        left: list[str] = []
        async with connected(parts.dsns[Side.ISOBASE], "rollback") as control:
            tables = await tables_of(pattern, parts)
            await sync_of(parts, control, self._progress, only_rows=True).sweep(tables)
        if fits(pattern, Capability(Kind.AUTH)):
            users = of_users(await verify_users(parts.databases, writer=Side.ISOBASE, repairs=True))
            left += [] if users.is_equal else [str(users)]
        stores = parts.stores.values()
        names = {bucket.id for store in stores for bucket in await store.buckets()}
        for name in sorted(name for name in names if fits(pattern, Capability(Kind.BUCKET, name))):
            assert parts.objects is not None
            capability = Capability(Kind.BUCKET, name)
            epoch = effective_writer(await self._operator.store.read_snapshot(), str(capability)).epoch
            fence = parts.outbox.writer_fence(capability, Side.SUPABASE, epoch)
            await verify_storage(parts.objects, Side.SUPABASE, buckets=[name], repairs=True, fence=fence)
            found = of_bucket(name, await verify_storage(parts.objects, Side.SUPABASE, buckets=[name]), Depth.FACTS)
            left += [] if found.is_equal else [str(found)]
        if parts.objects is None and (pattern == "*" or pattern.startswith(f"{Kind.BUCKET}:")):
            left.append("objects: both APIs' URLs and service-role keys are needed to carry them")
        return tables, left

    async def move_sequences(self, pattern: str, to: Side) -> None:
        """While no write is let in: wait for the log to be read, then put sequences past each other."""
        await wait_until_read(self._parts.dsns[to.other], to.other)
        await wait_until_polled(self._parts.dsns[Side.ISOBASE])
        tables = await tables_of(pattern, self._parts)
        pairs = self._parts.rows.pairs
        self._moved = await move_sequences(pairs, to, tables=tables)
        if to is Side.ISOBASE:
            self._moved += await move_sequences(pairs, Side.SUPABASE, gap=FALLBACK_GAP, tables=tables)

    async def _change(self, pattern: str, action: str) -> Change:
        snapshot = await self._operator.store.read_snapshot()
        flag, writer = effective_flag(snapshot, pattern), effective_writer(snapshot, pattern)
        change = Change(pattern, action, str(flag.stage), str(flag.stage), str(writer.side))
        change.left_alone = sorted(
            name
            for name in snapshot.flags
            if pattern.endswith("*") and name != pattern and name.startswith(pattern[:-1])
        )
        return change

    async def _tell_where(self, change: Change) -> None:
        now = await self._change(change.pattern, change.action)
        change.stage, change.writer = now.stage, now.writer


@asynccontextmanager
async def opened_cutover(parts: Parts, *, by: str = "", progress: Progress = NO_PROGRESS) -> AsyncIterator[Cutover]:
    """Open what a cutover needs beside ``parts``; closed with the block."""
    store = PostgresStore(parts.dsns[Side.ISOBASE])
    supabase = await asyncpg.create_pool(parts.dsns[Side.SUPABASE], min_size=0, max_size=2, statement_cache_size=0)
    try:
        async with Operator(store, by=by) as operator:
            made: list[Cutover] = []

            async def move(pattern: str, to: Side) -> None:
                await made[0].move_sequences(pattern, to)

            handover = Handover(
                parts.outbox.pool,
                supabase,
                move_sequences=move,
                drainer=Drainer(parts.outbox, carriers_of(parts)),
                is_long_well=LongWell(answering(*_apis(parts))) if parts.apis else None,
            )
            made.append(Cutover(parts, operator, handover, progress))
            yield made[0]
    finally:
        supabase.terminate()


def _apis(parts: Parts) -> tuple[dict[Side, str], dict[Side, str]]:
    apis = parts.apis.items()
    return {side: api.url for side, api in apis}, {side: api.key for side, api in apis}


def carriers_of(parts: Parts) -> Carriers:
    """Give one carrier of everything that the parts carry."""
    rows, users = cast(Carrier, parts.rows), cast(Carrier, parts.users)
    carriers = {ThingKind.ROW: rows, ThingKind.TABLE: rows, ThingKind.USER: users, ThingKind.USERS: users}
    if parts.objects is not None:
        objects = cast(Carrier, parts.objects)
        carriers |= dict.fromkeys((ThingKind.OBJECT, ThingKind.OBJECTS, ThingKind.BUCKET), objects)
    return Carriers(carriers)


def page_of(changes: Sequence[Change]) -> Page:
    """Give what was done as a page."""
    sections = []
    for change in changes:
        rows = [
            (gate.name, "yes" if gate.is_met else "NO", gate.value, gate.wanted, "" if gate.is_met else gate.todo)
            for gate in change.gates
        ]
        sections.append(Section(f"{change.pattern}: gates", ("Gate", "Met", "Found", "Wanted", "What to do"), rows))
        moved = [(move.side.title(), move.sequence, move.before, move.after) for move in change.sequences]
        sections.append(Section(f"{change.pattern}: sequences", ("Side", "Sequence", "Before", "After"), moved))
        compared = [(name,) for name in change.compared]
        sections.append(Section(f"{change.pattern}: compared as a whole and made equal", ("Table",), compared))
    action = changes[0].action.capitalize() if changes else "Cutover"
    tone = "good" if all(change.is_done for change in changes) else "warn"
    if any(change.reason for change in changes):
        tone = "bad"
    seconds = duration_text(sum(change.seconds for change in changes))
    facts = [fact for change in changes for fact in _facts(change)]
    return Page(action, "; ".join(map(_sentence, changes)), tone, [*facts, ("Time", seconds)], sections)


def _facts(change: Change) -> list[tuple[str, str]]:
    went = change.stage if change.stage == change.stage_before else f"{change.stage_before} -> {change.stage}"
    facts = [(change.pattern, f"{went}, {change.writer.title()} is written first")]
    if change.held_up_s is not None:
        facts.append(("Writes waited", f"{change.held_up_s:.2f} s"))
    if change.left_alone:
        facts.append(("Not meant, as they have flags of their own", ", ".join(change.left_alone)))
    return facts


def _sentence(change: Change) -> str:
    if change.reason:
        return f"{change.pattern}: refused ({change.reason})"
    return f"{change.pattern}: {'done' if change.is_done else 'all gates are met; nothing was changed'}"

"""Who is written first changes here, and nowhere else: handover, failover, recovery.

    handover   mark -> all clients heard -> outbox empty -> sequences moved -> flip        planned, loses and
    fails nothing failover   flip at once, because Isobase is down; what was on its way stays in the outbox
    recovery   a handover back to Isobase once it is well again

The mark lets no write in (``isobase.begin_write``). The flip happens under the fence: the advisory lock on the side
that becomes the writer, which carriers to that side hold shared while they write. A coordinator holds a session's
lock on the control database as long as it lives; the mark of one that died is lifted by whoever comes next
(``lift_abandoned``). docs/migration/handover.md says what operators see of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Event, Writer
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover_desk import (
    OVERDUE_S,
    Backlog,
    Desk,
    Desks,
    HandoverLimits,
    HandoverRefused,
    PostgresDesks,
    fenced,
    lock_of,
    still_held,
)
from isobase_adapter.handover_statements import CONVERT, FAIL_OVER, LIFT, MARKED, WRITER_OF
from isobase_adapter.outbox.ending import IsLongWell
from isobase_adapter.outbox.entries import END_IF_LEFT_OPEN
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.sides import Side

__all__ = [
    "Backlog",
    "HandedOver",
    "Handover",
    "HandoverLimits",
    "HandoverRefused",
    "MoveSequences",
    "fail_over",
    "lift_abandoned",
]

logger = logging.getLogger("isobase.migration.handover")

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

MoveSequences = Callable[[str, Side], Awaitable[Any]]
"""Puts the sequences of a pattern's tables at a side past everything that the other side gave out."""

POLL_S = 0.05
LOOK_EVERY_S = 1.0
CALM_ITEMS = 100
"""So many items are carried within a moment."""
SILENT_AFTER_S = 10.0
"""A client that was not heard for so long is not waited for: it is named."""


@dataclass(slots=True, frozen=True)
class HandedOver:
    """What a handover came to. ``held_up_s``: how long no write was let in."""

    writer: Writer
    held_up_s: float


class Handover:
    """Hands writers over.

    control: connections to the database that holds the outbox (the Isobase side's), or desks elsewhere. supabase:
    connections to the Supabase side's database, None where it cannot be reached. move_sequences: see
    ``MoveSequences``. drainer: helps to empty the outbox; None: the clients' own do it. tell: takes events. is_long_well:
    whether a side's API has answered for a while (``LongWell``), None: calls of unknown end are waited for until their
    leases are over, unless a client ends these.
    """

    def __init__(
        self,
        control: Pool | Desks,
        supabase: Pool | None,
        *,
        move_sequences: MoveSequences,
        drainer: Drainer | None = None,
        tell: Callable[[Event], None] | None = None,
        limits: HandoverLimits | None = None,
        is_long_well: IsLongWell = None,
    ) -> None:
        """Take the parts."""
        self._limits = limits or HandoverLimits()
        self._desks: Desks = (
            PostgresDesks(control, supabase, self._limits, is_long_well)
            if isinstance(control, asyncpg.Pool)
            else control
        )
        self._move_sequences = move_sequences
        self._drainer = drainer
        self._tell = tell or (lambda event: None)

    async def hand_over(
        self, pattern: str, to: Side, *, by: str = "", forget_clients: Collection[UUID] = ()
    ) -> HandedOver:
        """Make ``to`` the side that is written first for ``pattern``'s capabilities.

        pattern: one that has a flag. by: who does it, for the event. forget_clients: silent clients that will not come
        back; what they may still hold of their own becomes dead letters when it turns up.
        Raises ``HandoverRefused`` (a silent client, dead letters, another handover, no time left) and ``OutboxAway``;
        the writer stays then, and writes are let in again.
        """
        async with self._desks.coordinating(pattern) as desk:
            return await self._coordinate(desk, pattern, to, by, forget_clients)

    async def backlog(self, pattern: str) -> Backlog:
        """What is on its way, in either direction."""
        return await self._desks.backlog(pattern)

    async def _coordinate(
        self, desk: Desk, pattern: str, to: Side, by: str, forget_clients: Collection[UUID]
    ) -> HandedOver:
        writer = await desk.writer(pattern)
        if writer is None:
            raise HandoverRefused(f"{pattern}: it has no writer of its own; set a flag for it first")
        if writer.side is to:
            return HandedOver(writer, 0.0)
        await self._refuse_dead(desk, pattern)
        if forget_clients:
            await self._forget(desk, forget_clients)
        await self._refuse_unmerged(desk, to, forget_clients)
        await self._wait_until_calm(desk, pattern)
        mark = str(uuid4())
        began_at = time.monotonic()
        version = await desk.mark(pattern, to, by, mark)
        if version is None:
            raise HandoverRefused(f"{pattern}: its writer has just changed")
        try:
            deadline = began_at + self._limits.fence_s
            await self._wait_until_heard(desk, version, deadline)
            while True:
                await self._wait_until_empty(desk, pattern, to, deadline)
                await self._move_sequences(pattern, to)
                epoch = await desk.flip(pattern, to, mark)
                if epoch is not None:
                    break
                # An entry whose carrier has not committed yet still counts; it is gone the next time.
                if time.monotonic() >= deadline:
                    raise HandoverRefused(f"{pattern}: no end of what is on its way within {self._limits.fence_s:g} s")
        except BaseException:
            await desk.unmark(pattern, mark)
            raise
        held_up_s = time.monotonic() - began_at
        detail = {"to": str(to), "epoch": epoch, "by": by, "held_up_s": round(held_up_s, 3)}
        self._tell(Event("handover", pattern, detail))
        logger.info("%s: %s is written first in epoch %d; writes waited for %.2f s", pattern, to, epoch, held_up_s)
        return HandedOver(Writer(pattern, to, epoch), held_up_s)

    async def _forget(self, desk: Desk, clients: Collection[UUID]) -> None:
        """Forget clients, once a call that they sent cannot arrive any more."""
        recent = await desk.recent(clients, self._limits.forget_after_s)
        if recent:
            raise HandoverRefused(
                f"{', '.join(recent)}: heard within the last {self._limits.forget_after_s:g} s; a call of it may still be"
                " on its way"
            )
        await desk.forget(clients)

    async def _refuse_unmerged(self, desk: Desk, to: Side, forgotten: Collection[UUID]) -> None:
        """Clients that wrote at Supabase alone must have brought their writes before Isobase is the writer again."""
        unmerged = await desk.unmerged(to, forgotten)
        if unmerged:
            raise HandoverRefused(
                f"written at Supabase alone, and not brought into the outbox yet: clients {', '.join(sorted(unmerged))}"
            )

    async def _wait_until_heard(self, desk: Desk, version: int, deadline: float) -> None:
        """Wait until every client knows of the mark, and has brought what it kept of its own."""
        while True:
            late = await desk.late(version)
            if not late:
                return
            silent = [client for client in late if client.silent_s > SILENT_AFTER_S]
            if silent or time.monotonic() >= deadline:
                names = ", ".join(map(str, silent or late))
                raise HandoverRefused(
                    f"not heard: {names}. Such a client may keep writes of its own; start it again, or forget it "
                    "(--forget-client) if it will not come back"
                )
            await asyncio.sleep(POLL_S)

    async def _wait_until_calm(self, desk: Desk, pattern: str) -> None:
        """Wait, while writes go on, until what is left can be waited for under the mark."""
        deadline = time.monotonic() + self._limits.calm_s
        look_at = 0.0
        while True:
            await self._refuse_dead(desk, pattern)
            backlog = await desk.backlog(pattern)
            if backlog.slow and time.monotonic() >= look_at:
                await desk.end_doubtful()
                look_at = time.monotonic() + LOOK_EVERY_S
            if backlog.slow == 0 and backlog.pending - backlog.parked <= CALM_ITEMS:
                return
            if time.monotonic() >= deadline:
                raise HandoverRefused(
                    f"{pattern}: {backlog.slow} writes have not ended and {backlog.pending} items wait after "
                    f"{self._limits.calm_s:g} s"
                )
            if self._drainer is None or await self._drainer.drain_due() is None:
                await asyncio.sleep(POLL_S)

    async def _wait_until_empty(self, desk: Desk, pattern: str, to: Side, deadline: float) -> None:
        while True:
            await self._refuse_dead(desk, pattern)
            backlog = await desk.backlog(pattern)
            if backlog.is_empty:
                return
            if backlog.intents == 0:
                await desk.unpark(pattern)
            if time.monotonic() >= deadline:
                named = await desk.carriers(to)
                raise HandoverRefused(
                    f"{pattern}: {backlog.intents} writes have not ended and {backlog.pending} items wait after "
                    f"{self._limits.fence_s:g} s{f'; carrying: {named}' if named else ''}"
                )
            if self._drainer is None or await self._drainer.drain_due() is None:
                await asyncio.sleep(POLL_S)

    async def _refuse_dead(self, desk: Desk, pattern: str) -> None:
        dead = (await desk.backlog(pattern)).dead
        if dead:
            raise HandoverRefused(f"{pattern}: {dead} dead letters; retry or drop them first (isobase migrate outbox)")


async def fail_over(
    control: Pool,
    supabase: Pool | None,
    capability: Capability,
    epoch: int,
    *,
    limits: HandoverLimits | None = None,
    tell: Callable[[Event], None] | None = None,
) -> Writer:
    """Make Supabase the writer at once, because Isobase does not answer; returns who is the writer now.

    epoch: the epoch in which Isobase was found to be down; in a later one nothing is changed. What Isobase took and
    Supabase has not stays in the outbox and is carried before its keys are written again. Writes on their way are not
    acknowledged any more (``IntentGone``) and are made equal from Supabase. Raises ``HandoverRefused`` where
    carriers to Supabase do not end, ``OutboxAway`` where the database is down as well.
    """
    limits = limits or HandoverLimits()
    async with asking(control) as connection:
        row = await connection.fetchrow(WRITER_OF, str(capability))
        if row is None:
            return Writer(str(capability))
        pattern = row["pattern"]
        if row["side"] != Side.ISOBASE or row["epoch"] != epoch or row["handing_over_to"] is not None:
            return _writer(row)
        async with fenced(connection, supabase, Side.SUPABASE, limits) as fence, connection.transaction():
            await connection.execute(END_IF_LEFT_OPEN)
            moved = await connection.fetchval(FAIL_OVER, pattern, epoch)
            if moved is not None:
                await connection.execute(CONVERT, pattern, moved)
            await still_held(fence)
        row = await connection.fetchrow(WRITER_OF, str(capability))
    if moved is not None:
        logger.warning("%s: Isobase is down; Supabase is written first in epoch %d", pattern, moved)
        if tell is not None:
            tell(Event("failover", pattern, {"to": str(Side.SUPABASE), "epoch": moved}))
    return Writer(str(capability)) if row is None else _writer(row)


async def lift_abandoned(control: Pool) -> list[str]:
    """Let writes in again where a coordinator died in the middle of a handover, or was stopped; returns the patterns.

    One that goes on after that finds its mark gone, and the writer stays.
    """
    lifted = []
    async with asking(control) as connection:
        for row in await connection.fetch(MARKED, OVERDUE_S):
            async with connection.transaction():
                is_left = await connection.fetchval("select pg_try_advisory_xact_lock($1)", lock_of(row["pattern"]))
                if (is_left or row["is_overdue"]) and await connection.fetchval(
                    LIFT, row["pattern"], row["mark"]
                ) is not None:
                    lifted.append(row["pattern"])
    for pattern in lifted:
        logger.warning("%s: a handover was left in the middle; the writer stays", pattern)
    return lifted


def _writer(row: asyncpg.Record) -> Writer:
    return Writer(row["pattern"], Side(row["side"]), row["epoch"], row["handing_over_to"] is not None)

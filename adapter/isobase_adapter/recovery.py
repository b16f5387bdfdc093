"""Hands the writer back to Isobase by itself once Isobase is well again after a failover.

Every client looks; the one that gets the coordinator's lock does it. A pattern whose flag was changed since the failover,
or that has dead letters, is an operator's: what both sides were told about one key is decided by nobody else. Each step is
an event (``recovery``). docs/migration/handover.md says what operators see of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from isobase_adapter.contracts import Event, OutboxAway
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.handover import Handover
from isobase_adapter.handover_desk import HandoverRefused, HandoverTaken
from isobase_adapter.handover_statements import RECOVERABLE
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.reasons import reason_of
from isobase_adapter.rows.sequences import SequenceFull
from isobase_adapter.sides import Side

__all__ = ["Recovery", "RecoveryLimits"]

logger = logging.getLogger("isobase.migration.handover")

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@dataclass(slots=True, frozen=True)
class RecoveryLimits:
    """Times in seconds.

    look_s: between two looks. first_delay_s, longest_delay_s: the wait after an attempt that was refused, doubled with each
    more. attempts: after so many an operator has to do it. calm_s: a pattern that stood so long has its attempts back.
    """

    look_s: float = 2.0
    first_delay_s: float = 5.0
    longest_delay_s: float = 300.0
    attempts: int = 20
    calm_s: float = 600.0


@dataclass(slots=True)
class _Tries:
    number: int = 0
    next_at: float = 0.0
    is_given_up: bool = False
    recovered_at: float | None = None
    told: str = ""


class Recovery:
    """Looks after failed-over patterns; lives on the runtime's loop.

    control: connections to the outbox's database. handover: does it. is_well: whether Isobase does what a pattern's
    capabilities need. tell: takes events.
    """

    def __init__(
        self,
        control: Pool,
        handover: Handover,
        is_well: Callable[[str], Awaitable[bool]],
        tell: Callable[[Event], None],
        limits: RecoveryLimits | None = None,
    ) -> None:
        """Take the parts; ``run`` begins."""
        self._control = control
        self._handover = handover
        self._is_well = is_well
        self._tell = tell
        self._limits = limits or RecoveryLimits()
        self._tries: dict[str, _Tries] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            # Not all clients at the same moment.
            await asyncio.sleep(self._limits.look_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, keeps no secret
            try:
                await self.look()
            except OutboxAway:
                logger.debug("the outbox is away: nothing can be handed back")

    async def look(self) -> None:
        """Try once what is due. Raises ``OutboxAway``."""
        async with asking(self._control) as connection:
            patterns = [row["pattern"] for row in await connection.fetch(RECOVERABLE)]
        for pattern in patterns:
            await self._consider(pattern)

    async def _consider(self, pattern: str) -> None:
        tries = self._tries.setdefault(pattern, _Tries())
        now = time.monotonic()
        if tries.recovered_at is not None:
            # It failed again: soon after, it is the same trouble; after a long calm, another one.
            if now - tries.recovered_at >= self._limits.calm_s:
                tries = self._tries[pattern] = _Tries()
            else:
                tries.recovered_at, tries.next_at = None, now + self._delay_s(tries.number)
        if tries.is_given_up or now < tries.next_at or not await self._is_well(pattern):
            return
        if tries.number >= self._limits.attempts:
            tries.is_given_up = True
            self._say(pattern, {"step": "given up", "attempts": tries.number})
            return
        try:
            done = await self._handover.hand_over(pattern, Side.ISOBASE, by="recovery")
        except HandoverTaken:
            tries.next_at = time.monotonic() + self._limits.first_delay_s
        except (*DATABASE_FAILURES, HandoverRefused, OutboxAway, SequenceFull) as error:
            why = reason_of(error)
            tries.number += 1
            tries.next_at = time.monotonic() + self._delay_s(tries.number)
            if why != tries.told:
                tries.told = why
                self._say(pattern, {"step": "refused", "attempt": tries.number, "why": why})
        else:
            tries.number, tries.recovered_at, tries.told = tries.number + 1, time.monotonic(), ""
            held_up_s = round(done.held_up_s, 3)
            self._say(pattern, {"step": "done", "epoch": done.writer.epoch, "held_up_s": held_up_s})

    def _delay_s(self, number: int) -> float:
        limits = self._limits
        grown = min(limits.first_delay_s * 2.0 ** min(max(number - 1, 0), 30), limits.longest_delay_s)
        return grown * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret

    def _say(self, pattern: str, detail: dict[str, Any]) -> None:
        logger.warning("recovery of %s: %s", pattern, detail)
        self._tell(Event("recovery", pattern, detail))

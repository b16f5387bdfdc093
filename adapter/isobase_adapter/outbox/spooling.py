"""An outbox that keeps writes of Supabase in a spool while its database is away, and moves them in when it is back.

Where Supabase is the writer Isobase, which holds the outbox, may be down for as long as it likes, and the app
goes on. Where Isobase is the writer nothing is let in without the database, since nobody could tell this client of a
failover.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import UUID

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import CallRecord, Fence, Intent, IntentGone, OutboxAway, seconds_since_boot
from isobase_adapter.outbox import statements
from isobase_adapter.outbox.entries import ADMISSION_LOCK_NUMBER, END_IF_LEFT_OPEN
from isobase_adapter.outbox.fallback import Fallback
from isobase_adapter.outbox.postgres import PostgresOutbox, asking
from isobase_adapter.outbox.spool import Spool, Spooled, SpoolFull
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["MaySpool", "SpoolingOutbox", "WhenAway"]

logger = logging.getLogger("isobase.migration.spool")

WhenAway = Literal["spool", "refuse"]
MaySpool = Callable[[Capability, int], bool]
"""Whether a write of a capability in an epoch may be kept by this client alone, as far as it has heard."""

ASK_AGAIN_S = 0.5
"""So long nobody tries the database again after it did not answer."""
MERGE_EVERY_S = 0.5
ADOPT_EVERY_S = 5.0


class SpoolingOutbox:
    """An ``Outbox`` of two: the database's, and this process's spool in its place.

    outbox: the database's. folder: the spool folder, None: none (writes are refused while the database is away).
    may_spool: asked just before a write is kept: False while a handover is heard of, or before this client was ever
    registered. when_away: ``spool``, or ``refuse``. fallback: lets writes go to Supabase alone where Isobase is the writer;
    None: they are refused.
    """

    def __init__(
        self,
        outbox: PostgresOutbox,
        folder: Path | None,
        *,
        may_spool: MaySpool,
        when_away: WhenAway = "spool",
        fallback: Fallback | None = None,
    ) -> None:
        """Make the spool's file, so that a full disk or a wrong folder is known at once. Raises ``OSError``."""
        self.outbox = outbox
        self._may_spool = may_spool
        self._fallback = fallback
        self._to_end: set[UUID] = set()
        self._keeping = 0
        self._spool = None if folder is None or when_away == "refuse" else Spool(folder, outbox.client)
        self._adopted: list[Spool] = []
        self._next_adoption_at = 0.0
        self._adopting = asyncio.Lock()
        self._ask_again_at = 0.0

    @property
    def spooled(self) -> int:
        """How many writes are not in the outbox yet; a handover waits for them."""
        return sum(spool.count for spool in self._spools())

    async def begin(
        self,
        capability: Capability,
        *,
        target: Side,
        epoch: int,
        call: CallRecord,
        things: Sequence[Thing],
        lease_s: float | None = None,
        over_conflicts: bool = False,
    ) -> Intent:
        """Let a write in: by the database, else by the spool."""
        try:
            if time.monotonic() < self._ask_again_at:
                raise OutboxAway("the outbox did not answer a moment ago")
            if self._fallback is not None and self.spooled:
                await self._fallback.tell_first(capability, epoch)
            return await self.outbox.begin(
                capability,
                target=target,
                epoch=epoch,
                call=call,
                things=things,
                lease_s=lease_s,
                over_conflicts=over_conflicts,
            )
        except OutboxAway as away:
            if time.monotonic() >= self._ask_again_at:
                self._ask_again_at = time.monotonic() + ASK_AGAIN_S
            if self._spool is None or target is Side.SUPABASE:
                raise
            self._keeping += (
                1  # from here on nobody takes the record of a fallback away before the write is in the spool
            )
            try:
                if not self._may_spool(capability, epoch):
                    if self._fallback is None or not await self._fallback.allows(capability, epoch):
                        raise
                    self._to_end.add(self._spool.client)
                return await self._keep(self._spool, away, capability, epoch, call, things, lease_s)
            finally:
                self._keeping -= 1

    async def _keep(
        self,
        spool: Spool,
        away: OutboxAway,
        capability: Capability,
        epoch: int,
        call: CallRecord,
        things: Sequence[Thing],
        lease_s: float | None,
    ) -> Intent:
        limits = self.outbox.limits
        lease_s = limits.lease_s if lease_s is None else lease_s
        began_s = seconds_since_boot()
        try:
            number = await spool.begin(
                str(capability), target=Side.ISOBASE, epoch=epoch, call=call, things=things, lease_s=lease_s
            )
        except (sqlite3.Error, SpoolFull) as error:
            raise OutboxAway(f"the outbox is away, and the spool as well: {reason_of(error)}") from away
        return Intent(
            -number,
            str(capability),
            Side.ISOBASE,
            epoch,
            tuple(things),
            is_queued=True,
            expires_at_s=began_s + lease_s,
            send_before_s=began_s + limits.send_within_s,
        )

    async def keep(self, intents: Sequence[Intent]) -> None:
        """Let leases begin anew, in both places."""
        own = [-intent.id for intent in intents if intent.id < 0]
        if own and self._spool is not None:
            await self._spool.keep(own, self.outbox.limits.lease_s)
        others = [intent for intent in intents if intent.id > 0]
        if others:
            await self.outbox.keep(others)

    async def settle(self, intent: Intent) -> None:
        """Forget the intent."""
        if intent.id > 0 or self._spool is None:
            await self.outbox.settle(intent)
        elif await self._spool.forget([-intent.id]) == 0:
            raise IntentGone("its lease was over")

    async def postpone(self, intent: Intent, things: Sequence[Thing], error: str) -> None:
        """Keep the things until they can be carried."""
        if intent.id > 0 or self._spool is None:
            await self.outbox.postpone(intent, things, error)
        elif not await self._spool.end(-intent.id, things, error):
            raise IntentGone("its lease was over")

    async def doubt(self, intent: Intent, error: str, *, has_ended: bool) -> None:
        """Have what the intent names compared: at once, or when its lease is over."""
        if intent.id > 0 or self._spool is None:
            await self.outbox.doubt(intent, error, has_ended=has_ended)
        elif has_ended:
            await self._spool.end(-intent.id, None, error)

    def fence(self, intent: Intent) -> Fence:
        """The database's fence; what is in the spool is never carried from here."""
        return self.outbox.fence(intent)

    async def run(self) -> None:
        """Move what is spooled into the database whenever it answers, until cancelled."""
        while True:
            try:
                await self.merge()
            except OutboxAway:
                logger.debug("the outbox is still away")
            except sqlite3.Error as error:
                logger.error("a spool cannot be read: %s", type(error).__name__)
            await asyncio.sleep(MERGE_EVERY_S)

    async def merge(self) -> int:
        """Move writes that have ended into the database, in their order, those of dead processes too; returns how many.

        Raises ``OutboxAway``; what was not moved stays. A write of an epoch in which Supabase was the writer,
        found after Isobase became it (its client had been forgotten), becomes a dead letter with both
        versions.
        """
        if time.monotonic() >= self._next_adoption_at:
            await self.adopt()
        moved = 0
        for spool in self._spools():
            while entries := await self._ended(spool):
                if self._fallback is not None:
                    await self._fallback.take_over((entry.capability, entry.epoch) for entry in entries)
                await self._move(entries)
                moved += await spool.forget([entry.id for entry in entries])
                self._to_end.add(spool.client)
        await self._end_fallback()
        for spool in [spool for spool in self._adopted if spool.count == 0]:
            async with asking(self.outbox.pool) as connection:
                await connection.execute(statements.FORGET_ADOPTED, spool.client)
            if self._fallback is not None:
                await self._fallback.end(spool.client)
            self._adopted.remove(spool)
            await asyncio.to_thread(spool.close)
        return moved

    async def adopt(self) -> str | None:
        """Take over now what processes that are gone left behind; gives the folder, None where there is none."""
        if self._spool is None:
            return None
        async with self._adopting:
            self._next_adoption_at = time.monotonic() + ADOPT_EVERY_S
            held = {spool.path for spool in self._adopted}
            for spool in await asyncio.to_thread(self._spool.adoptable):
                if spool.path not in held:
                    self._adopted.append(spool)
                    logger.info("adopting %d writes that a process left behind", spool.count)
        return str(self._spool.path.parent.resolve())

    @staticmethod
    async def _ended(spool: Spool) -> list[Spooled]:
        """What of a spool may be moved; of one that another version wrote, or somebody changed, nothing: it stays as it is,
        and keeps no other from being moved.
        """
        try:
            return await spool.ended()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.error("%s holds what cannot be read and is left as it is: %s", spool.path, reason_of(error))
            return []

    async def _end_fallback(self) -> None:
        """Let others carry to Supabase again, once a spool is empty; tried until it is done."""
        if self._fallback is None:
            self._to_end.clear()
        for spool in self._spools():
            if self._fallback is None or spool.client not in self._to_end or not self._is_done(spool):
                continue
            if await self._fallback.end(spool.client, where=partial(self._is_done, spool)):
                self._to_end.discard(spool.client)

    def _is_done(self, spool: Spool) -> bool:
        """Whether a spool holds nothing, and nothing is about to come into it."""
        return spool.count == 0 and not self._keeping

    async def _move(self, entries: Sequence[Spooled]) -> None:
        rows = [(entry, thing) for entry in entries for thing in entry.things]
        async with asking(self.outbox.pool) as connection, connection.transaction():
            await connection.execute(END_IF_LEFT_OPEN)
            await connection.execute("select pg_advisory_xact_lock_shared($1)", ADMISSION_LOCK_NUMBER)
            await connection.execute(
                statements.MERGE,
                [entry.capability for entry, _ in rows],
                [str(entry.target) for entry, _ in rows],
                [entry.epoch for entry, _ in rows],
                [json.dumps(thing.as_json(), default=str) for _, thing in rows],
                [thing.lock_number for _, thing in rows],
                [
                    json.dumps(
                        {"method": entry.call.method, "path": entry.call.path, "detail": dict(entry.call.detail)}
                    )
                    for entry, _ in rows
                ],
                [entry.error for entry, _ in rows],
                self.outbox.client,
            )

    async def close(self) -> None:
        """Move what can be moved, and close the files; what is left is adopted by the next process."""
        try:
            async with asyncio.timeout(2):
                await self.merge()
        except (OutboxAway, TimeoutError, sqlite3.Error) as error:
            logger.info("%d writes stay in the spool (%s)", self.spooled, type(error).__name__)
        for spool in self._spools():
            # An empty file whose record at Supabase could not be taken away is for who adopts it.
            await asyncio.to_thread(spool.close, keeps_file=spool.client in self._to_end)
        self._spool, self._adopted = None, []

    def _spools(self) -> list[Spool]:
        return [*self._adopted, *([] if self._spool is None else [self._spool])]

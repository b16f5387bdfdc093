"""How ``sync`` carries rows and whole tables: behind the fence of each table's writer, and so that a table whose rows the
target refuses holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from isobase_adapter.bulk.progress import Progress
from isobase_adapter.bulk.sync_book import SyncBook, SyncState
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Fence, StillOpposed, WriteBehind, WriterMoved
from isobase_adapter.failures import AWAY
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Carrying", "FenceOf", "RowCarriers", "is_about_rows"]

logger = logging.getLogger("isobase.migration.sync")

AGAIN_S = 0.25
SWEEP_ATTEMPTS = 20
"""How often a comparison begins again because the table's writer moved, or is being handed over."""

FenceOf = Callable[[Capability, Side, int], Fence]


class RowCarriers(Protocol):
    """What of a carrier is used here."""

    async def carry(self, things: Sequence[Thing], target: Side, *, fence: Fence | None = None) -> Any:
        """Make things at the target what they are at the source."""
        ...

    async def fingerprints(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, str | None]:
        """Give a hash of each row as it is at a side."""
        ...


class Carrying:
    """Carries for one ``Sync``, whose ``state`` tells what was swept and set aside.

    stopping: between two tables it is looked at.
    """

    def __init__(
        self,
        carrier: RowCarriers,
        book: SyncBook,
        state: SyncState,
        stopping: asyncio.Event,
        *,
        progress: Progress,
        fence_of: FenceOf | None,
    ) -> None:
        self._carrier = carrier
        self._book = book
        self._state = state
        self._stopping = stopping
        self._progress = progress
        self._fence_of = fence_of

    async def sweep(self, tables: Iterable[str]) -> int:
        """Compare tables as a whole and carry what differs from each one's writer; gives their number."""
        await self._book.reload_writers()
        count = 0
        for name in tables:
            self._progress.say(f"Comparing {name}")
            await self._sweep_one(name)
            count += 1
        self._state.swept += count
        return count

    async def sweep_leniently(self, tables: Sequence[str]) -> None:
        """Compare tables; those that the target refuses are set aside."""
        for name in tables:
            if self._stopping.is_set():
                return
            try:
                await self.sweep([name])
            except Exception as error:
                if not is_about_rows(error):
                    raise
                await self._set_aside(name, error)
                await self._book.tell_state(self._state, at_once=True)
            await self._book.settle([name])

    async def _sweep_one(self, name: str) -> None:
        for attempt in range(SWEEP_ATTEMPTS):
            try:
                await self.carry([Thing(ThingKind.TABLE, name)], self._writer_of(name)[0].other)
                return
            except WriterMoved as moved:
                if attempt == SWEEP_ATTEMPTS - 1:
                    if isinstance(moved, WriteBehind):
                        raise StillOpposed(str(moved)) from moved
                    raise
                await self._pause()
                await self._book.reload_writers()

    async def carry(self, things: Sequence[Thing], target: Side) -> None:
        """Carry rows and whole tables behind their writers' fences. Raises ``WriterMoved`` and the databases' errors."""
        if self._fence_of is None:
            await self._carrier.carry(things, target)
            return
        by_table: dict[str, list[Thing]] = {}
        for thing in things:
            by_table.setdefault(thing.resource, []).append(thing)
        for resource, several in by_table.items():
            capability = Capability(Kind.TABLE, resource)
            fence = self._fence_of(capability, target, self._book.writer_of(capability)[1])
            await self._carrier.carry(several, target, fence=fence)

    async def carry_or_set_aside(self, things: Sequence[Thing], target: Side) -> None:
        """Carry; a table whose rows the target refuses is set aside, so that it holds up no other table."""
        by_table: dict[str, list[Thing]] = {}
        for thing in things:
            by_table.setdefault(thing.resource, []).append(thing)
        for resource, several in by_table.items():
            if resource in self._state.set_aside:
                # It is compared as a whole before long.
                continue
            try:
                await self.carry(several, target)
            except Exception as error:  # what a carrier refuses has many names; it is told and tried again
                if not is_about_rows(error):
                    raise
                await self._set_aside(resource, error)

    async def _set_aside(self, resource: str, error: Exception) -> None:
        self._state.set_aside[resource] = reason_of(error)
        logger.warning("a table is set aside", extra={"table": resource, "reason": type(error).__name__})
        await self._book.tell_event("sync_set_aside", resource, {"reason": type(error).__name__})

    async def take_up_again(self) -> None:
        """Compare what was set aside; what the target takes by now is followed again."""
        for resource in list(self._state.set_aside):
            reason = self._state.set_aside.pop(resource)
            try:
                await self.sweep([resource])
            except Exception as error:
                if not is_about_rows(error):
                    self._state.set_aside[resource] = reason
                    raise
                self._state.set_aside[resource] = reason_of(error)

    async def differing(self, things: Sequence[Thing]) -> list[Thing]:
        here = await self._carrier.fingerprints(things, Side.SUPABASE)
        there = await self._carrier.fingerprints(things, Side.ISOBASE)
        return [thing for thing in things if here.get(thing) != there.get(thing)]

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), AGAIN_S)

    def _writer_of(self, resource: str) -> tuple[Side, int]:
        return self._book.writer_of(Capability(Kind.TABLE, resource))


def is_about_rows(error: Exception) -> bool:
    """Whether an error is about a table and its rows, and not about a side that is away or a writer that moved."""
    # HiddenRows is a PermissionError, and so an OSError.
    return isinstance(error, PermissionError) or not isinstance(error, (*AWAY, WriterMoved))

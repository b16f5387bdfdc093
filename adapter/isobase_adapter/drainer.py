"""Carries what waits in the outbox, in the background: due items in order, and intents that nobody heard the end of.

Every client runs one, and so does ``isobase migrate drain``; they share the work, and any of them may be killed at any
moment. Things are carried by state, so nothing is done wrong by doing it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from isobase_adapter.carrying import CarriesEdited, EditUnsupported, NoCarrier, Unsettling
from isobase_adapter.contracts import Carried, Carrier, Conflict, Event, Fence, OutboxAway, WriterMoved
from isobase_adapter.failures import AWAY
from isobase_adapter.outbox.entries import Item, OutboxLimits, RowEdit
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.things import ThingKind

__all__ = ["DrainableOutbox", "Drained", "Drainer"]

logger = logging.getLogger("isobase.migration.drainer")

BATCH_ITEMS = 100
LONGEST_WAIT_S = 2.0
"""How long it may take to see what another process postponed."""
AWAY_WAIT_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""The waits after a side could not be reached, one after the other; the last one stays."""
NO_CARRIER_WAIT_S = 30.0
MOVED_WAIT_S = 1.0
CHORE_EVERY_S = 2.0

SIDE_AWAY = (*AWAY, httpx.TransportError)
"""Errors of a side that cannot be reached: they say nothing against the item, and cost it no attempt."""


class DrainableOutbox(Protocol):
    """What a drainer needs of an outbox."""

    @property
    def limits(self) -> OutboxLimits:
        """Times and attempts."""
        ...

    async def take(self, limit: int, target: Side | None = None) -> list[Item]:
        """Take due items; nobody else gets them for ``carry_s`` seconds."""
        ...

    async def expire(self, limit: int = 100) -> int:
        """Make items of intents whose lease is over; returns of how many."""
        ...

    async def done(self, items: Sequence[Item]) -> None:
        """Forget items."""
        ...

    async def extend(self, item: Item) -> None:
        """Keep an item from others for longer."""
        ...

    async def failed(
        self,
        item: Item,
        error: str,
        *,
        is_final: bool = False,
        is_conflict: bool = False,
        versions: Mapping[str, Any] | None = None,
    ) -> bool:
        """Try it again later, or make it a dead letter; returns whether it is dead now."""
        ...

    async def unread(self, limit: int = 50) -> list[Item]:
        """Give conflicts whose versions nobody could read yet."""
        ...

    async def keep_versions(self, item: Item, versions: Mapping[str, Any]) -> None:
        """Keep what both sides held."""
        ...

    async def later(self, item: Item, wait_s: float) -> None:
        """Give it back untried."""
        ...

    async def next_in_s(self) -> float | None:
        """Seconds until something is due."""
        ...

    async def waiting(self, target: Side | None = None) -> int:
        """How many intents and items there are."""
        ...

    def items_fence(self, items: Sequence[Item]) -> Fence:
        """What carriers hold for them."""
        ...


@dataclass(slots=True)
class Drained:
    """What draining came to. ``waiting``: intents and items that are still there."""

    carried: int = 0
    failed: int = 0
    dead: int = 0
    waiting: int = 0


class Drainer:
    """Drains one outbox.

    outbox: what waits. carriers: bring it across. tell: takes events (dead letters, conflicts). chore: something else to
    look after every few seconds while it runs (handovers that were left in the middle).
    """

    def __init__(
        self,
        outbox: DrainableOutbox,
        carriers: Carrier,
        *,
        tell: Callable[[Event], None] | None = None,
        chore: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Take the parts; ``run`` begins."""
        self._outbox = outbox
        self._carriers = carriers
        self._tell = tell or (lambda event: None)
        self._chore = chore
        self._next_chore_at = 0.0
        self._woken = asyncio.Event()
        self._times_away: dict[Side, int] = defaultdict(int)

    def wake(self) -> None:
        """Look now; something was postponed."""
        self._woken.set()

    async def run(self) -> None:
        """Drain until cancelled."""
        while True:
            wait_s = LONGEST_WAIT_S
            try:
                await self._do_chore()
                if await self.drain_due() is not None:
                    continue
                due_in_s = await self._outbox.next_in_s()
                if due_in_s is not None:
                    wait_s = min(max(due_in_s, 0.02), LONGEST_WAIT_S)
            except OutboxAway:
                logger.info("the outbox is away; trying again")
            except Exception as error:  # noqa: BLE001 - nothing that one item or a chore does ends the carrying of others
                logger.error("draining is interrupted, trying again: %s", reason_of(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            self._woken.clear()

    async def _do_chore(self) -> None:
        if self._chore is not None and time.monotonic() >= self._next_chore_at:
            self._next_chore_at = time.monotonic() + CHORE_EVERY_S
            await self._chore()

    async def drain(self, timeout_s: float, target: Side | None = None) -> Drained:
        """Drain until nothing waits, or for ``timeout_s`` seconds; failed items are tried again in between.

        Raises ``OutboxAway``. Intents whose lease is not over are waited for as well.
        """
        give_up_at = time.monotonic() + timeout_s
        total = Drained()
        while True:
            step = await self.drain_due(target)
            if step is not None:
                total.carried += step.carried
                total.failed += step.failed
                total.dead += step.dead
                continue
            total.waiting = await self._outbox.waiting(target)
            left_s = give_up_at - time.monotonic()
            if total.waiting == 0 or left_s <= 0:
                return total
            due_in_s = await self._outbox.next_in_s()
            await asyncio.sleep(min(max(due_in_s or 0, 0.02), 0.5, max(left_s, 0.0)))

    async def drain_due(self, target: Side | None = None) -> Drained | None:
        """Carry one batch of what is due; None where nothing is."""
        expired = await self._outbox.expire()
        read = await self._read_conflicts()
        items = await self._outbox.take(BATCH_ITEMS, target)
        if not items:
            return Drained() if expired or read else None
        drained = Drained()
        for side in Side:
            named = [item for item in items if item.target is side and not item.thing.is_whole]
            checked = [item for item in named if item.before_hash is not None or item.edit is not None]
            await self._carry_together([item for item in named if item not in checked], drained)
            for item in checked:
                await self._carry_one(item, drained)
            for item in items:
                if item.target is side and item.thing.is_whole:
                    await self._carry_one(item, drained)
        return drained

    async def _read_conflicts(self) -> int:
        """Keep both versions of what was written at both sides; returns of how many."""
        read = 0
        for item in await self._outbox.unread():
            versions = await self._versions(item)
            if versions is not None:
                await self._outbox.keep_versions(item, versions)
                self._tell(Event("conflict", item.capability, {"id": item.id, "resource": item.thing.resource}))
                read += 1
        return read

    async def _carry_together(self, items: Sequence[Item], drained: Drained) -> None:
        """Carry many in few transactions; where one of them cannot be carried, each alone."""
        for group in _of_one_kind(items):
            if len(group) == 1:
                await self._carry_one(group[0], drained)
                continue
            if group[0].thing.kind is ThingKind.OBJECT:
                # Objects share no transaction, and one may take as long as all others together.
                await asyncio.gather(*(self._carry_one(item, drained) for item in group))
                continue
            fence = self._outbox.items_fence(group)
            try:
                async with asyncio.timeout(self._outbox.limits.carry_s * 0.8):
                    carried = await self._carriers.carry([item.thing for item in group], group[0].target, fence=fence)
                if not carried.has_settled:
                    await self._outbox.done(group)
            except OutboxAway:
                raise
            except SIDE_AWAY as error:
                for item in group:
                    await self._give_back(item, error)
            except Exception as error:  # noqa: BLE001 - each is tried alone, and says for itself what is wrong
                logger.info("carrying %d items one by one: %s", len(group), type(error).__name__)
                for item in group:
                    await self._carry_one(item, drained)
            else:
                self._times_away[group[0].target] = 0
                drained.carried += len(group)

    async def _carry_one(self, item: Item, drained: Drained) -> None:
        fence: Fence = self._outbox.items_fence([item])
        if item.thing.is_whole:
            fence = Unsettling(fence)
        expected = None
        if item.before_hash is not None:
            expected = {item.thing: item.before_hash}
        try:
            async with self._held(item):
                if item.edit is None:
                    carried = await self._carriers.carry([item.thing], item.target, fence=fence, expected=expected)
                else:
                    carried = await self._carry_edited(item, item.edit, fence)
            if not carried.has_settled:
                await self._outbox.done([item])
        except OutboxAway:
            raise
        except WriterMoved as moved:
            # Where somebody else has it by now, this changes nothing.
            logger.debug("item %d is not carried now: %s", item.id, moved)
            await self._outbox.later(item, MOVED_WAIT_S)
        except Conflict as conflict:
            versions = {str(item.target.other): conflict.source, str(item.target): conflict.target}
            await self._bury(item, "changed on both sides", drained, is_conflict=True, versions=versions)
        except NoCarrier as error:
            logger.warning("item %d: %s", item.id, error)
            drained.failed += 1
            await self._outbox.later(item, NO_CARRIER_WAIT_S)
        except SIDE_AWAY as error:
            drained.failed += 1
            await self._give_back(item, error)
        except Exception as error:  # noqa: BLE001 - whatever a database says about it: later, and in the end an operator
            drained.failed += 1
            if item.attempts < self._outbox.limits.attempts:
                await self._outbox.failed(item, reason_of(error))
            else:
                both = await self._versions(item)
                await self._bury(item, reason_of(error), drained, versions=both)
        else:
            self._times_away[item.target] = 0
            drained.carried += 1

    async def _carry_edited(self, item: Item, edit: RowEdit, fence: Fence) -> Carried:
        if not isinstance(self._carriers, CarriesEdited):
            raise EditUnsupported("rows are edited by SQL alone")
        return await self._carriers.carry_edited(
            item.thing, item.target, leave_out=edit.leave_out, image=edit.image, fence=fence
        )

    @asynccontextmanager
    async def _held(self, item: Item) -> AsyncIterator[None]:
        """Keep the item while it is carried: rows and users for a limited time, wholes and objects for as long as it takes
        (a transfer that stands still ends by its own limit).
        """
        limit_s = self._outbox.limits.carry_s
        if not (item.thing.is_whole or item.thing.kind is ThingKind.OBJECT):
            async with asyncio.timeout(limit_s * 0.8):
                yield
            return

        async def keep() -> None:
            while True:
                await asyncio.sleep(limit_s / 3)
                with contextlib.suppress(OutboxAway):
                    await self._outbox.extend(item)

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _give_back(self, item: Item, error: BaseException) -> None:
        times = self._times_away[item.target]
        self._times_away[item.target] = min(times + 1, len(AWAY_WAIT_S) - 1)
        logger.info("%s or its other side is away (%s)", item.target, type(error).__name__)
        await self._outbox.later(item, AWAY_WAIT_S[times])

    async def _bury(
        self,
        item: Item,
        error: str,
        drained: Drained,
        *,
        is_conflict: bool = False,
        versions: Mapping[str, Any] | None = None,
    ) -> None:
        if await self._outbox.failed(item, error, is_final=True, is_conflict=is_conflict, versions=versions):
            drained.dead += 1
            name = "conflict" if is_conflict else "dead_letter"
            detail = {"id": item.id, "target": str(item.target), "resource": item.thing.resource}
            self._tell(Event(name, item.capability, detail))

    async def _versions(self, item: Item) -> dict[str, Any] | None:
        """What both sides hold now, for the operator; None where a side cannot say."""
        if item.thing.is_whole:
            return {}
        try:
            return {
                str(side): (await self._carriers.images([item.thing], side)).get(item.thing, (None, ""))[0]
                for side in Side
            }
        except Exception as error:  # noqa: BLE001 - the letter is kept without them
            logger.warning("what both sides hold of item %d cannot be read: %s", item.id, type(error).__name__)
            return None


def _of_one_kind(items: Iterable[Item]) -> list[list[Item]]:
    """Group items so that one carrier can take a group in one go: by kind, and each thing once."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(item.thing.kind, []).append(item)
    return list(groups.values())

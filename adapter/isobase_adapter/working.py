"""What works in the background of a client while both sides are written, and how it is made on one host's file.

``assembly`` makes it over PostgreSQL; here it is made where flags and outbox are in a SQLite file: fences and handovers are
held by file locks then, and nothing is spooled, as the outbox is on the app's own disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from isobase_adapter.capabilities import Capability
from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Writer
from isobase_adapter.control.following import StoreControl
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover_desk import HandoverLimits
from isobase_adapter.handover_file import fail_over_in_file, lift_abandoned_in_file
from isobase_adapter.outbox.locks import FencedCarrier, HostLocks
from isobase_adapter.outbox.sqlite import SqliteOutbox
from isobase_adapter.performing import Writing
from isobase_adapter.sides import Side
from isobase_adapter.writing import WritingLimits

__all__ = ["Working", "begun_on_host"]


@dataclass(slots=True, frozen=True)
class Working:
    """What a client needs of it. ``close``: ends what the tasks, which are cancelled before, do not own."""

    drainer: Drainer
    writing: Writing
    tasks: tuple[asyncio.Task[None], ...]
    waiting: Callable[[], Awaitable[int]]
    spooled: Callable[[], int]
    adopt: Callable[[], Awaitable[str | None]]
    """Takes over what processes that are gone left in the spool folder; gives the folder, None where there is none."""
    fail_over: Callable[[Capability, int], Awaitable[Writer]]
    close: Callable[[], Awaitable[None]]


def begun_on_host(store: SqliteStore, control: StoreControl, carriers: Carriers, limits: WritingLimits) -> Working:
    """Begin it on the file of ``store``, which its owner closes."""
    locks = HostLocks(store.path)
    outbox = SqliteOutbox(store, control.id)
    carrier = FencedCarrier(carriers, locks)
    drainer = Drainer(outbox, carrier, tell=control.tell, chore=lambda: lift_abandoned_in_file(store, locks))

    def fencing() -> AbstractAsyncContextManager[None]:
        return locks.fencing(Side.SUPABASE, HandoverLimits().lock_s)

    writing = Writing(control, outbox, carrier, limits=limits, on_postponed=drainer.wake, fencing=fencing)

    async def nothing_to_adopt() -> None:
        """Nothing is spooled here."""

    async def close() -> None:
        """Nothing: the store is its owner's."""

    return Working(
        drainer,
        writing,
        (asyncio.create_task(drainer.run(), name="isobase migration drainer"),),
        waiting=outbox.waiting,
        spooled=lambda: 0,
        adopt=nothing_to_adopt,
        fail_over=lambda capability, epoch: fail_over_in_file(store, locks, capability, epoch, tell=control.tell),
        close=close,
    )

"""Keeps buckets equal while others write beside the adapter: browsers with signed URLs, other clients, the dashboard.

It begins with a sweep of every bucket, then asks every few seconds for objects that were written since, and sweeps
again now and then, as only a comparison of both sides finds what was removed. It keeps no position: killed anywhere, it
begins with a sweep again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from isobase_adapter.contracts import Fence, WriterMoved
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.things import Thing, ThingKind

__all__ = ["StorageSync", "SyncTimes"]

logger = logging.getLogger("isobase.migration.storage")


@dataclass(slots=True, frozen=True)
class SyncTimes:
    """When it looks, in seconds."""

    poll_s: float = 5.0
    sweep_s: float = 300.0
    overlap_s: float = 120.0
    """So far back each look goes: a transaction may commit later than its times say."""


class StorageSync:
    """Follows the writer of each bucket.

    target_of: gives the side that a bucket's objects are carried to now, None for a bucket that is left alone (stage
    off or complete). fence_of: gives the fence that keeps what is carried behind the writer, or None.
    """

    def __init__(
        self,
        carrier: ObjectCarrier,
        target_of: Callable[[str], Side | None],
        *,
        fence_of: Callable[[str, Side], Fence | None] = lambda bucket, target: None,
        times: SyncTimes | None = None,
    ) -> None:
        self._carrier = carrier
        self._target_of = target_of
        self._fence_of = fence_of
        self._times = times or SyncTimes()
        self._since: dict[tuple[str, Side], datetime] = {}
        self._swept_at_s: dict[tuple[str, Side], float] = {}
        self.changed = 0
        """How many objects and buckets were carried so far."""

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set. An error of a side is logged, and the bucket tried again in the next round."""
        while not stop.is_set():
            await self.round()
            try:
                async with asyncio.timeout(self._times.poll_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def round(self) -> int:
        """Look once at all buckets; returns how many objects and buckets were carried."""
        before = self.changed
        names: set[str] = set()
        for side in Side:
            try:
                names |= {bucket.id for bucket in await self._carrier.store(side).buckets()}
            except Exception as error:  # noqa: BLE001 - a side is away: the next round asks again
                logger.warning("buckets of %s cannot be listed: %s", side, type(error).__name__)
                return 0
        for bucket in sorted(names):
            target = self._target_of(bucket)
            if target is None:
                continue
            try:
                await self._follow(bucket, target)
            except WriterMoved:
                self._swept_at_s.pop((bucket, target), None)
            except Exception as error:  # noqa: BLE001 - the next round tries again
                logger.warning("bucket %s is not in step: %s", bucket, type(error).__name__)
        return self.changed - before

    async def _follow(self, bucket: str, target: Side) -> None:
        source, key = self._carrier.store(target.other), (bucket, target)
        now_s = asyncio.get_running_loop().time()
        began = await source.now()
        things = [Thing(ThingKind.BUCKET, bucket)]
        last = self._swept_at_s.get(key)
        is_sweep = last is None or now_s - last >= self._times.sweep_s
        since = self._since.get(key)
        keys = None if is_sweep or since is None else await source.changed_since(bucket, since)
        if keys is None:
            things.append(Thing(ThingKind.OBJECTS, bucket))
        else:
            things += [Thing(ThingKind.OBJECT, bucket, (name,)) for name in keys]
        carried = await self._carrier.carry(things, target, fence=self._fence_of(bucket, target))
        self.changed += carried.changed
        self._since[key] = began - timedelta(seconds=self._times.overlap_s)
        if keys is None:
            self._swept_at_s[key] = now_s

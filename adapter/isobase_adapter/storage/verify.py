"""Compares buckets and objects of both sides by size and checksum, names what differs, and repairs it where asked.

An object is blamed only when it still differs at a second look, a moment later, was not written during that look, and
waits in no outbox: a write on its way is no difference. One that a side does not give (its server fails at it, its name
fits into no URL) is asked for again, then named as not readable, and the others are gone on with.
``Depth.BYTES`` reads every object on both sides and compares SHA-256; ``Depth.UNSURE`` reads those alone whose ETag is no
checksum (they came in parts).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from enum import StrEnum

import asyncpg
import httpx

from isobase_adapter.contracts import Fence
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier, sha256_of
from isobase_adapter.storage.facts import ObjectFacts, differing_columns
from isobase_adapter.storage.report import BucketReport, Progress, StorageReport, Trouble
from isobase_adapter.storage.store import NameRefused, StoreAway, StoreError
from isobase_adapter.storage.walk import Difference, difference_of, walked
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Depth", "verify_storage"]

SECOND_LOOK_S = 1.0
ON_ITS_WAY_S = 60.0
"""So long an object is waited for that the outbox still holds, or that is written again at each look."""
WAITING = """
select t ->> 'kind' as kind, t -> 'key' ->> 0 as key
  from isobase.outbox as o, jsonb_array_elements(coalesce(o.things, jsonb_build_array(o.thing))) as t
 where o.state <> 'dead' and t ->> 'resource' = $1
   and (t ->> 'kind' = 'objects' or t ->> 'kind' = 'object' and t -> 'key' ->> 0 = any($2::text[]))
"""
UNREADABLE_LOOKS = 3
"""So often is looked at an object that cannot be read, the first look not counted."""
AWAY_IN_A_ROW = 5
"""After so many objects, one behind the other, of which a side gave nothing, the side is taken for away."""
LOST = (StoreAway, httpx.TransportError)
"""What is said of one object, or of a side that is away."""
NOT_READ = (StoreError, NameRefused, *LOST)
LOOK_AGAIN_OBJECTS = 500
"""So many suspects are gathered before they are looked at again together."""


class Depth(StrEnum):
    """How sure a comparison is to be."""

    FACTS = "facts"
    UNSURE = "unsure"
    BYTES = "bytes"


async def verify_storage(
    carrier: ObjectCarrier,
    target: Side,
    *,
    buckets: Sequence[str] | None = None,
    depth: Depth = Depth.FACTS,
    repairs: bool = False,
    fence: Fence | None = None,
    progress: Progress = lambda report: None,
) -> StorageReport:
    """Compare ``target`` with the other side, which is taken for right.

    buckets: ids, None: all of either side; empty ones that ``target`` alone has are no difference. repairs: carry what
    differs to ``target``; what then is equal is not in the report's differences. Raises the sides' errors of listing, and
    those of reading where a side gives nothing any more.
    """
    source, there = carrier.store(target.other), carrier.store(target)
    report = StorageReport()
    ours = {bucket.id: bucket for bucket in await source.buckets()}
    theirs = {bucket.id: bucket for bucket in await there.buckets()}
    for name in sorted(ours.keys() | theirs.keys()):
        if buckets is not None and name not in buckets:
            continue
        one = BucketReport(name)
        report.buckets.append(one)
        mine, other = ours.get(name), theirs.get(name)
        if mine is None and await anext(there.objects(name), None) is None:
            continue  # an empty bucket that the target alone has, as Isobase makes some for itself
        if mine is None or other is None or not mine.is_like(other):
            if repairs:
                await carrier.carry([Thing(ThingKind.BUCKET, name)], target, fence=fence)
            else:
                report.settings_differ.append(name)
        if mine is not None and (size := await source.size(name)) is not None:
            one.total_objects, one.total_bytes = size
        await _Comparison(carrier, target, report, one, depth, repairs, fence).run(progress)
    return report


class _Comparison:
    """One bucket's comparison."""

    def __init__(
        self,
        carrier: ObjectCarrier,
        target: Side,
        report: StorageReport,
        one: BucketReport,
        depth: Depth,
        repairs: bool,
        fence: Fence | None,
    ) -> None:
        self._carrier = carrier
        self._target_side = target
        self._source, self._target = carrier.store(target.other), carrier.store(target)
        self._report = report
        self._one = one
        self._depth = depth
        self._repairs = repairs
        self._fence = fence
        self._lost_in_a_row = 0

    async def run(self, progress: Progress) -> None:
        """Go through the bucket."""
        suspects: list[str] = []
        progress(self._one)
        async for one, other in walked(self._source, self._target, self._one.bucket):
            facts = one or other
            assert facts is not None
            self._one.seen_objects += 1
            self._one.seen_bytes += facts.size_bytes or 0
            if await self._is_suspect(one, other):
                suspects.append(facts.key)
            if len(suspects) >= LOOK_AGAIN_OBJECTS or self._lost_in_a_row >= AWAY_IN_A_ROW:
                await self._look_again(suspects)
                suspects = []
            if self._depth is Depth.BYTES or self._one.seen_objects % 500 == 0:
                progress(self._one)
        await self._look_again(suspects)
        progress(self._one)

    async def _is_suspect(self, one: ObjectFacts | None, other: ObjectFacts | None) -> bool:
        try:
            found = await self._difference(one, other)
        except NOT_READ as error:
            self._lost_in_a_row = self._lost_in_a_row + 1 if isinstance(error, LOST) else 0
            return True
        self._lost_in_a_row = 0
        return found is not None

    async def _difference(self, one: ObjectFacts | None, other: ObjectFacts | None) -> Difference | None:
        found = difference_of(one, other)
        if found is not None or one is None or other is None or self._depth is Depth.FACTS:
            return found
        if self._depth is Depth.UNSURE and one.md5 is not None and other.md5 is not None:
            return None
        sums = [await sha256_of(store, one.bucket, one.key) for store in (self._source, self._target)]
        return None if sums[0] == sums[1] and sums[0] is not None else Difference.BYTES

    async def _look_again(self, keys: list[str]) -> None:
        self._lost_in_a_row = 0
        looks, give_up_at = 0, time.monotonic() + ON_ITS_WAY_S
        while keys:
            await asyncio.sleep(SECOND_LOOK_S)
            looks += 1
            # Those are not read meanwhile; of the others it is asked again, once they have been looked at.
            waiting = await self._waiting(keys) if time.monotonic() < give_up_at else set()
            keys = [key for key in keys if key in waiting or await self._is_to_see_again(key, looks, give_up_at)]

    async def _waiting(self, keys: list[str]) -> set[str]:
        """Give those of ``keys`` that the outbox holds, where its database is known."""
        pool = self._carrier.store(Side.ISOBASE).pool
        if pool is None:
            return set()
        try:
            rows = await pool.fetch(WAITING, self._one.bucket, keys)
        except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
            return set()
        if any(row["kind"] == "objects" for row in rows):
            return set(keys)
        return {row["key"] for row in rows}

    async def _is_to_see_again(self, key: str, looks: int, give_up_at: float) -> bool:
        """Whether an object is written just now, or may be readable in a moment; else blames or repairs it."""
        try:
            one, other = await self._facts(key)
            found = await self._difference(one, other)
            is_on_its_way = (
                found is not None and time.monotonic() < give_up_at and await self._is_on_its_way(key, one, other)
            )
        except NOT_READ as error:
            if looks < UNREADABLE_LOOKS and not isinstance(error, NameRefused):
                return True
            self._lost_in_a_row = self._lost_in_a_row + 1 if isinstance(error, LOST) else 0
            if self._lost_in_a_row >= AWAY_IN_A_ROW:
                raise  # This is not about one object.
            if self._repairs:
                await self._repair(key, is_whole=True)
            else:
                self._blame(key, Difference.UNREADABLE, (reason_of(error),))
            return False
        self._lost_in_a_row = 0
        if found is None:
            return False
        if is_on_its_way:
            return True
        if self._repairs:
            # Facts may say that bytes are equal.
            await self._repair(key, is_whole=found is Difference.BYTES)
            return False
        self._blame(key, found, differing_columns(one, other) if one is not None and other is not None else ())
        return False

    async def _is_on_its_way(self, key: str, one: ObjectFacts | None, other: ObjectFacts | None) -> bool:
        """Whether an object that differed is being written.

        The outbox is asked first: a write that began before the look and is not in there any more has reached both sides, so
        that the facts after it tell.
        """
        return bool(await self._waiting([key])) or _written(*await self._facts(key)) != _written(one, other)

    def _blame(self, key: str, found: Difference, detail: Sequence[str]) -> None:
        self._one.differing_objects += 1
        self._report.add(Trouble(self._one.bucket, key, str(found), tuple(detail)))

    async def _facts(self, key: str) -> tuple[ObjectFacts | None, ObjectFacts | None]:
        bucket = self._one.bucket
        return await self._source.object(bucket, key), await self._target.object(bucket, key)

    async def _repair(self, key: str, *, is_whole: bool) -> None:
        """Carry an object, its bytes too where ``is_whole``; they are read at the target afterwards."""
        thing = Thing(ThingKind.OBJECT, self._one.bucket, (key,))
        try:
            if is_whole:
                await self._carrier.carry_anew(thing, self._target_side, fence=self._fence)
                await self._difference(*await self._facts(key))
            else:
                await self._carrier.carry([thing], self._target_side, fence=self._fence)
        except Exception as error:  # noqa: BLE001 - one object's failure is reported, and the others go on
            self._one.failed_objects += 1
            self._report.add(Trouble(self._one.bucket, key, reason_of(error)))
        else:
            self._one.carried_objects += 1


def _written(*sides: ObjectFacts | None) -> list[dict[str, object] | None]:
    """What a write changes and a read does not."""
    return [facts.image() if facts is not None else None for facts in sides]

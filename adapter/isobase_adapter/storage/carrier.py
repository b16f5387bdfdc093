"""Carries objects and buckets: at the target they become what they are at the source.

An object goes as a stream, one chunk of memory at a time; its size and MD5 are checked before its last chunk is let
through, so a transfer that broke leaves the target as it was. The advisory lock is held in a transaction that does
nothing else (it keeps no snapshot, so it does not hold vacuum back, and works behind a transaction pooler), and the
source is read again afterwards: what changed meanwhile is carried too. Isobase additionally refuses to replace another
version than the one that was seen, so that not even a carrier whose lock was lost writes something older.
docs/migration/storage.md tells what each side can keep.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isobase_adapter.carrying import Unsettling
from isobase_adapter.contracts import Carried, Conflict, Fence
from isobase_adapter.sides import Side
from isobase_adapter.storage.facts import ObjectFacts, differing_columns, have_equal_bytes, md5_of_etag
from isobase_adapter.storage.store import BucketMissing, NameRefused, ObjectMoved, Store, StoreError
from isobase_adapter.storage.walk import difference_of, differing_keys
from isobase_adapter.things import Thing, ThingKind

if TYPE_CHECKING:
    from isobase_adapter.storage.store import Connection

__all__ = ["BytesDiffer", "BytesMissing", "ObjectCarrier", "sha256_of"]

MAX_ROUNDS = 8
"""How often an object that keeps changing is carried in one go before the rest is left for the next one."""
PARALLEL_TRANSFERS = 4
CHUNK_BYTES = 256 * 1024
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_log = logging.getLogger("isobase.migration.storage")


class BytesDiffer(Exception):
    """What was read, or what the target gave back, is not what the object's facts say."""


class BytesMissing(Exception):
    """The source has the object's row, but not its bytes, or others than the row says."""


ABOUT_ONE_OBJECT = (BytesDiffer, BytesMissing, ObjectMoved, NameRefused, StoreError)
"""What says nothing of the other objects of a bucket."""


class ObjectCarrier:
    """The ``Carrier`` of objects, whole buckets' objects, and buckets.

    stores: both sides. reads_back: read every object at the target again after it was written and compare SHA-256.
    parallel: how many objects at a time; each takes one connection of the target's database while it is carried.
    """

    def __init__(
        self, supabase: Store, isobase: Store, *, reads_back: bool = False, parallel: int = PARALLEL_TRANSFERS
    ) -> None:
        self._stores = {Side.SUPABASE: supabase, Side.ISOBASE: isobase}
        self._reads_back = reads_back
        self._slots = asyncio.Semaphore(parallel)
        self._local_locks: dict[int, _CountedLock] = {}

    def store(self, side: Side) -> Store:
        """One side's storage."""
        return self._stores[side]

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Carry OBJECT, OBJECTS and BUCKET things; see ``Carrier.carry``. An intent is never settled with them.

        Raises ``StoreError`` for what a side refuses, ``BytesDiffer``, and the errors of httpx and asyncpg.
        """
        only_checked = None if fence is None else Unsettling(fence)
        work = _Work(self._stores[target.other], self._stores[target], only_checked, expected or {})
        order = {ThingKind.BUCKET: 0, ThingKind.OBJECTS: 1, ThingKind.OBJECT: 2}
        changed = 0
        # A bucket comes before its objects; one that is gone takes its objects along.
        for kind in sorted({thing.kind for thing in things}, key=order.__getitem__):
            several = sorted({thing for thing in things if thing.kind is kind}, key=lambda thing: thing.lock_number)
            done = await asyncio.gather(*(self._carry(thing, work) for thing in several), return_exceptions=True)
            for outcome in done:
                if isinstance(outcome, BaseException):
                    raise outcome
                changed += outcome
        return Carried(changed)

    async def carry_anew(self, thing: Thing, target: Side, *, fence: Fence | None = None) -> None:
        """Carry an object whole whatever its facts say: its bytes at the target are known to be wrong."""
        only_checked = None if fence is None else Unsettling(fence)
        work = _Work(self._stores[target.other], self._stores[target], only_checked, {}, trusts_facts=False)
        await self._carry_object(thing, work)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read the facts of objects and the settings of buckets; see ``Carrier.images``."""
        store, found = self._stores[side], dict[Thing, tuple[Any, str]]()
        for thing in things:
            if thing.kind is ThingKind.OBJECT:
                facts = await store.object(thing.resource, str(thing.key[0]))
                found[thing] = _imaged(None if facts is None else facts.image())
            elif thing.kind is ThingKind.BUCKET:
                bucket = await store.bucket(thing.resource)
                found[thing] = _imaged(None if bucket is None else bucket.settings())
        return found

    async def _carry(self, thing: Thing, work: _Work) -> int:
        match thing.kind:
            case ThingKind.OBJECT:
                return await self._carry_object(thing, work)
            case ThingKind.OBJECTS:
                return await self._sweep(thing.resource, work)
            case ThingKind.BUCKET:
                return await self._carry_bucket(thing, work)
            case _:
                raise ValueError(f"not a thing of storage: {thing.kind}")

    # One object

    async def _carry_object(self, thing: Thing, work: _Work) -> int:
        source, target = work.source, work.target
        bucket, key = thing.resource, str(thing.key[0])
        changed, before, is_without_bucket = 0, None, False
        for _ in range(MAX_ROUNDS):
            if is_without_bucket:
                # Nobody copied it yet. Its own lock is taken while the object's is not held.
                await self._carry_bucket(Thing(ThingKind.BUCKET, bucket), work)
                is_without_bucket = False
            # A lock for each round: a corrected row is committed before the next upload would wait for it.
            async with self._slots, self._locked(thing, work) as connection:
                wanted = await source.object(bucket, key)
                there = await target.object(bucket, key, connection)
                _refuse_conflict(thing, work, wanted, there)
                try:
                    changed |= await self._make_equal(work, wanted, there, bucket, key, connection)
                except ObjectMoved:
                    if before is not None and _is_same_state(before, wanted):
                        raise BytesMissing(
                            f"{source.side}: the bytes of an object of {bucket} cannot be read"
                        ) from None
                    before = wanted
                    continue
                except BucketMissing:
                    is_without_bucket = True
                    continue
                if connection is not None:
                    await connection.execute("select 1")  # raises where the lock was lost with the connection
                if _is_same_state(await source.object(bucket, key), wanted):
                    return changed
        raise ObjectMoved(f"{bucket}: an object changed {MAX_ROUNDS} times while it was carried")

    async def _make_equal(
        self,
        work: _Work,
        wanted: ObjectFacts | None,
        there: ObjectFacts | None,
        bucket: str,
        key: str,
        connection: Connection | None,
    ) -> int:
        """Returns 1 where something had to be changed."""
        target = work.target
        if wanted is None:
            if there is None:
                return 0
            await target.remove(bucket, [key])
            return 1
        is_in_place = work.trusts_facts and there is not None and have_equal_bytes(wanted, there)
        if there is not None and is_in_place and not differing_columns(wanted, there):
            return 0
        if not (is_in_place and connection is not None and wanted.is_whole and await _may_correct(target, connection)):
            await self._transfer(work.source, target, wanted, there, connection)
        after = await target.object(bucket, key, connection)
        if after is not None and connection is not None and wanted.is_whole and differing_columns(wanted, after):
            await target.correct(wanted, connection)
        return 1

    async def _transfer(
        self,
        source: Store,
        target: Store,
        wanted: ObjectFacts,
        there: ObjectFacts | None,
        connection: Connection | None,
    ) -> None:
        async with source.opened(wanted.bucket, wanted.key) as answer:
            etag, told = answer.headers.get("etag"), md5_of_etag(wanted.metadata.get("eTag"))
            if told is not None and md5_of_etag(etag) not in (None, told):
                raise ObjectMoved
            length = answer.headers.get("content-length")
            size = int(length) if length is not None else wanted.size_bytes
            if size is None or (wanted.size_bytes is not None and size != wanted.size_bytes):
                raise ObjectMoved
            read = _CheckedStream(answer.aiter_raw(CHUNK_BYTES), size, told)
            if target.side is Side.ISOBASE and _UUID.fullmatch(wanted.version or "") and wanted.columns.get("id"):
                await target.put_carried(wanted, there, size, read.chunks())
            else:
                await target.put(wanted, size, read.chunks())
        after = await target.object(wanted.bucket, wanted.key, connection)
        if after is None:
            raise ObjectMoved
        seen = after.md5
        if after.size_bytes != read.size_bytes or (seen is not None and seen != read.md5.hexdigest()):
            raise BytesDiffer(f"{target.side}: an object of {wanted.bucket} is not stored as it was sent")
        if self._reads_back and await sha256_of(target, wanted.bucket, wanted.key) != read.sha256.hexdigest():
            raise BytesDiffer(f"{target.side}: an object of {wanted.bucket} is not read as it was sent")

    # Whole buckets

    async def _sweep(self, bucket: str, work: _Work) -> int:
        """Carry whatever differs; a key that looks different for a moment only is found equal under its lock.

        What cannot be carried of one object is raised when all others were.
        """
        changed, batch = 0, list[Thing]()
        failed: Exception | None = None

        async def flush() -> None:
            nonlocal changed, failed
            done = await asyncio.gather(*(self._carry_object(thing, work) for thing in batch), return_exceptions=True)
            batch.clear()
            for outcome in done:
                if isinstance(outcome, ABOUT_ONE_OBJECT):
                    failed = failed or outcome
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    changed += outcome

        async for key, _ in differing_keys(work.source, work.target, bucket):
            batch.append(Thing(ThingKind.OBJECT, bucket, (key,)))
            if len(batch) >= 4 * PARALLEL_TRANSFERS:
                await flush()
        await flush()
        if failed is not None:
            raise failed
        return changed

    async def _carry_bucket(self, thing: Thing, work: _Work) -> int:
        source, target = work.source, work.target
        async with self._slots, self._locked(thing, work) as connection:
            wanted = await source.bucket(thing.resource)
            there = await target.bucket(thing.resource, connection)
            if wanted is None and there is None:
                return 0
            if wanted is not None:
                if there is not None and wanted.is_like(there):
                    return 0
                await target.put_bucket(wanted, is_new=there is None)
                if connection is not None:
                    await target.correct_bucket(wanted, connection)
                return 1
        # The bucket is gone, and so is what was in it.
        await self._sweep(thing.resource, work)
        async with self._slots, self._locked(thing, work):
            if await source.bucket(thing.resource) is None:
                await target.remove_bucket(thing.resource)
        return 1

    # Locks

    @asynccontextmanager
    async def _locked(self, thing: Thing, work: _Work) -> AsyncIterator[Connection | None]:
        """Hold the fence and the thing's lock on the target's database, or a lock of this process where there is none."""
        number, target, fence = thing.lock_number, work.target, work.fence
        local = self._local_locks.setdefault(number, _CountedLock())
        local.waiting += 1
        try:
            async with local.lock:
                if target.pool is None:
                    if fence is not None:
                        await fence.check(None)
                    yield None
                    return
                async with target.pool.acquire() as connection, connection.transaction():
                    await connection.execute("set local idle_in_transaction_session_timeout = 0")
                    if fence is not None:
                        await connection.execute("select pg_advisory_xact_lock_shared($1)", fence.lock_number)
                    await connection.execute("select pg_advisory_xact_lock($1)", number)
                    if fence is not None:
                        await fence.check(connection)
                    yield connection
        finally:
            local.waiting -= 1
            if not local.waiting:
                self._local_locks.pop(number, None)


@dataclass(slots=True, frozen=True)
class _Work:
    """One call of ``carry``."""

    source: Store
    target: Store
    fence: Unsettling | None
    expected: Mapping[Thing, str]
    trusts_facts: bool = True


class _CountedLock:
    """A lock and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class _CheckedStream:
    """A stream whose last chunk is let through only when all of it is what was told."""

    def __init__(self, raw: AsyncIterator[bytes], size_bytes: int, md5: str | None) -> None:
        self._raw = raw
        self._told = md5
        self.size_bytes = size_bytes
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises ``ObjectMoved`` where they are others than the facts say."""
        held, size = b"", 0
        async for chunk in self._raw:
            self.md5.update(chunk)
            self.sha256.update(chunk)
            size += len(chunk)
            if held:
                yield held
            held = chunk
        if size != self.size_bytes or (self._told is not None and self._told != self.md5.hexdigest()):
            raise ObjectMoved
        yield held


async def sha256_of(store: Store, bucket: str, key: str) -> str | None:
    """The SHA-256 of an object's bytes in hex, or None where it is gone."""
    digest = hashlib.sha256()
    try:
        async with store.opened(bucket, key) as answer:
            async for chunk in answer.aiter_raw(CHUNK_BYTES):
                digest.update(chunk)
    except ObjectMoved:
        return None
    return digest.hexdigest()


async def _may_correct(target: Store, connection: Connection) -> bool:
    """Whether a row can be put right without its bytes: Isobase takes a row whole with them, where triggers cannot be kept
    still; Supabase does not.
    """
    return target.side is Side.SUPABASE or await target.can_silence_triggers(connection)


def _refuse_conflict(thing: Thing, work: _Work, wanted: ObjectFacts | None, there: ObjectFacts | None) -> None:
    """Raise ``Conflict`` where the target's object is not the one that was expected, and not the source's either."""
    if thing not in work.expected or difference_of(wanted, there) is None:
        return
    source, target = (None if facts is None else facts.image() for facts in (wanted, there))
    if _imaged(target)[1] != work.expected[thing]:
        raise Conflict(thing, source=source, target=target)


def _imaged(image: dict[str, Any] | None) -> tuple[Any, str]:
    text = json.dumps(image, sort_keys=True, separators=(",", ":"))
    return image, hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_same_state(one: ObjectFacts | None, other: ObjectFacts | None) -> bool:
    """Whether a side's object has not changed between two looks at it."""
    if one is None or other is None:
        return one is other
    return (one.version, one.metadata, one.user_metadata) == (other.version, other.metadata, other.user_metadata)

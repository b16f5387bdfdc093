"""Carries rows by SQL: makes rows of one database what they are in the other.

The lock comes first, in the transaction that writes; then the source is read; then the target is written. So whoever
carries a row last carries its last state, and doing it again changes nothing (docs/decisions/0037-state-is-carried.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from isobase_adapter.carrying import Unsettling
from isobase_adapter.contracts import Carried, Conflict, Fence
from isobase_adapter.reasons import without_values
from isobase_adapter.rows import statements
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.keys import canonical, keys_by_column
from isobase_adapter.rows.pairs import Pair, Pairs
from isobase_adapter.rows.related import (
    Batch,
    changing_keys,
    children_of,
    in_the_way,
    locks_of,
    parents_of,
    parents_text,
)
from isobase_adapter.rows.sweep import differing_batches, level_copies
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind, distinct

__all__ = ["CannotRemake", "RowCarrier"]

ROWS_PER_TRANSACTION = 200
"""Each takes a lock in the target's shared memory."""
MAX_ATTEMPTS = 6
COLLISION_PAUSE_S = 0.1
MAX_ROUNDS = 12
"""So often a transaction begins again because of rows that have to be carried with others."""
STALE_SHAPE = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidColumnReferenceError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidTextRepresentationError,
)
"""What comes when a table is not any more what the catalog knows."""
SHARED_LOCKS = "select pg_advisory_xact_lock_shared(n) from unnest($1::bigint[]) as n"
COLLIDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
TAKEN = (asyncpg.UniqueViolationError, asyncpg.ExclusionViolationError)

logger = logging.getLogger("isobase.migration.rows")


class CannotRemake(RuntimeError):
    """Rows would have to be deleted and inserted again, which is safe only where foreign keys and triggers keep still,
    and the role may not ask for that (``session_replication_role``).
    """


class EditRefused(ValueError):
    """An operator's changes of a row name columns that are not carried, or that name the row."""


@dataclass(slots=True)
class _Work:
    """One call of ``carry``: its fence, and what turned up on the way."""

    target: Side
    fence: Fence | None
    expected: Mapping[Thing, str]
    wholes: list[str] = field(default_factory=list)
    """Tables to sweep."""
    seen: set[Thing] = field(default_factory=set)
    """Related rows that were carried, or are about to be."""

    @property
    def checking(self) -> Fence | None:
        """The fence for a transaction that is not the last."""
        return None if self.fence is None else Unsettling(self.fence)


class _ChildrenFirst(Exception):
    """Rows that refer to those of a batch are to be carried before."""

    def __init__(self, things: list[Thing]) -> None:
        super().__init__(len(things))
        self.things = things


class RowCarrier:
    """Carries ``ROW`` and ``TABLE`` things between two databases; a ``Carrier``.

    The databases stay the caller's to close.
    """

    def __init__(self, supabase: SideDatabase, isobase: SideDatabase) -> None:
        self.pairs = Pairs(supabase, isobase)
        self._sweeping = asyncio.Semaphore(1)

    def database(self, side: Side) -> SideDatabase:
        """The database of ``side``."""
        return self.pairs.databases[side]

    async def pair(self, resource: str) -> Pair:
        """Give a table as it is at both sides; raises as ``Pairs.pair``."""
        return await self.pairs.pair(resource)

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Make rows at ``target`` what they are at the other side; where the other has none, none.

        fence: checked in each transaction that writes, and settled by the last where it is all (a table that is swept
        never settles). expected: hashes (``images``) that rows at the target must still have; one that has not, and is
        not what the source has, is a conflict. Raises ``Conflict``, ``UnknownTable``, ``HiddenRows``, ``KeyNotGiven``,
        ``CannotRemake``, the fence's and the databases' own errors; then nothing of this call may be taken for carried.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._carry_all(things, target, fence, expected or {})
            except STALE_SHAPE as error:
                if attempt > 1:
                    without_values(error)
                    raise
                await self.pairs.reload()
            except COLLIDED:
                if attempt == MAX_ATTEMPTS:
                    raise
                await asyncio.sleep(random.uniform(0, COLLISION_PAUSE_S * attempt))  # noqa: S311 - a pause
            except asyncpg.PostgresError as error:
                without_values(error)
                raise
        raise AssertionError("unreachable")

    async def carry_edited(
        self,
        thing: Thing,
        target: Side,
        *,
        leave_out: Sequence[str],
        image: Mapping[str, Any] | None,
        fence: Fence | None,
    ) -> Carried:
        """Make a row at ``target`` what it is at the other side, but for what an operator wants otherwise.

        leave_out: columns that keep the target's value, or its default. image: values laid over the source's row, over the
        key alone where the source has no row. Raises ``EditRefused`` for columns that are not carried or name the row, and
        as ``carry``.
        """
        pair = await self.pair(thing.resource)
        named = {*leave_out, *(image or {})}
        if wrong := sorted(named - set(pair.carried(target)) | named & set(pair.key)):
            raise EditRefused(f"{pair.resource}: {', '.join(wrong)} cannot be edited: not carried, or of the key")
        row = canonical(pair.names, thing)
        batch = Batch(replace(pair, left_out=frozenset(leave_out)), [row], anew={row} if thing.is_anew else set())
        if image is not None:
            batch.image = json.dumps(dict(image) | dict(zip(pair.key, row.key, strict=True)), default=str)
        try:
            return Carried(*await self._carry_chunk([batch], _Work(target, fence, {}), is_last=True))
        except asyncpg.PostgresError as error:
            without_values(error)
            raise

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read rows as they are at ``side`` now: each as a JSON object (None: it is not there) with its hash."""
        rows = [thing for thing in things if thing.kind is ThingKind.ROW]
        found: dict[Thing, tuple[Any, str]] = {thing: (None, _digest(None)) for thing in rows}
        for thing in rows:
            pair = await self.pair(thing.resource)
            text, image = statements.fingerprint_of(pair, "t"), statements.image_of(pair, "t")
            read = statements.read_rows(pair, side, f"{image} as image, {text}")
            keys = keys_by_column([canonical(pair.names, thing).key])
            for row in await self.database(side).fetch(read, *keys):
                found[thing] = (json.loads(row["image"]), _digest(row["row"]))
        return found

    async def fingerprints(self, things: Sequence[Thing], side: Side) -> dict[Thing, str | None]:
        """Give the hash of each row as it is at ``side`` now (that of ``images``), None where there is none."""
        found: dict[Thing, str | None] = dict.fromkeys(things)
        named = {canonical((await self.pair(thing.resource)).names, thing): thing for thing in things}
        for batch in await self._batches(list(named)):
            read = statements.read_rows(batch.pair, side, statements.fingerprint_of(batch.pair, "t"))
            for row in await self.database(side).fetch(read, *batch.keys):
                found[named[batch.things[row["n"] - 1]]] = _digest(row["row"])
        return found

    async def referring(self, resource: str, keys: Sequence[Sequence[Any]], target: Side) -> list[Thing]:
        """Name the rows at ``target`` that refer to these rows of ``resource`` by foreign keys that change rows.

        For who deletes such rows at the target without this carrier (a user): what the source's foreign keys did to these
        rows is carried with them. Raises as ``pair``.
        """
        pair = await self.pair(resource)
        things = [canonical(pair.names, Thing(ThingKind.ROW, pair.resource, tuple(key))) for key in keys]
        async with self.database(target).transaction() as reading:
            return await children_of(Batch(pair, things, gone=things), target, self.pairs, reading) if things else []

    async def _carry_all(
        self, things: Sequence[Thing], target: Side, fence: Fence | None, expected: Mapping[Thing, str]
    ) -> Carried:
        wholes = sorted({thing.resource for thing in things if thing.kind is ThingKind.TABLE})
        work = _Work(target, fence, expected, wholes)
        rows = [thing for thing in things if thing.kind is not ThingKind.TABLE and thing.resource not in wholes]
        changed, has_settled = await self._carry_rows(rows, work, may_settle=True) if rows else (0, False)
        for resource in work.wholes:  # It may grow meanwhile.
            changed += await self._sweep(resource, work)
        return Carried(changed, has_settled)

    async def _sweep(self, resource: str, work: _Work) -> int:
        pair = await self.pair(resource)
        changed = 0
        async with self._sweeping, aclosing(differing_batches(pair, self.pairs, work.target)) as batches:
            async for batch in batches:
                things = [difference.thing for difference in batch if difference.thing is not None]
                if things:
                    changed += (await self._carry_rows(things, work, may_settle=False))[0]
                else:
                    changed += await level_copies(pair, self.pairs, work.target, batch, work.checking)
        return changed

    async def _carry_rows(self, things: Sequence[Thing], work: _Work, *, may_settle: bool) -> tuple[int, bool]:
        changed, has_settled = 0, False
        chunks = list(_chunks(await self._batches(things)))
        for i, chunk in enumerate(chunks):
            is_last = may_settle and i == len(chunks) - 1
            count, has_settled = await self._carry_chunk(chunk, work, is_last)
            changed += count
        return changed, has_settled

    async def _carry_chunk(self, chunk: list[Batch], work: _Work, is_last: bool) -> tuple[int, bool]:
        changed = 0
        is_remaking = False
        for _ in range(MAX_ROUNDS):
            # A table that still has to be swept is part of what the intent names.
            fence = work.fence if is_last and not work.wholes else work.checking
            try:
                count, has_settled = await self._attempt(chunk, work, fence, is_remaking)
            except _ChildrenFirst as found:
                work.seen.update(found.things)
                work.wholes += [thing.resource for thing in found.things if thing.is_whole]
                rows = [thing for thing in found.things if not thing.is_whole]
                changed += (await self._carry_rows(rows, work, may_settle=False))[0] if rows else 0
            except TAKEN:
                if is_remaking and not any([await self._add_those_in_the_way(batch, work) for batch in chunk]):
                    raise
                if not is_remaking:
                    for batch in chunk:
                        await self._add_those_in_the_way(batch, work)
                is_remaking = True
            else:
                return changed + count, has_settled
        raise CannotRemake(f"rows of {chunk[0].pair.resource} kept standing in one another's way")

    async def _add_those_in_the_way(self, batch: Batch, work: _Work) -> bool:
        found = await in_the_way(batch, work.target, self.pairs)
        batch.things += found
        return bool(found)

    async def _attempt(
        self, chunk: list[Batch], work: _Work, fence: Fence | None, is_remaking: bool
    ) -> tuple[int, bool]:
        target = work.target
        locks = [lock for batch in chunk for lock in await locks_of(batch, target, self.pairs)]
        shared = None if fence is None else fence.lock_number
        async with self.database(target).transaction(is_writer=True, locks=locks, shared_lock=shared) as writing:
            has_settled = False if fence is None else await fence.check(writing)
            await self._read_all(chunk, target, writing)
            for batch in chunk:
                await self._refuse_conflicts(batch, work, writing)
                children = await children_of(batch, target, self.pairs, writing)
                known = work.seen | {thing for other in chunk for thing in other.things}
                if new := [thing for thing in children if thing not in known]:
                    raise _ChildrenFirst(new)
            changed = 0
            for batch in chunk:
                changed += await self._delete(batch, target, writing, is_remaking)
            for batch in chunk:
                if batch.texts:
                    upsert = statements.upsert_rows(batch.pair, target)
                    changed += _count(await writing.execute(upsert, batch.texts))
                    if not self.database(target).can_silence_triggers:
                        await self._tell_of_triggers(batch, target, writing)
        return changed, has_settled

    async def _batches(self, things: Sequence[Thing]) -> list[Batch]:
        by_resource: dict[str, list[Thing]] = {}
        for thing in things:
            if thing.kind is not ThingKind.ROW:
                raise ValueError(f"no row: {thing.kind} {thing.resource}")
            by_resource.setdefault(thing.resource, []).append(thing)
        batches: dict[str, Batch] = {}
        for resource, named in sorted(by_resource.items()):
            pair = await self.pair(resource)
            batch = batches.setdefault(pair.resource, Batch(pair, []))
            rows = {canonical(pair.names, thing): thing.is_anew for thing in distinct(named)}
            batch.things = list(dict.fromkeys([*batch.things, *rows]))
            batch.anew.update(row for row, is_anew in rows.items() if is_anew)
        return list(batches.values())

    async def _read_all(self, chunk: list[Batch], target: Side, writing: asyncpg.pool.PoolConnectionProxy) -> None:
        """Read the source, and once more after the rows that these refer to are locked."""
        held: set[int] = set()
        for _ in range(MAX_ROUNDS):
            for batch in chunk:
                await self._read(batch, target)
                if batch.image is not None:
                    await self._lay_over(batch, target, writing)
            wanted = {lock for batch in chunk for lock in batch.parents} - held
            if not wanted:
                return
            await writing.execute(SHARED_LOCKS, sorted(wanted))
            held |= wanted
        raise CannotRemake(f"rows of {chunk[0].pair.resource} kept changing what they refer to")

    async def _read(self, batch: Batch, target: Side) -> None:
        """Read the source; whoever calls holds the locks."""
        pair, source = batch.pair, target.other
        text, has_parents = statements.row_text(pair, target, "t"), bool(changing_keys(pair.at(source)))
        if has_parents:
            text = f"{parents_text(pair, source)} as parents, {text}"
        rows = await self.database(source).fetch(statements.read_rows(pair, source, text), *batch.keys)
        there = {row["n"] - 1 for row in rows}
        batch.texts = list(dict.fromkeys(row["row"] for row in rows))
        batch.gone = [thing for i, thing in enumerate(batch.things) if i not in there]
        if has_parents:
            values = [json.loads(row["parents"]) for row in rows]
            batch.parents = await parents_of(pair, source, self.pairs, values)

    async def _lay_over(self, batch: Batch, target: Side, writing: asyncpg.pool.PoolConnectionProxy) -> None:
        """Put an operator's values into the row that the batch was made for."""
        (row,) = batch.things[:1]
        read = statements.read_rows(batch.pair, target.other, statements.row_text(batch.pair, target, "t"))
        (base,) = [
            found["row"] for found in await self.database(target.other).fetch(read, *keys_by_column([row.key]))
        ] or [None]
        text = await writing.fetchval(statements.laid_over(batch.pair, target), base, batch.image)
        batch.texts = [*(one for one in batch.texts if one != base), text]
        batch.gone = [thing for thing in batch.gone if thing != row]

    async def _delete(
        self, batch: Batch, target: Side, writing: asyncpg.pool.PoolConnectionProxy, is_remaking: bool
    ) -> int:
        pair = batch.pair
        deleted = 0
        if batch.gone:
            keys = keys_by_column([thing.key for thing in batch.gone])
            deleted = _count(await writing.execute(statements.delete_rows(pair, target), *keys))
        if batch.texts and (is_remaking or statements.is_remade(pair, target)):
            if not self.database(target).can_silence_triggers:
                raise CannotRemake(f"{pair.resource} at {target}: its role may not set session_replication_role")
            await writing.execute(statements.remake_rows(pair, target), batch.texts)
        return deleted

    async def _tell_of_triggers(self, batch: Batch, target: Side, writing: asyncpg.pool.PoolConnectionProxy) -> None:
        """Say how many rows the target's triggers made otherwise, where they could not be kept still."""
        read = statements.read_rows(batch.pair, target, statements.row_text(batch.pair, target, "t"))
        present = {row["row"] for row in await writing.fetch(read, *batch.keys)}
        otherwise = sum(text not in present for text in batch.texts)
        if otherwise:
            logger.warning(
                "triggers of the target made rows otherwise than they were carried: its role may not set"
                " session_replication_role",
                extra={"table": batch.pair.resource, "side": str(target), "rows": otherwise},
            )

    async def _refuse_conflicts(self, batch: Batch, work: _Work, writing: asyncpg.pool.PoolConnectionProxy) -> None:
        pair, target = batch.pair, work.target
        expected = {
            canonical(pair.names, thing): (thing, wanted)
            for thing, wanted in work.expected.items()
            if thing.resource == pair.resource and thing.kind is ThingKind.ROW
        }
        things = [thing for thing in batch.things if thing in expected]
        if not things:
            return
        guarded = Batch(pair, things)
        read = {side: statements.read_rows(pair, side, statements.fingerprint_of(pair, "t")) for side in Side}
        rows = {
            target: await writing.fetch(read[target], *guarded.keys),
            target.other: await self.database(target.other).fetch(read[target.other], *guarded.keys),
        }
        texts = {side: {things[row["n"] - 1]: row["row"] for row in found} for side, found in rows.items()}
        for thing in things:
            original, wanted = expected[thing]
            mine = texts[target].get(thing)
            if mine != texts[target.other].get(thing) and _digest(mine) != wanted:
                images = {side: (await self.images([original], side))[original][0] for side in Side}
                raise Conflict(original, source=images[target.other], target=images[target])


def _chunks(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Divide into transactions of at most ``ROWS_PER_TRANSACTION`` rows."""
    chunk: list[Batch] = []
    room = ROWS_PER_TRANSACTION
    for batch in batches:
        rest = batch.things
        while rest:
            if not room:
                yield chunk
                chunk, room = [], ROWS_PER_TRANSACTION
            chunk.append(Batch(batch.pair, rest[:room], anew=batch.anew.intersection(rest[:room])))
            rest, room = rest[room:], room - len(chunk[-1].things)
    if chunk:
        yield chunk


def _digest(text: str | None) -> str:
    """Hash a row's text; that of a row that is not there is told from every other."""
    return hashlib.blake2b(b"-" if text is None else b"+" + text.encode(), digest_size=16).hexdigest()


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])

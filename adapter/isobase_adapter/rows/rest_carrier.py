"""Carries rows through both sides' data APIs, for who has no database URL. Less exact than ``sql_carrier``:

triggers and foreign keys run at the target as well, so what they change there is told as a difference, and there is no
lock that other processes see. Instead the source is read once more after the target was written, and carried again if it
changed meanwhile: whoever writes the target last has then seen the source's last state.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from isobase_adapter.contracts import Carried, Conflict, Fence
from isobase_adapter.rows.keys import KeyNotGiven, canonical
from isobase_adapter.rows.rest_side import KEYS_PER_REQUEST, RestRefused, RestSide, Row
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["NeedsDatabase", "RestPair", "RestRowCarrier"]

MAX_ROUNDS = 6
logger = logging.getLogger("isobase.migration.rows")

Told = Callable[[Thing, tuple[str, ...]], None]
"""Told of a row that the target's triggers made otherwise than it was carried, and in which columns."""


class NeedsDatabase(RuntimeError):
    """This can be carried by SQL alone: set both sides' database URLs."""


@dataclass(slots=True, frozen=True)
class RestPair:
    """One table as both APIs describe it."""

    supabase: Table
    isobase: Table

    @property
    def names(self) -> Table:
        """The table whose key names rows: Supabase's, or Isobase's where Supabase tells of none."""
        return self.supabase if self.supabase.key else self.isobase

    @property
    def columns(self) -> list[str]:
        """The columns that both sides have."""
        theirs = {column.name for column in self.isobase.columns}
        return [column.name for column in self.supabase.columns if column.name in theirs]


class RestRowCarrier:
    """Carries ``ROW`` and ``TABLE`` things between two data APIs; a ``Carrier``.

    on_difference: called for rows that triggers of the target made otherwise; they are logged in any case.
    """

    def __init__(self, supabase: RestSide, isobase: RestSide, on_difference: Told | None = None) -> None:
        self._sides = {Side.SUPABASE: supabase, Side.ISOBASE: isobase}
        self._told = on_difference
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def pair(self, resource: str) -> RestPair:
        """Give a table at both sides. Raises ``UnknownTable``, and ``NeedsDatabase`` for one without a primary key."""
        pair = RestPair(
            await self._sides[Side.SUPABASE].table(resource), await self._sides[Side.ISOBASE].table(resource)
        )
        if not pair.names.key:
            raise NeedsDatabase(f"{resource} has no primary key: its rows can be carried by SQL alone")
        return pair

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Make rows at ``target`` what they are at the other side.

        fence: checked just before each write; it is never settled here. Raises ``Conflict``, ``UnknownTable``,
        ``NeedsDatabase``, ``KeyNotGiven``, ``RestRefused`` and httpx's errors; then nothing may be taken for carried.
        """
        changed = 0
        by_resource: dict[str, list[Thing]] = {}
        for thing in things:
            if thing.kind not in (ThingKind.ROW, ThingKind.TABLE):
                raise ValueError(f"no row: {thing.kind} {thing.resource}")
            by_resource.setdefault(thing.resource, []).append(thing)
        for resource, named in sorted(by_resource.items()):
            pair = await self.pair(resource)
            if any(thing.is_whole for thing in named):
                changed += await self._sweep(pair, target, fence)
                continue
            rows = {canonical(pair.names, thing): thing for thing in named}
            digests = {row: expected[thing] for row, thing in rows.items() if expected and thing in expected}
            changed += await self._carry_rows(pair, list(rows), target, fence, digests)
        return Carried(changed)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read rows as they are at ``side``: each column's text (None: the row is not there), and a hash of them."""
        found: dict[Thing, tuple[Any, str]] = {}
        for thing in things:
            if thing.kind is ThingKind.ROW:
                pair = await self.pair(thing.resource)
                row = (await self._rows(pair, [canonical(pair.names, thing)], side)).get(canonical(pair.names, thing))
                found[thing] = (None if row is None else dict(row), self._digest(pair, row))
        return found

    async def _carry_rows(
        self,
        pair: RestPair,
        things: Sequence[Thing],
        target: Side,
        fence: Fence | None,
        expected: Mapping[Thing, str],
    ) -> int:
        changed = 0
        for start in range(0, len(things), KEYS_PER_REQUEST):
            batch = sorted(things[start : start + KEYS_PER_REQUEST], key=lambda thing: thing.lock_number)
            locks = [self._locks.setdefault(thing.lock_number, asyncio.Lock()) for thing in batch]
            taken: list[asyncio.Lock] = []
            try:
                for lock in locks:
                    await lock.acquire()
                    taken.append(lock)
                changed += await self._carry_batch(pair, batch, target, fence, expected)
            finally:
                for lock in taken:
                    lock.release()
        return changed

    async def _carry_batch(
        self,
        pair: RestPair,
        things: list[Thing],
        target: Side,
        fence: Fence | None,
        expected: Mapping[Thing, str],
    ) -> int:
        changed = 0
        mine = await self._rows(pair, things, target.other)
        theirs = await self._rows(pair, things, target)
        for thing, digest in expected.items():
            ours, other = mine.get(thing), theirs.get(thing)
            if thing in things and not self._is_same(pair, ours, other) and self._digest(pair, other) != digest:
                raise Conflict(thing, source=ours and dict(ours), target=other and dict(other))
        for _ in range(MAX_ROUNDS):
            gone = [thing for thing in things if thing not in mine and thing in theirs]
            new = [
                thing for thing in things if thing in mine and not self._is_same(pair, mine[thing], theirs.get(thing))
            ]
            if gone or new:
                if fence is not None:
                    await fence.check(None)
                changed += await self._write(pair, target, gone, {thing: mine[thing] for thing in new}, theirs)
            again = await self._rows(pair, things, target.other)
            if all(self._is_same(pair, mine.get(thing), again.get(thing)) for thing in things):
                return changed
            mine, things = again, [t for t in things if not self._is_same(pair, mine.get(t), again.get(t))]
            theirs = await self._rows(pair, things, target)
        raise RestRefused(target.other, 0, "busy", f"rows of {pair.supabase.resource} keep changing")

    async def _write(
        self,
        pair: RestPair,
        target: Side,
        gone: list[Thing],
        rows: Mapping[Thing, Row],
        theirs: Mapping[Thing, Row],
    ) -> int:
        side, table = self._sides[target], self._keyed(pair, target)
        changed = await side.delete(table, [thing.key for thing in gone]) if gone else 0
        if not rows:
            return changed
        after = self._by_thing(pair, await side.upsert(table, list(rows.values()), pair.columns))
        for thing, row in rows.items():
            was, now = theirs.get(thing), after.get(thing)
            changed += was is None or now is None or not self._is_same(pair, was, now)
            names = self._compared(pair)
            differing = tuple(name for name in names if now is None or now[name] != row[name])
            if differing:
                logger.warning(
                    "the target made a row otherwise than it was carried",
                    extra={"table": table.resource, "side": str(target), "columns": ", ".join(differing)},
                )
                if self._told is not None:
                    self._told(thing, differing)
        return changed

    async def differing(self, resource: str, writer: Side) -> tuple[int, int]:
        """Compare a table as ``writer`` has it with the other side; gives how many rows it has, and how many differ."""
        pair = await self.pair(resource)
        seen = differing = 0
        async for rows, things in self._differences(pair, writer.other):
            seen, differing = seen + rows, differing + len(things)
        return seen, differing

    async def _sweep(self, pair: RestPair, target: Side, fence: Fence | None) -> int:
        changed = 0
        async for _, things in self._differences(pair, target):
            if things:
                changed += await self._carry_rows(pair, things, target, fence, {})
        return changed

    async def _differences(self, pair: RestPair, target: Side) -> AsyncIterator[tuple[int, list[Thing]]]:
        """Go through the source's rows, then through the target's for those that the source has not.

        Gives, page by page, how many rows of the source were read, and what differs.
        """
        for side in (target.other, target):
            after: list[str] | None = None
            while rows := await self._sides[side].page(self._keyed(pair, side), self._read_columns(pair), after):
                here = self._by_thing(pair, rows)
                there = await self._rows(pair, list(here), side.other)
                differing = [
                    thing
                    for thing, row in here.items()
                    if thing not in there or (side is target.other and not self._is_same(pair, row, there[thing]))
                ]
                yield len(rows) if side is target.other else 0, differing
                after = [str(rows[-1][name]) for name in pair.names.key]

    async def _rows(self, pair: RestPair, things: Sequence[Thing], side: Side) -> dict[Thing, Row]:
        if not things:
            return {}
        keys = [thing.key for thing in things]
        return self._by_thing(
            pair, await self._sides[side].read(self._keyed(pair, side), self._read_columns(pair), keys)
        )

    def _by_thing(self, pair: RestPair, rows: Sequence[Row]) -> dict[Thing, Row]:
        found: dict[Thing, Row] = {}
        for row in rows:
            key = tuple(row[name] for name in pair.names.key)
            if None in key:
                raise KeyNotGiven(pair.supabase.resource)
            found[canonical(pair.names, Thing(ThingKind.ROW, pair.supabase.resource, key))] = row
        return found

    def _keyed(self, pair: RestPair, side: Side) -> Table:
        table = pair.supabase if side is Side.SUPABASE else pair.isobase
        return Table(table.schema, table.name, table.columns, pair.names.key)

    def _read_columns(self, pair: RestPair) -> list[str]:
        return pair.columns

    def _compared(self, pair: RestPair) -> list[str]:
        computed = {name for side in self._sides.values() for name in side.computed(pair.supabase.resource)}
        return [name for name in pair.columns if name not in computed]

    def _is_same(self, pair: RestPair, one: Row | None, other: Row | None) -> bool:
        if one is None or other is None:
            return one is other
        return all(one[name] == other[name] for name in self._compared(pair))

    def _digest(self, pair: RestPair, row: Row | None) -> str:
        text = "-" if row is None else json.dumps([row[name] for name in sorted(self._compared(pair))])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

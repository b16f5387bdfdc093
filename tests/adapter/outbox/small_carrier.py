"""A carrier of rows with one key column, small enough to be seen to follow the contract; and two sides to carry between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from isobase_adapter.contracts import Carried, Conflict, Fence
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

MAKE = "create table public.orders (id bigserial primary key, state text not null default 'new')"


@dataclass(slots=True)
class SmallCarrier:
    """Carries ``public.orders``. ``fails``: raised instead of carrying, once for each."""

    supabase: asyncpg.Pool[asyncpg.Record]
    isobase: asyncpg.Pool[asyncpg.Record]
    fails: list[Exception] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def pool(self, side: Side) -> asyncpg.Pool[asyncpg.Record]:
        return self.supabase if side is Side.SUPABASE else self.isobase

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        self.calls.append(len(things))
        if self.fails:
            raise self.fails.pop(0)
        changed, has_settled = 0, False
        async with self.pool(target).acquire() as writing, writing.transaction():
            if fence is not None:
                await writing.execute("select pg_advisory_xact_lock_shared($1)", fence.lock_number)
            for number in sorted(thing.lock_number for thing in things):
                await writing.execute("select pg_advisory_xact_lock($1)", number)
            if fence is not None:
                has_settled = await fence.check(writing)
            for key in await self._keys(things):
                source = await self._row(self.pool(target.other), key)
                there = await self._row(writing, key)
                thing = Thing(ThingKind.ROW, "public.orders", (key,))
                if expected and thing in expected and source != there and _hash(there) != expected[thing]:
                    raise Conflict(thing, source=source, target=there)
                if source == there:
                    continue
                changed += 1
                await writing.execute("delete from public.orders where id = $1", key)
                if source is not None:
                    await writing.execute(
                        "insert into public.orders select * from jsonb_populate_record(null::public.orders, $1::text::jsonb)",
                        json.dumps(source),
                    )
        return Carried(changed, has_settled)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        rows = {thing: await self._row(self.pool(side), thing.key[0]) for thing in things if not thing.is_whole}
        return {thing: (row, _hash(row)) for thing, row in rows.items()}

    async def _keys(self, things: Sequence[Thing]) -> list[int]:
        keys = {thing.key[0] for thing in things if not thing.is_whole}
        if any(thing.is_whole for thing in things):
            for pool in (self.supabase, self.isobase):
                keys |= {row["id"] for row in await pool.fetch("select id from public.orders")}
        return sorted(keys)

    async def _row(self, reader: Any, key: int) -> Any:
        text = await reader.fetchval("select to_jsonb(o)::text from public.orders as o where id = $1", key)
        return None if text is None else json.loads(text)


def _hash(row: Any) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


async def rows_of(pool: asyncpg.Pool[asyncpg.Record]) -> dict[int, str]:
    return {row["id"]: row["state"] for row in await pool.fetch("select id, state from public.orders")}

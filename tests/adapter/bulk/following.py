"""A sync of the two databases, as the tests of following drive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg

from isobase_adapter.bulk.capture import drop_capture
from isobase_adapter.bulk.connections import Connection, connect
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.contracts import Fence
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

if TYPE_CHECKING:
    from tests.adapter.bulk.conftest import Two

__all__ = ["Following", "assert_equal", "content", "set_writer", "syncing"]

FILL = """
insert into public.authors (name) select 'author ' || n from generate_series(1, 20) as n;
insert into public.notes (author_id, body) select n % 20 + 1, 'note ' || n from generate_series(1, 200) as n;
insert into shop.pairs select gen_random_uuid(), 'b' || n, now(), n from generate_series(1, 50) as n;
insert into public.events select n, '2025-12-01'::date + n, 'k' from generate_series(1, 60) as n;
"""
TABLES = ("public.authors", "public.notes", "shop.pairs", "public.events")


class Sweeping:
    """The carrier of rows; a whole table is carried by all its keys."""

    def __init__(self, databases: Mapping[Side, SideDatabase]) -> None:
        self._rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
        self._databases = databases
        self.swept: list[str] = []
        self.carried = 0
        self.held: tuple[str, asyncio.Event] | None = None
        """A table that is not carried before the event."""

    async def carry(self, things: Sequence[Thing], target: Side, *, fence: Fence | None = None) -> Any:
        rows = [thing for thing in things if thing.kind is ThingKind.ROW]
        for thing in things:
            if thing.kind is ThingKind.TABLE:
                self.swept.append(thing.resource)
                if self.held is not None and self.held[0] == thing.resource:
                    await self.held[1].wait()
                table = await self._databases[target].catalog.table(thing.resource)
                keys = ", ".join(f'"{name}"::text' for name in table.key)
                for side in Side if table.key else ():
                    found = await self._databases[side].fetch(f"select {keys} from {thing.resource}")
                    rows += [Thing(ThingKind.ROW, thing.resource, tuple(row)) for row in found]
        self.carried += len(rows)
        for number in range(0, len(rows), 200):
            await self._rows.carry(rows[number : number + 200], target, fence=fence)

    async def fingerprints(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, str | None]:
        return await self._rows.fingerprints(things, side)


class Following:
    """A ``Sync`` of the two databases."""

    def __init__(self, two: Two, databases: Mapping[Side, SideDatabase], outbox: PostgresOutbox) -> None:
        self.two = two
        self.outbox = outbox
        self.away = set[Side]()
        self.carrier = Sweeping(databases)
        self.databases = databases

    def sync(self, progress: Progress = NO_PROGRESS) -> Sync:
        async def connected(side: Side) -> Connection:
            if side in self.away:
                raise ConnectionRefusedError
            return await connect(self.two.dsns[side], "sync")

        fence_of = self.outbox.writer_fence
        return Sync(self.databases, self.carrier, self.two.target, connected, progress=progress, fence_of=fence_of)

    async def catch_up(self) -> Sync:
        sync = self.sync()
        await sync.run(until_caught_up=True)
        return sync


@asynccontextmanager
async def syncing(two: Two) -> AsyncIterator[Following]:
    """Fill one of the databases and let the other follow; takes away what was made for it."""
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.source.execute(FILL)
    databases = {side: SideDatabase(side, dsn) for side, dsn in two.dsns.items()}
    pool = await asyncpg.create_pool(two.dsns[Side.ISOBASE], min_size=0, max_size=4)
    try:
        yield Following(two, databases, PostgresOutbox(pool, uuid4()))
    finally:
        pool.terminate()
        for database in databases.values():
            await database.close()
        for connection in (two.source, two.target):
            await drop_capture(connection)


async def content(connection: Connection, table: str) -> list[str]:
    return [row["t"] for row in await connection.fetch(f"select t::text as t from {table} as t order by 1")]


async def assert_equal(two: Two) -> None:
    for table in TABLES:
        assert await content(two.target, table) == await content(two.source, table), table


async def set_writer(two: Two, side: Side) -> None:
    await two.target.execute(
        "insert into isobase.writers (pattern, side, epoch) values ('*', $1, 1)"
        " on conflict (pattern) do update set side = excluded.side, epoch = isobase.writers.epoch + 1",
        str(side),
    )

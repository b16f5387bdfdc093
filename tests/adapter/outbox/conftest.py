"""An outbox in a fresh database, and a second one that stands for the Supabase side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import pytest

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import CallRecord, Intent
from isobase_adapter.outbox.entries import OutboxLimits
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from isobase_platform.config import Settings
from tests.adapter.outbox.small_carrier import MAKE, SmallCarrier
from tests.plugins.stack import DatabaseServer, fresh_database

ORDERS = Capability(Kind.TABLE, "public.orders")
TABLE = Thing(ThingKind.TABLE, "public.orders")
CALL = CallRecord("POST", "/rest/v1/orders", {"columns": ["id", "state"]})
LIMITS = OutboxLimits(first_delay_s=0.01, longest_delay_s=0.02, attempts=3)


def row(*key: object) -> Thing:
    return Thing(ThingKind.ROW, "public.orders", key)


def dsn_of(database: Settings) -> str:
    assert database.database.url is not None
    return database.database.url.get_secret_value().replace("supabase_admin:", "postgres:", 1)


@dataclass(slots=True)
class Box:
    """An outbox, and a look behind it."""

    outbox: PostgresOutbox
    pool: asyncpg.Pool[asyncpg.Record]

    async def begin(self, *things: Thing, target: Side = Side.ISOBASE, epoch: int = 0, **more: object) -> Intent:
        return await self.outbox.begin(
            ORDERS,
            target=target,
            epoch=epoch,
            call=CALL,
            things=things or (TABLE,),
            **more,  # type: ignore[arg-type]
        )

    async def entries(self) -> list[tuple[str, str, str]]:
        """State, target and key of everything."""
        rows = await self.pool.fetch(
            "select state, target, coalesce(thing ->> 'key', things::text) as key from isobase.outbox order by id"
        )
        return [(entry["state"], entry["target"], entry["key"]) for entry in rows]

    async def set_writer(self, side: Side, epoch: int, handing_over_to: Side | None = None) -> None:
        await self.pool.execute(
            "insert into isobase.writers (pattern, side, epoch, handing_over_to) values ('table:public.orders', $1, $2, $3)"
            " on conflict (pattern) do update set side = $1, epoch = $2, handing_over_to = $3",
            side,
            epoch,
            handing_over_to,
        )


CLEAN = "drop schema if exists isobase_move cascade; drop table if exists public.orders;" + "".join(
    f"delete from isobase.{table};"
    for table in ("outbox", "writers", "flags", "flag_history", "migration_clients", "migration_events")
)


@pytest.fixture(scope="package")
def two_databases(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of a database that stands for Supabase's, and of one that holds the outbox."""
    folder = tmp_path_factory.mktemp("outbox")
    with fresh_database(postgres, folder) as supabase, fresh_database(postgres, folder) as isobase:
        yield dsn_of(supabase), dsn_of(isobase)


@pytest.fixture
async def box(two_databases: tuple[str, str]) -> AsyncIterator[Box]:
    async with asyncpg.create_pool(two_databases[1], min_size=1, max_size=8) as pool:
        await pool.execute(CLEAN)
        yield Box(PostgresOutbox(pool, uuid4(), LIMITS), pool)


@dataclass(slots=True)
class TwoSides:
    """Both sides' databases; the second holds the outbox."""

    supabase_dsn: str
    isobase_dsn: str
    supabase: asyncpg.Pool[asyncpg.Record]
    isobase: asyncpg.Pool[asyncpg.Record]
    box: Box
    carrier: SmallCarrier


@pytest.fixture
async def sides(two_databases: tuple[str, str]) -> AsyncIterator[TwoSides]:
    async with AsyncExitStack() as ends:
        supabase, isobase = [
            await ends.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=8)) for dsn in two_databases
        ]
        for pool in (supabase, isobase):
            await pool.execute(CLEAN + MAKE)
        box = Box(PostgresOutbox(isobase, uuid4(), LIMITS), isobase)
        yield TwoSides(*two_databases, supabase, isobase, box, SmallCarrier(supabase, isobase))

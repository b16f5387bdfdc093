"""A drainer as a process of its own, to be killed: ``python -m tests.adapter.app.drain``, told by its environment where."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from isobase_adapter import MigrationSettings
from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Carrier
from isobase_adapter.drainer import Drainer
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.storage.opening import OpenStorage
from isobase_adapter.things import ThingKind

__all__ = ["carrying", "drainer_of"]


@asynccontextmanager
async def carrying(environment: Mapping[str, str]) -> AsyncIterator[tuple[RowCarrier, Carriers]]:
    """What carries rows, users and objects between the two sides that ``environment`` names."""
    settings = MigrationSettings.from_environment(environment)
    databases = {side: SideDatabase(side, environment[f"{side.name}_DB_URL"]) for side in Side}
    rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
    users = UserCarrier(databases)
    async with OpenStorage(environment["SUPABASE_URL"], settings) as storage:
        kinds: dict[ThingKind, Carrier] = dict.fromkeys((ThingKind.ROW, ThingKind.TABLE), rows)
        kinds |= dict.fromkeys((ThingKind.USER, ThingKind.USERS), users)
        kinds |= dict.fromkeys((ThingKind.OBJECT, ThingKind.OBJECTS, ThingKind.BUCKET), storage.carrier)
        try:
            yield rows, Carriers(kinds)
        finally:
            for database in databases.values():
                await database.close()


@asynccontextmanager
async def drainer_of(environment: Mapping[str, str]) -> AsyncIterator[Drainer]:
    """A drainer of the two sides' outbox."""
    async with (
        asyncpg.create_pool(environment["ISOBASE_DB_URL"], min_size=0, max_size=4) as pool,
        carrying(environment) as (_, carriers),
    ):
        yield Drainer(PostgresOutbox(pool, uuid.uuid4()), carriers)


async def _run() -> None:
    async with drainer_of(os.environ) as drainer:
        await drainer.run()


if __name__ == "__main__":
    asyncio.run(_run())

"""What the commands of a move work with: both databases and the carriers of rows, users and objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg
import httpx

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.bulk.connections import check_sides
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.store import Store

__all__ = ["Api", "Parts", "opened_parts"]

STATEMENT_TIMEOUT_S = 3600.0
"""Comparing a large table is one statement for each of its ranges."""
HTTP_TIMEOUT_S = 60.0


@dataclass(slots=True, frozen=True)
class Api:
    """One side's API. ``key``: a service-role or secret key."""

    url: str
    key: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Parts:
    """Both sides, and what carries between them. ``objects``: None where an API or its key is not known."""

    dsns: Mapping[Side, str]
    databases: Mapping[Side, SideDatabase]
    rows: RowCarrier
    users: UserCarrier
    objects: ObjectCarrier | None
    stores: Mapping[Side, Store]
    outbox: PostgresOutbox
    """For fences: nothing is carried past a writer that moved."""
    apis: Mapping[Side, Api] = field(default_factory=dict)
    """Both, or none."""


@asynccontextmanager
async def opened_parts(dsns: Mapping[Side, str], apis: Mapping[Side, Api]) -> AsyncIterator[Parts]:
    """Open what the commands need; everything is closed with the block. Raises what ``check_sides`` raises."""
    await check_sides(dsns)
    async with AsyncExitStack() as opened:
        databases: dict[Side, SideDatabase] = {}
        for side in Side:
            databases[side] = SideDatabase(side, dsns[side], statement_timeout_s=STATEMENT_TIMEOUT_S)
            opened.push_async_callback(databases[side].close)
        stores: dict[Side, Store] = {}
        if len(apis) == len(Side):
            http = await opened.enter_async_context(httpx.AsyncClient(timeout=HTTP_TIMEOUT_S))
            for side in Side:
                pool = await asyncpg.create_pool(dsns[side], min_size=0, max_size=8, statement_cache_size=0)
                opened.callback(pool.terminate)
                stores[side] = Store(side, http, apis[side].url, apis[side].key, pool)
        objects = ObjectCarrier(stores[Side.SUPABASE], stores[Side.ISOBASE]) if stores else None
        rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
        control = await asyncpg.create_pool(dsns[Side.ISOBASE], min_size=0, max_size=4)
        opened.callback(control.terminate)
        # No client: it lets no write in, and registers nowhere.
        outbox = PostgresOutbox(control, uuid4())
        yield Parts(
            dsns, databases, rows, UserCarrier(databases, rows), objects, stores, outbox, apis if stores else {}
        )

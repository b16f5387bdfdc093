"""One lost connection to the outbox is no outage: no call fails, and no writer moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, set_stage, settings_of
from tests.adapter.pair import Pair

ADMISSION = "select pg_advisory_lock(29681794783736677)"
INTENT = "select from isobase.outbox where state = 'intent' for update"
END_THE_WAITING = """
select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
"""


@pytest.fixture
async def client(clean_pair: Pair, tmp_path: Path) -> AsyncIterator[Any]:
    set_stage(clean_pair, "table:public.*", Stage.LIVE)
    made = await create_async_migration_client(
        clean_pair.supabase.url,
        clean_pair.supabase.service_role_key,
        migration=settings_of(clean_pair, spool_dir=tmp_path),
    )
    await made.table("kinds").insert({"id": 1, "price": 1}).execute()
    yield made
    await made.migration.aclose()


def end_one_that_waits(pair: Pair) -> None:
    deadline = time.monotonic() + WAIT_S
    while not pair.isobase.query(END_THE_WAITING):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_connection_that_is_lost_while_a_write_is_let_in(client: Any, clean_pair: Pair) -> None:
    with closing(psycopg2.connect(clean_pair.isobase.admin_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(ADMISSION)
        writing = asyncio.create_task(client.table("kinds").update({"price": 2}).eq("id", 1).execute())
        await asyncio.to_thread(end_one_that_waits, clean_pair)
    await writing
    assert client.migration.answered.side is Side.ISOBASE
    assert clean_pair.isobase.query("select side, epoch from isobase.writers") == [("isobase", 0)]
    assert [side.rows("public.kinds")[0]["price"] for side in (clean_pair.supabase, clean_pair.isobase)] == [2, 2]


async def test_a_connection_that_is_lost_while_a_write_is_settled(client: Any, clean_pair: Pair) -> None:
    with (
        closing(psycopg2.connect(clean_pair.supabase.admin_dsn)) as holding,
        holding.cursor() as held,
        closing(psycopg2.connect(clean_pair.isobase.admin_dsn)) as connection,
        connection.cursor() as cursor,
    ):
        held.execute("select from public.kinds where id = 1 for update")  # it is carried when this has been let go
        writing = asyncio.create_task(client.table("kinds").update({"price": 2}).eq("id", 1).execute())
        while cursor.rowcount != 1:
            cursor.execute(INTENT)
            await asyncio.sleep(0.02)
        holding.rollback()
        await asyncio.to_thread(end_one_that_waits, clean_pair)
        connection.rollback()
    await writing
    assert [side.rows("public.kinds")[0]["price"] for side in (clean_pair.supabase, clean_pair.isobase)] == [2, 2]
    assert (await client.migration.drain(WAIT_S)).waiting == 0

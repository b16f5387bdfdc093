"""Calls whose callers leave in the middle: they end as the official client's do, and nothing is lost or held up."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from isobase_adapter import create_async_migration_client, create_migration_client
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, set_stage, settings_of
from tests.adapter.pair import Pair


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises, which it does not where the suite itself was begun in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def locked_kind(pair: Pair, key: int) -> Iterator[None]:
    """Have writes of this row wait at Supabase."""
    with closing(psycopg2.connect(pair.supabase.admin_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select from public.kinds where id = %s for update", [key])
        yield


def entries(pair: Pair) -> list[tuple[Any, ...]]:
    return pair.isobase.query("select state, target, thing -> 'key' -> 0 from isobase.outbox order by id")


def wait_for(pair: Pair, expected: list[tuple[Any, ...]]) -> None:
    deadline = time.monotonic() + WAIT_S
    while (found := entries(pair)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def end_leases(pair: Pair) -> None:
    pair.isobase.query("update isobase.outbox set lease_until = now() where state = 'intent' returning 1")


def wait_for_price(pair: Pair, price: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while [row["price"] for row in pair.supabase.rows("public.kinds")] != [price]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_cancelled_write_keeps_its_intent_for_as_long_as_its_lease(clean_pair: Pair) -> None:
    set_stage(clean_pair, "table:public.*", Stage.DUAL_WRITE)
    client = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    try:
        await client.table("kinds").insert({"id": 1, "price": 1}).execute()
        with locked_kind(clean_pair, 1):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.table("kinds").update({"price": 2}).eq("id", 1).execute()
            await asyncio.to_thread(wait_for, clean_pair, [("intent", "isobase", 1)])
            assert client.migration._core.parts.writing()._open == {}, "the lease of a caller that is gone is extended"
        await asyncio.to_thread(wait_for_price, clean_pair, 2)
        end_leases(clean_pair)
        assert (await client.migration.drain(WAIT_S)).waiting == 0
        assert clean_pair.differing(["public.kinds"]) == {}
    finally:
        await client.migration.aclose()


async def test_writes_that_are_cancelled_at_any_moment_leave_both_sides_equal(clean_pair: Pair) -> None:
    set_stage(clean_pair, "table:public.*", Stage.RAMP_DOWN)
    client = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    chance = random.Random(8)
    try:
        await client.table("kinds").insert({"id": 0, "price": 0}).execute()
        began = time.monotonic()
        await client.table("kinds").update({"price": 1}).eq("id", 0).execute()
        usual_s = time.monotonic() - began
        ended = 0
        for number in range(1, 60):
            began = time.monotonic()
            try:
                async with asyncio.timeout(chance.uniform(0, 1.5 * usual_s)):
                    await client.table("kinds").upsert({"id": number % 7, "price": number}).execute()
            except TimeoutError:
                usual_s *= 1.1  # a machine that is busier now lets some end, too
            else:
                ended += 1
                usual_s = time.monotonic() - began
        writing = client.migration._core.parts.writing()
        async with asyncio.timeout(WAIT_S):
            while writing._open or writing._ending:  # else its lease would be extended although nobody waits for it
                await asyncio.sleep(0.05)
        assert 0 < ended < 59
        end_leases(clean_pair)
        assert (await client.migration.drain(WAIT_S)).waiting == 0
        assert clean_pair.differing(["public.kinds"]) == {}
    finally:
        await client.migration.aclose()


def test_an_interrupted_write_of_a_sync_client_ends_at_once(clean_pair: Pair, interrupts: None) -> None:
    set_stage(clean_pair, "table:public.*", Stage.DUAL_WRITE)
    client = create_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    try:
        client.table("kinds").insert({"id": 1, "price": 1}).execute()
        with locked_kind(clean_pair, 1):
            main = threading.get_ident()
            interrupting = threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT])
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                client.table("kinds").update({"price": 2}).eq("id", 1).execute()
            interrupting.join()
            wait_for(clean_pair, [("intent", "isobase", 1)])
        wait_for_price(clean_pair, 2)
        end_leases(clean_pair)
        assert client.migration.drain(WAIT_S).waiting == 0
        assert clean_pair.differing(["public.kinds"]) == {}
    finally:
        client.migration.close()

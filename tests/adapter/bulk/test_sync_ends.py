"""What ends a sync, or what it needs, and how it goes on."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from isobase_adapter.bulk.capture import PUBLICATION, drop_capture, read_slot, slot_name
from isobase_adapter.bulk.connections import Connection, connect
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.polling import Polling
from isobase_adapter.bulk.progress import Silent
from isobase_adapter.bulk.sync_book import SyncBook, only_one
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two
from tests.adapter.bulk.following import Following, assert_equal, content
from tests.plugins.wire_proxy import wire_proxy


class Said(Silent):
    """A ``Progress`` that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    async def heard(self, text: str) -> None:
        async with asyncio.timeout(90):
            while not any(text in line for line in self.lines):
                await asyncio.sleep(0.05)


async def end_backends(connection: Connection, application: str) -> None:
    """End the server's ends of connections, and wait until they are gone."""
    there = "from pg_stat_activity where datname = current_database() and application_name = $1"
    await connection.execute(f"select pg_terminate_backend(pid) {there}", application)
    async with asyncio.timeout(90):
        while await connection.fetchval(f"select count(*) {there}", application):
            await asyncio.sleep(0.02)


async def test_a_sync_that_is_ended_anywhere_goes_on(following: Following) -> None:
    two = following.two
    await following.catch_up()
    for number in range(4):
        await two.source.execute(f"update public.notes set body = 'round {number}'")
        running = asyncio.create_task(following.sync().run())
        await asyncio.sleep(0.05 + 0.1 * number)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    await following.catch_up()
    await assert_equal(two)


async def test_a_first_comparison_that_was_ended_is_gone_on_with_table_by_table(following: Following) -> None:
    two = following.two
    gate = asyncio.Event()
    following.carrier.held = ("public.notes", gate)
    running = asyncio.create_task(following.sync().run())
    async with asyncio.timeout(90):
        while "public.notes" not in following.carrier.swept:
            await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # The slot is there by now; that nothing of before was compared is not forgotten.
    assert await read_slot(two.source) is not None
    assert await two.target.fetchval("select count(*) from public.notes") == 0
    following.carrier.held = None
    following.carrier.swept.clear()
    await following.catch_up()
    await assert_equal(two)
    assert "public.authors" not in following.carrier.swept
    assert "public.notes" in following.carrier.swept
    following.carrier.swept.clear()
    await following.catch_up()
    assert following.carrier.swept == []


async def test_only_one_sync_runs_and_its_state_is_kept(following: Following) -> None:
    two = following.two
    await only_one(two.target)
    other = await connect(two.dsns[Side.ISOBASE], "test")
    try:
        with pytest.raises(Refused, match="runs already"):
            await only_one(other)
    finally:
        await other.close()
    await following.catch_up()
    state = json.loads(
        await two.target.fetchval(
            "select state::text from isobase.migration_jobs where job = 'sync' and part = 'state'"
        )
    )
    assert state["sides"]["supabase"]["wal_status"] == "reserved"


async def test_connections_that_the_servers_end_are_made_again_and_the_state_says_why_not_yet(
    following: Following,
) -> None:
    two = following.two
    await following.catch_up()
    control = await connect(two.dsns[Side.ISOBASE], "test control")
    following.two = Two(two.dsns, two.source, control)
    sync = following.sync()
    running = asyncio.create_task(sync.run())

    async def is_carried(body: str) -> None:
        await two.source.execute("update public.notes set body = $1 where id = 9", body)
        async with asyncio.timeout(90):
            while await two.target.fetchval("select body from public.notes where id = 9") != body:
                await asyncio.sleep(0.1)

    try:
        await is_carried("before the cut")  # it follows by now
        following.away.add(Side.SUPABASE)
        for connection in (two.source, two.target):
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
                " and application_name in ('isobase migrate sync', 'isobase migrate test control', 'isobase-migration')"
            )
        async with asyncio.timeout(90):
            state = "{}"
            while not (json.loads(state).get("sides") or {}).get("supabase", {}).get("error"):
                await asyncio.sleep(0.1)
                state = await two.target.fetchval(
                    "select state::text from isobase.migration_jobs where job = 'sync' and part = 'state'"
                )
        following.away.clear()
        await is_carried("after the cut")
        assert not running.done()
    finally:
        sync.stop()
        await running
        await control.close()


@pytest.mark.parametrize("method", ["log", "polling"])
async def test_what_is_lost_while_a_sync_begins_is_waited_for_and_said(following: Following, method: str) -> None:
    two = following.two
    control = await connect(two.dsns[Side.ISOBASE], "test control")
    following.two = Two(two.dsns, two.source, control)
    await only_one(control)
    following.away.add(Side.SUPABASE)
    said = Said()
    sync = following.sync(said)

    async def look() -> None:
        if method == "log":
            await sync.run()
        else:
            await Polling(sync, following.databases, poll_s=0.1).run()

    # What holds the control store is ended by the server before anything is done, the first time it is asked.
    await end_backends(two.target, "isobase migrate test control")
    running = asyncio.create_task(look())
    try:
        if method == "log":
            await said.heard("A side is away, waiting for it")
        following.away.clear()
        async with asyncio.timeout(90):
            while await content(two.target, "public.notes") != await content(two.source, "public.notes"):
                await asyncio.sleep(0.1)
        assert not running.done()
        with pytest.raises(Refused, match="runs already"):
            await only_one(two.target)
    finally:
        sync.stop()
        await running
        await control.close()


async def test_the_lock_of_a_lost_connection_that_the_server_still_has_is_taken_back(following: Following) -> None:
    two = following.two
    other = await connect(two.dsns[Side.ISOBASE], "test")
    book = SyncBook(other, lambda side: connect(two.dsns[side], "sync"))
    try:
        with wire_proxy(two.dsns[Side.ISOBASE]) as proxy:
            place = two.dsns[Side.ISOBASE].rpartition("@")
            through = f"{place[0]}@{proxy.url.removeprefix('http://')}/{place[2].partition('/')[2]}"
            lost = await connect(through, "sync")
            await only_one(lost)
            book = SyncBook(lost, lambda side: connect(two.dsns[side], "sync"))
            # The server hears nothing of this end's.
            proxy.is_silent = True
            lost.terminate()
            with pytest.raises(Refused):
                await only_one(other)
            await book.open_again()
            await book.reload_writers()
            with pytest.raises(Refused):
                await only_one(other)
    finally:
        await book.close()
        await other.close()


async def test_a_slot_that_is_gone_is_made_again_and_everything_compared(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await two.source.execute("select pg_drop_replication_slot($1)", await slot_name(two.source))
    await two.source.execute("update public.notes set body = 'not in any log' where id = 8")
    await following.catch_up()
    await assert_equal(two)
    slot = await read_slot(two.source)
    assert slot is not None
    assert not slot.is_lost


async def test_what_was_made_for_following_is_taken_away(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await drop_capture(two.source)
    assert await read_slot(two.source) is None
    assert not await two.source.fetchval("select exists (select from pg_publication where pubname = $1)", PUBLICATION)
    with pytest.raises(asyncpg.UndefinedObjectError):
        await two.source.execute("select pg_drop_replication_slot($1)", await slot_name(two.source))

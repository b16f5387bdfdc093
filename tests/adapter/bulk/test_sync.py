"""Rows follow the side that is written first, whoever writes, and others' writes are told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from isobase_adapter.bulk.capture import PUBLICATION, drop_capture, read_slot, slot_name
from isobase_adapter.bulk.connections import Connection, connect
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.polling import Polling
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.bulk.sync_book import SyncBook, only_one
from isobase_adapter.contracts import Fence
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.bulk.conftest import Two
from tests.plugins.wire_proxy import wire_proxy

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


class Said:
    """A ``Progress`` that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, part: str, total: int, unit: str) -> None:
        pass

    def advance(self, part: str, amount: int) -> None:
        pass

    def end(self, part: str, text: str) -> None:
        pass

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


class Following:
    """A ``Sync`` of the two databases."""

    def __init__(self, two: Two, databases: Mapping[Side, SideDatabase], outbox: PostgresOutbox) -> None:
        self.two = two
        self.outbox = outbox
        self.away = set[Side]()
        self.carrier = Sweeping(databases)
        self._databases = databases

    @property
    def databases(self) -> Mapping[Side, SideDatabase]:
        return self._databases

    def sync(self, progress: Progress = NO_PROGRESS) -> Sync:
        async def connected(side: Side) -> Connection:
            if side in self.away:
                raise ConnectionRefusedError
            return await connect(self.two.dsns[side], "sync")

        fence_of = self.outbox.writer_fence
        return Sync(self._databases, self.carrier, self.two.target, connected, progress=progress, fence_of=fence_of)

    async def catch_up(self) -> Sync:
        sync = self.sync()
        await sync.run(until_caught_up=True)
        return sync


@pytest.fixture
async def following(two: Two) -> AsyncIterator[Following]:
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


async def test_a_sync_that_begins_makes_both_sides_equal_and_then_carries_only_what_changes(
    following: Following,
) -> None:
    two = following.two
    await following.catch_up()
    await assert_equal(two)
    following.carrier.carried = 0
    await two.source.execute(
        """
        update public.notes set body = 'changed', id = 9000 where id = 1;
        delete from public.notes where id = 2;
        insert into public.notes (author_id, body) values (3, 'new');
        update shop.pairs set amount = amount + 1 where b = 'b7';
        update public.events set at = '2026-06-01' where id = 5;
        delete from public.authors where id = 20;
        """
    )
    sync = await following.catch_up()
    await assert_equal(two)
    assert following.carrier.carried < 40
    assert sync.state.sides["supabase"].carried > 5
    assert sync.state.sides["isobase"].strays == 0
    again = await following.catch_up()
    assert [one.carried for one in again.state.sides.values()] == [0, 0]


async def test_a_copy_and_writes_at_the_same_time_end_equal(following: Following) -> None:
    two = following.two
    sync = following.sync()
    assert set(await sync.prepare()) == set(Side)
    writer = await connect(two.dsns[Side.SUPABASE], "test")
    is_over = asyncio.Event()

    async def write() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            await writer.execute(
                f"insert into public.notes (author_id, body) values ({number % 19 + 1}, 'while {number}')"
            )
            await writer.execute(f"delete from public.notes where id = {number}")
            await writer.execute(f"update public.notes set body = 'younger' where id = {200 - number % 100}")

    writing = asyncio.create_task(write())
    report = await copy_tables(two.dsns, range_bytes=4096, parallel=2)
    assert report.is_complete
    is_over.set()
    await writing
    await writer.close()
    followed = await following.catch_up()
    await assert_equal(two)
    # What the copy itself wrote is nobody's write past the adapter.
    assert followed.state.sides["isobase"].strays == 0


async def test_after_the_writer_moved_the_other_direction_goes_on_without_a_gap(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await set_writer(two, Side.ISOBASE)
    await two.target.execute(
        "update public.notes set body = 'at isobase' where id < 50; delete from public.notes where id = 60"
    )
    await two.target.execute("insert into public.notes (id, author_id, body) values (7000, 1, 'there')")
    sync = await following.catch_up()
    await assert_equal(two)
    assert sync.state.sides["isobase"].carried > 40
    assert sync.state.sides["supabase"].strays == 0


async def test_writes_at_the_other_side_are_told_of_and_stay(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await two.target.execute("update public.notes set body = 'past the adapter' where id = 4")
    sync = await following.catch_up()
    assert sync.state.sides["isobase"].strays == 1
    event = await two.target.fetchrow(
        "select capability, detail::text as detail from isobase.migration_events where name = 'write_at_other_side'"
    )
    assert event is not None
    assert event["capability"] == "table:public.notes"
    assert json.loads(event["detail"])["keys"] == [[4]]
    assert await two.target.fetchval("select body from public.notes where id = 4") == "past the adapter"


async def test_an_emptied_table_and_a_large_transaction_are_followed(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_adapter.bulk.following.MAX_KEYS", 100)
    monkeypatch.setattr("isobase_adapter.bulk.following.MAX_KEYS_PER_TABLE", 1000)
    two = following.two
    await following.catch_up()
    following.carrier.swept.clear()
    await two.source.execute("truncate shop.pairs; insert into shop.pairs (a, b) values (gen_random_uuid(), 'one')")
    await two.source.execute("insert into public.notes (author_id) select 1 from generate_series(1, 450)")
    await following.catch_up()
    await assert_equal(two)
    assert "shop.pairs" in following.carrier.swept
    assert "public.notes" not in following.carrier.swept


async def test_a_large_table_that_is_busy_is_not_compared_again_and_again(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_adapter.bulk.following.MAX_KEYS_PER_TABLE", 50)
    two = following.two
    await two.source.execute("insert into public.notes (author_id) select 1 from generate_series(1, 2000)")
    await two.source.execute("analyze public.notes, shop.pairs")
    await following.catch_up()
    following.carrier.swept.clear()
    await two.source.execute("update public.notes set body = 'busy' where id <= 60")
    await two.source.execute(
        "insert into shop.pairs (a, b) select gen_random_uuid(), n::text from generate_series(1, 60) n"
    )
    await following.catch_up()
    await assert_equal(two)
    # Of the small one it is cheaper.
    assert following.carrier.swept == ["shop.pairs"]


async def test_who_writes_without_pause_does_not_keep_a_catching_up_from_its_end(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_adapter.bulk.sync.IDLE_PATIENCE_S", 0.2)
    two = following.two
    await following.catch_up()
    await two.source.execute("update public.notes set body = 'before' where id = 1")
    writer = await connect(two.dsns[Side.SUPABASE], "test")
    is_over = asyncio.Event()

    async def write() -> None:
        while not is_over.is_set():
            await writer.execute("update public.notes set body = body || '.' where id = 2")

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(60):
            await following.catch_up()
        assert await two.target.fetchval("select body from public.notes where id = 1") == "before"
    finally:
        is_over.set()
        await writing
        await writer.close()


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


async def test_tables_that_are_made_later_and_those_without_a_key_are_taken_care_of(following: Following) -> None:
    two = following.two
    await following.catch_up()
    for connection in (two.source, two.target):
        await connection.execute("create table public.later (id int primary key, v text)")
    await two.source.execute("insert into public.later values (1, 'before')")
    following.carrier.swept.clear()
    await following.catch_up()
    assert "public.later" in following.carrier.swept
    await two.source.execute("update public.later set v = 'after'")
    await following.catch_up()
    assert await content(two.target, "public.later") == ["(1,after)"]
    # A table without a key is compared, and never published: its updates would be refused.
    assert "public.keyless" not in following.carrier.swept
    await two.source.execute("create table public.keyless (v text); insert into public.keyless values ('a')")
    await two.target.execute("create table public.keyless (v text)")
    await following.catch_up()
    await two.source.execute("update public.keyless set v = 'b'")
    assert "public.keyless" in following.carrier.swept


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


async def test_what_was_made_for_following_is_taken_away(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await drop_capture(two.source)
    assert await read_slot(two.source) is None
    assert not await two.source.fetchval("select exists (select from pg_publication where pubname = $1)", PUBLICATION)
    with pytest.raises(asyncpg.UndefinedObjectError):
        await two.source.execute("select pg_drop_replication_slot($1)", await slot_name(two.source))


async def test_a_table_that_one_side_alone_has_is_named_and_hinders_nothing(following: Following) -> None:
    two = following.two
    await following.catch_up()
    await two.source.execute("create table public.mine (id int primary key)")
    await following.catch_up()
    await two.source.execute("insert into public.mine values (1); update public.notes set body = 'x' where id = 3")
    sync = await following.catch_up()
    await assert_equal(two)
    assert sync.state.one_sided == ["public.mine"]


async def test_rows_that_were_read_before_the_writer_moved_are_not_carried_after_it(following: Following) -> None:
    two = following.two
    await following.catch_up()
    carry = following.carrier.carry
    moved = asyncio.Event()

    async def late(things: Sequence[Thing], target: Side, *, fence: Fence | None = None) -> Any:
        if not moved.is_set():
            # The round knows the writer already; then it moves, and Isobase takes a write.
            moved.set()
            await set_writer(two, Side.ISOBASE)
            await two.target.execute("update public.notes set body = 'by the new writer' where id = 5")
        return await carry(things, target, fence=fence)

    following.carrier.carry = late  # type: ignore[method-assign]
    await two.source.execute("update public.notes set body = 'old' where id = 5")
    await following.catch_up()
    assert moved.is_set()
    # The other log may have been read to its end before the new writer's row was in it.
    await following.catch_up()
    assert await two.target.fetchval("select body from public.notes where id = 5") == "by the new writer"
    assert await two.source.fetchval("select body from public.notes where id = 5") == "by the new writer"


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


async def test_a_table_that_one_side_alone_had_is_compared_once_the_other_has_it_too(following: Following) -> None:
    two = following.two
    await two.source.execute("create table public.later (id int primary key); insert into public.later values (1)")
    await following.catch_up()
    await two.target.execute("create table public.later (id int primary key)")
    await following.catch_up()
    assert await content(two.target, "public.later") == ["(1)"]


async def test_without_a_slot_changed_rows_are_found_by_the_transactions_that_wrote_them(following: Following) -> None:
    two = following.two
    polling = Polling(following.sync(), following.databases, poll_s=0.05)
    await polling.round()
    await assert_equal(two)
    following.carrier.swept.clear()
    late = await connect(two.dsns[Side.SUPABASE], "test")
    try:
        # It began before the next look and commits after it.
        transaction = late.transaction()
        await transaction.start()
        await late.execute("update public.notes set body = 'late' where id = 3")
        await two.source.execute(
            "update public.notes set body = 'changed' where id < 3; update public.authors set name = 'n' where id = 4"
        )
        assert await polling.round() == 3
        await transaction.commit()
        assert 1 <= await polling.round() <= 4
    finally:
        await late.close()
    assert await polling.round() <= 4
    assert following.carrier.swept == []
    await assert_equal(two)
    # A delete shows when everything is compared.
    await two.source.execute("delete from public.notes where id = 5")
    await Polling(following.sync(), following.databases).round()
    await assert_equal(two)


async def test_polling_follows_the_writer_to_the_other_side(following: Following) -> None:
    two = following.two
    polling = Polling(following.sync(), following.databases)
    await polling.round()
    await set_writer(two, Side.ISOBASE)
    await two.target.execute("update public.notes set body = 'at isobase' where id = 6")
    await polling.round()
    assert await two.source.fetchval("select body from public.notes where id = 6") == "at isobase"
    await assert_equal(two)


async def test_a_table_that_the_target_refuses_holds_up_no_other_and_is_taken_up_again(
    following: Following,
) -> None:
    two = following.two
    await following.catch_up()
    await two.target.execute("alter table public.notes add constraint short check (length(body) < 30)")
    await two.source.execute(
        "update public.notes set body = repeat('long', 20) where id = 12; update public.authors set name = 'me' where id = 2"
    )
    refused = await following.catch_up()
    assert list(refused.state.set_aside) == ["public.notes"]
    assert "short" in refused.state.set_aside["public.notes"]
    assert await content(two.target, "public.authors") == await content(two.source, "public.authors")
    events = await two.target.fetch("select capability from isobase.migration_events where name = 'sync_set_aside'")
    assert [row["capability"] for row in events] == ["table:public.notes"]
    await two.target.execute("alter table public.notes drop constraint short")
    again = await following.catch_up()
    assert again.state.set_aside == {}
    await assert_equal(two)


async def test_what_isobase_took_before_a_failover_is_not_followed_over(following: Following) -> None:
    """It waits to go to Supabase, or for a decision: a change of the same row at Supabase goes nowhere until then."""
    two = following.two
    await following.catch_up()
    await two.target.execute("update public.notes set body = 'Isobase alone was told' where id = 12")
    item = Thing(ThingKind.ROW, "public.notes", (12,))
    await two.target.execute(
        "insert into isobase.outbox (state, capability, target, thing, lock_number, is_conflict, next_at)"
        " values ('dead', 'table:public.notes', 'supabase', $1::text::jsonb, $2, true, 'infinity')",
        json.dumps(item.as_json()),
        item.lock_number,
    )
    await two.source.execute("update public.notes set body = 'Supabase was told' where id = 12")
    await two.source.execute("update public.authors set name = 'me' where id = 2")
    held = await following.catch_up()
    assert list(held.state.set_aside) == ["public.notes"]
    assert await two.target.fetchval("select body from public.notes where id = 12") == "Isobase alone was told"
    assert await content(two.target, "public.authors") == await content(two.source, "public.authors")
    await two.target.execute("delete from isobase.outbox")
    assert (await following.catch_up()).state.set_aside == {}
    await assert_equal(two)

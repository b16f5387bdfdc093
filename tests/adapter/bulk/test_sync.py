"""Rows follow the side that is written first, whoever writes, and others' writes are told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from isobase_adapter.bulk.connections import connect
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.bulk.polling import Polling
from isobase_adapter.contracts import Fence
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.bulk.following import Following, assert_equal, content, set_writer


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

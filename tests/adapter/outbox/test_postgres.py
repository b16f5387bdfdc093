"""The outbox in PostgreSQL: who is let in, what is kept, what supersedes what."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from isobase_adapter.contracts import IntentGone, OutboxAway, WriterMoved
from isobase_adapter.outbox.entries import OutboxLimits
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.sides import Side
from tests.adapter.outbox.conftest import CALL, ORDERS, TABLE, Box, row


async def test_an_intent_is_there_before_the_write_and_gone_after_it(box: Box) -> None:
    intent = await box.begin(row(1))
    assert await box.entries() == [("intent", "isobase", "[1]")]
    await box.outbox.settle(intent)
    assert await box.entries() == []


async def test_a_postponed_write_is_an_item_for_each_thing(box: Box) -> None:
    intent = await box.begin()
    await box.outbox.postpone(intent, [row(1), row(2)], "refused")
    assert await box.entries() == [("pending", "isobase", "[1]"), ("pending", "isobase", "[2]")]


async def test_a_newer_item_of_a_thing_replaces_the_older_under_a_new_number(box: Box) -> None:
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    (taken,) = await box.outbox.take(10)
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    await box.outbox.done([taken])
    assert await box.entries() == [("pending", "isobase", "[1]")], (
        "what was carried before does not count for the newer"
    )
    (again,) = await box.outbox.take(10)
    assert again.id > taken.id


async def test_that_a_row_is_there_anew_stays_said_until_it_was_carried(box: Box) -> None:
    anew = replace(row(1), is_anew=True)
    await box.outbox.postpone(await box.begin(anew), [row(1), anew], "")
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    await box.outbox.postpone(await box.begin(row(2)), [row(2)], "")
    items = await box.outbox.take(10)
    assert [item.thing for item in items] == [anew, row(2)]
    await box.outbox.done(items)
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    assert [item.thing for item in await box.outbox.take(10)] == [row(1)]


async def test_sweeps_that_nobody_began_are_one(box: Box) -> None:
    for _ in range(3):
        await box.outbox.postpone(await box.begin(), [TABLE], "")
    (taken,) = await box.outbox.take(10)
    await box.outbox.postpone(await box.begin(), [TABLE], "")
    assert [state for state, _, _ in await box.entries()] == ["pending", "pending"], (
        "one that runs may have read too early"
    )
    assert taken.thing == TABLE


async def test_a_write_of_another_epoch_is_not_let_in(box: Box) -> None:
    await box.set_writer(Side.ISOBASE, 3)
    with pytest.raises(WriterMoved):
        await box.begin(row(1), epoch=2, target=Side.SUPABASE)
    with pytest.raises(WriterMoved):
        await box.begin(row(1), epoch=3, target=Side.ISOBASE)
    await box.begin(row(1), epoch=3, target=Side.SUPABASE)


async def test_nothing_is_let_in_while_the_writer_is_handed_over(box: Box) -> None:
    await box.set_writer(Side.SUPABASE, 0, handing_over_to=Side.ISOBASE)
    with pytest.raises(WriterMoved):
        await box.begin(row(1))


async def test_the_most_specific_pattern_decides(box: Box) -> None:
    await box.pool.execute("insert into isobase.writers (pattern, side, epoch) values ('*', 'isobase', 9)")
    with pytest.raises(WriterMoved):
        await box.begin(row(1))
    await box.pool.execute(
        "insert into isobase.writers (pattern, side, epoch) values ('table:public.*', 'supabase', 4)"
    )
    await box.begin(row(1), epoch=4)


async def test_a_change_of_the_writer_waits_for_those_who_are_being_let_in_and_is_seen_by_the_next(box: Box) -> None:
    await box.set_writer(Side.SUPABASE, 0)
    async with box.pool.acquire() as slow:
        entering = slow.transaction()
        await entering.start()
        await PostgresOutbox(OnePool(slow), box.outbox.client).begin(  # type: ignore[arg-type]
            ORDERS, target=Side.ISOBASE, epoch=0, call=CALL, things=[row(1)]
        )
        moving = asyncio.create_task(box.set_writer(Side.SUPABASE, 0, handing_over_to=Side.ISOBASE))
        await asyncio.sleep(0.2)
        assert not moving.done()
        late = asyncio.create_task(box.begin(row(2)))
        await entering.commit()
    await moving
    with pytest.raises(WriterMoved):
        await late
    assert await box.entries() == [("intent", "isobase", "[1]")], "a handover sees all that were let in before"


class OnePool:
    """A pool of one connection that is in use by the test itself."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        self._connection = connection

    def acquire(self, *, timeout: float) -> OnePool:
        return self

    async def __aenter__(self) -> asyncpg.pool.PoolConnectionProxy[asyncpg.Record]:
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        return None


async def test_a_write_waits_for_what_must_be_carried_the_other_way_first(box: Box) -> None:
    await box.set_writer(Side.ISOBASE, 1)
    await box.outbox.postpone(await box.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "")
    await box.set_writer(Side.SUPABASE, 2)
    with pytest.raises(WriterMoved, match="on its way"):
        await box.begin(row(1), epoch=2)
    await box.begin(row(2), epoch=2)
    (item,) = await box.outbox.take(10)
    await box.outbox.done([item])
    await box.begin(row(1), epoch=2)


async def test_a_write_that_cannot_wait_makes_a_dead_letter_of_what_is_in_its_way(box: Box) -> None:
    await box.set_writer(Side.ISOBASE, 1)
    await box.outbox.postpone(await box.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "")
    await box.set_writer(Side.SUPABASE, 2)
    intent = await box.begin(row(1), epoch=2, over_conflicts=True)
    assert intent.is_queued
    await box.outbox.postpone(intent, [row(1)], "")
    assert await box.entries() == [("dead", "supabase", "[1]"), ("pending", "isobase", "[1]")]
    assert await box.outbox.take(10) == [], "Isobase's version is not overwritten before somebody has kept it"


async def test_a_settled_intent_that_was_taken_over_is_said_and_compared_once_more(box: Box) -> None:
    intent = await box.begin(row(1), lease_s=0.0)
    assert await box.outbox.expire() == 1
    (item,) = await box.outbox.take(10)
    await box.outbox.done([item])
    with pytest.raises(IntentGone):
        await box.outbox.settle(intent)
    assert await box.entries() == [("pending", "isobase", "[1]")]


async def test_a_write_in_doubt_is_compared_soon_and_again_when_its_lease_is_over(box: Box) -> None:
    intent = await box.begin(row(1))
    await box.outbox.doubt(intent, "ReadError", has_ended=False)
    assert await box.entries() == [("intent", "isobase", "[1]"), ("pending", "isobase", "[1]")]
    await box.pool.execute("update isobase.outbox set lease_until = now() where state = 'intent'")
    await box.outbox.expire()
    assert await box.entries() == [("pending", "isobase", "[1]")]


async def test_a_write_that_ended_with_the_servers_error_is_compared_once(box: Box) -> None:
    await box.outbox.doubt(await box.begin(row(1)), "500", has_ended=True)
    assert await box.entries() == [("pending", "isobase", "[1]")]


async def test_two_workers_never_take_the_same_item(box: Box) -> None:
    for number in range(20):
        await box.outbox.postpone(await box.begin(row(number)), [row(number)], "")
    taken = await asyncio.gather(*(box.outbox.take(5) for _ in range(6)))
    numbers = [item.id for items in taken for item in items]
    assert len(numbers) == len(set(numbers)) == 20


async def test_an_item_that_fails_is_tried_later_and_dead_after_its_attempts(box: Box) -> None:
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    for attempt in range(1, 4):
        items = await box.outbox.take(10)
        while not items:
            await asyncio.sleep(0.01)
            items = await box.outbox.take(10)
        assert items[0].attempts == attempt
        assert await box.outbox.failed(items[0], "no") is (attempt == 3)
    assert await box.entries() == [("dead", "isobase", "[1]")]


async def test_a_new_write_revives_what_was_dead(box: Box) -> None:
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    (item,) = await box.outbox.take(1)
    await box.outbox.failed(item, "no", is_final=True)
    await box.outbox.postpone(await box.begin(row(1)), [row(1)], "")
    assert await box.entries() == [("pending", "isobase", "[1]")]


async def test_the_fence_settles_in_the_transaction_that_writes(box: Box) -> None:
    intent = await box.begin(row(1))
    async with box.pool.acquire() as connection:
        writing = connection.transaction()
        await writing.start()
        assert await box.outbox.fence(intent).check(connection)
        await writing.rollback()
        assert await box.entries() == [("intent", "isobase", "[1]")]
        async with connection.transaction():
            assert await box.outbox.fence(intent).check(connection)
    assert await box.entries() == []
    with pytest.raises(WriterMoved):
        await box.outbox.fence(intent).check(None)


async def test_the_fence_of_sync_and_repair_falls_with_the_writer(box: Box) -> None:
    fence = box.outbox.writer_fence(ORDERS, Side.ISOBASE, 0)
    assert await fence.check(None) is False
    await box.set_writer(Side.ISOBASE, 1)
    with pytest.raises(WriterMoved):
        await fence.check(None)


async def test_an_unreachable_database_is_an_outbox_that_is_away(box: Box) -> None:
    intent = await box.begin(row(1))
    await box.pool.close()
    with pytest.raises(OutboxAway):
        await box.begin(row(1))
    with pytest.raises(OutboxAway):
        await box.outbox.settle(intent)


async def test_the_database_knows_when_something_is_due(box: Box) -> None:
    assert await box.outbox.next_in_s() is None
    await box.begin(row(1), lease_s=100.0)
    soon = await box.outbox.next_in_s()
    assert soon is not None
    assert 50 < soon <= 100
    assert await box.outbox.waiting() == 1
    assert await box.outbox.waiting(Side.SUPABASE) == 0


async def test_an_intent_knows_its_own_limits() -> None:
    assert OutboxLimits().lease_s > OutboxLimits().send_within_s + 120, "the official client waits for 120 s"


async def test_a_write_of_unknown_rows_parks_what_must_go_the_other_way(box: Box) -> None:
    """It may change any row: nothing is carried to the writer until the next handover, and clashing keys are kept twice."""
    await box.set_writer(Side.ISOBASE, 1)
    for number in (1, 2):
        await box.outbox.postpone(await box.begin(row(number), target=Side.SUPABASE, epoch=1), [row(number)], "")
    await box.set_writer(Side.SUPABASE, 2)
    with pytest.raises(WriterMoved):
        await box.begin(TABLE, epoch=2)
    intent = await box.begin(TABLE, epoch=2, over_conflicts=True)
    assert intent.is_queued
    assert await box.outbox.take(10) == []
    await box.outbox.postpone(intent, [row(2), row(3)], "")
    assert sorted(await box.entries()) == [
        ("dead", "supabase", "[2]"),
        ("pending", "isobase", "[2]"),
        ("pending", "isobase", "[3]"),
        ("pending", "supabase", "[1]"),
    ]
    assert [item.thing for item in await box.outbox.take(10)] == [row(3)]
    (conflict,) = await box.outbox.unread()
    await box.outbox.keep_versions(conflict, {"supabase": {"id": 2}, "isobase": None})
    assert [item.thing for item in await box.outbox.take(10)] == [row(2)]

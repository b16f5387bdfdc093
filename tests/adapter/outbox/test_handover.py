"""The writer moves: planned without a failed call, at once when Isobase is down, and never past what is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from isobase_adapter import handover_desk, performing
from isobase_adapter.contracts import Intent, OutboxAway, WriterMoved
from isobase_adapter.handover import HandoverRefused, fail_over, lift_abandoned
from isobase_adapter.sides import Side
from isobase_adapter.writing import WriteNotAdmitted, WriteRevoked
from tests.adapter.outbox.app import PATIENT, PATTERN, app, handover_of, make_flag
from tests.adapter.outbox.conftest import ORDERS, TwoSides, row
from tests.adapter.outbox.small_carrier import rows_of


@pytest.fixture(autouse=True)
async def _flag(sides: TwoSides) -> None:
    await make_flag(sides.isobase)


async def writer_of(sides: TwoSides) -> tuple[str, int, str | None]:
    found = await sides.isobase.fetchrow("select side, epoch, handing_over_to from isobase.writers")
    assert found is not None
    return (found["side"], found["epoch"], found["handing_over_to"])


async def test_a_handover_under_load_fails_no_write_and_loses_none(sides: TwoSides) -> None:
    """Three clients write, while the writer goes to Isobase, back, and there again."""
    written: dict[int, str] = {}
    is_over = asyncio.Event()

    async with contextlib.AsyncExitStack() as ends:
        apps = [await ends.enter_async_context(app(sides)) for _ in range(3)]
        draining = [asyncio.create_task(each.drainer.run()) for each in apps]

        async def user(number: int) -> None:
            turn = 0
            while not is_over.is_set():
                turn += 1
                client = apps[(number + turn) % 3]
                key = await client.insert(f"{number}.{turn}")
                assert key not in written, "both sides gave the same number out"
                written[key] = f"{number}.{turn}"
                await client.update(key, f"{number}.{turn} again")
                written[key] += " again"

        users = [asyncio.create_task(user(number)) for number in range(6)]
        handover = handover_of(sides)
        for to in (Side.ISOBASE, Side.SUPABASE, Side.ISOBASE):
            before = len(written)
            while len(written) < before + 15:
                await asyncio.sleep(0.02)
                assert not [done for done in users if done.done()], "a user ended"
            await handover.hand_over(PATTERN, to)
        is_over.set()
        await asyncio.gather(*users)
        drained = await apps[0].drainer.drain(60)
        for task in draining:
            task.cancel()
        await asyncio.wait(draining)
    assert drained.waiting == 0
    assert await writer_of(sides) == ("isobase", 3, None)
    assert await rows_of(sides.supabase) == written
    assert await rows_of(sides.isobase) == written


async def a_write_without_an_end(sides: TwoSides) -> Intent:
    """One that is never old enough to be waited for before the mark."""
    intent = await sides.box.begin(row(99))
    await sides.isobase.execute("update isobase.outbox set created_at = now() + interval '1 hour'")
    return intent


async def test_a_handover_waits_for_writes_on_their_way(sides: TwoSides) -> None:
    async with app(sides) as client:
        may_answer = asyncio.Event()
        writing = asyncio.create_task(client.insert("slow", before_answer=lambda side: may_answer.wait()))
        while not await sides.box.entries():
            await asyncio.sleep(0.01)
        moving = asyncio.create_task(handover_of(sides).hand_over(PATTERN, Side.ISOBASE))
        await asyncio.sleep(0.3)
        assert not moving.done()
        may_answer.set()
        await writing
        await moving
        assert await rows_of(sides.isobase) == {1: "slow"}
        assert await client.insert("next") == 2
        assert await rows_of(sides.isobase) == await rows_of(sides.supabase) == {1: "slow", 2: "next"}


async def test_a_handover_without_an_end_is_given_up_and_writes_go_on(sides: TwoSides) -> None:
    async with app(sides) as client:
        stuck = await a_write_without_an_end(sides)
        with pytest.raises(HandoverRefused, match="1 writes have not ended"):
            await handover_of(sides, fence_s=0.5).hand_over(PATTERN, Side.ISOBASE)
        assert await writer_of(sides) == ("supabase", 0, None)
        await client.insert("goes on")
        await sides.box.outbox.settle(stuck)


async def test_calls_whose_end_nobody_heard_are_waited_for_before_writes_are_held_up(sides: TwoSides) -> None:
    async with app(sides) as client:
        await sides.box.begin(row(99))
        await sides.isobase.execute("update isobase.outbox set created_at = now() - interval '1 minute'")
        # Its client lives: nobody may take the call for ended before the lease is over.
        await sides.isobase.execute(
            "insert into isobase.migration_clients (id, name, host, pid, version) values ($1, 'app', 'host', 1, 1000000)",
            sides.box.outbox.client,
        )
        handover = handover_of(sides, client.drainer, calm_s=60)
        moving = asyncio.create_task(handover.hand_over(PATTERN, Side.ISOBASE))
        await asyncio.sleep(0.3)
        assert (await writer_of(sides))[2] is None
        await client.insert("not held up")
        await sides.isobase.execute("update isobase.outbox set lease_until = now() where lease_until > now()")
        assert (await moving).writer.side is Side.ISOBASE


async def test_dead_letters_stand_in_the_way_of_a_handover(sides: TwoSides) -> None:
    await sides.box.outbox.postpone(await sides.box.begin(row(1)), [row(1)], "")
    (item,) = await sides.box.outbox.take(1)
    await sides.box.outbox.failed(item, "no", is_final=True)
    with pytest.raises(HandoverRefused, match="1 dead letters"):
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)


async def test_a_client_that_is_not_heard_stands_in_the_way_until_it_is_forgotten(sides: TwoSides) -> None:
    silent = uuid4()
    await sides.isobase.execute(
        "insert into isobase.migration_clients (id, name, host, pid, seen_at) "
        " values ($1, 'shop', 'h', 1, now() - interval '1 hour')",
        silent,
    )
    with pytest.raises(HandoverRefused, match=f"shop on h .{silent}"):
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
    assert await writer_of(sides) == ("supabase", 0, None)
    done = await handover_of(sides).hand_over(PATTERN, Side.ISOBASE, forget_clients=[silent])
    assert (done.writer.side, done.writer.epoch) == (Side.ISOBASE, 1)


async def test_a_client_with_writes_of_its_own_is_waited_for(sides: TwoSides) -> None:
    await sides.isobase.execute(
        "insert into isobase.migration_clients (id, name, host, pid, version, spooled)"
        " values ($1, 'shop', 'h', 1, 1000000000, 2)",
        uuid4(),
    )
    moving = asyncio.create_task(handover_of(sides).hand_over(PATTERN, Side.ISOBASE))
    await asyncio.sleep(0.3)
    assert not moving.done()
    await sides.isobase.execute("update isobase.migration_clients set spooled = 0")
    assert (await moving).writer.epoch == 1


async def test_a_handover_whose_coordinator_died_is_lifted(sides: TwoSides) -> None:
    async with app(sides) as client:
        stuck = await a_write_without_an_end(sides)
        async with asyncpg.create_pool(sides.isobase_dsn, min_size=1, max_size=2) as pool:
            dying = handover_of(sides, control=pool)
            moving = asyncio.create_task(dying.hand_over(PATTERN, Side.ISOBASE))
            while (await writer_of(sides))[2] is None:
                await asyncio.sleep(0.01)
            assert await lift_abandoned(sides.isobase) == [], "it lives"
            pool.terminate()
            with pytest.raises((OutboxAway, asyncpg.InterfaceError, OSError)):
                await moving
        async with asyncio.timeout(90):
            while await lift_abandoned(sides.isobase) != [PATTERN]:
                await asyncio.sleep(0.02)
        assert await writer_of(sides) == ("supabase", 0, None)
        await client.insert("goes on")
        await sides.box.outbox.settle(stuck)


async def test_a_handover_whose_coordinator_was_stopped_is_lifted_and_moves_nothing_when_it_goes_on(
    sides: TwoSides,
) -> None:
    """Ctrl-Z in an operator's terminal, or a network that is gone: its session and its lock are there all the time."""
    async with app(sides) as client:
        stuck = await a_write_without_an_end(sides)
        moving = asyncio.create_task(handover_of(sides, fence_s=12).hand_over(PATTERN, Side.ISOBASE))
        while (await writer_of(sides))[2] is None:
            await asyncio.sleep(0.01)
        assert await lift_abandoned(sides.isobase) == [], "it is not late yet"
        await sides.isobase.execute("update isobase.writers set handing_over_since = now() - interval '1 minute'")
        assert await lift_abandoned(sides.isobase) == [PATTERN]
        await client.insert("goes on")
        await sides.box.outbox.settle(stuck)
        with pytest.raises(HandoverRefused):
            await moving
        assert await writer_of(sides) == ("supabase", 0, None)


@pytest.mark.parametrize("to", list(Side))
async def test_a_coordinator_that_is_stopped_while_it_flips_holds_writes_up_for_seconds_only(
    sides: TwoSides, to: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app(sides) as client:
        if to is Side.SUPABASE:
            await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        before = await writer_of(sides)
        has_flipped, may_go_on = asyncio.Event(), asyncio.Event()

        async def stopped(fence: object) -> None:
            has_flipped.set()
            await may_go_on.wait()

        monkeypatch.setattr(handover_desk, "still_held", stopped)
        async with asyncpg.create_pool(sides.isobase_dsn, min_size=1, max_size=2) as pool:
            moving = asyncio.create_task(handover_of(sides, control=pool).hand_over(PATTERN, to))
            await has_flipped.wait()
            writing = asyncio.create_task(client.insert("goes on"))
            try:
                async with asyncio.timeout(90):
                    while await lift_abandoned(sides.isobase) != [PATTERN]:
                        await asyncio.sleep(0.1)
                    await writing
            finally:
                may_go_on.set()
            with pytest.raises((OutboxAway, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await moving
        assert await writer_of(sides) == before


async def test_two_coordinators_cannot_meet(sides: TwoSides) -> None:
    stuck = await a_write_without_an_end(sides)
    first = asyncio.create_task(handover_of(sides).hand_over(PATTERN, Side.ISOBASE))
    while (await writer_of(sides))[2] is None:
        await asyncio.sleep(0.01)
    with pytest.raises(HandoverRefused, match="somebody else"):
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
    await sides.box.outbox.settle(stuck)
    await first


async def test_a_write_that_waits_too_long_for_a_handover_was_sent_nowhere(sides: TwoSides) -> None:
    async with app(sides, replace(PATIENT, admission_s=0.2)) as client:
        await sides.box.set_writer(Side.SUPABASE, 0, handing_over_to=Side.ISOBASE)
        with pytest.raises(WriteNotAdmitted):
            await client.insert("never")
        assert await rows_of(sides.supabase) == {}


async def test_a_failover_takes_back_the_writer_and_does_not_acknowledge_what_was_on_its_way(sides: TwoSides) -> None:
    async with app(sides) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        key = await client.insert("before")

        async def isobase_fails(side: Side) -> None:
            moved = await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
            assert (moved.side, moved.epoch) == (Side.SUPABASE, 2)

        with pytest.raises(WriteRevoked):
            await client.update(key, "was it written?", before_answer=isobase_fails)
        await client.update(key, "after")
        await client.drainer.drain(60)
        assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "after"}
        assert (await fail_over(sides.isobase, sides.supabase, ORDERS, 1)).epoch == 2, "only once"
        await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        assert await writer_of(sides) == ("isobase", 3, None)


async def test_what_isobase_took_before_a_failover_is_carried_before_its_key_is_written_again(sides: TwoSides) -> None:
    async with app(sides) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        key = await client.insert("first")
        client.carrier.fails = [ConnectionRefusedError("Supabase was away")]
        await client.update(key, "second")
        assert await rows_of(sides.supabase) == {key: "first"}
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        draining = asyncio.create_task(client.drainer.run())
        seen = []

        async def look(side: Side) -> None:
            seen.append((side, await rows_of(sides.supabase)))

        await client.update(key, "third", before_answer=look)
        assert seen == [(Side.SUPABASE, {key: "third"})]
        draining.cancel()
        await asyncio.wait([draining])
        assert await rows_of(sides.isobase) == {key: "third"}
        assert (await client.outbox.waiting(), [entry[0] for entry in await sides.box.entries()]) == (0, [])


async def test_a_carrier_that_was_paused_cannot_write_at_a_side_that_became_the_writer(sides: TwoSides) -> None:
    """A drainer stops before its transaction; its item is carried by another, the writer moves, the drainer wakes up."""
    async with app(sides) as client:
        await sides.supabase.execute("insert into public.orders (id, state) values (1, 'old')")
        await sides.box.outbox.postpone(await sides.box.begin(row(1)), [row(1)], "")
        (paused,) = await sides.box.outbox.take(1)
        await sides.isobase.execute("update isobase.outbox set next_at = now()")
        await client.drainer.drain(60)
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        await client.update(1, "new")
        with pytest.raises(WriterMoved):
            await client.carrier.carry([row(1)], Side.ISOBASE, fence=sides.box.outbox.items_fence([paused]))
        with pytest.raises(WriterMoved):
            await client.carrier.carry(
                [row(1)], Side.ISOBASE, fence=sides.box.outbox.writer_fence(ORDERS, Side.ISOBASE, 0)
            )
        assert await rows_of(sides.isobase) == {1: "new"}


async def test_a_flip_waits_for_a_carrier_in_the_middle(sides: TwoSides) -> None:
    await sides.box.outbox.postpone(await sides.box.begin(row(1)), [row(1)], "")
    (item,) = await sides.box.outbox.take(1)
    async with sides.isobase.acquire() as carrying, carrying.transaction():
        fence = sides.box.outbox.items_fence([item])
        await carrying.execute("select pg_advisory_xact_lock_shared($1)", fence.lock_number)
        await fence.check(carrying)
        moving = asyncio.create_task(handover_of(sides).hand_over(PATTERN, Side.ISOBASE))
        await asyncio.sleep(0.3)
        assert not moving.done()
    assert (await moving).writer.side is Side.ISOBASE


async def test_what_isobase_took_alone_is_carried_by_the_next_handover_or_kept_as_a_conflict(sides: TwoSides) -> None:
    """Supabase was away, then Isobase failed: two rows are newer at Isobase, and one of them is written at Supabase."""
    async with app(sides, replace(PATIENT, behind_s=0.1)) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        keys = [await client.insert("first"), await client.insert("first")]
        for key in keys:
            client.carrier.fails = [ConnectionRefusedError("Supabase was away")]
            await client.update(key, "only at Isobase")
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        await client.update(keys[0], "and at Supabase")
        new = await client.insert("new")
        with pytest.raises(HandoverRefused, match="1 dead letters"):
            await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        await client.drainer.drain_due()
        letter = await sides.isobase.fetchrow(
            "delete from isobase.outbox where state = 'dead' returning versions -> 'isobase' ->> 'state' as lost"
        )
        assert letter is not None
        assert letter["lost"] == "only at Isobase"
        await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        expected = {keys[0]: "and at Supabase", keys[1]: "only at Isobase", new: "new"}
        assert await rows_of(sides.isobase) == expected
        assert await rows_of(sides.supabase) == expected


async def test_a_client_that_was_heard_a_moment_ago_is_not_forgotten(sides: TwoSides) -> None:
    async with app(sides) as client:
        with pytest.raises(HandoverRefused, match="may still be on its way"):
            await handover_of(sides).hand_over(PATTERN, Side.ISOBASE, forget_clients=[client.control.id])


async def test_a_write_does_not_overtake_a_carrier_in_the_middle(sides: TwoSides) -> None:
    """A drainer has read Isobase's row and is about to write it at Supabase, when the same row is written there."""
    async with app(sides, replace(PATIENT, behind_s=0.1)) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        key = await client.insert("first")
        client.carrier.fails = [ConnectionRefusedError("Supabase was away")]
        await client.update(key, "second")
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        (item,) = await client.outbox.take(1)
        async with sides.supabase.acquire() as carrying, carrying.transaction():
            fence = client.outbox.items_fence([item])
            await carrying.execute("select pg_advisory_xact_lock_shared($1)", fence.lock_number)
            await fence.check(carrying)
            writing = asyncio.create_task(client.update(key, "third"))
            await asyncio.sleep(0.5)
            assert not writing.done()
            await carrying.execute("update public.orders set state = 'second' where id = $1", key)
        await writing
        assert await rows_of(sides.supabase) == {key: "third"}


async def test_the_lease_of_a_call_that_takes_long_is_extended(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performing, "KEEP_EVERY_S", 0.05)

    async with app(sides) as client:

        async def take_long(side: Side) -> None:
            await sides.isobase.execute("update isobase.outbox set lease_until = now() + interval '1 second'")
            async with asyncio.timeout(90):
                while await sides.isobase.fetchval(
                    "select lease_until < now() + interval '1 minute' from isobase.outbox"
                ):
                    await asyncio.sleep(0.02)

        await client.insert("slow", before_answer=take_long)
        assert await client.outbox.waiting() == 0
        assert client.writing._keeping is not None
        await client.writing._keeping

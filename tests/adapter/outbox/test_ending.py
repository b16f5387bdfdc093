"""A write of unknown end is waited for only as long as it may still go on."""

from __future__ import annotations

import asyncio

import pytest

from isobase_adapter.outbox.ending import LongWell, end_doubtful
from isobase_adapter.sides import Side
from tests.adapter.outbox.conftest import TwoSides, row

QUIET_S = 0.1


async def ended(sides: TwoSides) -> int:
    return await end_doubtful(sides.isobase, sides.supabase, is_long_well=well, quiet_s=QUIET_S)


async def well(side: Side) -> bool:
    return True


async def test_a_lease_ends_once_no_transaction_can_be_the_write(sides: TwoSides) -> None:
    async with sides.supabase.acquire() as connection, connection.transaction():
        await connection.execute("insert into public.orders (id, state) values (1, 'slow')")
        await sides.box.outbox.doubt(await sides.box.begin(row(1)), "ReadTimeout", has_ended=False)
        await asyncio.sleep(2 * QUIET_S)
        assert await ended(sides) == 0, "it may be this transaction"
    assert await ended(sides) == 1
    assert await sides.box.outbox.expire() == 1
    assert await sides.box.entries() == [("pending", "isobase", "[1]")]


async def test_a_transaction_that_began_later_is_not_waited_for(sides: TwoSides) -> None:
    await sides.box.outbox.doubt(await sides.box.begin(row(1)), "ReadTimeout", has_ended=False)
    await sides.isobase.execute("update isobase.outbox set doubted_at = now() - interval '1 hour'")
    async with sides.supabase.acquire() as connection, connection.transaction():
        await connection.fetchval("select 1")
        assert await ended(sides) == 1


async def test_what_a_living_client_waits_for_is_left_alone_and_what_a_dead_one_left_is_not(sides: TwoSides) -> None:
    await sides.box.begin(row(1))
    await sides.isobase.execute("update isobase.outbox set created_at = now() - interval '1 minute'")
    await sides.isobase.execute(
        "insert into isobase.migration_clients (id, name, host, pid) select client, 'app', 'host', 1 from isobase.outbox"
    )
    await sides.isobase.execute("update isobase.migration_clients set seen_at = now() + interval '1 minute'")
    assert await ended(sides) == 0
    await sides.isobase.execute("update isobase.migration_clients set seen_at = now() - interval '1 minute'")
    assert await ended(sides) == 1


async def test_who_sees_no_other_sessions_waits_for_the_lease(sides: TwoSides) -> None:
    await sides.box.outbox.doubt(await sides.box.begin(row(1)), "ReadTimeout", has_ended=False)
    await sides.isobase.execute("update isobase.outbox set doubted_at = now() - interval '1 hour'")
    assert await end_doubtful(sides.isobase, None, is_long_well=well, quiet_s=QUIET_S) == 0


async def test_an_intent_that_its_own_client_does_not_know_of_is_doubted(sides: TwoSides) -> None:
    outbox = sides.box.outbox
    mine = await sides.box.begin(row(1))
    await sides.box.begin(row(2))
    await outbox.disown([mine.id])
    await sides.isobase.execute("update isobase.outbox set created_at = now() - interval '1 minute'")
    await sides.isobase.execute(
        "insert into isobase.migration_clients (id, name, host, pid, seen_at)"
        " values ($1, 'app', 'host', 1, now() + interval '1 minute')",
        outbox.client,
    )
    assert await ended(sides) == 0
    await outbox.disown([mine.id])
    await asyncio.sleep(2 * QUIET_S)
    assert await ended(sides) == 1
    assert await outbox.expire() == 1
    assert await sides.box.entries() == [("intent", "isobase", "[1]"), ("pending", "isobase", "[2]")]


@pytest.mark.parametrize("target", list(Side))
async def test_a_lease_ends_only_once_both_sides_have_answered_for_a_while(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch, target: Side
) -> None:
    # After a failover the target of a write that was on its way is the very side that it was sent to.
    monkeypatch.setattr("isobase_adapter.outbox.ending.WELL_FOR_S", 0.2)
    await sides.box.outbox.doubt(await sides.box.begin(row(1)), "ReadTimeout", has_ended=False)
    await asyncio.sleep(2 * QUIET_S)
    answers = False

    async def asked(side: Side) -> bool:
        return answers or side is target

    long_well = LongWell(asked)

    async def look() -> int:
        return await end_doubtful(sides.isobase, sides.supabase, is_long_well=long_well, quiet_s=QUIET_S)

    assert await look() == 0, "the call may wait in front of a server that starts"
    answers = True
    assert await look() == 0, "what waited there is being done"
    await asyncio.sleep(0.3)
    answers = False
    assert await look() == 0, "it was away again"
    answers = True
    assert await look() == 0
    await asyncio.sleep(0.3)
    assert await look() == 1
    await sides.box.outbox.doubt(await sides.box.begin(row(2)), "ReadTimeout", has_ended=False)
    await asyncio.sleep(2 * QUIET_S)
    monkeypatch.setattr("isobase_adapter.outbox.ending.ASKED_EVERY_S", 0.0)
    assert await look() == 0, "nobody knows what it was meanwhile"
    assert await end_doubtful(sides.isobase, sides.supabase, is_long_well=None, quiet_s=QUIET_S) == 0


async def test_an_intent_that_a_frozen_process_holds_keeps_no_other_from_being_expired(sides: TwoSides) -> None:
    held = await sides.box.begin(row(1))
    await sides.box.begin(row(2))
    await sides.isobase.execute("update isobase.outbox set lease_until = now() - interval '1 s'")
    async with sides.isobase.acquire() as frozen, frozen.transaction():
        await frozen.execute("delete from isobase.outbox where id = $1", held.id)
        async with asyncio.timeout(90):
            assert await sides.box.outbox.expire() == 1
    assert await sides.box.entries() == [("pending", "isobase", "[2]")]

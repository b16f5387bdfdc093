"""The drainer: what waits is carried in the end, or an operator is told."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Event
from isobase_adapter.drainer import Drainer
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.outbox.conftest import TABLE, Box, TwoSides, row
from tests.adapter.outbox.small_carrier import SmallCarrier, rows_of


def drainer_of(box: Box, carrier: SmallCarrier, events: list[Event] | None = None) -> Drainer:
    carriers = Carriers({ThingKind.ROW: carrier, ThingKind.TABLE: carrier})
    return Drainer(box.outbox, carriers, tell=events.append if events is not None else None)


async def postponed(sides: TwoSides, *things: Thing, target: Side = Side.ISOBASE) -> None:
    intent = await sides.box.begin(*things, target=target)
    await sides.box.outbox.postpone(intent, things, "")


async def test_what_waits_is_carried_together_and_forgotten(sides: TwoSides) -> None:
    for number in range(1, 6):
        await sides.supabase.execute("insert into public.orders (id) values ($1)", number)
        await postponed(sides, row(number))
    drained = await drainer_of(sides.box, sides.carrier).drain(60)
    assert (drained.carried, drained.waiting) == (5, 0)
    assert await rows_of(sides.isobase) == await rows_of(sides.supabase)
    assert sides.carrier.calls == [5]


async def test_a_delete_is_carried_too(sides: TwoSides) -> None:
    await sides.isobase.execute("insert into public.orders (id) values (1)")
    await postponed(sides, row(1))
    await drainer_of(sides.box, sides.carrier).drain(60)
    assert await rows_of(sides.isobase) == {}


async def test_a_write_whose_end_was_never_heard_is_swept_when_its_lease_is_over(sides: TwoSides) -> None:
    await sides.box.begin(TABLE, lease_s=0.3)
    await sides.supabase.execute("insert into public.orders (state) values ('lost'), ('found')")
    drained = await drainer_of(sides.box, sides.carrier).drain(60)
    assert drained.waiting == 0
    assert await rows_of(sides.isobase) == {1: "lost", 2: "found"}


async def test_an_item_that_cannot_be_carried_becomes_a_dead_letter_with_both_versions(sides: TwoSides) -> None:
    await sides.supabase.execute("insert into public.orders (id, state) values (1, 'refused'), (2, 'fine')")
    await sides.isobase.execute("alter table public.orders add check (state <> 'refused')")
    await postponed(sides, row(1))
    await postponed(sides, row(2))
    events: list[Event] = []
    drained = await drainer_of(sides.box, sides.carrier, events).drain(60)
    assert (drained.carried, drained.dead, drained.waiting) == (1, 1, 0)
    assert [event.name for event in events] == ["dead_letter"]
    letter = await sides.isobase.fetchrow(
        "select state, error, versions -> 'supabase' ->> 'state' as here, versions ->> 'isobase' as there from isobase.outbox"
    )
    assert letter is not None
    assert (letter["state"], letter["here"], letter["there"]) == ("dead", "refused", None)
    assert letter["error"].startswith("CheckViolationError")
    assert "Failing row" not in letter["error"]


async def test_a_side_that_is_away_costs_an_item_no_attempt(sides: TwoSides) -> None:
    await sides.supabase.execute("insert into public.orders (id) values (1)")
    await postponed(sides, row(1))
    sides.carrier.fails = [ConnectionRefusedError("down")] * 2
    drained = await drainer_of(sides.box, sides.carrier).drain(30)
    assert (drained.carried, drained.dead, drained.failed) == (1, 0, 2)


async def test_what_changed_on_both_sides_is_kept_in_both_versions_and_overwritten_nowhere(sides: TwoSides) -> None:
    for pool, state in ((sides.supabase, "written here"), (sides.isobase, "and there")):
        await pool.execute("insert into public.orders (id, state) values (1, $1)", state)
    await postponed(sides, row(1))
    await sides.isobase.execute("update isobase.outbox set before_hash = 'of neither'")
    drained = await drainer_of(sides.box, sides.carrier).drain(60)
    assert drained.dead == 1
    assert await rows_of(sides.supabase) == {1: "written here"}
    assert await rows_of(sides.isobase) == {1: "and there"}
    letter = await sides.isobase.fetchrow(
        "select is_conflict, versions -> 'supabase' ->> 'state' as here, versions -> 'isobase' ->> 'state' as there"
        "  from isobase.outbox"
    )
    assert letter is not None
    assert tuple(letter) == (True, "written here", "and there")


async def test_two_drainers_share_the_work_and_leave_both_sides_equal(sides: TwoSides) -> None:
    await sides.supabase.execute("insert into public.orders select n, 'x' from generate_series(1, 300) as n")
    async with asyncpg.create_pool(sides.isobase_dsn, min_size=1) as pool:
        for number in range(1, 301):
            await postponed(sides, row(number))
        second = SmallCarrier(sides.supabase, pool)
        first, other = await asyncio.gather(
            drainer_of(sides.box, sides.carrier).drain(30), drainer_of(sides.box, second).drain(30)
        )
    assert first.carried + other.carried == 300
    assert await rows_of(sides.isobase) == await rows_of(sides.supabase)


async def test_a_running_drainer_hears_of_new_items_and_ends_when_cancelled(sides: TwoSides) -> None:
    drainer = drainer_of(sides.box, sides.carrier)
    running = asyncio.create_task(drainer.run())
    await sides.supabase.execute("insert into public.orders (id) values (1)")
    await postponed(sides, row(1))
    drainer.wake()
    async with asyncio.timeout(90):
        while await rows_of(sides.isobase) != {1: "new"}:
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_what_goes_wrong_in_a_chore_does_not_end_the_carrying(
    sides: TwoSides, caplog: pytest.LogCaptureFixture
) -> None:
    await sides.supabase.execute("insert into public.orders (id) values (1)")
    await postponed(sides, row(1))
    failures = [ValueError("a value of a row"), KeyError("another")]

    async def chore() -> None:
        if failures:
            raise failures.pop()

    drainer = Drainer(sides.box.outbox, Carriers({ThingKind.ROW: sides.carrier}), chore=chore)
    running = asyncio.create_task(drainer.run())
    try:
        async with asyncio.timeout(90):
            while await rows_of(sides.isobase) != {1: "new"}:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert "draining is interrupted, trying again: KeyError" in caplog.text
    assert "a value of a row" not in caplog.text

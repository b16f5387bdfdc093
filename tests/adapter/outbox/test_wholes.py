"""A whole that must go one way, while its rows must go the other: nobody knows which rows it stands for, so neither is
carried over the other before an operator has decided.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import CallRecord, StillOpposed, WriteBehind
from isobase_adapter.handover import HandoverRefused, fail_over
from isobase_adapter.outbox.letters import Letters
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.outbox.app import PATIENT, PATTERN, app, handover_of, make_flag
from tests.adapter.outbox.conftest import CALL, ORDERS, TABLE, Box, TwoSides, row
from tests.adapter.outbox.small_carrier import rows_of

FUNCTION = CallRecord("POST", "/rest/v1/rpc/close_orders")
OTHER = Capability(Kind.TABLE, "public.payments")
QUICK = replace(PATIENT, behind_s=0.1)


async def test_a_row_is_not_carried_over_what_a_function_wrote_at_the_other_side(sides: TwoSides) -> None:
    await make_flag(sides.isobase)
    async with app(sides, QUICK) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        key = await client.insert("open")
        intent = await client.outbox.begin(ORDERS, target=Side.SUPABASE, epoch=1, call=FUNCTION, things=[TABLE])
        await sides.isobase.execute("update public.orders set state = 'closed by a function'")
        await client.outbox.postpone(intent, [TABLE], "")
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        await client.update(key, "changed at Supabase")
        new = await client.insert("made at Supabase")
        await client.drainer.drain(1)
        assert await rows_of(sides.isobase) == {key: "closed by a function"}
        assert await rows_of(sides.supabase) == {key: "changed at Supabase", new: "made at Supabase"}
        with pytest.raises(HandoverRefused, match="1 dead letters"):
            await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        letters = Letters(sides.isobase)
        (number,) = await letters.dead()
        await letters.retry(number, keep=Side.SUPABASE)
        await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        expected = {key: "changed at Supabase", new: "made at Supabase"}
        assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == expected


async def test_rows_that_isobase_alone_has_are_kept_beside_what_a_function_writes_at_supabase(sides: TwoSides) -> None:
    await make_flag(sides.isobase)
    async with app(sides, QUICK) as client:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        key = await client.insert("open")
        client.carrier.fails = [ConnectionRefusedError("Supabase was away")]
        await client.update(key, "changed at Isobase")
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        intent = await client.outbox.begin(
            ORDERS, target=Side.ISOBASE, epoch=2, call=FUNCTION, things=[TABLE], over_conflicts=True
        )
        await sides.supabase.execute("update public.orders set state = 'closed by a function'")
        await client.outbox.postpone(intent, [TABLE], "")
        await client.drainer.drain(1)
        assert await rows_of(sides.supabase) == {key: "closed by a function"}
        assert await rows_of(sides.isobase) == {key: "changed at Isobase"}
        letters = Letters(sides.isobase)
        (number,) = await letters.dead()
        versions = (await letters.show(number)).versions
        assert {side: row["state"] for side, row in versions.items()} == {
            "supabase": "closed by a function",
            "isobase": "changed at Isobase",
        }
        await letters.retry(number, keep=Side.ISOBASE)
        await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "changed at Isobase"}


async def test_a_whole_waits_for_rows_of_its_table_whatever_the_call_was_named_after(box: Box) -> None:
    """A function that writes two tables is named after the first of them."""
    await box.set_writer(Side.ISOBASE, 1)
    await box.outbox.postpone(await box.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "")
    await box.set_writer(Side.SUPABASE, 2)
    await box.pool.execute("update isobase.outbox set next_at = 'infinity'")  # parked until the next handover
    await box.pool.execute(
        "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number)"
        " values ('pending', $1, 'isobase', 2, $2::text::jsonb, $3)",
        str(OTHER),
        '{"kind": "table", "resource": "public.orders", "key": []}',
        TABLE.lock_number,
    )
    assert await box.outbox.take(10) == []
    await box.pool.execute("update isobase.outbox set next_at = now() where target = 'supabase'")
    assert [item.thing for item in await box.outbox.take(10)] == [row(1)]


@pytest.mark.parametrize(
    "other",
    [
        Thing(ThingKind.ROW, "public.payments", (1,)),
        Thing(ThingKind.TABLE, "public.payments"),
        Thing(ThingKind.USER, "public.orders", ("1",)),
        Thing(ThingKind.BUCKET, "public.orders"),
    ],
    ids=["another table's row", "another table", "a user", "a bucket"],
)
async def test_what_is_of_another_resource_is_no_conflict(box: Box, other: Thing) -> None:
    await box.set_writer(Side.ISOBASE, 1)
    begun = await box.outbox.begin(ORDERS, target=Side.SUPABASE, epoch=1, call=CALL, things=[other])
    await box.outbox.postpone(begun, [other], "")
    await box.set_writer(Side.SUPABASE, 2)
    await box.outbox.postpone(await box.begin(TABLE, epoch=2, over_conflicts=True), [TABLE], "")
    assert [state for state, _, _ in await box.entries()] == ["pending", "pending"]


async def test_sync_and_repair_carry_nothing_over_what_the_other_side_took_before_a_failover(box: Box) -> None:
    await box.set_writer(Side.ISOBASE, 1)
    await box.outbox.postpone(await box.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "")
    await box.outbox.writer_fence(ORDERS, Side.SUPABASE, 1).check(None)
    await box.set_writer(Side.SUPABASE, 2)
    fence = box.outbox.writer_fence(ORDERS, Side.ISOBASE, 2)
    with pytest.raises(WriteBehind):
        await fence.check(None)
    await box.outbox.writer_fence(OTHER, Side.ISOBASE, 0).check(None)
    await box.outbox.postpone(await box.begin(row(1), epoch=2, over_conflicts=True), [row(1)], "")
    with pytest.raises(StillOpposed):
        await fence.check(None)
    await box.pool.execute("delete from isobase.outbox where state = 'dead'")
    assert await fence.check(None) is False, "what goes the same way is in nobody's way"


async def test_what_goes_the_same_way_is_no_conflict(box: Box) -> None:
    for things in ([row(1)], [TABLE], [row(2)]):
        await box.outbox.postpone(await box.begin(*things), things, "")
    assert [item.thing for item in await box.outbox.take(10)] == [row(1), TABLE, row(2)]

"""The writer goes back to Isobase by itself after a failover, where nobody has to decide anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from isobase_adapter.contracts import Event
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover import fail_over
from isobase_adapter.recovery import Recovery, RecoveryLimits
from isobase_adapter.sides import Side
from tests.adapter.outbox.app import PATTERN, App, app, handover_of
from tests.adapter.outbox.conftest import ORDERS, TwoSides

LIMITS = RecoveryLimits(first_delay_s=0.0, longest_delay_s=0.0, attempts=2)


@dataclass(slots=True)
class Failed:
    """An app whose writer went to Isobase and back to Supabase, because Isobase was down."""

    client: App
    sides: TwoSides
    is_well: bool = True
    told: list[Event] = field(default_factory=list)
    recovery: Recovery | None = None

    async def look(self) -> Side:
        assert self.recovery is not None
        await self.recovery.look()
        row = await self.sides.isobase.fetchrow("select side from isobase.writers where pattern = $1", PATTERN)
        assert row is not None
        return Side(row["side"])

    def steps(self) -> list[str]:
        return [event.detail["step"] for event in self.told if event.name == "recovery"]


async def _well(failed: Failed) -> bool:
    return failed.is_well


@pytest.fixture
async def failed(sides: TwoSides) -> AsyncIterator[Failed]:
    await sides.isobase.execute(
        "insert into isobase.flags (pattern, stage, before) values ($1, 'live', 'shadow_read')", PATTERN
    )
    await sides.isobase.execute("insert into isobase.writers (pattern) values ($1)", PATTERN)
    async with app(sides) as client:
        await handover_of(sides, client.drainer).hand_over(PATTERN, Side.ISOBASE)
        await client.control.reload()
        await client.insert("at Isobase")
        await fail_over(sides.isobase, sides.supabase, ORDERS, 1)
        await client.control.reload()
        await client.insert("at Supabase")
        state = Failed(client, sides)
        drainer: Drainer = client.drainer
        state.recovery = Recovery(
            sides.isobase, handover_of(sides, drainer), lambda pattern: _well(state), state.told.append, LIMITS
        )
        yield state


async def test_it_waits_until_isobase_is_well_and_then_goes_back(failed: Failed) -> None:
    failed.is_well = False
    assert await failed.look() is Side.SUPABASE
    assert failed.steps() == []
    failed.is_well = True
    assert await failed.look() is Side.ISOBASE
    assert failed.steps() == ["done"]
    await failed.client.control.reload()
    await failed.client.insert("at Isobase again")
    ours = await failed.sides.supabase.fetch("select * from public.orders order by id")
    assert ours == await failed.sides.isobase.fetch("select * from public.orders order by id")
    assert [row["state"] for row in ours][-1] == "at Isobase again"


async def test_a_flag_that_was_changed_since_is_an_operators(failed: Failed) -> None:
    await failed.sides.isobase.execute("update isobase.flags set stage = 'shadow_read' where pattern = $1", PATTERN)
    assert await failed.look() is Side.SUPABASE
    await failed.sides.isobase.execute("update isobase.flags set stage = 'live' where pattern = $1", PATTERN)
    assert await failed.look() is Side.SUPABASE


async def test_what_was_told_at_both_sides_waits_for_an_operator_and_the_attempts_end(failed: Failed) -> None:
    await failed.sides.isobase.execute(
        "insert into isobase.outbox (state, capability, target, thing, lock_number, is_conflict, versions)"
        " values ('dead', $1, 'supabase', $2::text::jsonb, 1, true, '{}')",
        PATTERN,
        '{"kind": "row", "resource": "public.orders", "key": [1]}',
    )
    for _ in range(4):
        assert await failed.look() is Side.SUPABASE
    assert failed.steps() == ["refused", "given up"]
    assert "dead letters" in failed.told[0].detail["why"]

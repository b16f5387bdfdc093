"""Isobase is the writer and out of reach for one client: it writes at Supabase alone, and nothing of either is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import OutboxAway, Writer
from isobase_adapter.handover import HandoverRefused
from isobase_adapter.outbox.fallback import Fallback, fence_at
from isobase_adapter.outbox.letters import Letters
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.outbox.spooling import SpoolingOutbox
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.outbox.app import PATTERN, App, app, handover_of, make_flag
from tests.adapter.outbox.conftest import CALL, LIMITS, ORDERS, TABLE, TwoSides, row
from tests.adapter.outbox.small_carrier import rows_of
from tests.adapter.outbox.test_spool import Cut, cut, go_away
from tests.plugins.wire_proxy import WireProxy

__all__ = ["cut"]


@dataclass(slots=True)
class Alone:
    """A client that hears nothing of Isobase, and one that does."""

    proxy: WireProxy
    outbox: SpoolingOutbox
    fallback: Fallback
    other: App

    async def write(self, sides: TwoSides, key: int | None, state: str, *, epoch: int = 1) -> int:
        """Write an order at Supabase alone."""
        things = [TABLE] if key is None else [row(key)]
        intent = await self.outbox.begin(ORDERS, target=Side.ISOBASE, epoch=epoch, call=CALL, things=things)
        if key is None:
            key = await sides.supabase.fetchval("insert into public.orders (state) values ($1) returning id", state)
        else:
            await sides.supabase.execute("update public.orders set state = $2 where id = $1", key, state)
        await self.outbox.postpone(intent, [row(key)], "")
        return key


@pytest.fixture
async def alone(sides: TwoSides, cut: Cut, tmp_path: Path) -> AsyncIterator[Alone]:
    proxy, pool = cut
    await make_flag(sides.isobase)
    async with app(sides) as other:
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
        inner = PostgresOutbox(pool, other.control.id, LIMITS)
        fallback = Fallback(
            lambda: fence_at(sides.supabase),
            pool,
            inner.client,
            writer_of=lambda capability: Writer(PATTERN, Side.ISOBASE, 1),
        )
        outbox = SpoolingOutbox(inner, tmp_path, may_spool=lambda *_: False, fallback=fallback)
        yield Alone(proxy, outbox, fallback, other)
        await outbox.close()


async def test_writes_go_to_supabase_alone_and_come_back_when_isobase_does(sides: TwoSides, alone: Alone) -> None:
    before = await alone.other.insert("before")
    go_away(alone.proxy)
    await alone.write(sides, before, "changed alone")
    new = await alone.write(sides, None, "made alone")
    await sides.box.set_writer(Side.SUPABASE, 1)
    with pytest.raises(HandoverRefused, match="brought into the outbox"):
        await handover_of(sides).hand_over(PATTERN, Side.ISOBASE)
    await sides.box.set_writer(Side.ISOBASE, 1)
    alone.proxy.heals()
    assert await alone.outbox.merge() == 2
    assert await sides.isobase.fetchval("select side || epoch from isobase.writers") == "supabase2"
    await alone.other.drainer.drain(60)
    expected = {before: "changed alone", new: "made alone"}
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == expected
    await handover_of(sides, alone.other.drainer).hand_over(PATTERN, Side.ISOBASE)
    after = await alone.other.insert("after")
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {**expected, after: "after"}


async def test_a_call_in_stage_live_goes_to_supabase_by_itself(sides: TwoSides, alone: Alone) -> None:
    client = alone.other
    client.stage, client.writing._outbox = Stage.LIVE, alone.outbox
    go_away(alone.proxy)
    seen: list[Side] = []

    async def look(side: Side) -> None:
        seen.append(side)

    key = await client.insert("alone", before_answer=look)
    await client.update(key, "alone again", before_answer=look)
    assert seen == [Side.SUPABASE, Side.SUPABASE]
    client.stage = Stage.RAMP_DOWN
    with pytest.raises(OutboxAway):
        await client.update(key, "never")
    alone.proxy.heals()
    await alone.outbox.merge()
    await client.drainer.drain(60)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "alone again"}


async def test_a_client_that_wrote_alone_is_let_in_at_isobase_no_more_when_that_is_back(
    sides: TwoSides, alone: Alone
) -> None:
    client = alone.other
    client.stage, client.writing._outbox = Stage.LIVE, alone.outbox
    seen: list[Side] = []

    async def look(side: Side) -> None:
        seen.append(side)

    key = await client.insert("before", before_answer=look)
    go_away(alone.proxy)
    await client.update(key, "alone", before_answer=look)
    alone.proxy.heals()
    alone.outbox._ask_again_at = 0.0  # it was asked long ago
    await client.update(key, "after", before_answer=look)
    assert seen == [Side.ISOBASE, Side.SUPABASE, Side.SUPABASE]
    assert await sides.isobase.fetchval("select side || epoch from isobase.writers") == "supabase2"
    await alone.outbox.merge()
    await client.drainer.drain(60)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "after"}
    assert await sides.isobase.fetchval("select count(*) from isobase.outbox where state = 'dead'") == 0


async def test_nobody_carries_over_what_was_written_alone_and_both_versions_are_kept(
    sides: TwoSides, alone: Alone
) -> None:
    both, one = await alone.other.insert("before"), await alone.other.insert("before")
    go_away(alone.proxy)
    await alone.write(sides, both, "alone")
    for key in (both, one):
        await alone.other.update(key, "at Isobase")
    assert await rows_of(sides.supabase) == {both: "alone", one: "before"}, "nothing goes to Supabase meanwhile"
    alone.proxy.heals()
    await alone.outbox.merge()
    await alone.other.drainer.drain(60)
    assert await rows_of(sides.supabase) == {both: "alone", one: "at Isobase"}
    assert await rows_of(sides.isobase) == {both: "alone", one: "at Isobase"}
    letters = await sides.isobase.fetch(
        "select versions -> 'isobase' ->> 'state' as lost from isobase.outbox where state = 'dead'"
    )
    assert [letter["lost"] for letter in letters] == ["at Isobase"]


async def test_what_was_on_its_way_before_a_failover_waits_for_a_client_that_is_cut_off_after_it(
    sides: TwoSides, alone: Alone
) -> None:
    key = await alone.other.insert("before")
    inner = alone.outbox.outbox
    intent = await inner.begin(ORDERS, target=Side.SUPABASE, epoch=1, call=CALL, things=[row(key)])
    await sides.isobase.execute("update public.orders set state = 'at Isobase' where id = $1", key)
    await inner.postpone(intent, [row(key)], "")
    await sides.box.set_writer(Side.SUPABASE, 2)
    alone.fallback._writer_of = lambda capability: Writer(PATTERN, Side.SUPABASE, 2)
    go_away(alone.proxy)
    await alone.write(sides, key, "alone", epoch=2)
    await alone.other.drainer.drain(0.5)
    assert await rows_of(sides.supabase) == {key: "alone"}, "nothing goes to Supabase meanwhile"
    alone.proxy.heals()
    await alone.outbox.merge()
    await alone.other.drainer.drain(60)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "alone"}
    letters = await sides.isobase.fetch(
        "select versions -> 'isobase' ->> 'state' as lost from isobase.outbox where state = 'dead'"
    )
    assert [letter["lost"] for letter in letters] == ["at Isobase"]


async def test_a_failover_that_somebody_else_recorded_is_asked_for_once(sides: TwoSides, alone: Alone) -> None:
    go_away(alone.proxy)
    await alone.write(sides, None, "alone")
    alone.proxy.heals()
    await sides.box.set_writer(Side.SUPABASE, 2)
    await alone.fallback.tell_first(ORDERS, 1)
    go_away(alone.proxy)
    await alone.fallback.tell_first(ORDERS, 1)  # who asked again would hear nothing now
    alone.proxy.heals()


async def test_nothing_is_written_alone_where_that_cannot_be_recorded(sides: TwoSides, alone: Alone) -> None:
    go_away(alone.proxy)
    await sides.supabase.close()
    with pytest.raises(OutboxAway):
        await alone.write(sides, 1, "never")


async def test_a_record_that_could_not_be_taken_away_is_taken_away_later(sides: TwoSides, alone: Alone) -> None:
    key = await alone.other.insert("before")
    go_away(alone.proxy)
    await alone.write(sides, key, "alone")
    alone.proxy.heals()
    fencing = alone.fallback._fencing
    calls = 0

    def fails_the_second_time() -> AbstractAsyncContextManager[Any]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionRefusedError("Supabase's database is away")
        return fencing()

    alone.fallback._fencing = fails_the_second_time
    with pytest.raises(OutboxAway):
        await alone.outbox.merge()
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 1
    assert await alone.outbox.merge() == 0
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 0


async def test_the_record_stays_while_a_write_that_it_allowed_comes_into_the_spool(
    sides: TwoSides, alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await alone.other.insert("before")
    go_away(alone.proxy)
    await alone.write(sides, key, "alone")
    allows = alone.fallback.allows

    async def allows_while_the_spool_is_emptied(capability: Capability, epoch: int) -> bool:
        is_allowed = await allows(capability, epoch)
        alone.proxy.heals()
        assert await alone.outbox.merge() == 1
        go_away(alone.proxy)
        return is_allowed

    with monkeypatch.context() as patched:
        patched.setattr(alone.fallback, "allows", allows_while_the_spool_is_emptied)
        await alone.write(sides, key, "alone again")
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 1
    alone.proxy.heals()
    assert await alone.outbox.merge() == 1
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 0
    await alone.other.drainer.drain(60)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {key: "alone again"}


async def test_a_write_alone_that_supabase_refused_leaves_no_record(sides: TwoSides, alone: Alone) -> None:
    go_away(alone.proxy)
    refused = await alone.outbox.begin(ORDERS, target=Side.ISOBASE, epoch=1, call=CALL, things=[row(1)])
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 1
    await alone.outbox.settle(refused)
    await alone.outbox.merge()
    assert await sides.supabase.fetchval("select count(*) from isobase_move.failovers") == 0


async def test_a_whole_that_was_left_at_isobase_takes_nothing_away_that_was_written_alone(
    sides: TwoSides, alone: Alone
) -> None:
    """A function wrote at Isobase, of which nobody is told which rows: its table has to be compared."""
    before, changed = await alone.other.insert("before"), await alone.other.insert("before")
    go_away(alone.proxy)
    new = await alone.write(sides, None, "made alone")
    await alone.write(sides, before, "changed alone")
    box = sides.box.outbox
    intent = await box.begin(ORDERS, target=Side.SUPABASE, epoch=1, call=CALL, things=[TABLE])
    made = await sides.isobase.fetchval("insert into public.orders (state) values ('made at Isobase') returning id")
    await sides.isobase.execute(
        "update public.orders set state = 'changed at Isobase' where id = any($1)", [before, changed]
    )
    await box.postpone(intent, [TABLE], "")
    alone.proxy.heals()
    await alone.outbox.merge()
    await alone.other.drainer.drain(2)
    written = {before: "changed alone", changed: "before", new: "made alone"}
    assert await rows_of(sides.supabase) == written
    assert await rows_of(sides.isobase) == {
        before: "changed at Isobase",
        changed: "changed at Isobase",
        made: "made at Isobase",
    }
    letters = Letters(sides.isobase)
    (number,) = await letters.dead()
    assert (await letters.show(number)).is_conflict
    with pytest.raises(HandoverRefused, match="1 dead letters"):
        await handover_of(sides, alone.other.drainer).hand_over(PATTERN, Side.ISOBASE)
    # An operator writes to Supabase what Isobase alone was told, and keeps that side.
    kept = {**written, changed: "changed at Isobase", made: "made at Isobase"}
    await sides.supabase.execute("update public.orders set state = 'changed at Isobase' where id = $1", changed)
    await sides.supabase.execute("insert into public.orders (id, state) values ($1, 'made at Isobase')", made)
    await letters.retry(number, keep=Side.SUPABASE)
    await handover_of(sides, alone.other.drainer).hand_over(PATTERN, Side.ISOBASE)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == kept

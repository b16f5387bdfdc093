"""The outbox in a control file: who is let in, what is kept, what supersedes what, also with several processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from isobase_adapter.contracts import Intent, IntentGone, WriteBehind, WriterMoved
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.handover import Handover, HandoverLimits, HandoverRefused
from isobase_adapter.handover_file import FileDesks, fail_over_in_file, lift_abandoned_in_file
from isobase_adapter.outbox.entries import State
from isobase_adapter.outbox.letters import LetterRefused
from isobase_adapter.outbox.letters_sqlite import FileLetters
from isobase_adapter.outbox.locks import LANDING_S, HostLocks, _release
from isobase_adapter.outbox.sqlite import SqliteOutbox
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.things import Thing
from tests.adapter.outbox.conftest import CALL, LIMITS, ORDERS, TABLE, row

PATTERN = "table:public.orders"
PATIENT = HandoverLimits(calm_s=60)
QUICK = HandoverLimits(calm_s=8, fence_s=8, lock_s=1)


@dataclass(slots=True)
class Host:
    """A control file, with an outbox of each of two processes."""

    store: SqliteStore
    outbox: SqliteOutbox
    other: SqliteOutbox
    locks: HostLocks

    async def begin(self, *things: Thing, target: Side = Side.ISOBASE, epoch: int = 0, **more: object) -> Intent:
        return await self.outbox.begin(
            ORDERS,
            target=target,
            epoch=epoch,
            call=CALL,
            things=things or (TABLE,),
            **more,  # type: ignore[arg-type]
        )

    async def entries(self) -> list[tuple[str, str, tuple[object, ...]]]:
        found = await FileLetters(self.store).list()
        return [(str(one.state), str(one.target), one.things[0].key) for one in found]

    def handover(self, limits: HandoverLimits = PATIENT) -> Handover:
        async def nothing(pattern: str, to: Side) -> None:
            pass

        return Handover(FileDesks(self.store, self.locks, limits), None, move_sequences=nothing, limits=limits)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    path = tmp_path / "control.sqlite"
    async with AsyncExitStack() as ends:
        stores = [SqliteStore(path), SqliteStore(path)]
        for store in stores:
            await store.open()
            ends.push_async_callback(store.close)
        async with Operator(SqliteStore(path), by="a test") as operator:
            await operator.set_flag(PATTERN, Stage.DUAL_WRITE)
        boxes = [SqliteOutbox(store, uuid4(), LIMITS) for store in stores]
        yield Host(stores[0], boxes[0], boxes[1], HostLocks(path))


async def test_an_intent_becomes_items_that_one_process_takes_and_settles(host: Host) -> None:
    intent = await host.begin()
    assert await host.entries() == [("intent", "isobase", ())]
    await host.outbox.postpone(intent, [row(1), row(2)], "refused")
    assert await host.entries() == [("pending", "isobase", (1,)), ("pending", "isobase", (2,))]
    taken = await host.other.take(10)
    assert [item.thing for item in taken] == [row(1), row(2)]
    assert await host.outbox.take(10) == [], "somebody else has them"
    assert await host.other.items_fence(taken).check(None) is False
    await host.other.done(taken)
    assert await host.outbox.waiting() == 0
    with pytest.raises(WriterMoved):
        await host.other.items_fence(taken).check(None)


async def test_a_newer_item_replaces_the_older_under_a_new_number(host: Host) -> None:
    await host.outbox.postpone(await host.begin(row(1)), [row(1)], "")
    (taken,) = await host.other.take(10)
    await host.outbox.postpone(await host.begin(row(1)), [row(1)], "")
    await host.other.done([taken])
    assert await host.entries() == [("pending", "isobase", (1,))]


async def test_that_a_row_is_there_anew_stays_said_until_it_was_carried(host: Host) -> None:
    anew = replace(row(1), is_anew=True)
    await host.outbox.postpone(await host.begin(anew), [row(1), anew], "")
    await host.outbox.postpone(await host.begin(row(1)), [row(1)], "")
    (item,) = await host.outbox.take(10)
    assert item.thing == anew
    await host.outbox.done([item])
    await host.outbox.postpone(await host.begin(row(1)), [row(1)], "")
    assert [item.thing for item in await host.outbox.take(10)] == [row(1)]


async def test_who_lost_its_lease_is_told_and_its_write_is_carried_once_more(host: Host) -> None:
    intent = await host.begin(row(1), lease_s=-1)
    assert await host.other.expire() == 1
    (taken,) = await host.other.take(10)
    await host.other.done([taken])
    with pytest.raises(IntentGone):
        await host.outbox.settle(intent)
    assert await host.entries() == [("pending", "isobase", (1,))]


async def test_an_item_that_cannot_be_carried_dies_and_an_operator_decides(host: Host) -> None:
    await host.outbox.postpone(await host.begin(row(1)), [row(1)], "")
    for _ in range(LIMITS.attempts):
        async with asyncio.timeout(90):
            while not (items := await host.outbox.take(10)):
                await asyncio.sleep(0.01)
        await host.outbox.failed(items[0], "no", versions={"supabase": {"password": "secret", "n": 1}, "isobase": None})
    letters = FileLetters(host.store)
    (letter,) = await letters.list(state=State.DEAD)
    assert "secret" not in str(letter)
    assert (await letters.edit(letter.id, key=(2,))).things == (row(2),)
    with pytest.raises(LetterRefused, match="reason"):
        await letters.drop(letter.id, reason=" ")
    assert (await letters.retry(letter.id, by="me")).state is State.PENDING
    with pytest.raises(LetterRefused, match="no dead letter"):
        await letters.drop(letter.id, reason="not needed")
    assert (await host.store.read_events(1))[0].name == "letter_retried"


async def test_a_handover_waits_for_what_is_on_its_way_and_fences_the_old_epoch(host: Host) -> None:
    intent = await host.begin(row(1))
    moving = asyncio.create_task(host.handover().hand_over(PATTERN, Side.ISOBASE))
    await asyncio.sleep(0.2)
    assert not moving.done()
    await host.outbox.settle(intent)
    done = await moving
    assert (done.writer.side, done.writer.epoch) == (Side.ISOBASE, 1)
    with pytest.raises(WriterMoved):
        await host.begin(row(1))
    await host.outbox.settle(await host.begin(row(1), target=Side.SUPABASE, epoch=1))


async def test_writes_wait_while_the_writer_is_handed_over_and_a_stuck_one_gives_the_handover_up(host: Host) -> None:
    stuck = await host.begin(row(1))
    # Never old enough to be waited for before the mark.
    await host.store.transact(lambda connection: connection.execute("update outbox set created_at = now_s() + 3600"))
    moving = asyncio.create_task(host.handover(QUICK).hand_over(PATTERN, Side.ISOBASE))
    async with asyncio.timeout(90):
        while True:
            assert not moving.done()
            try:
                await host.outbox.settle(await host.begin(row(2)))
            except WriterMoved:
                break
            await asyncio.sleep(0.02)
    with pytest.raises(HandoverRefused, match="somebody else"):
        await host.handover().hand_over(PATTERN, Side.ISOBASE)
    with pytest.raises(HandoverRefused, match="not ended"):
        await moving
    await host.outbox.settle(stuck)
    await host.outbox.settle(await host.begin(row(1)))


async def test_a_mark_whose_coordinator_died_is_lifted(host: Host) -> None:
    async with FileDesks(host.store, host.locks).coordinating(PATTERN) as desk:
        await desk.mark(PATTERN, Side.ISOBASE, "", "m")
        assert await lift_abandoned_in_file(host.store, host.locks) == [], "it lives"
    assert await lift_abandoned_in_file(host.store, host.locks) == [PATTERN]
    await host.outbox.settle(await host.begin(row(1)))


async def test_after_a_failover_both_versions_of_a_key_are_kept(host: Host) -> None:
    await host.handover().hand_over(PATTERN, Side.ISOBASE)
    open_write = await host.begin(row(7), target=Side.SUPABASE, epoch=1)
    await host.outbox.postpone(await host.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "down")
    writer = await fail_over_in_file(host.store, host.locks, ORDERS, 1)
    assert (writer.side, writer.epoch) == (Side.SUPABASE, 2)
    assert await fail_over_in_file(host.store, host.locks, ORDERS, 1) == writer, "only the first changes anything"
    with pytest.raises(IntentGone):
        await host.outbox.settle(open_write)
    with pytest.raises(WriteBehind):
        await host.begin(row(1), epoch=2)
    await host.outbox.settle(await host.begin(row(1), epoch=2, over_conflicts=True))
    (item,) = await host.outbox.unread()
    assert item.thing == row(1)
    with pytest.raises(HandoverRefused, match="dead letters"):
        await host.handover().hand_over(PATTERN, Side.ISOBASE)


async def test_a_whole_and_a_row_that_must_go_opposite_ways_are_a_conflict(host: Host) -> None:
    await host.handover().hand_over(PATTERN, Side.ISOBASE)
    await host.outbox.postpone(await host.begin(TABLE, target=Side.SUPABASE, epoch=1), [TABLE], "down")
    await fail_over_in_file(host.store, host.locks, ORDERS, 1)
    begun = await host.begin(row(1), epoch=2, over_conflicts=True)
    await host.outbox.postpone(begun, [row(1)], "")
    (letter,) = await FileLetters(host.store).list(state=State.DEAD)
    assert (letter.things, letter.is_conflict) == ((TABLE,), True)
    assert await host.outbox.take(10) == [], "nobody knows whether Isobase's row is among what is kept"
    await FileLetters(host.store).retry(letter.id, keep=Side.SUPABASE)
    assert {item.thing for item in await host.outbox.take(10)} == {TABLE, row(1)}


async def test_rows_are_kept_beside_a_whole_that_is_written_at_the_other_side(host: Host) -> None:
    await host.handover().hand_over(PATTERN, Side.ISOBASE)
    await host.outbox.postpone(await host.begin(row(1), target=Side.SUPABASE, epoch=1), [row(1)], "down")
    await fail_over_in_file(host.store, host.locks, ORDERS, 1)
    await host.outbox.postpone(await host.begin(TABLE, epoch=2, over_conflicts=True), [TABLE], "")
    assert [item.thing for item in await host.outbox.unread()] == [row(1)]
    assert await host.outbox.take(10) == []


async def test_the_fence_waits_for_carriers_and_for_requests_whose_end_nobody_heard(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, landing = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def later(delay_s: float, act: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        """Keep what waits for a request to land."""
        if act is not _release:
            return call_later(delay_s, act, *args, **more)
        assert delay_s == LANDING_S
        landing.append(partial(act, *args))
        return call_later(0, lambda: None)

    monkeypatch.setattr(loop, "call_later", later)
    async with host.locks.shared(Side.ISOBASE), host.locks.shared(Side.ISOBASE):
        with pytest.raises(TimeoutError):
            async with host.locks.fencing(Side.ISOBASE, 0.1):
                pass
        async with host.locks.fencing(Side.SUPABASE, 60):
            pass
    with pytest.raises(httpx.ReadTimeout):
        async with host.locks.shared(Side.ISOBASE):
            raise httpx.ReadTimeout("no answer")
    with pytest.raises(TimeoutError):
        async with host.locks.fencing(Side.ISOBASE, 0.05):
            pass
    (lands,) = landing
    lands()
    async with host.locks.fencing(Side.ISOBASE, 60):
        pass


async def test_many_processes_are_let_in_one_after_the_other(host: Host) -> None:
    async def write(outbox: SqliteOutbox, number: int) -> None:
        intent = await outbox.begin(ORDERS, target=Side.ISOBASE, epoch=0, call=CALL, things=(row(number),))
        await outbox.settle(intent)

    await asyncio.gather(*(write((host.outbox, host.other)[n % 2], n) for n in range(40)))
    assert await host.entries() == []

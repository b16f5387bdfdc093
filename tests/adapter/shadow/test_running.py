"""Shadow reads in the background: second looks, lag, noise, bounds, candidates that fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event, Snapshot
from isobase_adapter.control.errors import ControlAway
from isobase_adapter.control.store import FoundMismatch
from isobase_adapter.shadow.answers import ReadAnswer
from isobase_adapter.shadow.running import Read, Shadow, ShadowLimits
from isobase_adapter.sides import Side

ORDERS = Capability(Kind.TABLE, "public.orders")
QUICK = ShadowLimits(noise_percent=0, looks_again_after_s=(0.0,) * 4, answer_timeout_s=60)


@dataclass
class Kept:
    """What a store would keep."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    counts: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    found: list[FoundMismatch] = field(default_factory=list)
    backlog: Callable[[], bool] = bool

    def count(self, capability: str, name: str, value: int = 1) -> None:
        assert capability == str(ORDERS)
        self.counts[name] += value

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def keep_mismatch(self, found: FoundMismatch) -> None:
        self.found.append(found)

    async def has_backlog(self, capabilities: frozenset[Capability]) -> bool:
        assert ORDERS in capabilities
        return self.backlog()


def answer(*values: Any, status: int = 200) -> ReadAnswer:
    return ReadAnswer(status, {"content-type": "application/json"}, json.dumps(list(values)).encode())


@dataclass
class Sides:
    """Both sides, each with an answer that may change with every call."""

    supabase: Callable[[int], ReadAnswer]
    isobase: Callable[[int], ReadAnswer]
    asked: Counter[Side] = field(default_factory=Counter)

    async def ask(self, side: Side) -> ReadAnswer:
        self.asked[side] += 1
        return (self.supabase if side is Side.SUPABASE else self.isobase)(self.asked[side])

    def read(self, **other: Any) -> Read:
        given: dict[str, Any] = {"query": (("token", "eq.abc"),), "ask": self.ask, **other}
        return Read(ORDERS, "GET", "/rest/v1/orders", answering=Side.SUPABASE, **given)


@pytest.fixture
async def run() -> AsyncIterator[Callable[..., Any]]:
    """Runs one read and gives what was kept."""
    shadows: list[Shadow] = []

    async def runs(sides: Sides, first: ReadAnswer, kept: Kept | None = None, limits: ShadowLimits = QUICK) -> Kept:
        kept = kept or Kept()
        shadow = Shadow(kept, asyncio.get_running_loop().call_soon_threadsafe, limits)
        shadows.append(shadow)
        shadow.offer(sides.read(), first)
        await asyncio.sleep(0.01)
        await asyncio.wait_for(shadow.drain(), 60)
        return kept

    yield runs
    for shadow in shadows:
        await shadow.close()


ONE, TWO = answer({"id": 1, "n": 1}), answer({"id": 1, "n": 2})


async def test_equal_answers_are_counted_and_nothing_else(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda _: ONE, lambda _: ONE), ONE)
    assert kept.counts == {"compared": 1}
    assert not kept.found


async def test_a_lasting_difference_is_kept_with_both_answers_and_no_secret(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda _: ONE, lambda _: TWO), ONE)
    assert kept.counts == {"compared": 1, "mismatched": 1}
    (found,) = kept.found
    assert (found.fingerprint, found.cause, found.is_noise) == ("column:n", {"kind": "column", "column": "n"}, False)
    assert (found.sample["supabase"], found.sample["isobase"]) == ({"id": 1, "n": 1}, {"id": 1, "n": 2})
    assert found.sample["call"] == {"method": "GET", "path": "/rest/v1/orders", "query": "token=eq.[hidden]"}
    assert [(event.name, event.detail) for event in kept.events] == [("mismatch", {"cause": "column:n"})]


@pytest.mark.parametrize("missing_at", list(Side))
async def test_a_missing_row_says_where_it_is_missing(run: Callable[..., Any], missing_at: Side) -> None:
    full, empty = answer({"id": 1}), answer()
    first, second = (empty, full) if missing_at is Side.SUPABASE else (full, empty)
    kept = await run(Sides(lambda _: first, lambda _: second), first)
    assert [dict(found.cause) for found in kept.found] == [{"kind": "missing_row", "missing_at": str(missing_at)}]


async def test_a_write_that_was_on_its_way_is_lag(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda _: TWO, lambda number: ONE if number == 1 else TWO), TWO)
    assert kept.counts == {"lagged": 1}


async def test_a_difference_that_is_seen_once_only_is_no_mismatch(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda _: TWO, lambda number: ONE if number <= 2 else TWO), TWO)
    assert kept.counts == {"lagged": 1}


async def test_nothing_is_blamed_while_the_outbox_holds_writes_of_the_table(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda _: ONE, lambda _: TWO), ONE, Kept(backlog=lambda: True))
    assert kept.counts == {"lagged": 1}

    def cannot_know() -> bool:
        raise ControlAway

    kept = await run(Sides(lambda _: ONE, lambda _: TWO), ONE, Kept(backlog=cannot_know))
    assert kept.counts == {"lagged": 1}


async def test_rows_that_never_hold_still_are_not_blamed(run: Callable[..., Any]) -> None:
    kept = await run(Sides(lambda number: answer({"id": 1, "n": number}), lambda _: TWO), ONE)
    assert kept.counts == {"unsettled": 1}


async def test_asking_the_same_side_twice_gives_the_noise_floor(run: Callable[..., Any]) -> None:
    sides = Sides(lambda number: ONE if number % 3 else TWO, lambda _: pytest.fail("not asked"))
    kept = await run(sides, ONE, limits=ShadowLimits(noise_percent=100, looks_again_after_s=(0.0,) * 4))
    assert sides.asked[Side.ISOBASE] == 0
    assert kept.counts["noise_compared"] == 1
    assert not kept.events


async def test_a_candidate_that_raises_hangs_or_is_down_only_counts(run: Callable[..., Any]) -> None:
    def raises(_: int) -> ReadAnswer:
        raise ConnectionError("refused")

    kept = Kept()
    await run(Sides(lambda _: ONE, raises), ONE, kept)
    await run(Sides(lambda _: ONE, lambda _: answer(status=503)), ONE, kept)

    class Hangs(Sides):
        async def ask(self, side: Side) -> ReadAnswer:
            await asyncio.sleep(600)
            return ONE

    await run(Hangs(lambda _: ONE, lambda _: ONE), ONE, kept, replace(QUICK, answer_timeout_s=0.2))
    assert kept.counts == {"failed": 3}


async def test_the_queue_is_bounded_in_number_and_bytes() -> None:
    kept = Kept()
    started = asyncio.Event()

    class Hangs(Sides):
        async def ask(self, side: Side) -> ReadAnswer:
            started.set()
            await asyncio.sleep(600)
            return ONE

    sides = Hangs(lambda _: ONE, lambda _: ONE)
    limits = ShadowLimits(noise_percent=0, workers=1, max_waiting=3, max_answer_bytes=100, answer_timeout_s=600)
    shadow = Shadow(kept, asyncio.get_running_loop().call_soon_threadsafe, limits)
    try:
        shadow.offer(sides.read(), ONE)
        await asyncio.wait_for(started.wait(), 60)
        for _ in range(10):
            shadow.offer(sides.read(), ONE)
        shadow.offer(sides.read(), answer("x" * 100))
        await asyncio.sleep(0.05)
        assert kept.counts == {"dropped": 7, "skipped": 1}
    finally:
        await asyncio.wait_for(shadow.close(), 60)
    shadow.offer(sides.read(), ONE)


async def test_rules_sample_leave_columns_out_and_name_keys(run: Callable[..., Any]) -> None:
    def keeping(**rules: Any) -> Kept:
        return Kept(Snapshot(rules={"table:public.*": rules}))

    loop = asyncio.get_running_loop()
    assert not Shadow(keeping(sample_percent=0), loop.call_soon).wants(ORDERS)
    assert Shadow(keeping(sample_percent="nonsense"), loop.call_soon).wants(ORDERS)
    assert sum(Shadow(keeping(sample_percent=50), loop.call_soon).wants(ORDERS) for _ in range(200)) in range(40, 160)
    kept = await run(Sides(lambda _: ONE, lambda _: TWO), ONE, keeping(ignore_columns=["n"]))
    assert kept.counts == {"compared": 1}
    first, second = answer({"a": 1, "n": 1}, {"a": 2, "n": 2}), answer({"a": 2, "n": 1}, {"a": 1, "n": 2})
    kept = await run(Sides(lambda _: first, lambda _: second), first, keeping(key_columns=["a"]))
    assert [found.fingerprint for found in kept.found] == ["column:n"]

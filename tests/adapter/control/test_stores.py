"""What both control stores do: changes in order, history, clients, events, counters, mismatches."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import uuid4

import pytest

from isobase_adapter.contracts import Event, Writer
from isobase_adapter.control.errors import ChangeRefused
from isobase_adapter.control.records import Heartbeat
from isobase_adapter.control.store import MAX_GROUPS_PER_CAPABILITY, FoundMismatch, summed
from isobase_adapter.stages import Stage
from tests.adapter.control.conftest import Stores
from tests.plugins.patience import until

ORDERS = "table:public.orders"


async def test_every_client_acts_upon_a_change_within_a_second(stores: Stores) -> None:
    operator = await stores.operator()
    clients = [await stores.control(name=f"app {number}") for number in range(3)]
    heard: list[float] = []
    for client in clients:
        client.on_change(lambda _: heard.append(monotonic()))
    began = monotonic()
    done = await operator.set_flag(ORDERS, Stage.DUAL_WRITE, reason="the move begins", timeout_s=60)
    assert [client.snapshot.flags[ORDERS].stage for client in clients] == [Stage.DUAL_WRITE] * 3
    assert (len(done.heard), done.not_heard) == (3, ())
    assert len(heard) == 3
    # A busy machine may take longer than the second that it takes at rest.
    assert max(heard) - began < 60


async def test_a_flag_brings_its_writer_and_every_change_is_in_the_history(stores: Stores) -> None:
    operator = await stores.operator("ann")
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=10, users=["u1", "u2"], reason="a few")
    done = await operator.set_flag(ORDERS, Stage.DUAL_WRITE, reason="all")
    assert done.view.writer == Writer(ORDERS)
    assert done.view.flag.is_for_all
    newest, oldest = await operator.history(ORDERS)
    assert (oldest.stage, oldest.share_percent, oldest.users, oldest.was_stage) == (
        "dual_write",
        10,
        ("u1", "u2"),
        None,
    )
    assert (newest.was_stage, newest.was_share_percent) == ("dual_write", 10)
    assert (newest.changed_by, newest.reason, oldest.reason) == ("ann", "all", "a few")
    assert newest.version > oldest.version
    assert abs((datetime.now(UTC) - newest.changed_at).total_seconds()) < 60
    assert await operator.history("auth") == ()


async def test_two_operators_who_looked_at_the_same_flag_do_not_overwrite_one_another(stores: Stores) -> None:
    ann, bob = await stores.operator("ann"), await stores.operator("bob")
    version = (await ann.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=1, expected_version=0)).view.flag.version
    results = await asyncio.gather(
        ann.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=10, expected_version=version),
        bob.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=50, expected_version=version),
        return_exceptions=True,
    )
    (refused,) = (result for result in results if isinstance(result, BaseException))
    assert isinstance(refused, ChangeRefused)
    assert "somebody changed this flag" in str(refused)


async def test_a_refused_change_leaves_no_trace(stores: Stores) -> None:
    operator = await stores.operator()
    before = await operator.store.read_snapshot()
    with pytest.raises(ChangeRefused):
        await operator.set_flag(ORDERS, Stage.LIVE)
    after = await operator.store.read_snapshot()
    assert (after.version, after.flags, after.writers) == (before.version, {}, {})
    assert await operator.history() == ()


async def test_a_flag_can_be_removed_where_another_says_the_same(stores: Stores) -> None:
    operator = await stores.operator()
    await operator.set_flag("*", Stage.DUAL_WRITE)
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE)
    snapshot = await operator.remove_flag(ORDERS, reason="one flag is enough")
    assert (set(snapshot.flags), set(snapshot.writers)) == ({"*"}, {"*"})
    assert (await operator.history(ORDERS))[0].reason == "removed: one flag is enough"


async def test_rules_reach_clients_and_go_again(stores: Stores) -> None:
    operator, client = await stores.operator(), await stores.control()
    await operator.set_rule(ORDERS, "ignore_columns", ["updated_at"])
    await until(lambda: client.snapshot.rules == {ORDERS: {"ignore_columns": ["updated_at"]}})
    await operator.set_rule(ORDERS, "ignore_columns", None)
    await until(lambda: client.snapshot.rules == {})


async def test_a_client_that_did_not_hear_is_named(stores: Stores) -> None:
    operator = await stores.operator()
    await operator.store.beat(Heartbeat(uuid4(), "stuck", "host", 1, version=0))
    done = await operator.set_flag(ORDERS, Stage.DUAL_WRITE, timeout_s=0.3)
    assert [client.name for client in done.not_heard] == ["stuck"]
    assert not done.heard


async def test_no_stage_follows_until_all_clients_act_upon_the_last_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await stores.operator()
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE)
    stuck = uuid4()
    await operator.store.beat(Heartbeat(stuck, "stuck", "host", 1, version=0))
    with pytest.raises(ChangeRefused, match="do not act upon its last change yet: stuck"):
        await operator.set_flag(ORDERS, Stage.SHADOW_READ, timeout_s=0.2)
    assert (
        await operator.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=50, timeout_s=0)
    ).view.flag.share_percent == 50
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE, timeout_s=0)
    monkeypatch.setattr("isobase_adapter.control.records.SILENT_AFTER_S", 0.0)
    with pytest.raises(ChangeRefused, match="may still arrive"):
        await operator.forget_client(stuck)
    monkeypatch.setattr("isobase_adapter.control.operator.LONGEST_CALL_S", 0.0)
    assert await operator.forget_client(stuck)
    assert (await operator.set_flag(ORDERS, Stage.SHADOW_READ)).view.acts_as is Stage.SHADOW_READ


async def test_a_client_signs_off_unless_it_leaves_spooled_writes_behind(stores: Stores) -> None:
    operator = await stores.operator()
    clean = await stores.control(name="clean", state=lambda: {"breakers": {"auth": "closed"}})
    dirty = await stores.control(name="dirty", spooled=lambda: 2)
    assert {client.name: client.state.get("breakers") for client in await operator.clients()} == {
        "clean": {"auth": "closed"},
        "dirty": None,
    }
    await clean.close()
    await dirty.close()
    (left,) = await operator.clients()
    assert (left.name, left.spooled, left.is_silent) == ("dirty", 2, False)
    with pytest.raises(ChangeRefused, match="end it first"):
        await operator.forget_client(left.id)
    assert await operator.store.forget_client(left.id)
    assert not await operator.forget_client(left.id)


async def test_events_and_counters_are_kept_in_the_background(stores: Stores) -> None:
    operator, client = await stores.operator(), await stores.control()
    client.tell(Event("fallback", ORDERS, {"status": 503}))
    client.tell(Event("breaker", ORDERS))
    for _ in range(5):
        client.count(ORDERS, "calls")
    client.count(ORDERS, "fallbacks", 2)
    await client.close()
    events = await operator.store.read_events(10)
    assert [(event.name, event.detail) for event in events] == [("breaker", {}), ("fallback", {"status": 503})]
    assert {event.client for event in events} == {client.id}
    counts = summed(await operator.store.read_counts(datetime.now(UTC) - timedelta(minutes=5)))
    assert counts == {ORDERS: {"calls": 5, "fallbacks": 2}}
    await operator.store.forget_before(datetime.now(UTC) + timedelta(minutes=5))
    assert await operator.store.read_counts(datetime.now(UTC) - timedelta(minutes=5)) == ()


def mismatch(number: int, sample: int = 0, *, is_noise: bool = False) -> FoundMismatch:
    return FoundMismatch(ORDERS, f"cause {number}", {"kind": "column"}, {"sample": sample}, is_noise)


async def test_mismatches_are_grouped_by_cause_with_the_first_and_the_newest_samples(stores: Stores) -> None:
    store = (await stores.operator()).store
    for sample in range(9):
        await store.add_mismatches([mismatch(1, sample)])
    await store.add_mismatches([mismatch(2), mismatch(1, is_noise=True)])
    most, *others = await store.read_mismatches([ORDERS])
    assert (most.fingerprint, most.occurrences) == ("cause 1", 9)
    assert [sample["sample"] for sample in most.samples] == [0, 5, 6, 7, 8]
    assert {(group.fingerprint, group.is_noise) for group in others} == {("cause 2", False), ("cause 1", True)}
    assert await store.read_mismatches(["auth"]) == ()
    assert await store.read_mismatches(None, since=datetime.now(UTC) + timedelta(minutes=5)) == ()
    assert await store.explain_mismatch(most.id, "the clock", by="ann")
    (explained, *_) = await store.read_mismatches(None)
    assert (explained.explained, explained.explained_by) == ("the clock", "ann")
    assert not await store.explain_mismatch(0, "nothing", by="ann")


async def test_causes_without_end_fall_into_one_group(stores: Stores) -> None:
    store = (await stores.operator()).store
    await store.add_mismatches([mismatch(number) for number in range(MAX_GROUPS_PER_CAPABILITY + 20)])
    groups = await store.read_mismatches(None)
    assert len(groups) == MAX_GROUPS_PER_CAPABILITY + 1
    assert (groups[0].fingerprint, groups[0].occurrences) == ("other", 20)

"""Which change of a flag is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isobase_adapter.capabilities import Capability, Kind, most_specific
from isobase_adapter.contracts import Flag, Snapshot, Writer
from isobase_adapter.control.changes import effective_flag, planned_flag, planned_removal, planned_writer
from isobase_adapter.control.errors import ChangeRefused
from isobase_adapter.flags.shares import stage_for
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, clamped, writer_of

ORDERS = "table:public.orders"


def holding(*flags: Flag, writers: tuple[Writer, ...] = ()) -> Snapshot:
    return Snapshot({flag.pattern: flag for flag in flags}, {writer.pattern: writer for writer in writers})


def test_a_pattern_without_a_flag_begins_where_the_pattern_that_covers_it_is() -> None:
    snapshot = holding(
        Flag("*", Stage.DUAL_WRITE, Stage.OFF), Flag("table:public.*", Stage.SHADOW_READ, Stage.DUAL_WRITE)
    )
    assert effective_flag(snapshot, ORDERS).stage is Stage.SHADOW_READ
    assert effective_flag(snapshot, "table:shop.*").stage is Stage.DUAL_WRITE
    assert effective_flag(Snapshot(), ORDERS).stage is Stage.OFF


def test_a_new_flag_takes_over_the_writer_that_its_calls_had() -> None:
    snapshot = holding(writers=(Writer("table:*", Side.ISOBASE, 3),))
    assert planned_writer(snapshot, ORDERS) == Writer(ORDERS, Side.ISOBASE, 3)
    assert planned_writer(snapshot, "auth") == Writer("auth", Side.SUPABASE, 0)
    assert planned_writer(snapshot, "table:*") is None


@pytest.mark.parametrize(
    ("now", "stage", "share", "before"),
    [
        (None, Stage.DUAL_WRITE, 100, Stage.OFF),
        (None, Stage.DUAL_WRITE, 1, Stage.OFF),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF, 1), Stage.DUAL_WRITE, 10, Stage.OFF),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF, 10), Stage.DUAL_WRITE, 1, Stage.OFF),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF, 10), Stage.OFF, 100, Stage.DUAL_WRITE),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF), Stage.SHADOW_READ, 5, Stage.DUAL_WRITE),
        (Flag(ORDERS, Stage.SHADOW_READ, Stage.LIVE), Stage.DUAL_WRITE, 50, Stage.SHADOW_READ),
        (Flag(ORDERS, Stage.SHADOW_READ, Stage.DUAL_WRITE), Stage.LIVE, 1, Stage.SHADOW_READ),
    ],
)
def test_a_flag_goes_to_a_neighbour_or_changes_its_share(
    now: Flag | None, stage: Stage, share: float, before: Stage
) -> None:
    planned = planned_flag(holding(*([now] if now else [])), ORDERS, stage, share_percent=share)
    assert (planned.stage, planned.before, planned.share_percent) == (stage, before, share)


@pytest.mark.parametrize(
    ("now", "stage", "share", "says"),
    [
        (None, Stage.SHADOW_READ, 100, "next stage is dual_write"),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF, 99), Stage.SHADOW_READ, 100, "take it to 100 %"),
        (Flag(ORDERS, Stage.DUAL_WRITE, Stage.OFF, 99), Stage.OFF, 50, "go back to off with 100 %"),
        (Flag(ORDERS, Stage.LIVE, Stage.SHADOW_READ), Stage.RAMP_DOWN, 100, "hand the writer over"),
        (Flag(ORDERS, Stage.LIVE, Stage.SHADOW_READ), Stage.LIVE, 101, "from 0 to 100"),
        (Flag(ORDERS, Stage.LIVE, Stage.SHADOW_READ), Stage.LIVE, float("nan"), "from 0 to 100"),
    ],
)
def test_other_changes_are_refused_with_what_to_do_first(
    now: Flag | None, stage: Stage, share: float, says: str
) -> None:
    with pytest.raises(ChangeRefused, match=says):
        planned_flag(holding(*([now] if now else [])), ORDERS, stage, share_percent=share)


def test_no_stage_is_set_that_the_writer_does_not_allow() -> None:
    snapshot = holding(Flag(ORDERS, Stage.SHADOW_READ, Stage.LIVE), writers=(Writer(ORDERS, Side.ISOBASE, 1),))
    with pytest.raises(ChangeRefused, match="isobase is written first, which dual_write does not allow"):
        planned_flag(snapshot, ORDERS, Stage.DUAL_WRITE)
    handed_back = holding(*snapshot.flags.values(), writers=(Writer(ORDERS, Side.SUPABASE, 2),))
    assert planned_flag(handed_back, ORDERS, Stage.DUAL_WRITE).stage is Stage.DUAL_WRITE


def test_nothing_is_changed_while_the_writer_is_handed_over() -> None:
    snapshot = holding(writers=(Writer("*", is_handing_over=True),))
    with pytest.raises(ChangeRefused, match="being handed over"):
        planned_flag(snapshot, ORDERS, Stage.DUAL_WRITE)


@pytest.mark.parametrize("pattern", ["orders", "table:orders", "nothing:x", "table:", "a*b", ""])
def test_a_pattern_that_fits_no_capability_is_refused(pattern: str) -> None:
    with pytest.raises(ChangeRefused):
        planned_flag(Snapshot(), pattern, Stage.DUAL_WRITE)


def test_a_flag_is_removed_only_where_nothing_changes_by_it() -> None:
    shadow = Flag("*", Stage.SHADOW_READ, Stage.DUAL_WRITE)
    same = holding(shadow, Flag(ORDERS, Stage.SHADOW_READ, Stage.DUAL_WRITE), writers=(Writer(ORDERS, epoch=2),))
    planned_removal(same, ORDERS)
    with pytest.raises(ChangeRefused, match="from live to shadow_read"):
        planned_removal(holding(shadow, Flag(ORDERS, Stage.LIVE, Stage.SHADOW_READ)), ORDERS)
    with pytest.raises(ChangeRefused, match="hand it over first"):
        planned_removal(holding(*same.flags.values(), writers=(Writer(ORDERS, Side.ISOBASE),)), ORDERS)
    with pytest.raises(ChangeRefused, match="no flag"):
        planned_removal(same, "auth")


PATTERNS = ("*", "table:*", "table:public.*", ORDERS, "auth")
CAPABILITIES = (
    Capability(Kind.TABLE, "public.orders"),
    Capability(Kind.TABLE, "public.notes"),
    Capability(Kind.TABLE, "shop.stock"),
    Capability(Kind.AUTH),
)
USERS = ("ann", "bob", "eva", "jo")
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["set"] * 6 + ["hand over"] * 4 + ["remove"]),
        st.sampled_from(PATTERNS),
        st.sampled_from([1, 1, 1, 0, -1]),
        st.sampled_from([0.0, 30.0, 100.0, 100.0]),
    ),
    max_size=60,
)


def after(snapshot: Snapshot, action: str, pattern: str, step: int, share: float) -> Snapshot:
    """What an operator's action leaves. Raises ``ChangeRefused``."""
    flags, writers = dict(snapshot.flags), dict(snapshot.writers)
    order = list(Stage)
    if action == "set":
        now = effective_flag(snapshot, pattern)
        stage = order[min(max(order.index(now.stage) + step, 0), len(order) - 1)]
        flag = planned_flag(snapshot, pattern, stage, share_percent=share)
        writer = planned_writer(snapshot, pattern)
        flags[pattern] = flag
        if writer is not None:
            writers[pattern] = writer
    elif action == "remove":
        planned_removal(snapshot, pattern)
        del flags[pattern]
        writers.pop(pattern, None)
    elif pattern in flags and flags[pattern].is_for_all and flags[pattern].stage in (Stage.SHADOW_READ, Stage.LIVE):
        # A handover moves the writers of more specific patterns as little as their flags.
        writers[pattern] = replace(
            writers[pattern], side=writer_of(flags[pattern].stage), epoch=writers[pattern].epoch + 1
        )
    return Snapshot(flags, writers)


def acted(snapshot: Snapshot) -> Iterator[tuple[Capability, str, Side, Stage]]:
    """Who is written first, and the stage, for each capability and user."""
    for capability in CAPABILITIES:
        flag, writer = most_specific(snapshot.flags, capability), most_specific(snapshot.writers, capability)
        side = Side.SUPABASE if writer is None else snapshot.writers[writer].side
        for user in USERS:
            stage = Stage.OFF if flag is None else stage_for(snapshot.flags[flag], user)
            yield capability, user, side, clamped(stage, side)


@settings(deadline=None)
@given(ACTIONS)
def test_whatever_operators_do_nobody_skips_a_stage_and_no_flag_moves_a_writer(
    actions: list[tuple[str, str, int, float]],
) -> None:
    snapshot, order = Snapshot(), list(Stage)
    for action, pattern, step, share in actions:
        try:
            new = after(snapshot, action, pattern, step, share)
        except ChangeRefused:
            continue
        for was, now in zip(acted(snapshot), acted(new), strict=True):
            assert abs(order.index(was[3]) - order.index(now[3])) <= 1, (action, pattern, was, now)
            assert action == "hand over" or was[2] is now[2], (action, pattern, was, now)
        for capability in CAPABILITIES:
            stages = {stage for each, _, _, stage in acted(new) if each == capability}
            assert max(map(order.index, stages)) - min(map(order.index, stages)) <= 1
        snapshot = new

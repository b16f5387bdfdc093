"""The stages: what may follow what, who answers, who is written, and what a writer that was not handed over allows."""

from __future__ import annotations

import pytest

from isobase_adapter.capabilities import Capability, Kind, most_specific, patterns_of
from isobase_adapter.sides import Side
from isobase_adapter.stages import NEIGHBOURS, Stage, clamped, read_route, write_route, writer_of

S, I = Side.SUPABASE, Side.ISOBASE  # noqa: E741


def test_every_stage_has_only_its_neighbours_and_a_way_back() -> None:
    order = list(Stage)
    assert {stage: set(NEIGHBOURS[stage]) for stage in Stage} == {
        stage: {other for other in Stage if abs(order.index(stage) - order.index(other)) == 1} for stage in Stage
    }


@pytest.mark.parametrize(
    ("stage", "reads", "compares", "falls_back", "first", "carries"),
    [
        (Stage.OFF, S, False, False, S, False),
        (Stage.DUAL_WRITE, S, False, False, S, True),
        (Stage.SHADOW_READ, S, True, False, S, True),
        (Stage.LIVE, I, False, True, I, True),
        (Stage.RAMP_DOWN, I, False, False, I, True),
        (Stage.COMPLETE, I, False, False, I, False),
    ],
)
def test_a_stage_says_who_answers_and_who_is_written_once_its_writer_is_in_place(
    stage: Stage, reads: Side, compares: bool, falls_back: bool, first: Side, carries: bool
) -> None:
    read, write = read_route(stage, writer_of(stage)), write_route(stage, writer_of(stage))
    assert (read.answers, read.compares, read.falls_back) == (reads, compares, falls_back)
    assert (write.first, write.carries) == (first, carries)


@pytest.mark.parametrize("writer", list(Side))
@pytest.mark.parametrize("stage", list(Stage))
def test_the_writer_that_is_in_place_is_written_first_in_every_stage(stage: Stage, writer: Side) -> None:
    route = write_route(stage, writer)
    assert route.first is writer
    assert route.carries or clamped(stage, writer) in (Stage.OFF, Stage.COMPLETE)


def test_a_stage_waits_at_live_for_its_writer_and_at_shadow_read_for_the_old_one() -> None:
    assert [clamped(stage, S) for stage in Stage] == [*list(Stage)[:4], Stage.LIVE, Stage.LIVE]
    assert [clamped(stage, I) for stage in Stage] == [Stage.SHADOW_READ, Stage.SHADOW_READ, *list(Stage)[2:]]


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("auth", ("auth",)),
        ("orders", ("table:public.orders", "rpc:public.orders")),
        ("shop.*", ("table:shop.*", "rpc:shop.*")),
        ("table:orders", ("table:public.orders",)),
        ("table:*", ("table:*",)),
        ("bucket:avatars", ("bucket:avatars",)),
        ("*", ("*",)),
    ],
)
def test_an_operators_words_become_patterns(text: str, patterns: tuple[str, ...]) -> None:
    assert patterns_of(text) == patterns


@pytest.mark.parametrize("text", ["", "a*b", "table:", "auth:x", "view:public.orders", "bucket:a*b"])
def test_what_names_no_capability_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a capability"):
        patterns_of(text)


def test_the_most_specific_pattern_decides() -> None:
    patterns = ["*", "table:*", "table:shop.*", "table:shop.orders", "bucket:*"]
    orders = Capability(Kind.TABLE, "shop.orders")
    assert most_specific(patterns, orders) == "table:shop.orders"
    assert most_specific(patterns, Capability(Kind.TABLE, "shop.orders_old")) == "table:shop.*"
    assert most_specific(patterns, Capability(Kind.TABLE, "public.orders")) == "table:*"
    assert most_specific(patterns, Capability(Kind.AUTH)) == "*"
    assert most_specific(["table:*"], Capability(Kind.AUTH)) is None

"""What comes from both sides is told once: row changes by the leader's order, broadcasts by who is first."""

from __future__ import annotations

import random
from typing import Any

import pytest

from isobase_adapter.realtime.matching import WINDOW_S, BroadcastMatcher, RowMatcher, row_change
from isobase_adapter.realtime.presence import changes, merged
from isobase_adapter.sides import Side

SUPABASE, ISOBASE = Side.SUPABASE, Side.ISOBASE


def change(content: dict[str, Any], kind: str = "UPDATE", *, before: dict[str, Any] | None = None, **more: Any) -> Any:
    """A change as a server tells it. before: what an update shows of the old row, which is its key."""
    record = {"old_record": content} if kind == "DELETE" else {"record": content}
    if before is not None and kind == "UPDATE":
        record["old_record"] = before
    columns = [{"name": name, "type": "text"} for name in ({**content, "title": ""} if kind == "DELETE" else content)]
    return row_change(
        0, {"data": {"type": kind, "schema": "public", "table": "notes", "columns": columns, **record, **more}}
    )


def told(matcher: RowMatcher, *events: tuple[Side, Any], leader: Side = SUPABASE) -> list[Any]:
    """The contents that are told, in their order, when events come one after another; what waits comes at the end."""
    found = []
    for number, (side, each) in enumerate(events):
        found += matcher.arrived(side, each, leads=side is leader, now_s=1.0 + number / 1000)
    return [each.content for each in [*found, *matcher.due(2.0 + WINDOW_S)]]


A, B = {"id": 1, "title": "a"}, {"id": 1, "title": "b"}


@pytest.mark.parametrize("order", ["SI", "IS"])
def test_a_change_of_both_sides_is_told_once_whoever_is_first(order: str) -> None:
    sides = [SUPABASE if letter == "S" else ISOBASE for letter in order]
    assert told(RowMatcher(), *((side, change(A)) for side in sides)) == [A]


def test_a_row_that_comes_back_to_what_it_was_is_told_every_time() -> None:
    generator = random.Random(7)
    for _ in range(200):
        streams = {side: [change(content) for content in (A, B, A, B, A)] for side in Side}
        events = []
        while any(streams.values()):
            side = generator.choice([side for side in Side if streams[side]])
            events.append((side, streams[side].pop(0)))
        assert told(RowMatcher(), *events) == [A, B, A, B, A]


def test_changes_that_were_carried_as_one_are_told_one_by_one_in_the_leaders_order() -> None:
    matcher = RowMatcher()
    carried = (ISOBASE, change(B, "INSERT"))
    first, second = (SUPABASE, change(A, "INSERT")), (SUPABASE, change(B, "UPDATE"))
    assert told(matcher, carried, first, second) == [A, B]
    assert told(RowMatcher(), first, carried, second) == [A, B]
    assert told(RowMatcher(), first, second, carried) == [A, B]


def test_what_the_leader_lost_is_told_late_unless_the_row_has_gone_on() -> None:
    assert told(RowMatcher(), (ISOBASE, change(A))) == [A]
    matcher = RowMatcher()
    assert matcher.arrived(ISOBASE, change(A), leads=False, now_s=1.0) == []
    assert [each.content for each in matcher.arrived(SUPABASE, change(B), leads=True, now_s=2.0)] == [B]
    assert matcher.due(1.0 + WINDOW_S) == []


def test_each_change_of_a_row_that_the_leader_lost_is_told_when_its_own_time_has_come() -> None:
    matcher, found = RowMatcher(), []
    for number, content in enumerate((A, B, A)):
        assert matcher.arrived(ISOBASE, change(content), leads=False, now_s=1.0 + number / 10) == []
    for number in range(3):
        found += matcher.due(1.05 + number / 10 + WINDOW_S)
    assert [each.content for each in found] == [A, B, A]
    assert not matcher.is_waiting


def test_a_leader_that_comes_back_repeats_nothing() -> None:
    matcher = RowMatcher()
    assert len(matcher.arrived(ISOBASE, change(A), leads=True, now_s=1.0)) == 1  # the leader is away
    assert matcher.arrived(SUPABASE, change(A), leads=True, now_s=9.0) == []


def test_a_new_leader_tells_what_waited_and_the_old_ones_double_is_dropped() -> None:
    matcher = RowMatcher()
    matcher.arrived(ISOBASE, change(A), leads=False, now_s=1.0)
    assert [each.content for each in matcher.release(ISOBASE, 2.0)] == [A]
    assert matcher.arrived(SUPABASE, change(A), leads=False, now_s=3.0) == []
    assert matcher.due(20.0) == []


def test_what_waits_on_both_sides_as_the_leader_changed_in_between_is_told_once() -> None:
    matcher = RowMatcher()
    assert matcher.arrived(ISOBASE, change(A), leads=False, now_s=1.0) == []  # Supabase leads
    found = matcher.arrived(SUPABASE, change(A), leads=False, now_s=2.0)  # Isobase leads
    assert [each.content for each in found] == [A]
    assert not matcher.is_waiting


@pytest.mark.parametrize("part", range(4))
def test_every_change_is_told_once_and_in_its_rows_order_however_the_leader_changes(part: int) -> None:
    for seed in range(part * 60, part * 60 + 60):
        play_a_life(random.Random(seed), seed)


def play_a_life(generator: random.Random, seed: int) -> None:
    key: dict[str, Any] = {"id": 1}
    other: dict[str, Any] = {"id": 2, "title": "a"}
    life = [(A, "INSERT"), (B, "UPDATE"), (A, "UPDATE"), (key, "DELETE"), (A, "INSERT"), (B, "UPDATE"), (key, "DELETE")]
    life.insert(generator.randrange(len(life)), (other, "INSERT"))
    matcher, found, now_s, leader = RowMatcher(), [], 1.0, SUPABASE
    streams = {side: [change(content, kind, before={"id": 1}) for content, kind in life] for side in Side}
    while any(streams.values()):
        now_s += generator.random() / 10
        leader = generator.choice([leader, leader, leader.other])
        side = generator.choice([side for side in Side if streams[side]])
        found += matcher.arrived(side, streams[side].pop(0), leads=side is leader, now_s=now_s)
    found += matcher.due(now_s + WINDOW_S)
    told = [(each.content, each.kind) for each in found]
    assert [each for each in told if each[0] is not other] == [each for each in life if each[0] is not other], seed
    assert told.count((other, "INSERT")) == 1, seed


def test_a_side_that_was_joined_within_a_rows_changes_brings_none_of_them_forward() -> None:
    life = [(SUPABASE, change(A, "INSERT")), (SUPABASE, change(B)), (SUPABASE, change(A))]
    heard_of_it = [(ISOBASE, change(B)), (ISOBASE, change(A))]
    assert told(RowMatcher(), *heard_of_it, *life) == [A, B, A]


def test_nothing_of_a_row_is_told_after_its_delete_though_the_leader_told_that_alone() -> None:
    """Supabase tells of a row with policies only while it is there."""
    key = {"id": 1}
    life = [change(A, "INSERT"), change(B), change(key, "DELETE")]
    assert told(RowMatcher(), *((ISOBASE, each) for each in life), (SUPABASE, life[-1])) == [A, B, key]
    matcher = RowMatcher()
    assert [each.content for each in matcher.arrived(SUPABASE, life[-1], leads=True, now_s=1.0)] == [key]
    for number, each in enumerate(life):
        assert matcher.arrived(ISOBASE, each, leads=False, now_s=1.1 + number / 10) == []
    assert matcher.due(2.0 + WINDOW_S) == []


def test_a_row_is_told_from_others_by_all_columns_of_its_key() -> None:
    def line(number: int, article: str, kind: str = "UPDATE") -> Any:
        return change({"order": 1, "line": number, "article": article}, kind, before={"order": 1, "line": number})

    matcher = RowMatcher()
    matcher.arrived(SUPABASE, line(1, "a", "INSERT"), leads=True, now_s=0.5)
    assert matcher.arrived(ISOBASE, line(1, "b"), leads=False, now_s=1.0) == []  # the leader lost it
    assert len(matcher.arrived(SUPABASE, line(2, "c"), leads=True, now_s=2.0)) == 1
    assert [each.content["article"] for each in matcher.due(1.0 + WINDOW_S)] == ["b"]


def test_a_large_value_that_one_side_leaves_out_makes_no_second_change() -> None:
    whole, part = {"id": 1, "title": "a", "body": "x" * 9000}, {"id": 1, "title": "a"}
    assert told(RowMatcher(), (SUPABASE, change(part)), (ISOBASE, change(whole))) == [part]


def test_deletes_are_told_once_and_a_row_that_is_made_again_too() -> None:
    key = {"id": 1}
    events = [
        (side, each) for each in (change(A, "INSERT"), change(key, "DELETE"), change(A, "INSERT")) for side in Side
    ]
    assert told(RowMatcher(), *events) == [A, key, A]


def test_of_broadcasts_as_many_are_told_as_the_side_that_sent_more() -> None:
    matcher, ping = BroadcastMatcher(), {"event": "ping", "payload": {"n": 1}}

    def count(*sides: Side) -> int:
        return sum(matcher.is_new(side, 0, ping, other_hears=True, now_s=1.0) for side in sides)

    assert count(SUPABASE, SUPABASE, ISOBASE, ISOBASE, ISOBASE) == 3
    # The third of Isobase is still without its double.
    assert count(SUPABASE, SUPABASE) == 1


def test_a_broadcast_of_the_only_side_does_not_take_a_later_one_away() -> None:
    matcher, ping = BroadcastMatcher(), {"event": "ping", "payload": {}}
    assert matcher.is_new(SUPABASE, 0, ping, other_hears=False, now_s=1.0)
    assert matcher.is_new(ISOBASE, 0, ping, other_hears=True, now_s=2.0)


def test_who_is_on_both_sides_is_present_once_and_moving_between_them_tells_nobody() -> None:
    ours = {"ann": [{"presence_ref": "1", "name": "Ann"}], "bob": [{"presence_ref": "2", "name": "Bob"}]}
    theirs = {"ann": [{"presence_ref": "9", "name": "Ann"}], "cy": [{"presence_ref": "8", "name": "Cy"}]}
    both = merged([ours, theirs])
    assert {key: len(presences) for key, presences in both.items()} == {"ann": 1, "bob": 1, "cy": 1}
    came, left = changes(both, merged([theirs]))
    assert (came, list(left)) == ({}, ["bob"])
    two = merged([{"ann": [{"presence_ref": "1", "n": 1}, {"presence_ref": "2", "n": 1}]}, theirs])
    assert len(two["ann"]) == 3

"""Messages of a room are given once, in order and without gaps, however they come."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from isobase.rooms.models import Message
from isobase.rooms.room_state import RoomState


def message(seq: int) -> Message:
    return Message(str(seq), "plans", seq, seq, datetime.now(UTC))


def test_messages_before_the_room_is_joined_wait() -> None:
    state = RoomState()
    assert state.take(message(6)) == []
    assert state.take(message(5)) == []
    assert [each.seq for each in state.begin(5)] == [6]
    assert not state.misses_some


def test_a_gap_is_asked_for_and_what_came_early_waits() -> None:
    state = RoomState(3)
    state.begin(3)
    assert state.take(message(6)) == []
    assert state.misses_some
    state.is_fetching = True  # what comes now waits too
    assert state.take(message(7)) == []
    assert [each.seq for each in state.take_fetched([message(4), message(5)], False)] == [4, 5, 6, 7]


def test_what_was_deleted_meanwhile_is_not_waited_for() -> None:
    state = RoomState(3)
    state.begin(3)
    state.take(message(6))
    assert [each.seq for each in state.take_fetched([message(5)], False)] == [5, 6]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_with_losses_and_repetitions_gives_each_message_once(seed: int) -> None:
    choose = random.Random(seed)
    state, given, stored = RoomState(), [], 0
    given += state.begin(0)
    for _ in range(300):
        event = choose.random()
        if event < 0.5:
            stored += 1
            if choose.random() < 0.7:
                given += state.take(message(stored))
        elif event < 0.7 and stored:
            given += state.take(message(choose.randint(max(1, stored - 5), stored)))
        if state.misses_some or choose.random() < 0.1:
            state.is_fetching = True
            page = [message(seq) for seq in range(state.last_seq + 1, stored + 1)]
            limit = choose.randint(1, 8)
            given += state.take_fetched(page[:limit], len(page) > limit)
            while state.is_fetching:
                page = [message(seq) for seq in range(state.last_seq + 1, stored + 1)]
                given += state.take_fetched(page[:limit], len(page) > limit)
    given += state.take_fetched([message(seq) for seq in range(state.last_seq + 1, stored + 1)], False)
    assert [each.seq for each in given] == list(range(1, stored + 1))

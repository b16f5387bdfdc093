"""When a side counts as down, and when it is tried again."""

from __future__ import annotations

import pytest

from isobase_adapter.breaker import Breaker, BreakerState, Change
from isobase_adapter.settings import BreakerSettings

SETTINGS = BreakerSettings(window_s=30, least_calls=4, failure_rate=0.5, slow_call_s=2, slow_rate=0.75, open_s=10)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker_at(clock: Clock, changes: list[Change] | None = None) -> Breaker:
    return Breaker(SETTINGS, clock, changes.append if changes is not None else None)


def test_it_stays_closed_while_few_calls_fail(clock: Clock) -> None:
    breaker = breaker_at(clock)
    for number in range(40):
        breaker.tell(0.1, is_failure=number % 3 == 2)
    assert (breaker.state, breaker.allows()) == (BreakerState.CLOSED, True)


def test_a_few_calls_say_nothing_even_when_all_fail(clock: Clock) -> None:
    breaker = breaker_at(clock)
    for _ in range(3):
        breaker.tell(0.1, is_failure=True)
    assert breaker.allows()


@pytest.mark.parametrize("elapsed_s, is_failure", [(0.1, True), (2.5, False)], ids=["failed", "slow"])
def test_failed_or_slow_calls_open_it_and_the_change_is_told(clock: Clock, elapsed_s: float, is_failure: bool) -> None:
    changes: list[Change] = []
    breaker = breaker_at(clock, changes)
    for _ in range(4):
        breaker.tell(elapsed_s, is_failure=is_failure)
    assert (breaker.state, breaker.allows()) == (BreakerState.OPEN, False)
    assert [(change.before, change.after) for change in changes] == [(BreakerState.CLOSED, BreakerState.OPEN)]


def test_what_is_older_than_the_window_is_forgotten(clock: Clock) -> None:
    breaker = breaker_at(clock)
    for _ in range(3):
        breaker.tell(0.1, is_failure=True)
    clock.now += 31
    breaker.tell(0.1, is_failure=True)
    assert breaker.allows()


def opened(clock: Clock, changes: list[Change] | None = None) -> Breaker:
    breaker = breaker_at(clock, changes)
    for _ in range(4):
        breaker.tell(0.1, is_failure=True)
    return breaker


def test_after_its_time_one_call_at_a_time_is_tried_and_three_good_ones_close_it(clock: Clock) -> None:
    changes: list[Change] = []
    breaker = opened(clock, changes)
    clock.now += 10
    for _ in range(3):
        assert breaker.state is BreakerState.HALF_OPEN
        assert (breaker.allows(), breaker.allows()) == (True, False)
        breaker.tell(0.1, is_failure=False)
    assert (breaker.state, breaker.allows(), breaker.allows()) == (BreakerState.CLOSED, True, True)
    assert [change.after for change in changes] == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_a_trial_that_fails_opens_it_for_twice_as_long(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    assert breaker.allows()
    breaker.tell(0.1, is_failure=True)
    clock.now += 19
    assert not breaker.allows()
    clock.now += 1
    assert breaker.allows()


def test_a_trial_of_which_nothing_is_heard_does_not_block_it_for_ever(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    assert (breaker.allows(), breaker.allows()) == (True, False)
    clock.now += 10
    assert breaker.allows()
    breaker.forget()
    assert breaker.allows()


def test_how_calls_of_another_kind_went_says_nothing_but_that_the_side_is_there(clock: Clock) -> None:
    breaker = breaker_at(clock)
    for _ in range(40):
        breaker.hear(is_refused=False)
    for _ in range(4):
        breaker.tell(2.5, is_failure=False)
    assert breaker.state is BreakerState.OPEN


def test_calls_of_any_kind_that_get_no_connection_open_it(clock: Clock) -> None:
    changes: list[Change] = []
    breaker = breaker_at(clock, changes)
    breaker.tell(0.1, is_failure=False)
    for _ in range(3):
        breaker.hear(is_refused=True)
    assert breaker.state is BreakerState.OPEN
    assert [change.why for change in changes] == ["3 of 4 calls got no connection"]


def test_a_few_lost_connections_among_many_calls_of_another_kind_do_not_open_it(clock: Clock) -> None:
    breaker = breaker_at(clock)
    for number in range(40):
        breaker.hear(is_refused=number % 5 == 0)
    for _ in range(2):
        breaker.tell(0.1, is_failure=False)
    assert breaker.state is BreakerState.CLOSED


def unreached(clock: Clock) -> Breaker:
    breaker = breaker_at(clock)
    for _ in range(4):
        breaker.hear(is_refused=True)
    return breaker


def test_what_no_connection_opened_is_closed_by_calls_of_any_kind_that_come_through(clock: Clock) -> None:
    breaker = unreached(clock)
    breaker.hear(is_refused=False)
    assert not breaker.allows()  # its time is not over
    clock.now += 10
    breaker.hear(is_refused=False)
    assert breaker.allows()
    breaker.tell(0.1, is_failure=False)
    assert (breaker.allows(), breaker.allows()) == (True, False)
    breaker.hear(is_refused=False)
    assert breaker.state is BreakerState.CLOSED


def test_it_stays_open_for_twice_as_long_where_another_kind_still_gets_no_connection(clock: Clock) -> None:
    breaker = unreached(clock)
    clock.now += 10
    breaker.hear(is_refused=True)
    clock.now += 19
    assert not breaker.allows()
    clock.now += 1
    assert breaker.allows()


@pytest.mark.parametrize("is_unreached", [False, True], ids=["opened by slow calls", "slow when it is tried"])
def test_what_its_own_calls_opened_is_not_closed_by_others(clock: Clock, is_unreached: bool) -> None:
    breaker = unreached(clock) if is_unreached else opened(clock)
    clock.now += 10
    assert breaker.allows()
    breaker.tell(2.5, is_failure=False)
    clock.now += 20
    for _ in range(10):
        breaker.hear(is_refused=False)
    assert breaker.state is BreakerState.HALF_OPEN


def test_an_own_call_that_is_tried_is_alone_while_others_are_heard(clock: Clock) -> None:
    breaker = unreached(clock)
    clock.now += 10
    assert breaker.allows()
    breaker.hear(is_refused=False)
    assert not breaker.allows()

"""What a call of one kind, read or write, says of the side for the other kind."""

from __future__ import annotations

import json

import httpx
import pytest

from isobase_adapter.breaker import BreakerState
from isobase_adapter.breakers import Breakers, CallKind
from isobase_adapter.contracts import Event
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side

ORDERS, SHOP = "table:public.orders", "table:shop.stock"
SETTINGS = BreakerSettings(least_calls=4, slow_call_s=2)
CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN
READS, WRITES = CallKind.READS, CallKind.WRITES
WHAT: dict[str, httpx.Response | Exception] = {
    "no connection": httpx.ConnectError("refused"),
    "no connection in time": httpx.ConnectTimeout("late"),
    "no answer in time": httpx.ReadTimeout("late"),
    "connection lost": httpx.RemoteProtocolError("lost"),
    "gateway": httpx.Response(503),
    "unknown error": httpx.Response(500),
    "database error": httpx.Response(500, content=json.dumps({"code": "XX000"})),
    "no place among our connections": httpx.PoolTimeout("busy"),
}


@pytest.mark.parametrize(
    ("kind", "what", "reads", "writes"),
    [
        (READS, "no connection", OPEN, OPEN),
        (READS, "no connection in time", OPEN, OPEN),
        (READS, "no answer in time", OPEN, CLOSED),
        (READS, "connection lost", OPEN, CLOSED),
        (READS, "gateway", OPEN, CLOSED),
        (READS, "unknown error", OPEN, CLOSED),
        (READS, "database error", CLOSED, CLOSED),
        (READS, "no place among our connections", OPEN, CLOSED),
        (WRITES, "no connection", OPEN, OPEN),
        (WRITES, "no answer in time", CLOSED, OPEN),
        (WRITES, "connection lost", CLOSED, OPEN),
        (WRITES, "gateway", CLOSED, OPEN),
        (WRITES, "database error", CLOSED, CLOSED),
        (WRITES, "no place among our connections", CLOSED, CLOSED),
    ],
)
def test_only_a_connection_that_did_not_come_about_tells_of_both_kinds(
    kind: CallKind, what: str, reads: BreakerState, writes: BreakerState
) -> None:
    breakers = Breakers(SETTINGS, lambda event: None)
    gate = breakers.gate(ORDERS, Side.ISOBASE, kind)
    for _ in range(4):
        came = WHAT[what]
        if isinstance(came, httpx.Response):
            gate.answered(came, 0.1)
        else:
            gate.failed(came, 1.0)
    assert breakers.states() == {ORDERS: {"isobase": {"reads": reads, "writes": writes}}}


@pytest.mark.parametrize("kind", list(CallKind))
def test_slow_calls_open_the_breaker_of_their_kind_and_the_event_names_it(kind: CallKind) -> None:
    told: list[Event] = []
    breakers = Breakers(SETTINGS, told.append)
    for _ in range(4):
        assert not breakers.gate(ORDERS, Side.ISOBASE, kind).answered(httpx.Response(200), 3.0)
    assert [other.allows() for other in (breakers.gate(ORDERS, Side.ISOBASE, each) for each in CallKind)] == [
        each is not kind for each in CallKind
    ]
    assert [(event.capability, event.detail["calls"], event.detail["after"]) for event in told] == [
        (ORDERS, kind, OPEN)
    ]


def test_answered_reads_weigh_against_writes_that_got_no_connection() -> None:
    breakers = Breakers(SETTINGS, lambda event: None)
    for _ in range(20):
        breakers.gate(ORDERS, Side.ISOBASE, WRITES).answered(httpx.Response(201), 0.1)
        breakers.gate(ORDERS, Side.ISOBASE, READS).answered(httpx.Response(200), 0.1)
    for _ in range(10):
        breakers.gate(ORDERS, Side.ISOBASE, READS).failed(httpx.ConnectError("refused"))
    assert breakers.states()[ORDERS]["isobase"] == {"reads": CLOSED, "writes": CLOSED}


def test_writes_may_have_limits_of_their_own() -> None:
    breakers = Breakers(SETTINGS, lambda event: None, writes=BreakerSettings(least_calls=2))
    for kind in CallKind:
        for _ in range(2):
            breakers.gate(ORDERS, Side.ISOBASE, kind).failed(httpx.ReadTimeout("late"))
    assert breakers.states()[ORDERS]["isobase"] == {"reads": CLOSED, "writes": OPEN}


def test_a_writer_that_is_handed_over_closes_both_kinds_of_its_pattern_alone() -> None:
    breakers = Breakers(SETTINGS, lambda event: None)
    for name in (ORDERS, SHOP):
        for _ in range(4):
            breakers.gate(name, Side.ISOBASE, WRITES).failed(httpx.ConnectError("refused"))
    breakers.reset("table:public.*", Side.ISOBASE)
    assert breakers.states() == {
        ORDERS: {"isobase": {"reads": CLOSED, "writes": CLOSED}},
        SHOP: {"isobase": {"reads": OPEN, "writes": OPEN}},
    }

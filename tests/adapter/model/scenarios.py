"""The bounds within which the protocol is explored: small ones for every run of the suite, larger ones by hand.

Each scenario lets some misfortunes and acts of an operator happen, at any moment and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.adapter.model.base import Write
from tests.adapter.model.explore import Finding, explore
from tests.adapter.model.protocol import Protocol
from tests.adapter.model.state import ALL_RULES, Bounds, Rule

__all__ = ["LARGE", "SMALL", "WITNESSES", "Scenario"]


@dataclass(slots=True, frozen=True)
class Scenario:
    """Clients' writes, who else acts, and what may happen how often."""

    name: str
    protocol: Protocol
    bounds: Bounds
    epoch: int = 0
    """0: Supabase is the writer in the beginning; 1: Isobase (stage live)."""
    coordinators: int = 1
    is_off: bool = False
    """Begins in stage off, rows from before not copied."""

    def explore(self, *, without: Rule | None = None, limit: int = 5_000_000) -> Finding:
        """Visit every state, with all rules or all but one."""
        rules = ALL_RULES - {without} if without is not None else ALL_RULES
        protocol = replace(self.protocol, rules=rules)
        first = protocol.start(
            self.bounds,
            epoch=self.epoch,
            coordinators=self.coordinators,
            is_dual=not self.is_off,
            is_filled=not self.is_off,
        )
        return explore(protocol, first, limit=limit)


def _two(*, drainers: int = 1, may_conflict: bool = False) -> Protocol:
    """Two clients that write one key once each."""
    return Protocol(((Write(0, 0),), (Write(1, 0),)), drainers=drainers, may_conflict=may_conflict)


def _one_twice(drainers: int) -> Protocol:
    """A client that writes one key twice."""
    return Protocol(((Write(0, 0), Write(1, 0)),), drainers=drainers)


_UNKNOWN_KEY = Protocol(((Write(0, 0, is_known=False),), (Write(1, 1),)), keys=2)
_THREE_WRITES = ((Write(0, 0), Write(1, 0)), (Write(2, 0),))
_THREE_CLIENTS = ((Write(0, 0),), (Write(1, 0),), (Write(2, 0),))
_TWO_KEYS = ((Write(0, 0), Write(1, 1)), (Write(2, 0),))

SMALL = (
    Scenario("killed clients, lost answers", _two(), Bounds(crashes=1, lost_answers=1, failed_carries=1, pauses=1)),
    Scenario("a handover", _two(), Bounds(handovers=1, failed_carries=1, pauses=1)),
    Scenario("two operators", _two(), Bounds(handovers=2, aborts=1), coordinators=2),
    Scenario("drainers that wake up late", _one_twice(2), Bounds(handovers=1, failed_carries=1, pauses=1, sweeps=1)),
    Scenario("a failover", _two(may_conflict=True), Bounds(failovers=1, failed_carries=1, handovers=1), epoch=1),
    Scenario("an outage", _two(may_conflict=True), Bounds(outages=1, failed_carries=1), epoch=1),
    Scenario("a client cut off", _two(may_conflict=True), Bounds(cuts=1, failed_carries=1, handovers=1), epoch=1),
    Scenario(
        "cut off after a failover",
        _two(may_conflict=True),
        Bounds(failovers=1, cuts=1, failed_carries=1),
        epoch=1,
    ),
    Scenario("spools", _two(), Bounds(cuts=1, handovers=1)),
    Scenario("an orphaned spool", _two(), Bounds(cuts=1, handovers=1, crashes=1)),
    Scenario("leaving the stage off", _two(), Bounds(stage_changes=1, handovers=1, crashes=1), is_off=True),
    Scenario("keys known late", _UNKNOWN_KEY, Bounds(crashes=1, lost_answers=1, handovers=1)),
)
"""Explored by every run of the suite."""

LARGE = (
    *SMALL,
    Scenario(
        "a fence lifted after a failover",
        _two(may_conflict=True),
        Bounds(failovers=1, handovers=1, aborts=1, failed_carries=1),
        epoch=1,
    ),
    Scenario(
        "three writes, two crashes",
        Protocol(_THREE_WRITES, drainers=2),
        Bounds(crashes=2, lost_answers=1, failed_carries=1, pauses=1),
    ),
    Scenario(
        "three writes, there and back",
        Protocol(_THREE_WRITES),
        Bounds(handovers=2, crashes=1, failed_carries=1, pauses=1),
    ),
    Scenario("three clients", Protocol(_THREE_CLIENTS), Bounds(handovers=1, crashes=1, failed_carries=1)),
    Scenario(
        "two keys, a failover and the way back",
        Protocol(_TWO_KEYS, keys=2, may_conflict=True),
        Bounds(failovers=1, handovers=1, failed_carries=1, crashes=1),
        epoch=1,
    ),
    Scenario(
        "an outage while a client dies",
        _two(may_conflict=True, drainers=2),
        Bounds(outages=1, failed_carries=1, crashes=1, handovers=1),
        epoch=1,
    ),
    Scenario(
        "a client cut off twice",
        Protocol(_THREE_WRITES, may_conflict=True),
        Bounds(cuts=2, failed_carries=1, handovers=1),
        epoch=1,
    ),
    Scenario(
        "a failover, then a client cut off",
        _two(may_conflict=True),
        Bounds(failovers=1, cuts=1, handovers=2, failed_carries=1, crashes=1),
        epoch=1,
    ),
    Scenario(
        "two operators and a client that dies",
        _two(drainers=2),
        Bounds(handovers=2, aborts=1, crashes=1, failed_carries=1, sweeps=1),
        coordinators=2,
    ),
    Scenario(
        "leaving off while a client dies",
        Protocol(_THREE_WRITES),
        Bounds(stage_changes=1, handovers=1, crashes=1, failed_carries=1),
        is_off=True,
    ),
    Scenario(
        "keys known late, a failover",
        replace(_UNKNOWN_KEY, may_conflict=True),
        Bounds(failovers=1, handovers=1, crashes=1, lost_answers=1, failed_carries=1),
        epoch=1,
    ),
)
"""Explored by ``make check-adapter-model``."""

WITNESSES: dict[Rule, str] = {
    Rule.INTENT_FIRST: "killed clients, lost answers",
    Rule.EPOCH_CHECKED: "a handover",
    Rule.WRITER_LOCKED: "a handover",
    Rule.DRAINED_FIRST: "a handover",
    Rule.FLIP_CHECKED: "two operators",
    Rule.READ_UNDER_LOCK: "killed clients, lost answers",
    Rule.CARRIER_FENCED: "a client cut off",
    Rule.NEW_ITEM: "an outage",
    Rule.LEASE_BEFORE_SEND: "killed clients, lost answers",
    Rule.POSTPONED_IF_THERE: "drainers that wake up late",
    Rule.LEASE_OUTLASTS: "killed clients, lost answers",
    Rule.FALLBACK_RECORDED: "an outage",
    Rule.SPOOLS_MERGED: "an orphaned spool",
    Rule.CONFLICTS_KEPT: "a failover",
    Rule.BEHIND: "a failover",
    Rule.CONFLICT_FENCED: "a failover",
    Rule.RECORDED_AFTERWARDS: "cut off after a failover",
    Rule.WHOLE_WHERE_UNKNOWN: "keys known late",
    Rule.DEAD_FOR_LONG: "leaving the stage off",
    Rule.FENCE_HEARD: "spools",
    Rule.ALL_HEARD: "leaving the stage off",
    Rule.HEARD_AFTER_CALLS: "leaving the stage off",
}
"""For each rule the scenario that goes wrong without it."""

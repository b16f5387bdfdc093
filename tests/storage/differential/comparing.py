"""Play a scenario on both sides and tell what differs."""

from __future__ import annotations

import os

from tests.storage.differential.asking import Asking, Step
from tests.storage.differential.intended import is_intended
from tests.storage.differential.scenarios.registry import Play
from tests.storage.differential.servers import Side
from tests.storage.differential.values import JsonValue, differences

__all__ = ["played", "report"]

MAX_DIFFERING_STEPS = int(os.environ.get("ISOBASE_DIFFERENTIAL_STEPS", "6"))
MAX_DIFFERENCES_OF_STEP = 12


def played(play: Play, side: Side) -> list[Step]:
    """The steps of a scenario on one side, from empty tables."""
    side.empty()
    asker = Asking(side)
    play(asker)
    return asker.steps


def report(upstream: list[Step], ours: list[Step]) -> str:
    """Every difference that is not intended, a line each under its step's request; empty where there is none."""
    lines: list[str] = []
    differing = 0
    for number, (left, right) in enumerate(zip(upstream, ours, strict=False), 1):
        found = [
            f"    {place}\n        upstream: {theirs!r}\n        ours:     {mine!r}"
            for place, theirs, mine in _differences(left, right)
            if not is_intended(left.request, place, theirs, mine)
        ]
        if found:
            lines += [f"step {number}: {left.request[:700]}", *found[:MAX_DIFFERENCES_OF_STEP]]
            differing += 1
            if differing == MAX_DIFFERING_STEPS:
                break
    if len(upstream) != len(ours) and not lines:
        lines.append(f"upstream took {len(upstream)} steps and ours {len(ours)}")
    return "\n".join(lines)


def _differences(upstream: Step, ours: Step) -> list[tuple[str, JsonValue, JsonValue]]:
    """Differences of a step; where the status differs already, that, the bodies and the rows as a whole tell enough."""
    if upstream.result.get("status") == ours.result.get("status") and not _is_other_refusal(upstream, ours):
        return differences(upstream.result, ours.result)
    return [
        (f".{part}", upstream.result.get(part, "<absent>"), ours.result.get(part, "<absent>"))
        for part in ("status", "body", "rows")
        if upstream.result.get(part) != ours.result.get(part)
    ]


def _is_other_refusal(upstream: Step, ours: Step) -> bool:
    codes = [
        body.get("code") if isinstance(body := step.result.get("body"), dict) else None for step in (upstream, ours)
    ]
    return codes[0] != codes[1]

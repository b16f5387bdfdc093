"""Play a scenario on both sides and tell what differs."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.auth.differential import asking, values
from tests.auth.differential.asking import Asking, Step
from tests.auth.differential.configurations import CONFIGURATIONS
from tests.auth.differential.intended import is_a_mistake_told, is_intended
from tests.auth.differential.mails import MailServer
from tests.auth.differential.scenarios.registry import Play, Scenario
from tests.auth.differential.servers import Side
from tests.auth.differential.values import differences

__all__ = ["played", "recorded", "report"]


MAX_DIFFERING_STEPS = int(os.environ.get("ISOBASE_DIFFERENTIAL_STEPS", "6"))
MAX_DIFFERENCES_OF_STEP = 12


def played(play: Play, side: Side, mails: MailServer) -> list[Step]:
    """The steps of a scenario on one side, from an empty database."""
    side.empty()
    asker = Asking(side, mails)
    play(asker)
    return asker.steps


def recorded(scenario: Scenario, record: Callable[[], list[Step]], folder: Path | None) -> list[Step]:
    """Upstream's steps: from ``folder``, where the same scenario was kept there before, else played and kept."""
    if folder is None:
        return record()
    source = inspect.getsource(inspect.getmodule(scenario.play) or scenario.play)
    whole = f"{source}{CONFIGURATIONS[scenario.configuration]}{inspect.getsource(values)}{inspect.getsource(asking)}"
    name = f"{scenario.name}-{scenario.configuration}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}.json"
    kept = folder / name
    if kept.exists():
        return [Step(step["request"], step["result"]) for step in json.loads(kept.read_text())]
    steps = record()
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps([{"request": step.request, "result": step.result} for step in steps]))
    return steps


def report(upstream: list[Step], ours: list[Step]) -> str:
    """Every difference that is not intended, a line each under its step's request; empty where there is none."""
    lines: list[str] = []
    differing = 0
    for number, (left, right) in enumerate(zip(upstream, ours, strict=False), 1):
        found = [
            f"    {place}\n        upstream: {theirs!r}\n        ours:     {mine!r}"
            for place, theirs, mine in differences(left.result, right.result)
            if not is_intended(left.request, place, theirs, mine)
            and not is_a_mistake_told(left.result, right.result, place)
        ]
        if found:
            lines += [f"step {number}: {left.request}", *found[:MAX_DIFFERENCES_OF_STEP]]
            differing += 1
            if differing == MAX_DIFFERING_STEPS:
                # After this the names of random values no longer count alike.
                break
    if len(upstream) != len(ours) and not lines:
        lines.append(f"upstream took {len(upstream)} steps and ours {len(ours)}")
    return "\n".join(lines)

"""Play a scenario on both sides and tell what differs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.realtime.differential.intended import is_intended
from tests.realtime.differential.playing import Stage, Step
from tests.realtime.differential.scenarios.registry import Scenario
from tests.realtime.differential.sequences import acts_of, play_together
from tests.realtime.differential.sides import Side
from tests.realtime.differential.values import differences

__all__ = ["played_on_both", "report", "sequence_on_both"]

MAX_DIFFERING_STEPS = int(os.environ.get("ISOBASE_DIFFERENTIAL_STEPS", "6"))
MAX_DIFFERENCES_OF_STEP = 40


@asynccontextmanager
async def _stage(side: Side, topic: str) -> AsyncIterator[Stage]:
    database = await asyncpg.connect(side.dsn)
    stage = Stage(side, topic, database)
    try:
        yield stage
    finally:
        await stage.end()
        await database.close()


async def played_on_both(scenario: Scenario, sides: tuple[Side, Side]) -> tuple[list[Step], list[Step]]:
    """The steps of a scenario on upstream and on ours; both play at the same time."""

    async def played(side: Side) -> list[Step]:
        async with _stage(side, scenario.name) as stage:
            await scenario.play(stage)
        return stage.steps

    upstream, ours = await asyncio.gather(*map(played, sides))
    return upstream, ours


async def sequence_on_both(seed: int, sides: tuple[Side, Side]) -> tuple[list[Step], list[Step]]:
    """The steps of a random sequence on upstream and on ours."""
    async with _stage(sides[0], f"sequence{seed}") as upstream, _stage(sides[1], f"sequence{seed}") as ours:
        await play_together((upstream, ours), acts_of(seed))
        return upstream.steps, ours.steps


def report(upstream: list[Step], ours: list[Step]) -> str:
    """Every difference that is not intended, a line each under its step; empty where there is none."""
    lines: list[str] = []
    differing = 0
    for number, (left, right) in enumerate(zip(upstream, ours, strict=False), 1):
        found = [
            f"    {place}\n        upstream: {theirs!r}\n        ours:     {mine!r}"
            for place, theirs, mine in differences(left.result, right.result)
            if not is_intended(left.label, place, theirs, mine)
        ]
        if found:
            lines += [f"step {number}: {left.label[:700]}", *found[:MAX_DIFFERENCES_OF_STEP]]
            differing += 1
            if differing == MAX_DIFFERING_STEPS:
                break
    if len(upstream) != len(ours) and not lines:
        lines.append(f"upstream took {len(upstream)} steps and ours {len(ours)}")
    return "\n".join(lines)

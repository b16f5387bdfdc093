"""Isobase beside the real supabase/realtime: the same frames, and the same answers (docs/testing.md)."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.realtime.differential.comparing import played_on_both, report, sequence_on_both
from tests.realtime.differential.scenarios import SCENARIOS, Scenario
from tests.realtime.differential.sides import Side

SEEDS = int(os.environ.get("ISOBASE_DIFFERENTIAL_SEEDS", "24"))
FIRST_SEED = int(os.environ.get("ISOBASE_DIFFERENTIAL_FIRST_SEED", "1"))
AT_ONCE = 6


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name) for one in SCENARIOS])
async def test_the_same_frames(scenario: Scenario, sides: tuple[Side, Side]) -> None:
    differing = report(*await played_on_both(scenario, sides))
    if differing:
        pytest.fail(f"\n{differing}", pytrace=False)


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SEEDS, AT_ONCE))
async def test_random_sequences_of_frames(first: int, sides: tuple[Side, Side]) -> None:
    seeds = range(first, min(first + AT_ONCE, FIRST_SEED + SEEDS))
    played = await asyncio.gather(*(sequence_on_both(seed, sides) for seed in seeds))
    differing = [seed for seed, steps in zip(seeds, played, strict=True) if report(*steps)]
    # Upstream ends its channels when it moves its database connection, every few minutes: what differs is played again.
    found = [f"seed {seed}\n{again}" for seed in differing if (again := report(*await sequence_on_both(seed, sides)))]
    if found:
        pytest.fail("\n" + "\n".join(found), pytrace=False)

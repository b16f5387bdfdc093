"""Sequences written by hand: the same frames as upstream's."""

from __future__ import annotations

import pytest

from tests.realtime.differential.comparing import played_on_both, report
from tests.realtime.differential.scenarios import SCENARIOS, Scenario
from tests.realtime.differential.sides import Side


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name) for one in SCENARIOS])
async def test_the_same_frames(scenario: Scenario, sides: tuple[Side, Side]) -> None:
    differing = report(*await played_on_both(scenario, sides))
    if differing:
        pytest.fail(f"\n{differing}", pytrace=False)

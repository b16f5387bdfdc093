"""Sequences written by hand, per endpoint: the same answers and the same rows as upstream's."""

from __future__ import annotations

import pytest

from tests.storage.differential.comparing import played, report
from tests.storage.differential.scenarios import SCENARIOS, Scenario
from tests.storage.differential.servers import Side


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name) for one in SCENARIOS])
def test_the_same_answers_and_rows(scenario: Scenario, sides: tuple[Side, Side]) -> None:
    upstream, ours = sides
    differing = report(played(scenario.play, upstream), played(scenario.play, ours))
    if differing:
        pytest.fail(f"\n{differing}", pytrace=False)

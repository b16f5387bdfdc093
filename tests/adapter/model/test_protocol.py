"""The write protocol, explored exhaustively within bounds: nothing acknowledged is lost, and every rule is needed."""

from __future__ import annotations

import os

import pytest

from tests.adapter.model.scenarios import LARGE, SMALL, WITNESSES, Scenario
from tests.adapter.model.state import Rule

SCENARIOS = LARGE if os.environ.get("ISOBASE_MODEL_SIZE") == "large" else SMALL
LIMIT = int(os.environ.get("ISOBASE_MODEL_STATES", "5000000"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_acknowledged_is_lost_and_both_sides_are_equal_after_the_drain(scenario: Scenario) -> None:
    finding = scenario.explore(limit=LIMIT)
    print(finding)
    assert not finding.violation, str(finding)
    # Larger bounds may be visited in part: what is nearest first.
    assert finding.is_complete or SCENARIOS is LARGE
    assert finding.settled > 1


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.name.lower())
def test_without_this_rule_the_protocol_goes_wrong(rule: Rule) -> None:
    scenario = next(one for one in SMALL if one.name == WITNESSES[rule])
    finding = scenario.explore(without=rule)
    print(f"Without: {rule}\n{finding}")
    assert finding.violation

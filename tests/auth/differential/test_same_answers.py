"""Sequences written by hand, per endpoint: the same answers and the same rows as GoTrue's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.auth.differential.comparing import played, recorded, report
from tests.auth.differential.conftest import Pairs
from tests.auth.differential.scenarios import SCENARIOS, Scenario

RECORDINGS = (
    Path(os.environ["ISOBASE_DIFFERENTIAL_RECORDINGS"]) if "ISOBASE_DIFFERENTIAL_RECORDINGS" in os.environ else None
)


@pytest.mark.parametrize("scenario", [pytest.param(one, id=f"{one.name}-{one.configuration}") for one in SCENARIOS])
def test_the_same_answers_and_rows(scenario: Scenario, pairs: Pairs) -> None:
    upstream, ours = pairs.of(scenario.configuration)
    pairs.mails.empty()
    theirs = recorded(scenario, lambda: played(scenario.play, upstream, pairs.mails), RECORDINGS)
    pairs.mails.empty()
    differing = report(theirs, played(scenario.play, ours, pairs.mails))
    if differing:
        pytest.fail(f"\n{differing}", pytrace=False)

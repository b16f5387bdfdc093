"""Requests of a seeded generator: the same answers and the same rows as GoTrue's.

ISOBASE_DIFFERENTIAL_SEED asks for other requests, ISOBASE_DIFFERENTIAL_EXAMPLES for so many sequences per endpoint.
"""

from __future__ import annotations

import os

import pytest

from tests.auth.differential.comparing import played, report
from tests.auth.differential.conftest import Pairs
from tests.auth.differential.generated import AREAS, generated_play

SEED = os.environ.get("ISOBASE_DIFFERENTIAL_SEED", "1")
EXAMPLES = int(os.environ.get("ISOBASE_DIFFERENTIAL_EXAMPLES", "1"))


@pytest.mark.parametrize("configuration", ["confirming_open", "autoconfirm"])
@pytest.mark.parametrize("area", AREAS)
def test_generated_requests_get_the_same_answers(area: str, configuration: str, pairs: Pairs) -> None:
    upstream, ours = pairs.of(configuration)
    for number in range(EXAMPLES):
        play = generated_play(AREAS[area], f"{SEED}-{number}-{area}-{configuration}")
        pairs.mails.empty()
        differing = report(played(play, upstream, pairs.mails), played(play, ours, pairs.mails))
        if differing:
            pytest.fail(f"\nsequence {number}\n{differing}", pytrace=False)

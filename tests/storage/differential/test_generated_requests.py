"""Requests of a seeded generator: the same answers and the same rows as upstream's.

ISOBASE_DIFFERENTIAL_SEED asks for other requests, ISOBASE_DIFFERENTIAL_EXAMPLES for so many sequences per endpoint.
"""

from __future__ import annotations

import os

import pytest

from tests.storage.differential.comparing import played, report
from tests.storage.differential.generated import AREAS, generated_play
from tests.storage.differential.servers import Side

SEED = os.environ.get("ISOBASE_DIFFERENTIAL_SEED", "1")
EXAMPLES = int(os.environ.get("ISOBASE_DIFFERENTIAL_EXAMPLES", "1"))


@pytest.mark.parametrize("area", AREAS)
def test_generated_requests_get_the_same_answers(area: str, sides: tuple[Side, Side]) -> None:
    upstream, ours = sides
    for number in range(EXAMPLES):
        play = generated_play(AREAS[area], f"{SEED}-{number}-{area}")
        differing = report(played(play, upstream), played(play, ours))
        if differing:
            pytest.fail(f"\nsequence {number}\n{differing}", pytrace=False)

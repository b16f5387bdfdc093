"""Requests that nobody thought of: a seeded generator asks both servers, and both must say and do the same.

The requests are the same in every run (``derandomize``), unless ISOBASE_DIFFERENTIAL_SEED asks for others;
ISOBASE_DIFFERENTIAL_EXAMPLES multiplies their number. Where version 14 answers otherwise than 12.0.2, the table of
``generated.differences`` says so, with its reason, and says what is then still compared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.database.differential.conftest import Pair
from tests.database.differential.generated.aggregating import aggregates
from tests.database.differential.generated.breaking import broken
from tests.database.differential.generated.calling import calls
from tests.database.differential.generated.compare import ask, disagreement
from tests.database.differential.generated.reading import reads
from tests.database.differential.generated.request import Request
from tests.database.differential.generated.writing import writes

SEED = os.environ.get("ISOBASE_DIFFERENTIAL_SEED")
FACTOR = float(os.environ.get("ISOBASE_DIFFERENTIAL_EXAMPLES", "1"))
AREA_LIMIT_S = 12.0 * max(FACTOR, 1)
"""After this an area asks nothing more: a slow machine compares fewer requests, and the suite stays short."""

AREAS: dict[str, tuple[SearchStrategy[Request], int]] = {
    "reads": (reads(), 500),
    "aggregates": (aggregates(), 200),
    "writes": (writes(), 300),
    "calls": (calls(), 300),
    "broken": (broken(), 400),
}


def _generated(
    requests: SearchStrategy[Request], examples: int
) -> Callable[[Callable[[Request], None]], Callable[[], None]]:
    """Hypothesis with the suite's settings."""

    def wrap(test: Callable[[Request], None]) -> Callable[[], None]:
        run = settings(
            max_examples=max(1, int(examples * FACTOR)),
            derandomize=SEED is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )(given(requests)(test))
        return seed(int(SEED))(run) if SEED is not None else run

    return wrap


@pytest.mark.parametrize("area", AREAS)
def test_generated_requests_are_answered_as_postgrest_answers_them(pair: Pair, area: str) -> None:
    requests, examples = AREAS[area]
    end_s = time.monotonic() + AREA_LIMIT_S
    failed: list[Request] = []

    @_generated(requests, examples)
    def compare(request: Request) -> None:
        if time.monotonic() > end_s and not failed:
            return
        theirs, ours = ask(pair, request)
        difference = disagreement(request, theirs, ours)
        if difference is not None:
            failed.append(request)
        assert difference is None, f"{request}\n{difference}"

    pair.refill_lab()
    compare()

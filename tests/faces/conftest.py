"""What these tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plugins.patience import patient_httpx


@pytest.fixture(scope="package", autouse=True)
def patient_defaults() -> Iterator[None]:
    """Let a machine that stands still be no failure of calls for which no test says a time."""
    with patient_httpx():
        yield

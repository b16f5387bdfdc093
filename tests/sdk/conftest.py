"""What all tests of the SDK have in common."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

import isobase._async.parts
import isobase._sync.parts

STALL_S = 30.0
"""Machines that run this suite beside other work stand still for longer than httpx's five seconds."""


@pytest.fixture(scope="session", autouse=True)
def patient_defaults() -> Iterator[None]:
    """Let a machine that stands still be no failure of calls for which no test says a time: neither client's own."""
    with pytest.MonkeyPatch.context() as patch:
        for step in httpx.Timeout(STALL_S).as_dict():
            patch.setattr(DEFAULT_TIMEOUT_CONFIG, step, STALL_S)
        for module in (isobase._async.parts, isobase._sync.parts):
            patch.setattr(module, "AUTH_STEP_TIMEOUT_S", STALL_S)
        yield

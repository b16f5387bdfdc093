"""Time for what must come, and for calls of which no test says how much they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

__all__ = ["STALL_S", "patient_defaults", "patient_httpx", "until"]

STALL_S = 60.0
"""Machines that run this suite beside other work stand still for longer than httpx's five seconds."""


async def until(condition: Callable[[], object], timeout_s: float = STALL_S) -> None:
    """Wait for what must come."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextmanager
def patient_httpx() -> Iterator[pytest.MonkeyPatch]:
    """Let a machine that stands still fail no call of httpx, in this process, that has httpx's own limit; more may be
    patched for as long as the block runs.
    """
    with pytest.MonkeyPatch.context() as patch:
        for step in httpx.Timeout(STALL_S).as_dict():
            patch.setattr(DEFAULT_TIMEOUT_CONFIG, step, STALL_S)
        yield patch


@pytest.fixture(scope="package", autouse=True)
def patient_defaults() -> Iterator[None]:
    """``patient_httpx`` for the tests of each folder whose conftest has this."""
    with patient_httpx():
        yield

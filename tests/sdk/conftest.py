"""What all tests of the SDK have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

import isobase._async.parts
import isobase._sync.parts
from tests.sdk.upstream.expected import DIFFERENT
from tests.sdk.upstream.servers import gotrue_named, postgrest_named, realtime_named

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


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Expect a named upstream server to answer otherwise where it is known to; a listed test that passes fails the run."""
    named = {"auth": gotrue_named(), "postgrest": postgrest_named(), "realtime": realtime_named()}
    for item in items:
        _, _, place = item.nodeid.partition("tests/sdk/")
        reason = DIFFERENT.get((place.partition("/")[0], getattr(item, "originalname", item.name)))
        if reason is not None and named[place.partition("/")[0]] is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

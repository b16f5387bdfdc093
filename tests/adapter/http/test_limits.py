"""Time limits of requests, and how long the outbox has to keep a write's intent for them."""

from __future__ import annotations

import httpx
import pytest

from isobase_adapter.http.limits import hurried, lease_of


def request_of(limits: dict[str, float | None]) -> httpx.Request:
    return httpx.Request("POST", "http://x/", content=b"1", extensions={"timeout": limits})


@pytest.mark.parametrize("read_s, lease_s", [(5, None), (120, None), (600, 660), (100_000, 3600), (None, 3600)])
def test_a_write_that_may_wait_for_long_is_kept_for_longer(read_s: float | None, lease_s: float | None) -> None:
    assert lease_of(request_of({"read": read_s})) == lease_s


def test_a_hurried_request_keeps_limits_that_are_shorter() -> None:
    limits = hurried(request_of({"connect": 1, "read": None, "write": 60}), 5).extensions["timeout"]
    assert limits == {"connect": 1, "read": 5, "write": 5, "pool": 5}

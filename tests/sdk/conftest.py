"""What all tests of the SDK have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import isobase._async.parts
import isobase._http._async.features
import isobase._http._sync.features
import isobase._sync.parts
import isobase_services.auth.routing
from isobase.realtime._async.socket import RealtimeSocket
from isobase.realtime.types import DEFAULT_TIMEOUT
from tests.plugins.patience import STALL_S, patient_httpx
from tests.sdk.upstream.expected import DIFFERENT
from tests.sdk.upstream.servers import gotrue_named, postgrest_named, realtime_named


@pytest.fixture(scope="package", autouse=True)
def patient_defaults() -> Iterator[None]:
    """Let a machine that stands still be no failure of calls for which no test says a time: neither client's own."""
    with patient_httpx() as patch:
        for module in (isobase._async.parts, isobase._sync.parts):
            patch.setattr(module, "AUTH_STEP_TIMEOUT_S", STALL_S)
        for features in (isobase._http._async.features, isobase._http._sync.features):
            patch.setattr(features, "ASKING_TIMEOUT_S", STALL_S)
        patch.setattr(isobase_services.auth.routing, "MAX_REQUEST_DURATION_S", STALL_S)
        begin = RealtimeSocket.__init__

        def begin_patiently(self: RealtimeSocket, *arguments: Any, timeout: float, **settings: Any) -> None:
            begin(self, *arguments, timeout=STALL_S if timeout == DEFAULT_TIMEOUT else timeout, **settings)

        patch.setattr(RealtimeSocket, "__init__", begin_patiently)
        yield


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Expect a named upstream server to answer otherwise where it is known to; a listed test that passes fails the run."""
    named = {"auth": gotrue_named(), "postgrest": postgrest_named(), "realtime": realtime_named()}
    for item in items:
        _, _, place = item.nodeid.partition("tests/sdk/")
        reason = DIFFERENT.get((place.partition("/")[0], getattr(item, "originalname", item.name)))
        if reason is not None and named[place.partition("/")[0]] is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

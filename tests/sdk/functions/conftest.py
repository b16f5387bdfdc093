"""One function server for the module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.functions.server import FunctionServer, function_server


@pytest.fixture(scope="module")
def running() -> Iterator[FunctionServer]:
    """The server, for all tests of a module."""
    with function_server() as server:
        yield server


@pytest.fixture
def functions(running: FunctionServer) -> FunctionServer:
    """The server, with nothing heard yet."""
    running.heard.clear()
    running.gone.clear()
    running.release.clear()
    return running

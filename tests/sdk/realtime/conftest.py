"""A realtime service in a thread of its own for async and sync tests alike, and a relay that breaks connections."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from tests.plugins.stack import DatabaseServer, fresh_database
from tests.realtime.conftest import CLAIMS_DECIDE, SCHEMA, Stack, running_stack
from tests.sdk.realtime.cutter import Cutter, Loop, background_loop, cutter
from tests.sdk.upstream.gateway import running_gateway
from tests.sdk.upstream.servers import UpstreamStack, realtime_named

WAIT_S = 60.0
AWAY = """
drop table if exists public.notes, public.board;
drop policy if exists r on realtime.messages;
drop policy if exists w on realtime.messages;
"""
_names = itertools.count(1)


@dataclass
class Service:
    """The running service for tests of the clients."""

    loop: Loop
    stack: Stack | UpstreamStack

    @property
    def url(self) -> str:
        """The URL of the realtime service."""
        return f"{self.stack.url}/realtime/v1"

    @property
    def anon_key(self) -> str:
        return self.stack.anon_key

    @property
    def service_key(self) -> str:
        return self.stack.token(role="service_role")

    def token(self, *arguments: Any, **claims: Any) -> str:
        return self.stack.token(*arguments, **claims)

    def sql(self, text: str, *arguments: object) -> list[Any]:
        """Run a statement as the owner."""
        return self.loop.run(self.stack.sql(text, *arguments))

    async def asql(self, text: str, *arguments: object) -> list[Any]:
        """Run a statement as the owner, without holding the test's loop."""
        return await asyncio.to_thread(self.sql, text, *arguments)


@pytest.fixture(scope="session")
def service(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of the clients; tests use topics and rows of their own.

    It is the real supabase/realtime where ``make test-sdk-upstream`` names one.
    """
    if (upstream := realtime_named()) is not None:
        with (
            background_loop() as loop,
            running_gateway({"/realtime/v1/api": f"{upstream}/api", "/realtime/v1": f"{upstream}/socket"}) as url,
        ):
            upstream_stack = UpstreamStack(url, loop.run(asyncpg.connect(os.environ["REALTIME_UPSTREAM_DATABASE_URL"])))
            loop.run(upstream_stack.sql(AWAY + SCHEMA + CLAIMS_DECIDE))
            try:
                yield Service(loop, upstream_stack)
            finally:
                loop.run(upstream_stack.sql(AWAY))
                loop.run(upstream_stack.owner.close())
        return
    with fresh_database(postgres, tmp_path_factory.mktemp("sdk-realtime")) as settings, background_loop() as loop:
        stacks = AsyncExitStack()
        stack = loop.run(
            stacks.enter_async_context(
                running_stack(
                    settings, max_presence_calls=1_000, max_channels_per_socket=2_000, max_payload_bytes=20_000
                )
            )
        )
        loop.run(_prepare(stack))
        try:
            yield Service(loop, stack)
        finally:
            loop.run(stacks.aclose())


async def _prepare(stack: Stack) -> None:
    await stack.owner.execute(SCHEMA + CLAIMS_DECIDE)


@pytest.fixture
def relay(service: Service) -> Iterator[Cutter]:
    """A relay before the service."""
    with cutter(service.loop, service.stack.port) as running:
        yield running


@pytest.fixture
def topic() -> str:
    """A topic of the test's own; its private form may be read and written by tokens whose claims say so."""
    return f"room-{next(_names)}-{time.time_ns()}"


@dataclass
class Events:
    """Collects what callbacks are given; the waits work from async and sync tests."""

    seen: list[Any] = field(default_factory=list)

    def __call__(self, *arguments: Any) -> None:
        self.seen.append(arguments[0] if len(arguments) == 1 else arguments)

    def __len__(self) -> int:
        return len(self.seen)

    async def until(self, holds: Callable[[list[Any]], bool], timeout_s: float = WAIT_S) -> list[Any]:
        """Wait until ``holds`` of all that was seen."""
        deadline = time.monotonic() + timeout_s
        while not (self.seen and holds(self.seen)):
            assert time.monotonic() < deadline, f"not seen: {self.seen}"
            await asyncio.sleep(0.01)
        return self.seen

    def wait(self, holds: Callable[[list[Any]], bool], timeout_s: float = WAIT_S) -> list[Any]:
        """As ``until``, in sync tests."""
        deadline = time.monotonic() + timeout_s
        while not (self.seen and holds(self.seen)):
            assert time.monotonic() < deadline, f"not seen: {self.seen}"
            time.sleep(0.01)
        return self.seen

    def count(self, number: int) -> Callable[[list[Any]], bool]:
        """A condition: at least so many."""
        return lambda seen: len(seen) >= number


@pytest.fixture
def events() -> Callable[[], Events]:
    """Make collectors."""
    return Events

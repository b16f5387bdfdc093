"""Token buckets in the store, and in a process's memory while the store does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.errors import Unavailable
from isobase_platform.limits import MAX_LOCAL_BUCKETS, MAX_REFUSAL_S, STORE_PAUSE_S, Rate, RateLimiter
from isobase_platform.runtime import Platform
from isobase_platform.store import KeyValueStore
from tests.plugins.redis import RedisServer

WAIT_S = 60.0
CLOCKS_APART_S = 0.02
"""What the clock here and the store's may differ by."""


def failures() -> Counter:
    return Counter("failures", "", registry=CollectorRegistry())


@pytest.fixture(params=["postgresql", "redis"])
async def stores(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[tuple[KeyValueStore, ...]]:
    """The stores of two processes."""
    settings = database
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings = database.model_copy(update={"redis_url": SecretStr(server.url)})
    async with Platform.open(settings) as one, Platform.open(settings) as other:
        yield one.store, other.store


async def test_of_many_calls_at_once_from_two_processes_the_burst_passes(stores: tuple[KeyValueStore, ...]) -> None:
    limiters = [RateLimiter(store, failures()) for store in stores]
    rate = Rate(events=1, per_s=3600, burst=7)
    answers = await asyncio.gather(*(limiters[n % 2].allows("k", rate) for n in range(40)))
    assert sum(answers) == 7
    assert await limiters[0].allows("another", rate)


async def test_a_bucket_gets_its_tokens_back_one_by_one(stores: tuple[KeyValueStore, ...]) -> None:
    limiter = RateLimiter(stores[0], failures())
    rate = Rate(events=4, per_s=1.2, burst=2)
    began_s = monotonic()

    def most() -> int:
        """The burst, and a token for each interval since ``began_s``."""
        return 2 + int((monotonic() - began_s + CLOCKS_APART_S) / 0.3)

    passed = 0
    async with asyncio.timeout(WAIT_S):
        while passed < 6:
            passed += await limiter.allows("k", rate)
            assert passed <= most()
    await asyncio.sleep(0.7)
    began_s = monotonic()
    assert 2 <= sum([await limiter.allows("k", rate) for _ in range(4)]) <= most(), "no more than the burst is saved"


async def test_refused_calls_do_not_prolong_the_wait(stores: tuple[KeyValueStore, ...]) -> None:
    limiter = RateLimiter(stores[0], failures())
    rate = Rate(events=1, per_s=0.4, burst=1)
    began_s = monotonic()
    assert await limiter.allows("k", rate)
    async with asyncio.timeout(WAIT_S):
        while not await limiter.allows("k", rate):
            await asyncio.sleep(0.01)
    assert monotonic() - began_s >= 0.4 - CLOCKS_APART_S


async def test_a_look_takes_nothing(stores: tuple[KeyValueStore, ...]) -> None:
    limiters = [RateLimiter(store, failures()) for store in stores]
    rate = Rate(events=1, per_s=3600, burst=2)
    for _ in range(2):
        assert [await limiter.would_allow("k", rate) for limiter in limiters] == [True, True]
        assert await limiters[0].allows("k", rate)
    assert [await limiter.would_allow("k", rate) for limiter in limiters] == [False, False]
    assert not await limiters[0].would_allow("k", Rate(events=0, per_s=1, burst=1))


async def test_a_look_while_the_store_is_away_is_at_the_processs_own_buckets() -> None:
    limiter = RateLimiter(NoStore(), failures())  # type: ignore[arg-type]
    rate = Rate(events=1, per_s=3600, burst=1)
    assert await limiter.would_allow("k", rate)
    assert await limiter.allows("k", rate)
    assert not await limiter.would_allow("k", rate)


class CountingStore:
    """A store whose buckets are empty; it counts the questions."""

    kind = "counting"

    def __init__(self) -> None:
        self.asked = 0

    async def spend(self, key: str, interval_s: float, burst: int) -> bool:
        self.asked += 1
        return False


async def test_a_flood_of_refused_calls_does_not_reach_the_store() -> None:
    now_s = 1000.0
    store = CountingStore()
    limiter = RateLimiter(store, failures(), clock=lambda: now_s)  # type: ignore[arg-type]
    rate = Rate(events=30, per_s=300, burst=30)
    assert [await limiter.allows("k", rate) for _ in range(100)] == [False] * 100
    assert store.asked == 1
    assert not await limiter.allows("another", rate)
    assert store.asked == 2
    now_s += MAX_REFUSAL_S
    assert not await limiter.allows("k", rate)
    assert store.asked == 3


async def test_never_is_never(stores: tuple[KeyValueStore, ...]) -> None:
    assert not await RateLimiter(stores[0], failures()).allows("k", Rate(events=0, per_s=3600, burst=30))


async def test_while_the_store_is_away_a_process_limits_by_itself(
    redis_server: RedisServer, database: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database.model_copy(update={"redis_url": SecretStr(redis_server.url)})
    now_s = 1000.0
    counter = failures()
    rate = Rate(events=1, per_s=60, burst=3)
    async with Platform.open(settings) as platform:
        limiter = RateLimiter(platform.store, counter, clock=lambda: now_s)
        redis_server.stop()
        try:
            with caplog.at_level(logging.WARNING, "isobase.limits"):
                answers = [await limiter.allows("k", rate) for _ in range(5)]
        finally:
            redis_server.start()
        # Neither locked out nor let through: the same numbers, counted here; and the store was asked once only.
        assert answers == [True, True, True, False, False]
        assert len(caplog.records) == 1
        assert next(iter(counter.collect())).samples[0].value == 1
        now_s += STORE_PAUSE_S
        assert [await limiter.allows("k", rate) for _ in range(4)] == [True, True, True, False]


class NoStore:
    """A store that is never there."""

    kind = "none"

    async def spend(self, key: str, interval_s: float, burst: int) -> bool:
        raise Unavailable("away")

    async def can_spend(self, key: str, interval_s: float, burst: int) -> bool:
        raise Unavailable("away")


async def test_the_memory_of_a_process_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_platform.limits.MAX_LOCAL_BUCKETS", 10)
    assert MAX_LOCAL_BUCKETS > 10
    limiter = RateLimiter(NoStore(), failures())  # type: ignore[arg-type]
    rate = Rate(events=1, per_s=60, burst=1)
    for number in range(50):
        assert await limiter.allows(str(number), rate)
    assert len(limiter._full_again_at_s) == 10

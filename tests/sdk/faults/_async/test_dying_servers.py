"""Whole clients in bad weather whose servers die and come back: what was acknowledged stays, and everything goes on."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.plugins.process import IsobaseProcess
from tests.plugins.redis import RedisServer
from tests.plugins.wire_proxy import wire_proxy
from tests.sdk.faults._async.voyage import TIMEOUT_S, sail
from tests.sdk.faults.conftest import FIRST_SEED, SEEDS
from tests.sdk.faults.ledger import make_tables
from tests.sdk.faults.weather import Weather

READY_TIMEOUT_S = 60.0
BY_HAND = "ISOBASE_SDK_CHAOS_SEEDS" in os.environ
AWAY_S = (0.1, 1.0)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer | None]:
    """A Redis of the test's own where the machine has one; without it PostgreSQL does its part."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    server = RedisServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


def until_ready(isobase: IsobaseProcess) -> None:
    """Wait until the server and its database answer."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            if httpx.get(f"{isobase.url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.skipif(not BY_HAND, reason="kills servers for half a minute: make chaos-sdk runs it")
@pytest.mark.parametrize("seed", [FIRST_SEED + seed for seed in SEEDS])
async def test_in_a_storm_clients_live_through_servers_that_die(
    project_dir: Path, redis: RedisServer | None, seed: int
) -> None:
    environment = {} if redis is None else {"ISOBASE_REDIS_URL": redis.url}
    isobase = IsobaseProcess(project_dir, environment=environment)
    choose = random.Random(seed)

    def kill_server() -> None:
        isobase.kill_hard(postgres=False)
        time.sleep(choose.uniform(*AWAY_S))
        isobase.start()

    def kill_postgres() -> None:
        isobase.kill_hard(server=False)
        until_ready(isobase)

    def kill_everything() -> None:
        isobase.kill_hard()
        isobase.start()

    def stop_redis() -> None:
        assert redis is not None
        redis.stop()
        time.sleep(choose.uniform(*AWAY_S))
        redis.start()

    blows = {"kill server": kill_server, "kill PostgreSQL": kill_postgres, "kill everything": kill_everything}
    if redis is not None:
        blows["stop Redis"] = stop_redis
    try:
        stack = isobase.start()
        make_tables(stack)
        with wire_proxy(stack.url) as network:
            weather = Weather(network, stack.url, seed, rate=0.05, freeze_s=TIMEOUT_S * 1.3, blows=blows)
            await sail(stack, network.url, seed, weather, servers_die=True)
    finally:
        isobase.stop()

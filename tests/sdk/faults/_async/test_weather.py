"""Whole clients in bad weather: whatever they do, nothing is lost, done twice, or left behind, and nothing hangs."""

from __future__ import annotations

import time

import pytest

from isobase._acompat import asleep
from isobase._async.client import AsyncClient
from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import wire_proxy
from tests.sdk.faults._async.load import AsyncLoad
from tests.sdk.faults._async.voyage import TIMEOUT_S, Subscriber, sail, until
from tests.sdk.faults.conftest import FIRST_SEED, SEEDS
from tests.sdk.faults.ledger import make_tables
from tests.sdk.faults.weather import Weather
from tests.sdk.faults.workers import AsyncRemains

CLOSE_S = 40.0


@pytest.mark.parametrize("seed", [FIRST_SEED + seed for seed in SEEDS])
async def test_in_a_storm_clients_lose_nothing_repeat_nothing_and_leave_nothing_behind(stack: Stack, seed: int) -> None:
    make_tables(stack)
    with wire_proxy(stack.url) as network:
        weather = Weather(network, stack.url, seed, freeze_s=TIMEOUT_S * 1.3)
        await sail(stack, network.url, seed, weather, servers_die=False)


# [async]
@pytest.mark.parametrize("refuses", [False, True], ids=["silent", "refusing"])
# [/async]
# [sync] @pytest.mark.parametrize("refuses", [False], ids=["silent"])
async def test_clients_close_soon_and_leave_nothing_behind_whatever_the_network_does(
    stack: Stack, refuses: bool
) -> None:
    make_tables(stack)
    with wire_proxy(stack.url) as network:
        remains = AsyncRemains(network.url)
        load = AsyncLoad(
            stack,
            network.url,
            "close",
            1,
            operations=1,
            timeout_s=TIMEOUT_S,
            large_bytes=1,
            servers_die=False,
        )
        watcher = AsyncClient(network.url, stack.service_role_key)
        subscriber = Subscriber("close")
        await load.begin()
        await subscriber.subscribe(watcher)
        await until(lambda: subscriber.is_live, "subscribed")
        network.refuses = refuses
        network.is_silent = not refuses
        if refuses:
            network.cut_all()
        try:
            await asleep(0.5)  # what comes back by itself is under way
            began = time.monotonic()
            await load.close()
            await watcher.aclose()
            assert time.monotonic() - began < CLOSE_S
        finally:
            network.heals()
        await remains.check()

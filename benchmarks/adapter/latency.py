"""What a migration client adds to a call, in each stage, beside the official client: one caller, turns of both mixed.

Two running Isobase stand for the two sides. In stage ``off`` the same request goes to the same server by both clients, so the
difference is the adapter's own; in the others the second side's part is in it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import supabase
from supabase.lib.client_options import SyncClientOptions

from isobase_adapter import MigrationSettings, create_async_migration_client, create_migration_client
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, wait_for_stage
from tests.adapter.pair import Pair, running_pair

__all__ = ["Latency", "measure_latency"]

WARM_UP_CALLS = 50
HEADERS = {"content-type": "application/json; charset=utf-8", "content-range": "0-0/*"}


@dataclass(slots=True)
class Latency:
    """Times of one kind of call in one stage, in seconds."""

    stage: Stage
    form: str
    call: str
    official: list[float] = field(default_factory=list)
    moving: list[float] = field(default_factory=list)

    @property
    def added_ms(self) -> float:
        """The medians' difference, in milliseconds."""
        return 1000 * (statistics.median(self.moving) - statistics.median(self.official))


def measure_latency(calls: int) -> list[Latency]:
    """Measure ``calls`` calls of each kind, form and stage."""
    found: list[Latency] = []
    with running_pair() as pair:
        owner = str(uuid.uuid4())
        for side in (pair.supabase, pair.isobase):
            side.query(
                "insert into public.orders (owner_id, net) select %s, n from generate_series(1, 100) as n", owner
            )
            side.query("insert into public.kinds (id, price) select n, n from generate_series(1, 1000) as n")
        found.append(_alone(pair, 4 * calls))
        for stage in Stage:
            set_stage(pair, "table:public.*", stage)
            found += _sync(pair, stage, calls)
            found += asyncio.run(_async(pair, stage, calls))
    return found


def _alone(pair: Pair, calls: int) -> Latency:
    """Stage ``off`` without a network: prepared answers, so that what is added stands alone."""
    url, key = pair.supabase.url, pair.supabase.service_role_key

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=HEADERS, stream=httpx.ByteStream(b'[{"id":1,"price":2}]'))

    def options() -> SyncClientOptions:
        return SyncClientOptions(httpx_client=httpx.Client(transport=httpx.MockTransport(answer)))

    official = supabase.create_client(url, key, options())
    settings = MigrationSettings.from_environment(pair.environment())
    moving = create_migration_client(url, key, options(), migration=settings)
    try:
        return _measured_sync(Stage.OFF, "sync, no network", "read", official, moving, calls)
    finally:
        moving.migration.close()


def _sync(pair: Pair, stage: Stage, calls: int) -> list[Latency]:
    url, key = pair.supabase.url, pair.supabase.service_role_key
    official = supabase.create_client(url, key)
    moving = create_migration_client(url, key, migration=MigrationSettings.from_environment(pair.environment()))
    try:
        wait_for_stage(moving, "table:kinds", stage)
        return [_measured_sync(stage, "sync", call, official, moving, calls) for call in CALLS]
    finally:
        moving.migration.close()


def _measured_sync(stage: Stage, form: str, call: str, official: Any, moving: Any, calls: int) -> Latency:
    latency = Latency(stage, form, call)
    for number in range(WARM_UP_CALLS + calls):
        for client, times in _in_turn(number, official, latency.official, moving, latency.moving):
            query = CALLS[call](client, number)
            began = time.perf_counter()
            query.execute()
            if number >= WARM_UP_CALLS:
                times.append(time.perf_counter() - began)
    return latency


async def _async(pair: Pair, stage: Stage, calls: int) -> list[Latency]:
    url, key = pair.supabase.url, pair.supabase.service_role_key
    official = await supabase.create_async_client(url, key)
    moving = await create_async_migration_client(
        url, key, migration=MigrationSettings.from_environment(pair.environment())
    )
    try:
        wait_for_stage(moving, "table:kinds", stage)
        found = []
        for call in CALLS:
            latency = Latency(stage, "async", call)
            for number in range(WARM_UP_CALLS + calls):
                for client, times in _in_turn(number, official, latency.official, moving, latency.moving):
                    query: Any = CALLS[call](client, number)
                    execute: Callable[[], Awaitable[Any]] = query.execute
                    began = time.perf_counter()
                    await execute()
                    if number >= WARM_UP_CALLS:
                        times.append(time.perf_counter() - began)
            found.append(latency)
        return found
    finally:
        await moving.migration.aclose()


def _in_turn(
    number: int, official: Any, official_times: list[float], moving: Any, moving_times: list[float]
) -> list[tuple[Any, list[float]]]:
    """Both clients, the other one first each time."""
    if number % 100 == 0:
        gc.collect()
    both = [(official, official_times), (moving, moving_times)]
    return both if number % 2 else both[::-1]


CALLS: dict[str, Callable[[Any, int], Any]] = {
    "read": lambda client, number: client.table("kinds").select("id,price").eq("id", number % 1000 + 1),
    "update": lambda client, number: client.table("kinds").update({"price": number}).eq("id", number % 1000 + 1),
}

"""Clients that do everything at once in bad weather, and what has to hold afterwards."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable

import psutil

from isobase._acompat import ablocking, asleep
from isobase._async.client import AsyncClient
from isobase.realtime import PostgresChangesPayload, RealtimeGap, SuccessSystemPayload
from tests.plugins.stack import Stack
from tests.sdk.faults._async.load import AsyncLoad
from tests.sdk.faults.conftest import OPERATIONS
from tests.sdk.faults.ledger import Done, Tally, done_of, write_row
from tests.sdk.faults.weather import Weather
from tests.sdk.faults.workers import AsyncRemains, AsyncWorkers

__all__ = ["TIMEOUT_S", "Subscriber", "sail", "until"]

TIMEOUT_S = 1.5
SLACK_S = float(os.environ.get("ISOBASE_SDK_CHAOS_SLACK_S", "30"))
"""A call that ends so much later than its time hangs; machines may be slow."""
WAIT_S = 60.0
LARGE_BYTES = int(os.environ.get("ISOBASE_SDK_CHAOS_LARGE_BYTES", "1000000"))
SUBSCRIBERS = 3


class Subscriber:
    """What one channel heard of a run's rows."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.heard: list[tuple[str, str, int]] = []
        self.gaps: list[RealtimeGap] = []
        self.is_live = False

    async def subscribe(self, client: AsyncClient) -> None:
        """Follow the run's rows."""
        channel = client.channel(f"weather {uuid.uuid4()}")
        channel.on_postgres_changes("*", self._change, table="weather_rows", filter=f"run=eq.{self.run}")
        await channel.on_system(self._system).on_gap(self.gaps.append).subscribe()

    def _change(self, change: PostgresChangesPayload) -> None:
        data = change["data"]
        record = data.get("record") or {}
        self.heard.append((data["type"].value, str(record["tag"]), int(str(record["value"]))))

    def _system(self, payload: SuccessSystemPayload) -> None:
        self.is_live = self.is_live or payload.message == "Subscribed to PostgreSQL"


def rss_mib() -> int:
    """The memory of this process."""
    return int(psutil.Process().memory_info().rss / 2**20)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        await asleep(0.02)


def check_writes(tally: Tally, done: Done) -> None:
    """What was acknowledged was done, once; what was asked for at most once; nothing else was done."""
    twice = {what: count for what, count in done.items() if count > 1}
    assert not twice, f"done twice: {twice}"
    assert not tally.acknowledged - set(done), f"lost: {tally.acknowledged - set(done)}"
    assert set(done) <= tally.asked | {("INSERT", "last", 0)}


def check_heard(subscribers: list[Subscriber], done: Done) -> None:
    """Every subscriber heard everything once, in the one order there was."""
    for subscriber in subscribers:
        assert Counter(subscriber.heard) == done, (
            f"missed {done - Counter(subscriber.heard)}, beyond {Counter(subscriber.heard) - done}"
        )
        assert subscriber.gaps == []
        assert subscriber.heard == subscribers[0].heard


async def settled(subscribers: list[Subscriber], look: Callable[[], Done]) -> Done:
    """What was done once everybody has heard of it: a request that was on its way may be done very late. Where they never
    agree, ``check_heard`` says on what.
    """
    deadline_s = time.monotonic() + WAIT_S
    while True:
        done = await ablocking(look)
        if all(Counter(one.heard) == done for one in subscribers) or time.monotonic() > deadline_s:
            return done
        await asleep(0.1)


async def sail(stack: Stack, url: str, seed: int, weather: Weather, *, servers_die: bool) -> None:
    """Let all clients work in this weather, and look at what came of it."""
    run = f"weather-{uuid.uuid4()}"
    remains = AsyncRemains(url)
    load = AsyncLoad(
        stack,
        url,
        run,
        seed,
        operations=OPERATIONS,
        timeout_s=TIMEOUT_S,
        large_bytes=LARGE_BYTES,
        servers_die=servers_die,
    )
    watchers = [AsyncClient(url, stack.service_role_key) for _ in range(SUBSCRIBERS)]
    subscribers = [Subscriber(run) for _ in watchers]
    try:
        await load.begin()
        for client, subscriber in zip(watchers, subscribers, strict=True):
            await subscriber.subscribe(client)
        await until(lambda: all(one.is_live for one in subscribers), "subscribed")
        weather.begin()
        try:
            await AsyncWorkers.run(load.work, len(load.jobs))
        finally:
            weather.end()
        await asleep(0.5)  # requests that were on their way may still be done
        await load.check_session()
        await load.check_files()
        await load.talk.check()
        write_row(stack, run, "last")
        last = ("INSERT", "last", 0)
        await until(lambda: all(last in one.heard for one in subscribers), "a subscription is lost")
        done = await settled(subscribers, lambda: done_of(stack, run))
        check_writes(load.tally, done)
        check_heard(subscribers, done)
        assert load.tally.late_s < SLACK_S, f"{load.tally.late_s:.1f} s too late: {load.tally.latest}"
    except BaseException:
        print(f"seed {seed}", *weather.history, sep="\n")
        raise
    finally:
        await load.close()
        for client in watchers:
            await client.aclose()
    await remains.check()
    print(
        f"seed {seed}: {sum(weather.faults.values())} faults {dict(weather.faults)}, {sum(load.tally.calls.values())} calls,"
        f" lost answers {dict(load.tally.lost)}, latest {load.tally.late_s:+.2f} s {load.tally.latest},"
        f" {sum(done.values())} rows written, {weather.network.accepted} connections, {rss_mib()} MiB"
    )

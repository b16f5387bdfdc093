"""The bus goes away and comes back: sockets of one process never notice, those of others are made right again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from tests.plugins.patience import until
from tests.plugins.redis import RedisServer
from tests.realtime.client import PATIENCE_S, Phoenix
from tests.realtime.conftest import Stack, running_stack
from tests.realtime.test_cluster import QUICK, StartNode
from tests.realtime.test_presence import fields_of, track


@pytest.fixture
async def start_on_redis(database: Settings, redis_server: RedisServer) -> AsyncIterator[StartNode]:
    settings = database.model_copy(update={"redis_url": SecretStr(redis_server.url)})
    async with AsyncExitStack() as stacks:

        async def start(**cluster: object) -> Stack:
            return await stacks.enter_async_context(running_stack(settings, cluster={**QUICK, **cluster}))

        yield start


async def say(socket: Phoenix, number: int) -> None:
    await socket.send("realtime:room", "broadcast", {"type": "broadcast", "event": "n", "payload": {"n": number}})


def numbers(socket: Phoenix) -> list[int]:
    return [item.payload["payload"]["n"] for item in socket.events("broadcast")]


async def say_until_heard(sender: Phoenix, hearer: Phoenix, first: int) -> int:
    """Say numbers from ``first`` on until one of them arrives; returns the last that was said.

    A connection to a bus that only just came may be lost once more, with the message that is on its way: nobody sends it
    again, but the next ones arrive.
    """
    async with asyncio.timeout(PATIENCE_S):
        for number in itertools.count(first):
            await say(sender, number)
            with contextlib.suppress(TimeoutError):
                await until(lambda: any(heard >= first for heard in numbers(hearer)), timeout_s=0.5)
                return number
    raise AssertionError("numbers do not end")


async def test_redis_that_is_gone_leaves_local_delivery_alone_and_presence_is_right_once_it_is_back(
    start_on_redis: StartNode, redis_server: RedisServer
) -> None:
    here, there = await start_on_redis(dead_after_s=30.0), await start_on_redis(dead_after_s=30.0)
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    one, two, far = await here.connect(), await here.connect(), await there.connect()
    for socket, key in ((one, "one"), (two, "two"), (far, "far")):
        await socket.join("room", presence={"enabled": True, "key": key})
    await track(two, {"n": 1})
    await far.wait_for(lambda item: "two" in item.payload.get("joins", {}))
    redis_server.stop()
    for number in range(200):
        await say(one, number)
    await until(lambda: len(numbers(two)) == 200)
    await until(lambda: not here.service.cluster.is_bus_up)
    await track(two, {"n": 2})
    await track(one, {"n": 3})
    await track(two, {}, "untrack")
    redis_server.start()
    # What left and came in the meantime arrives as differences; who was there all the time did not leave.
    await far.wait_for(lambda item: "one" in item.payload.get("joins", {}))
    await far.wait_for(lambda item: "two" in item.payload.get("leaves", {}))
    late = await there.connect()
    await late.join("room", presence={"enabled": True})
    assert fields_of((await late.event("presence_state")).payload) == {"one": [{"n": 3}]}
    number = await say_until_heard(one, far, 1_000)
    await until(lambda: len(numbers(two)) >= 200 + number - 999)
    assert numbers(two) == [*range(200), *range(1_000, number + 1)]
    assert len(numbers(far)) == len(set(numbers(far)))


async def test_node_that_starts_without_redis_serves_alone_and_joins_later(
    start_on_redis: StartNode, redis_server: RedisServer
) -> None:
    redis_server.stop()
    here = await start_on_redis()
    one, two = await here.connect(), await here.connect()
    for socket in (one, two):
        await socket.join("room")
    await say(one, 1)
    await until(lambda: numbers(two) == [1])
    redis_server.start()
    there = await start_on_redis()
    far = await there.connect()
    await far.join("room")
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    await say_until_heard(one, far, 2)
    assert len(numbers(far)) == len(set(numbers(far)))


async def test_lost_connection_of_the_postgresql_bus_is_made_again_and_presence_with_it(
    start_node_pg: StartNode,
) -> None:
    here, there = await start_node_pg(), await start_node_pg()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    one, far = await here.connect(), await there.connect()
    await one.join("room", presence={"key": "one"})
    await far.join("room", presence={"enabled": True})
    await far.event("presence_state")
    ended = await here.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'isobase bus' and datname = current_database()"
    )
    assert len(ended) >= 2
    await track(one, {"n": 1})
    await far.wait_for(lambda item: "one" in item.payload.get("joins", {}))
    await say_until_heard(one, far, 1)
    assert len(numbers(far)) == len(set(numbers(far)))


@pytest.fixture
async def start_node_pg(database: Settings) -> AsyncIterator[StartNode]:
    async with AsyncExitStack() as stacks:

        async def start(**cluster: object) -> Stack:
            return await stacks.enter_async_context(running_stack(database, cluster={**QUICK, **cluster}))

        yield start


async def test_what_does_not_fit_the_queue_is_dropped_and_presence_is_asked_for_again(start_node_pg: StartNode) -> None:
    here, there = await start_node_pg(max_queue_bytes=256 * 1024), await start_node_pg()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    sockets = [await here.connect() for _ in range(12)]
    for number, socket in enumerate(sockets):
        await socket.join("room", presence={"key": f"k{number}"})
    await asyncio.gather(*(track(socket, {"text": "x" * 60_000}) for socket in sockets))
    await until(lambda: len(there.service.hub.topics.elsewhere) == 12)

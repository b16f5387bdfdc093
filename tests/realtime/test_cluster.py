"""Two and more realtime processes of one project: what is sent on one reaches the members on the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from tests.plugins.redis import RedisServer
from tests.realtime.conftest import SCHEMA, Stack, running_stack

QUICK = {"heartbeat_interval_s": 0.2, "dead_after_s": 1.5}
StartNode = Callable[..., Awaitable[Stack]]


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(params=["postgresql", "redis"])
async def start_node(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[StartNode]:
    """Start one more node of the project on the bus that the test is run with."""
    settings = database
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings = database.model_copy(update={"redis_url": SecretStr(server.url)})
    async with AsyncExitStack() as stacks:

        async def start(**cluster: object) -> Stack:
            stack = await stacks.enter_async_context(running_stack(settings, cluster={**QUICK, **cluster}))
            if await stack.owner.fetchval("select to_regclass('public.notes')") is None:
                await stack.owner.execute(SCHEMA)
            return stack

        yield start


async def test_broadcast_reaches_the_members_on_every_node_once(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    sender, text, other = await here.connect(), await there.connect(vsn=None), await there.connect()
    for socket in (sender, text):
        await socket.join("room")
    await other.join("elsewhere")
    await sender.send("realtime:room", "broadcast", {"type": "broadcast", "event": "one", "payload": {"ö": 1}})
    await sender.send_binary("realtime:room", "two", b'{"n":2}')
    await sender.send_binary("realtime:room", "raw", b"\x00\xff", encoding=0)
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{there.url}/realtime/v1/api/broadcast",
            json={"messages": [{"topic": "room", "event": "three", "payload": {"n": 3}}]},
            headers={"apikey": here.anon_key},
        )
    assert answer.status_code == 202
    assert (await sender.event("broadcast")).payload == {"type": "broadcast", "event": "three", "payload": {"n": 3}}
    await until(lambda: len(text.events("broadcast")) == 3)
    got = [(item.payload["event"], item.payload["payload"]) for item in text.events("broadcast")]
    assert sorted(got) == [("one", {"ö": 1}), ("three", {"n": 3}), ("two", {"n": 2})]
    assert [event for event, _ in got if event != "three"] == ["one", "two"]
    await sender.nothing("broadcast", 0.2)
    assert other.events("broadcast") == []

"""The official clients on two realtime processes of one project: supabase-js on both, realtime-py on one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from isobase_platform.config import Settings
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.patience import until
from tests.realtime.conftest import Stack, running_stack
from tests.realtime.test_cluster import QUICK
from tests.realtime.test_official_clients import PythonClient

STEPS = [
    "who was there already is in the first state",
    "both see both",
    "an update replaced what was tracked",
    "broadcasts crossed",
    "who left is gone",
]


@pytest.fixture
async def pair(database: Settings) -> AsyncIterator[tuple[Stack, Stack]]:
    """Two nodes that know of each other."""
    async with AsyncExitStack() as stacks:
        here, there = [await stacks.enter_async_context(running_stack(database, cluster=QUICK)) for _ in range(2)]
        await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
        yield here, there


@pytest.mark.node
async def test_official_clients_on_two_nodes_see_and_hear_each_other(pair: tuple[Stack, Stack]) -> None:
    here, there = pair
    node = node_with("@supabase")
    watcher = PythonClient(there)
    seen: set[str] = set()
    broadcasts: list[Any] = []
    options: Any = {"config": {"presence": {"key": "other", "enabled": True}}}
    channel = watcher.client.channel("room", options)
    channel.on_presence_sync(lambda: seen.update(channel.presence_state()))
    channel.on_broadcast("text", broadcasts.append)
    await channel.subscribe(lambda state, _error: watcher.states.append(state))
    await until(lambda: watcher.states)
    await channel.track({"speaks": "python"})
    await until(lambda: len(here.service.hub.topics.elsewhere) == 1)
    process = await asyncio.create_subprocess_exec(
        node,
        "realtime_two_nodes.mjs",
        here.url,
        there.url,
        here.anon_key,
        cwd=NODE_DIRECTORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            output, errors = await process.communicate()
        assert (output.decode().splitlines(), process.returncode) == (STEPS, 0), errors.decode()
        await until(lambda: [item["payload"] for item in broadcasts] == [{"a": 1}])
        await until(lambda: list(channel.presence_state()) == ["other"])
        assert seen == {"here", "there", "other"}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await watcher.client.close()

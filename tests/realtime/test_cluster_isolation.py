"""Who may hear and speak between realtime processes: members of a private topic, nodes of the project, nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from isobase_platform.bus.redis import CHANNEL_PREFIX
from isobase_platform.config import Settings
from tests.plugins.patience import until
from tests.plugins.redis import RedisServer
from tests.plugins.stack import DatabaseServer, fresh_database
from tests.realtime.conftest import ALICE, BOB, Stack, running_stack
from tests.realtime.test_cluster import QUICK, StartNode

POLICIES = f"""
create policy "everybody reads" on realtime.messages for select to authenticated using (extension = 'broadcast');
create policy "alice writes" on realtime.messages for insert to authenticated with check (auth.uid() = '{ALICE}');
"""


@pytest.fixture
async def start_node(database: Settings) -> AsyncIterator[StartNode]:
    async with AsyncExitStack() as stacks:

        async def start(**cluster: object) -> Stack:
            return await stacks.enter_async_context(running_stack(database, cluster={**QUICK, **cluster}))

        yield start


async def test_private_topic_stays_apart_from_the_public_one_on_other_nodes_and_policies_hold_there(
    start_node: StartNode,
) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    await here.owner.execute(POLICIES)
    alice, bob = await here.connect(), await there.connect()
    public, presence = await there.connect(), await there.connect()
    await alice.join("room", private=True, token=here.token(ALICE))
    await bob.join("room", private=True, token=here.token(BOB))
    await public.join("room")
    refused = await presence.join("room", private=True)
    assert refused.payload["status"] == "error"
    secret = {"type": "broadcast", "event": "secret", "payload": {}}
    await alice.send("realtime:room", "broadcast", secret)
    assert (await bob.event("broadcast")).payload == secret
    # Bob may not write: what he sends reaches nobody, here or there.
    await bob.send("realtime:room", "broadcast", {**secret, "event": "forged"})
    open_to_all = {"type": "broadcast", "event": "open", "payload": {}}
    other = await here.connect()
    await other.join("room")
    await other.send("realtime:room", "broadcast", open_to_all)
    assert (await public.event("broadcast")).payload == open_to_all
    await alice.nothing("broadcast", 0.3)
    assert [len(socket.events("broadcast")) for socket in (alice, bob, public, presence)] == [0, 1, 1, 0]


async def test_projects_on_one_redis_do_not_hear_each_other_and_nobody_else_hears_or_repeats_them(
    database: Settings, postgres: DatabaseServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with fresh_database(postgres, tmp_path / "other") as other:
        async with AsyncExitStack() as stacks:
            url = SecretStr(redis_server.url)
            nodes = [
                await stacks.enter_async_context(
                    running_stack(settings.model_copy(update={"redis_url": url}), cluster=QUICK)
                )
                for settings in (database, database, other)
            ]
            here, there, stranger = nodes
            await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
            sender, receiver, foreign = [await node.connect() for node in nodes]
            for socket in (sender, receiver, foreign):
                await socket.join("room")
            spy = Redis.from_url(redis_server.url)
            listening = spy.pubsub()
            await listening.psubscribe("*")
            for number in range(2):
                message = {"type": "broadcast", "event": "hush", "payload": {"n": number}}
                await sender.send("realtime:room", "broadcast", message)
                await receiver.event("broadcast")
            heard: list[tuple[str, bytes]] = []
            async with asyncio.timeout(60):
                while sum(channel.endswith(":broadcast") for channel, _ in heard) < 2:
                    item = await listening.get_message(ignore_subscribe_messages=True, timeout=1.0)
                    if item is not None:
                        heard.append((item["channel"].decode(), item["data"]))
            assert all(channel.startswith(CHANNEL_PREFIX) for channel, _ in heard)
            assert not any(word in data for _, data in heard for word in (b"hush", b"room", b"payload"))
            for channel, data in heard:
                for repeated in (data, data[:-1] + bytes([data[-1] ^ 1]), b"", b"nonsense"):
                    await spy.publish(channel, repeated)
            await receiver.nothing("broadcast", 0.5)
            assert len(receiver.events("broadcast")) == 2
            assert foreign.events("broadcast") == sender.events("broadcast") == []
            assert not stranger.service.cluster.has_peers
            assert len(here.service.cluster.peers) == len(there.service.cluster.peers) == 1
            await listening.aclose()  # type: ignore[no-untyped-call]
            await spy.aclose()

"""Three nodes on one Redis, killed while members send and come and go: presence converges, no broadcast comes twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isobase_platform.config import Settings
from tests.plugins.redis import RedisServer
from tests.realtime.chaos.nodes import Client, NodeProcess

ROUNDS = int(os.environ["ISOBASE_CHAOS_ROUNDS"])
CONVERGENCE_S = 30.0
CLIENTS_PER_NODE = 3


@pytest.fixture
async def nodes(database: Settings, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[list[NodeProcess]]:
    environment = {
        "DATABASE_URL": database.dsn(None),
        "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres",
        "REDIS_URL": redis_server.url,
        "ISOBASE_REALTIME__MAX_EVENTS_PER_S": "100000",
        "ISOBASE_REALTIME__MAX_JOINS_PER_S": "100000",
    }
    started = [NodeProcess(number, tmp_path, environment) for number in range(3)]
    try:
        for node in started:
            await node.start()
        yield started
        for node in started:
            assert node.stop() == 0, node.log_path.read_text()[-3000:]
    finally:
        for node in started:
            node.kill()


async def converge(clients: list[Client]) -> float:
    """Wait until every client sees exactly the clients that have a socket, each as it tracks itself; returns seconds."""
    expected = {one.key: [{"life": len(one.lives)}] for one in clients if one.socket is not None}
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        wrong = {one.key: seen for one in clients if one.socket is not None and (seen := one.present()) != expected}
        if not wrong:
            return loop.time() - began_s
        assert loop.time() - began_s < CONVERGENCE_S, (expected, wrong)
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120 + 90 * ROUNDS)
async def test_presence_converges_and_no_broadcast_doubles_whatever_dies(
    nodes: list[NodeProcess], database: Settings, redis_server: RedisServer
) -> None:
    chance = random.Random(ROUNDS)
    clients = [
        Client(node, f"n{node.number}c{number}", database.anon_token)
        for node in nodes
        for number in range(CLIENTS_PER_NODE)
    ]
    for client in clients:
        await client.connect()
    await converge(clients)
    is_over = asyncio.Event()

    async def talk() -> None:
        while not is_over.is_set():
            await chance.choice(clients).say()
            await asyncio.sleep(0.002)

    talking = asyncio.create_task(talk())
    slowest_s = 0.0
    try:
        for _ in range(ROUNDS):
            act = chance.choice(["node", "node", "redis", "redis while a node dies", "member", "pause"])
            victim = chance.choice(nodes)
            of_victim = [client for client in clients if client.node is victim]
            if act.startswith("redis"):
                redis_server.stop()
            if "node" in act:
                for client in of_victim:
                    client.socket = None
                victim.kill()
            if act == "member":
                leaving = chance.choice(clients)
                assert leaving.socket is not None
                await leaving.socket.close()
                await leaving.connect()
            if act == "pause":
                victim.pause(is_paused=True)
                # Long enough now and then for the others to take it as dead; its sockets are there all the time.
                await asyncio.sleep(chance.uniform(1.0, 25.0))
                victim.pause(is_paused=False)
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            if act.startswith("redis"):
                redis_server.start()
            if "node" in act:
                # Half of the time the others must see the death itself, before the node is there again.
                if chance.random() < 0.5:
                    slowest_s = max(slowest_s, await converge(clients))
                await victim.start()
                for client in of_victim:
                    await client.connect()
            slowest_s = max(slowest_s, await converge(clients))
            counts = [client.check() for client in clients]
            print(f"{act:24} slowest convergence {slowest_s:.1f} s, deliveries {sum(counts)}")
    finally:
        is_over.set()
        await talking
    # Quiet again: what is said now reaches everybody.
    before = [len(client.socket.events("broadcast")) for client in clients if client.socket is not None]
    for client in clients:
        await client.say()
    async with asyncio.timeout(20):
        for client, count in zip(clients, before, strict=True):
            assert client.socket is not None
            while len(client.socket.events("broadcast")) < count + len(clients) - 1:
                await asyncio.sleep(0.05)
    for client in clients:
        client.check()
        assert client.socket is not None
        await client.socket.close()

"""Three nodes and their bus, killed while members send and come and go: presence converges, no broadcast comes twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from isobase_platform.config import Settings
from tests.plugins.redis import RedisServer
from tests.realtime.chaos.nodes import Client, NodeProcess

ROUNDS = int(os.environ["ISOBASE_CHAOS_ROUNDS"])
CONVERGENCE_S = 30.0
CLIENTS_PER_NODE = 3


class RedisOutage:
    """Redis ends and is started again later."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.environment = {"REDIS_URL": server.url}

    async def begin(self) -> None:
        self._server.stop()

    async def end(self) -> None:
        self._server.start()


class PostgresqlOutage:
    """The connections of the bus are ended, again and again until the outage is over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ending: asyncio.Task[None] | None = None
        self.environment: dict[str, str] = {}

    async def begin(self) -> None:
        self._ending = asyncio.create_task(self._end_connections())

    async def end(self) -> None:
        assert self._ending is not None
        self._ending.cancel()
        await asyncio.gather(self._ending, return_exceptions=True)

    async def _end_connections(self) -> None:
        connection = await asyncpg.connect(self._settings.dsn())
        try:
            while True:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'isobase bus' and datname = current_database()"
                )
                await asyncio.sleep(0.1)
        finally:
            await connection.close()


Outage: TypeAlias = RedisOutage | PostgresqlOutage


@pytest.fixture(params=["redis", "postgresql"])
def outage(request: pytest.FixtureRequest, database: Settings) -> Outage:
    if request.param == "postgresql":
        return PostgresqlOutage(database)
    return RedisOutage(request.getfixturevalue("redis_server"))


@pytest.fixture
async def nodes(database: Settings, outage: Outage, tmp_path: Path) -> AsyncIterator[list[NodeProcess]]:
    environment = {
        **outage.environment,
        "DATABASE_URL": database.dsn(None),
        "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres",
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
    nodes: list[NodeProcess], database: Settings, outage: Outage
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
            act = chance.choice(["node", "node", "bus", "bus while a node dies", "member", "pause"])
            victim = chance.choice(nodes)
            print(f"{act}, node {victim.number}")
            of_victim = [client for client in clients if client.node is victim]
            if act.startswith("bus"):
                await outage.begin()
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
            if act.startswith("bus"):
                await outage.end()
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

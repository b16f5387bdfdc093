"""A writer of numbered rows, and clients that follow them with positions through whatever dies: `make chaos-realtime`."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import jwt
import websockets

from isobase_deploy.embedded.server import EmbeddedPostgres
from isobase_platform.config import Settings
from isobase_platform.schema import apply_schema
from tests.plugins.ports import free_ports
from tests.plugins.redis import RedisServer
from tests.plugins.stack import PASSWORD, settings_for
from tests.realtime.chaos.nodes import NodeProcess
from tests.realtime.client import Phoenix

USERS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
ENTRY = {"event": "INSERT", "schema": "public", "table": "numbers"}
CATCH_UP_S = 90.0
_LOST = (OSError, websockets.WebSocketException, TimeoutError, ConnectionError)

SCHEMA = """
create table public.numbers (n bigint primary key, owner uuid not null);
alter table public.numbers enable row level security;
create policy "owners read" on public.numbers for select using (owner = auth.uid());
grant select on public.numbers to authenticated;
alter publication supabase_realtime add table public.numbers;
"""


@dataclass
class World:
    """PostgreSQL, Redis and the realtime processes of one project."""

    dsn: str
    postgres: EmbeddedPostgres
    redis: RedisServer
    settings: Settings
    nodes: list[NodeProcess]

    def token(self, user: str) -> str:
        """A user's token."""
        claims = {"sub": user, "role": "authenticated", "exp": int(time.time()) + 3600}
        return jwt.encode(claims, self.settings.jwt_secret.get_secret_value(), algorithm="HS256")

    async def leader(self) -> NodeProcess | None:
        """The process that reads the log, None where nobody does."""
        async with httpx.AsyncClient() as client:
            for node in self.nodes:
                with suppress(httpx.HTTPError):
                    figures = (await client.get(f"http://127.0.0.1:{node.port}/metrics")).text
                    if "isobase_realtime_changes_leader 1.0" in figures:
                        return node
        return None

    def restart_postgres(self) -> None:
        """SIGKILL to the server, whose backends see that and end; then it starts and recovers."""
        pid = self.postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.postgres.pid is not None:
            time.sleep(0.01)
        self.postgres.start()

    async def act(self, name: str, chance: random.Random) -> None:
        """Let something die, and come back after a moment."""
        pause_s = chance.uniform(0.0, 1.5)
        match name:
            case "leader" | "follower":
                leader = await self.leader()
                others = [node for node in self.nodes if node is not leader]
                victim = leader if name == "leader" and leader is not None else chance.choice(others)
                victim.kill()
                await asyncio.sleep(pause_s)
                await victim.start()
            case "redis":
                self.redis.stop()
                await asyncio.sleep(pause_s)
                self.redis.start()
            case "postgres":
                self.restart_postgres()
            case "sender":
                with suppress(OSError, asyncpg.PostgresError):
                    await self.end_senders()
            case _:
                raise ValueError(name)

    async def end_senders(self) -> None:
        """End the server's side of the stream."""
        owner = await asyncpg.connect(self.dsn)
        await owner.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null"
        )
        await owner.close()


@asynccontextmanager
async def running_world(directory: Path, redis: RedisServer, nodes: int) -> AsyncIterator[World]:
    """Start everything; it is gone afterwards."""
    (port,) = free_ports(1)
    postgres = EmbeddedPostgres(directory / "database", port=port, password=PASSWORD, is_durable=False)
    postgres.start()
    dsn = f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
    started: list[NodeProcess] = []
    try:
        settings = settings_for(dsn, directory)
        await apply_schema(settings)
        owner = await asyncpg.connect(dsn)
        await owner.execute(SCHEMA)
        await owner.close()
        environment = {
            "DATABASE_URL": dsn,
            "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD,
            "REDIS_URL": redis.url,
            "ISOBASE_REALTIME__MAX_EVENTS_PER_S": "1000000",
            "ISOBASE_REALTIME__MAX_JOINS_PER_S": "100000",
        }
        started = [NodeProcess(number, directory, environment) for number in range(nodes)]
        for node in started:
            await node.start()
        yield World(dsn, postgres, redis, settings, started)
    finally:
        for node in started:
            node.kill()
        postgres.stop()


async def write_numbers(dsn: str, rate_per_s: float, is_over: asyncio.Event) -> None:
    """Insert 1, 2, 3 ... for one user after the other; a number whose commit is in doubt is not tried again."""
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    for number in itertools.count(1):
        if is_over.is_set():
            break
        try:
            if connection is None or connection.is_closed():
                connection = await asyncpg.connect(dsn, timeout=5, server_settings={"synchronous_commit": "on"})
            await connection.execute(
                "insert into numbers (n, owner) values ($1, $2::text::uuid)", number, USERS[number % 2]
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection = None
        await asyncio.sleep(1 / rate_per_s)
    if connection is not None:
        await connection.close()


@dataclass
class Follower:
    """A client that keeps its last position and goes on from it, on any process, whenever its socket is lost."""

    world: World
    user: str
    chance: random.Random
    numbers: list[int] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    position: str | None = None
    lives: int = 0

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*_LOST):
                await self._live_once()
            await asyncio.sleep(0.05)

    async def _live_once(self) -> None:
        node = self.chance.choice(self.world.nodes)
        socket = await Phoenix.connect(node.port, vsn="2.0.0", apikey=self.world.settings.anon_token)
        self.lives += 1
        try:
            options = {"position": True} if self.position is None else {"since": self.position}
            await socket.join(
                "numbers",
                token=self.world.token(self.user),
                postgres_changes=[ENTRY],
                postgres_changes_options=options,
            )
            while True:
                item = await socket.wait_for(lambda item: item.event in ("postgres_changes", "system"), 3600)
                if item.event == "postgres_changes":
                    data = item.payload["data"]
                    self.numbers.append(data["record"]["n"])
                    self.owners.add(data["record"]["owner"])
                    self.position = data["position"]
                elif "PositionTooOld" in item.payload["message"]:
                    raise AssertionError("a position was too old, so something may be lost")
                elif "position" in item.payload:
                    self.position = item.payload["position"]
        finally:
            with suppress(*_LOST):
                await socket.close()


async def chaos(world: World, acts: list[str], *, seed: int, rate_per_s: float, followers: int) -> str:
    """Let numbers be written and followed while ``acts`` happen; everybody must have got all that is theirs, once, in order.

    Returns a line that says what happened.
    """
    chance = random.Random(seed)
    clients = [Follower(world, USERS[number % 2], chance) for number in range(followers)]
    tasks = [asyncio.create_task(client.follow()) for client in clients]
    async with asyncio.timeout(60):
        while any(client.position is None for client in clients):
            await asyncio.sleep(0.05)
    is_over = asyncio.Event()
    writing = asyncio.create_task(write_numbers(world.dsn, rate_per_s, is_over))
    for act in acts:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        await world.act(act, chance)
    await asyncio.sleep(1.0)
    is_over.set()
    await writing
    owner = await asyncpg.connect(world.dsn)
    rows = await owner.fetch("select n, owner::text from numbers order by n")
    await owner.close()
    slowest_s = 0.0
    began_s = time.monotonic()
    for client in clients:
        expected = [row["n"] for row in rows if row["owner"] == client.user]
        while len(client.numbers) < len(expected) and time.monotonic() - began_s < CATCH_UP_S:
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)
        missing = sorted(set(expected) - set(client.numbers))
        assert client.numbers == expected, (
            acts,
            "missing",
            missing[:5],
            len(missing),
            len(client.numbers),
            len(expected),
        )
        assert client.owners <= {client.user}
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    lives = sum(client.lives for client in clients)
    return f"{len(rows)} changes, {len(acts)} deaths, {lives} sockets, whole {slowest_s:.1f} s after the last write"

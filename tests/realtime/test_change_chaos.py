"""One death of each kind while changes are followed; `make chaos-realtime` does it for long and at random."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.plugins.redis import RedisServer
from tests.plugins.scratch import scratch_root
from tests.realtime.chaos.followers import ENTRY, USERS, chaos, running_world
from tests.realtime.client import Phoenix


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that PostgreSQL's account may enter: as root, it runs as another one."""
    with tempfile.TemporaryDirectory(prefix="isobase-chaos-", dir=scratch_root()) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.timeout(240)
async def test_who_reads_the_log_holds_up_no_shutdown_of_the_server(scratch: Path, redis_server: RedisServer) -> None:
    async with running_world(scratch, redis_server, nodes=1) as world:
        socket = await Phoenix.connect(world.nodes[0].port, vsn="2.0.0", apikey=world.token(USERS[0]))
        await socket.subscribe("numbers", ENTRY)
        owner = await asyncpg.connect(world.dsn)
        await owner.execute("insert into numbers values (1, $1)", USERS[0])
        await owner.close()
        await socket.event("postgres_changes")
        # What the stream keeps stays unacknowledged for the retention, five minutes.
        pid = world.postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        async with asyncio.timeout(60):
            while world.postgres.pid is not None:
                await asyncio.sleep(0.05)
        world.postgres.start()
        await socket.close()


@pytest.mark.timeout(240)
async def test_no_change_is_lost_or_doubled_when_each_part_dies_once(scratch: Path, redis_server: RedisServer) -> None:
    async with running_world(scratch, redis_server, nodes=2) as world:
        acts = ["sender", "leader", "redis", "postgres"]
        await chaos(world, acts, seed=3, rate_per_s=100, followers=4)

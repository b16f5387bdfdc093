"""Numbered changes while leader, processes, PostgreSQL and Redis are killed: nothing lost, doubled or shown to strangers."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.redis import RedisServer
from tests.realtime.chaos.followers import chaos, running_world

ROUNDS = int(os.environ["ISOBASE_CHAOS_ROUNDS"])
SEED = int(os.environ.get("ISOBASE_CHAOS_SEED", "1"))
ACTS = ("leader", "leader", "follower", "redis", "postgres", "sender")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that PostgreSQL's account may enter: as root, it runs as another one."""
    with tempfile.TemporaryDirectory(prefix="isobase-chaos-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.timeout(240 + 60 * ROUNDS)
async def test_every_committed_change_is_seen_once_by_those_who_may(scratch: Path, redis_server: RedisServer) -> None:
    chance = random.Random(SEED)
    async with running_world(scratch, redis_server, nodes=3) as world:
        acts = [chance.choice(ACTS) for _ in range(ROUNDS)]
        print(await chaos(world, acts, seed=SEED, rate_per_s=200, followers=6))

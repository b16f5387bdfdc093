"""Overlapping, large and rolled back transactions while parts die, stand still or are cut off: rows and messages from SQL."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.redis import RedisServer
from tests.realtime.chaos.followers import running_world
from tests.realtime.chaos.transactions import play

ROUNDS = int(os.environ["ISOBASE_CHAOS_ROUNDS"])
SEED = int(os.environ.get("ISOBASE_CHAOS_SEED", "1"))
LARGE_ROWS = int(os.environ.get("ISOBASE_CHAOS_LARGE_ROWS", "20000"))
ACTS = (
    "leader",
    "follower",
    "redis",
    "postgres",
    "postgres",
    "sender",
    "join while the leader dies",
    "join while the leader dies",
    "large transaction while the leader dies",
    "bus away while a node starts",
    "leader stands still",
    "leader and postgres at once",
    "leader and redis at once",
    "everything at once",
)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that PostgreSQL's account may enter: as root, it runs as another one."""
    with tempfile.TemporaryDirectory(prefix="isobase-chaos-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.timeout(300 + 90 * ROUNDS)
async def test_rows_and_messages_of_overlapping_transactions_come_once_and_in_the_order_of_commits(
    scratch: Path, redis_server: RedisServer
) -> None:
    chance = random.Random(SEED)
    named = os.environ.get("ISOBASE_CHAOS_ACTS")
    acts = named.split(",") if named else [chance.choice(ACTS) for _ in range(ROUNDS)]
    async with running_world(scratch, redis_server, nodes=3) as world:
        print(await play(world, acts, seed=SEED, large_rows=LARGE_ROWS))

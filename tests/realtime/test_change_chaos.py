"""One death of each kind while changes are followed; `make chaos-realtime` does it for long and at random."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.redis import RedisServer
from tests.realtime.chaos.followers import chaos, running_world


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that PostgreSQL's account may enter: as root, it runs as another one."""
    with tempfile.TemporaryDirectory(prefix="isobase-chaos-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.timeout(240)
async def test_no_change_is_lost_or_doubled_when_each_part_dies_once(scratch: Path, redis_server: RedisServer) -> None:
    async with running_world(scratch, redis_server, nodes=2) as world:
        acts = ["sender", "leader", "redis", "postgres"]
        await chaos(world, acts, seed=3, rate_per_s=100, followers=4)

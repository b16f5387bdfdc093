"""``isobase migrate copy`` and ``sync`` killed anywhere, as by the kernel: called again, they go on, and all is equal."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import pytest

from isobase_adapter.bulk.capture import drop_capture
from tests.adapter.bulk.conftest import Two
from tests.adapter.bulk.test_copy import FILL, TABLES, content
from tests.plugins.stack import clean_environment

pytestmark = pytest.mark.fault

MORE = """
insert into public.authors (name) select 'another ' || n from generate_series(1, 500) as n;
insert into public.notes (author_id, body) select n % 500 + 51, repeat('x', 90) from generate_series(1, 20000) as n;
"""
WRITES = "update public.notes set body = $1 where id % 100 = $2"
STEPS = ("--step", "schema", "--step", "users", "--step", "rows")
KILLED = -signal.SIGKILL


@dataclass(slots=True)
class Commands:
    """What starts commands, one after the other; ``errors``: what they say."""

    starter: asyncio.subprocess.Process
    errors: Path

    async def run(self, *arguments: str, killed_after_s: float | None = None) -> int:
        """Run a command, kill it after a time if it still runs then, and give its exit code."""
        assert self.starter.stdin is not None
        assert self.starter.stdout is not None
        self.starter.stdin.write(dumps([arguments, killed_after_s]).encode() + b"\n")
        async with asyncio.timeout(100):
            return int(await self.starter.stdout.readline())

    async def done(self, *arguments: str) -> None:
        """Let a command run to its end."""
        code = await self.run(*arguments)
        assert code == 0, self.errors.read_text()


@asynccontextmanager
async def commands_of(two: Two, folder: Path) -> AsyncIterator[Commands]:
    errors = folder / "errors.txt"
    environment = clean_environment() | {f"{side.upper()}_DB_URL": dsn for side, dsn in two.dsns.items()}
    with errors.open("wb") as file:
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.adapter.bulk.forking",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            env=environment,
        )
    try:
        yield Commands(starter, errors)
    finally:
        assert starter.stdin is not None
        starter.stdin.close()
        await starter.wait()


@pytest.mark.parametrize("seed", [8])
async def test_copy_and_sync_that_are_killed_again_and_again_leave_both_sides_equal(
    two: Two, tmp_path: Path, seed: int
) -> None:
    await two.source.execute(FILL + MORE)
    dice = random.Random(seed)
    copy, sync = ("migrate", "copy", *STEPS), ("migrate", "sync")
    codes: list[int] = []
    async with commands_of(two, tmp_path) as commands:
        try:
            codes += [await commands.run(*copy, killed_after_s=dice.uniform(0.1, 1.0)) for _ in range(3)]
            await commands.done(*copy)
            for number in range(3):
                await two.source.execute(WRITES, f"written {number}", number)
                codes.append(await commands.run(*sync, killed_after_s=dice.uniform(0.1, 0.7)))
            await two.source.execute("delete from public.authors where id < 5")
            await commands.done(*sync, "--once")
        finally:
            for connection in (two.source, two.target):
                await drop_capture(connection)
    assert set(codes) <= {KILLED, 0}, codes
    assert KILLED in codes[:3], codes  # one may have had little left to do
    assert codes[3:] == [KILLED] * 3, codes
    for table in TABLES:
        assert await content(two.target, table) == await content(two.source, table), table

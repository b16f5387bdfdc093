"""kill -9 of the server, of PostgreSQL, or of both, under write load: every acknowledged write is there after the restart."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest

from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.tokens import role_token
from tests.plugins.process import IsobaseProcess

ANON_KEY = role_token(DEFAULT_JWT_SECRET, "anon")

WRITERS = 8
UPLOADERS = 2
LOAD_TIMEOUT_S = 90.0
MIN_ACKNOWLEDGED = 50
LOAD_AFTER_THE_FIRST_S = 0.5
LOAD_AFTER_THE_KILL_S = 5.0
CALL_TIMEOUT_S = 30.0


@dataclass
class Acknowledged:
    """What was answered with success, and so must never be lost."""

    rows: list[int] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    is_over: bool = False
    """Who had no call under way when PostgreSQL was killed meets the one started after it, and would write for ever."""


async def write_rows(
    isobase: IsobaseProcess, writer: int, numbers: itertools.count[int], acknowledged: Acknowledged
) -> None:
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=CALL_TIMEOUT_S) as client:
        while not acknowledged.is_over:
            number = next(numbers)
            try:
                answer = await client.post("/rest/v1/writes", json={"id": number, "writer": writer})
            except httpx.TransportError:
                return  # the server was killed
            if answer.status_code == 201:
                acknowledged.rows.append(number)
            elif answer.status_code < 500:
                pytest.fail(f"a write was refused: {answer.status_code} {answer.text}")
            else:
                return  # PostgreSQL was killed


async def upload_files(isobase: IsobaseProcess, uploader: int, acknowledged: Acknowledged) -> None:
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=CALL_TIMEOUT_S) as client:
        for number in itertools.count():
            if acknowledged.is_over:
                return
            name, content = f"{uploader}/{number % 20}.bin", os.urandom(2_000)
            try:
                # Twenty names are written over and over: a replaced file must be the old or the new one, whole.
                answer = await client.put(
                    f"/storage/v1/object/files/{name}",
                    content=content,
                    headers={"content-type": "application/octet-stream"},
                )
            except httpx.TransportError:
                acknowledged.files.pop(name, None)  # sent but not acknowledged: either version may be there
                return
            if answer.status_code != 200:
                acknowledged.files.pop(name, None)
                return
            acknowledged.files[name] = hashlib.sha256(content).hexdigest()


async def load_until_killed(isobase: IsobaseProcess, *, server: bool, postgres: bool) -> Acknowledged:
    acknowledged = Acknowledged()
    numbers = itertools.count(1)
    load = [
        *(asyncio.create_task(write_rows(isobase, writer, numbers, acknowledged)) for writer in range(WRITERS)),
        *(asyncio.create_task(upload_files(isobase, uploader, acknowledged)) for uploader in range(UPLOADERS)),
    ]
    async with asyncio.timeout(LOAD_TIMEOUT_S):
        while len(acknowledged.rows) < MIN_ACKNOWLEDGED or not acknowledged.files:
            await asyncio.sleep(0.05)
    await asyncio.sleep(LOAD_AFTER_THE_FIRST_S)
    isobase.kill_hard(server=server, postgres=postgres)
    await asyncio.wait(load, timeout=LOAD_AFTER_THE_KILL_S)
    acknowledged.is_over = True
    async with asyncio.timeout(2 * CALL_TIMEOUT_S):
        await asyncio.gather(*load)
    return acknowledged


async def until_ready(isobase: IsobaseProcess) -> None:
    async with asyncio.timeout(90), httpx.AsyncClient(base_url=isobase.url, timeout=CALL_TIMEOUT_S) as client:
        while (await client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.05)


@pytest.mark.fault
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("server", "postgres"), [(True, True), (True, False), (False, True)], ids=["everything", "server", "postgresql"]
)
async def test_every_acknowledged_write_is_there_after_kill_nine(
    isobase: IsobaseProcess, server: bool, postgres: bool
) -> None:
    acknowledged = await load_until_killed(isobase, server=server, postgres=postgres)
    if server:
        await asyncio.to_thread(isobase.start)
    else:
        await until_ready(isobase)  # the server starts its PostgreSQL again by itself
    admin = await asyncpg.connect(isobase.admin_dsn)
    there = {row["id"] for row in await admin.fetch("select id from public.writes")}
    await admin.close()
    assert set(acknowledged.rows) - there == set()
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=CALL_TIMEOUT_S) as client:
        for name, digest in acknowledged.files.items():
            answer = await client.get(f"/storage/v1/object/authenticated/files/{name}")
            assert answer.status_code == 200, f"{name}: {answer.text}"
            assert hashlib.sha256(answer.content).hexdigest() == digest, name
        again = await client.post("/rest/v1/writes", json={"id": 10_000_000, "writer": 0})
        assert again.status_code == 201

"""Clients send a write again, with its ``Idempotency-Key``, until it is answered: it is there once, whatever was killed."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from uuid import uuid4

import asyncpg
import httpx
import pytest

from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.tokens import role_token
from tests.plugins.process import IsobaseProcess

ANON_KEY = role_token(DEFAULT_JWT_SECRET, "anon")
WRITERS = 8
LOAD_S = 1.0
TABLE = """
create table public.repeats (note text not null);
grant insert on public.repeats to anon;
notify pgrst, 'reload schema';
"""


async def write_until_told(isobase: IsobaseProcess, seen: Counter[str], is_over: asyncio.Event) -> set[str]:
    """Write note after note, each until it is answered with success; the notes."""
    written: set[str] = set()
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=10) as client:
        while not is_over.is_set():
            note = str(uuid4())
            for attempt in itertools.count(1):
                try:
                    answer = await client.post(
                        "/rest/v1/repeats", json={"note": note}, headers={"idempotency-key": note}
                    )
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 201:
                    seen["again" if attempt > 1 else "at once"] += 1
                    seen["replayed"] += "idempotency-replayed" in answer.headers
                    break
                assert answer.status_code in {404, 409, 500, 503, 504}, answer.text
                await asyncio.sleep(0.05)
            written.add(note)
    return written


@pytest.mark.fault
@pytest.mark.timeout(600)
async def test_each_write_that_is_repeated_until_it_is_answered_is_there_once(isobase: IsobaseProcess) -> None:
    admin = await asyncpg.connect(isobase.admin_dsn)
    await admin.execute(TABLE)
    await admin.close()
    seen: Counter[str] = Counter()
    is_over = asyncio.Event()
    writers = [asyncio.create_task(write_until_told(isobase, seen, is_over)) for _ in range(WRITERS)]
    for server, postgres in ((True, False), (False, True), (True, True)):
        await asyncio.sleep(LOAD_S)
        before = seen["at once"]
        isobase.kill_hard(server=server, postgres=postgres)
        if server:
            await asyncio.to_thread(isobase.start)
        async with asyncio.timeout(100):
            while seen["at once"] <= before + WRITERS:
                await asyncio.sleep(0.05)
    is_over.set()
    async with asyncio.timeout(100):
        written = set[str]().union(*await asyncio.gather(*writers))
    admin = await asyncpg.connect(isobase.admin_dsn)
    there = Counter(row["note"] for row in await admin.fetch("select note from public.repeats"))
    await admin.close()
    assert set(there) == written
    assert set(there.values()) == {1}
    assert seen["again"] > 0, seen

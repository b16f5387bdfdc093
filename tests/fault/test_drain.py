"""SIGTERM: requests in flight end, sockets close with 1012, new work is turned away, the process ends within 10 s."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.tokens import role_token
from tests.plugins.process import IsobaseProcess

ANON_KEY = role_token(DEFAULT_JWT_SECRET, "anon")

pytestmark = [pytest.mark.fault, pytest.mark.timeout(90)]

EXIT_LIMIT_S = 10.0


async def test_a_request_in_flight_ends_and_its_write_stays(isobase: IsobaseProcess) -> None:
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=20) as client:
        slow = asyncio.create_task(client.post("/rest/v1/rpc/slow_write", json={"id": 1, "seconds": 2}))
        await asyncio.sleep(0.5)
        asked_at_s = time.monotonic()
        isobase.terminate()
        answer = await slow
        assert (answer.status_code, answer.json()) == (200, 1)
        code = await asyncio.to_thread(isobase.wait)
        assert code == 0
        assert time.monotonic() - asked_at_s < EXIT_LIMIT_S
        with pytest.raises(httpx.TransportError):
            await client.get("/health")
    await asyncio.to_thread(isobase.start)
    admin = await asyncpg.connect(isobase.admin_dsn)
    assert await admin.fetchval("select count(*) from public.writes where id = 1") == 1
    await admin.close()


async def test_sockets_are_closed_with_1012(isobase: IsobaseProcess) -> None:
    url = f"{isobase.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={ANON_KEY}&vsn=2.0.0"
    async with connect(url) as socket:
        await socket.send(json.dumps(["1", "1", "realtime:room", "phx_join", {"config": {}}]))
        assert json.loads(await socket.recv())[4]["status"] == "ok"
        asked_at_s = time.monotonic()
        isobase.terminate()
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(EXIT_LIMIT_S):
                while True:
                    await socket.recv()
        assert socket.close_code == 1012
    assert await asyncio.to_thread(isobase.wait) == 0
    assert time.monotonic() - asked_at_s < EXIT_LIMIT_S


async def test_a_request_that_does_not_end_is_cut_and_writes_nothing(isobase: IsobaseProcess) -> None:
    admin = await asyncpg.connect(isobase.admin_dsn)
    await admin.execute("alter role anon set statement_timeout to '60s'")
    await admin.close()
    await asyncio.to_thread(isobase.stop)
    await asyncio.to_thread(isobase.start)
    async with httpx.AsyncClient(base_url=isobase.url, headers={"apikey": ANON_KEY}, timeout=30) as client:
        endless = asyncio.create_task(client.post("/rest/v1/rpc/slow_write", json={"id": 2, "seconds": 50}))
        await asyncio.sleep(0.5)
        asked_at_s = time.monotonic()
        isobase.terminate()
        assert await asyncio.to_thread(isobase.wait) == 0
        assert time.monotonic() - asked_at_s < EXIT_LIMIT_S
        with contextlib.suppress(httpx.TransportError):
            assert (await endless).status_code >= 500
    await asyncio.to_thread(isobase.start)
    admin = await asyncpg.connect(isobase.admin_dsn)
    assert await admin.fetchval("select count(*) from public.writes") == 0
    await admin.close()

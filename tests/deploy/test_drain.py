"""SIGTERM drains: requests in flight get their answers, sockets close with 1012, the process ends within ten seconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from isobase_deploy.cli.exit_codes import ExitCode
from tests.plugins.stack import Stack, StackProcess

EXIT_LIMIT_S = 30.0
DRAIN_TIMEOUT_S = 8.0
SERVICE_RESTART = 1012


@pytest.fixture
def process(project_dir: Path) -> Iterator[StackProcess]:
    (project_dir / "supabase" / "migrations").mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text("[storage.buckets.inbox]\npublic = false\n")
    (project_dir / "supabase" / "migrations" / "1_slow.sql").write_text(
        "create function slow(seconds double precision) returns text language sql volatile as"
        " $$ select 'done' from pg_sleep(seconds) $$;"
    )
    process = StackProcess(project_dir)
    yield process
    process.stop()


@pytest.fixture
def stack(process: StackProcess) -> Stack:
    return process.start()


async def ended(process: StackProcess) -> tuple[int, float]:
    """Ask for the end; (exit code, seconds that it took)."""
    assert process.process is not None
    asked_s = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.process.wait, 2 * EXIT_LIMIT_S)
    return code, time.monotonic() - asked_s


async def at_work(stack: Stack) -> None:
    """Wait until the statement of a slow request runs."""
    connection = await asyncpg.connect(stack.admin_dsn)
    try:
        async with asyncio.timeout(EXIT_LIMIT_S):
            while not await connection.fetchval(
                "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def test_a_request_in_flight_gets_its_answer(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=20) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/slow", json={"seconds": 2}))
        await at_work(stack)
        code, seconds = await ended(process)
        answer = await request
    assert (answer.status_code, answer.json()) == (200, "done")
    assert code == ExitCode.OK
    assert 1.0 < seconds < EXIT_LIMIT_S


async def test_an_upload_in_flight_is_stored(stack: Stack, process: StackProcess) -> None:
    halfway = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        halfway.set()
        await asyncio.sleep(1.5)
        yield b"b" * 1000

    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=20) as client:
        upload = asyncio.create_task(
            client.post("/storage/v1/object/inbox/letter.txt", content=body(), headers={"content-type": "text/plain"})
        )
        await halfway.wait()
        code, seconds = await ended(process)
        assert (await upload).status_code == 200
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S
    again = process.start()
    async with httpx.AsyncClient(base_url=again.url, headers=headers) as client:
        stored = await client.get("/storage/v1/object/inbox/letter.txt")
    assert stored.content == b"a" * 1000 + b"b" * 1000


async def test_sockets_close_with_service_restart(stack: Stack, process: StackProcess) -> None:
    url = stack.url.replace("http", "ws") + f"/realtime/v1/websocket?apikey={stack.anon_key}&vsn=1.0.0"
    async with connect(url) as socket:
        await socket.send('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
        await asyncio.wait_for(socket.recv(), 5)
        ending = asyncio.create_task(ended(process))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(socket.recv(), EXIT_LIMIT_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == SERVICE_RESTART
    code, seconds = await ending
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


async def test_new_connections_are_refused_while_it_ends(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=20) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/slow", json={"seconds": 2}))
        await at_work(stack)
        ending = asyncio.create_task(ended(process))
        with pytest.raises(httpx.ConnectError):
            while not request.done():
                async with httpx.AsyncClient(timeout=20) as newcomer:
                    await newcomer.get(f"{stack.url}/health")
        assert (await request).status_code == 200
        assert (await ending)[0] == ExitCode.OK


async def test_a_request_that_never_ends_does_not_hold_the_process(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/slow", json={"seconds": 60}))
        await at_work(stack)
        code, seconds = await ended(process)
        with contextlib.suppress(httpx.HTTPError):
            await request
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


async def test_a_second_signal_ends_it_without_waiting(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/slow", json={"seconds": 60}))
        await at_work(stack)
        ending = asyncio.create_task(ended(process))
        await asyncio.sleep(0.5)
        os.kill(stack.pid, signal.SIGINT)
        code, seconds = await ending
        with contextlib.suppress(httpx.HTTPError):
            await request
    assert code == ExitCode.OK
    assert seconds < DRAIN_TIMEOUT_S


async def test_a_busy_connection_gets_answers_until_it_is_closed(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key, "x-upsert": "true"}
    answers: list[int] = []

    async def ask_on() -> None:
        async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=20) as client:
            with contextlib.suppress(httpx.TransportError):
                while True:
                    for method in ("POST", "GET"):
                        answer = await client.request(method, "/storage/v1/object/inbox/busy.txt", content=b"kept")
                        answers.append(answer.status_code)

    asking = [asyncio.create_task(ask_on()) for _ in range(4)]
    while len(answers) < 20:
        await asyncio.sleep(0.01)
    code, _ = await ended(process)
    await asyncio.gather(*asking)
    assert (code, set(answers)) == (ExitCode.OK, {200})

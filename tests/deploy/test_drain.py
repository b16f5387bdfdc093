"""SIGTERM drains: requests in flight get their answers, sockets close with 1012, the process ends within its limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from isobase_deploy.cli.exit_codes import ExitCode
from tests.plugins.stack import Stack, StackProcess

WAIT_S = 60.0
EXIT_LIMIT_S = 50.0
DRAIN_TIMEOUT_S = 60.0
"""Longer than ``EXIT_LIMIT_S``: who ends earlier has not waited for it."""
SERVICE_RESTART = 1012
GATED = """
create table gate ();
create function gated() returns text language plpgsql volatile as $$
begin
  while not exists (select from gate) loop perform pg_sleep(0.05); end loop;
  return 'done';
end $$;
"""


@pytest.fixture
def process(project_dir: Path, request: pytest.FixtureRequest) -> Iterator[StackProcess]:
    """A server that is not started yet; the parameter is its drain timeout in seconds."""
    (project_dir / "supabase" / "migrations").mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text("[storage.buckets.inbox]\npublic = false\n")
    (project_dir / "supabase" / "migrations" / "1_gated.sql").write_text(GATED)
    drain_timeout_s = getattr(request, "param", DRAIN_TIMEOUT_S)
    process = StackProcess(project_dir, environment={"ISOBASE_DRAIN_TIMEOUT_S": str(drain_timeout_s)})
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


@asynccontextmanager
async def at_work(stack: Stack) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Wait until the statement of a gated request runs; gives what lets it end."""
    connection = await asyncpg.connect(stack.admin_dsn, timeout=WAIT_S)
    try:
        async with asyncio.timeout(WAIT_S):
            while not await connection.fetchval(
                "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.05)
        yield lambda: connection.execute("insert into gate default values")
    finally:
        connection.terminate()


async def takes_nobody_in(stack: Stack) -> None:
    """Wait until it ends: new connections are refused."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with httpx.AsyncClient(timeout=WAIT_S) as newcomer:
                    await newcomer.get(f"{stack.url}/health")
            except httpx.ConnectError:
                return
            except httpx.TransportError:  # taken by the system, reset when the socket that listens was closed
                continue


async def test_a_request_in_flight_gets_its_answer_while_new_connections_are_refused(
    stack: Stack, process: StackProcess
) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=WAIT_S) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/gated"))
        async with at_work(stack) as let_end:
            ending = asyncio.create_task(ended(process))
            await takes_nobody_in(stack)
            assert not request.done()
            assert not ending.done()
            await let_end()
            answer = await request
        code, seconds = await ending
    assert (answer.status_code, answer.json()) == (200, "done")
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


async def test_an_upload_in_flight_is_stored(stack: Stack, process: StackProcess) -> None:
    halfway, goes_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        halfway.set()
        await goes_on.wait()
        yield b"b" * 1000

    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=WAIT_S) as client:
        await client.get("/health")  # on the connection that the upload goes over, too
        upload = asyncio.create_task(
            client.post("/storage/v1/object/inbox/letter.txt", content=body(), headers={"content-type": "text/plain"})
        )
        await halfway.wait()
        ending = asyncio.create_task(ended(process))
        await takes_nobody_in(stack)
        goes_on.set()
        assert (await upload).status_code == 200
        code, seconds = await ending
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S
    again = process.start()
    async with httpx.AsyncClient(base_url=again.url, headers=headers, timeout=WAIT_S) as client:
        stored = await client.get("/storage/v1/object/inbox/letter.txt")
    assert stored.content == b"a" * 1000 + b"b" * 1000


async def test_sockets_close_with_service_restart(stack: Stack, process: StackProcess) -> None:
    url = stack.url.replace("http", "ws") + f"/realtime/v1/websocket?apikey={stack.anon_key}&vsn=1.0.0"
    async with connect(url, open_timeout=WAIT_S) as socket:
        await socket.send('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
        await asyncio.wait_for(socket.recv(), WAIT_S)
        ending = asyncio.create_task(ended(process))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(socket.recv(), WAIT_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == SERVICE_RESTART
    code, seconds = await ending
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


@pytest.mark.parametrize("process", [1.0], indirect=True)
async def test_a_request_that_never_ends_does_not_hold_the_process(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=2 * WAIT_S) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/gated"))
        async with at_work(stack):
            code, seconds = await ended(process)
        with contextlib.suppress(httpx.HTTPError):
            await request
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


async def test_a_second_signal_ends_it_without_waiting(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=2 * WAIT_S) as client:
        request = asyncio.create_task(client.post("/rest/v1/rpc/gated"))
        async with at_work(stack):
            ending = asyncio.create_task(ended(process))
            await takes_nobody_in(stack)
            os.kill(stack.pid, signal.SIGINT)
            code, seconds = await ending
        with contextlib.suppress(httpx.HTTPError):
            await request
    assert code == ExitCode.OK
    assert seconds < EXIT_LIMIT_S


async def test_a_busy_connection_gets_answers_until_it_is_closed(stack: Stack, process: StackProcess) -> None:
    headers = {"apikey": stack.service_role_key, "x-upsert": "true"}
    answers: list[int] = []

    async def ask_on() -> None:
        async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=WAIT_S) as client:
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

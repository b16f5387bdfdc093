"""``isobase serve realtime --workers``: processes on one port, and one of them killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from isobase_platform.config import Settings
from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, clean_environment
from tests.realtime.client import Phoenix
from tests.realtime.test_presence import fields_of, track

START_TIMEOUT_S = 120.0
CLUSTER = {"ISOBASE_REALTIME__CLUSTER__HEARTBEAT_INTERVAL_S": "0.5", "ISOBASE_REALTIME__CLUSTER__DEAD_AFTER_S": "10"}
"""Long enough that a worker which stands still for a while is not given up, as one that was killed must be."""


@pytest.fixture
def port(database: Settings, project_dir: Path) -> Iterator[int]:
    """A server with two workers on the test's database."""
    (port,) = free_ports(1)
    command = [str(ISOBASE), "serve", "realtime", "--workers", "2", "--workdir", str(project_dir), "--port", str(port)]
    environment = clean_environment() | CLUSTER
    environment |= {"DATABASE_URL": database.dsn(None), "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres"}
    log_path = project_dir / "serve.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=project_dir, env=environment)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline_s, log_path.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        assert process.wait(60) == 0, log_path.read_text()
        assert "Traceback" not in log_path.read_text(), log_path.read_text()


def server_pid(socket: Phoenix, port: int) -> int:
    """The worker that has the other end of a socket."""
    here = socket.connection.local_address[1]
    for connection in psutil.net_connections("tcp4"):
        ports = tuple(end.port for end in (connection.laddr, connection.raddr) if end)
        if ports == (port, here) and connection.pid is not None:
            return connection.pid
    raise AssertionError("no process has the other end")


async def test_sockets_of_two_workers_are_one_room_and_a_killed_worker_leaves_no_ghosts(
    port: int, database: Settings
) -> None:
    by_worker: dict[int, list[Phoenix]] = {}
    sockets: list[Phoenix] = []
    # The kernel gives a connection to whichever worker is first: with enough of them each has some. One may be slow to begin.
    async with asyncio.timeout(60):
        while len(by_worker) < 2 or min(map(len, by_worker.values())) < 2:
            socket = await Phoenix.connect(port, vsn="2.0.0", apikey=database.anon_token)
            of_worker = by_worker.setdefault(server_pid(socket, port), [])
            if len(of_worker) > 2:
                await socket.close()
                continue
            of_worker.append(socket)
            sockets.append(socket)
            number = len(sockets) - 1
            await socket.join("room", presence={"enabled": True, "key": f"k{number}"})
            await track(socket, {"n": number})
    (one, ones), (other, others) = by_worker.items()
    for number, sender in enumerate((ones[0], others[0])):
        payload = {"type": "broadcast", "event": "e", "payload": {"n": number}}
        await sender.send("realtime:room", "broadcast", payload)
        for socket in sockets:
            if socket is not sender:
                got = await socket.event("broadcast")
                assert got.payload["payload"] == {"n": number}
    os.kill(one, signal.SIGKILL)
    for socket in ones:
        with suppress(websockets.ConnectionClosed):
            await socket.closed()
    gone = {f"k{sockets.index(socket)}" for socket in ones}
    left: set[str] = set()
    while left != gone:
        left |= set((await others[0].event("presence_diff")).payload["leaves"])
        assert left <= gone
    # Its successor knows who is there, and joins the others.
    async with asyncio.timeout(60):
        while True:
            late = await Phoenix.connect(port, vsn="2.0.0", apikey=database.anon_token)
            sockets.append(late)
            if server_pid(late, port) not in (one, other):
                break
    await late.join("room", presence={"enabled": True})
    state = fields_of((await late.event("presence_state")).payload)
    expected = {f"k{sockets.index(socket)}" for socket in others}
    while not expected <= set(state):
        state |= (await late.event("presence_diff")).payload["joins"]
    assert set(state) == expected
    for socket in sockets:
        with suppress(websockets.ConnectionClosed):
            await socket.close()

"""The servers that are measured: ``isobase serve realtime`` on a database, and bare hubs that mark what is possible."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import jwt

from benchmarks.servers import ISOBASE, JWT_SECRET, POOL, ROOT, Database, Server, running
from isobase_deploy.ports import free_ports

__all__ = [
    "FIXTURE",
    "USERS",
    "Peer",
    "cpu_s",
    "hub",
    "isobase",
    "redis",
    "service_token",
    "upstream_fixture",
    "user_token",
]

FIXTURE = Path(__file__).with_name("fixture.sql")
USERS = 500
REDIS_START_TIMEOUT_S = 10.0
NO_LIMIT = 100_000_000
TOKEN_LIFE_S = 4 * 3600


@dataclass(slots=True, frozen=True)
class Peer:
    """A server that speaks the protocol of Supabase Realtime. ``server`` and ``postgres``: None where not measured."""

    name: str
    port: int
    path: str
    host: str
    database_url: str
    server: Server | None
    postgres: Server | None

    @classmethod
    def of(cls, server: Server, database: Database) -> Peer:
        """``isobase serve realtime``."""
        url = database.url("supabase_admin")
        return cls(server.name, server.port, "/websocket", "localhost", url, server, database.server)

    @classmethod
    def upstream(cls, port: int, database_url: str) -> Peer:
        """A running supabase/realtime, whose tenant is named by its address and verifies with our secret."""
        return cls("supabase/realtime", port, "/socket/websocket", "127.0.0.1", database_url, None, None)


@contextmanager
def upstream_fixture(peer: Peer) -> Iterator[None]:
    """The tables of the fixture in a database without a schema ``bench``; gone again behind the block."""
    text, _, _ = FIXTURE.read_text().partition("-- Private channels.")
    asyncio.run(_execute(peer.database_url, text))
    try:
        yield
    finally:
        asyncio.run(_execute(peer.database_url, "drop schema bench cascade"))


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


def cpu_s(server: Server | None) -> float:
    """CPU seconds so far; 0 where they cannot be measured."""
    return server.cpu_s() if server is not None else 0.0


def user_token(number: int) -> str:
    """The token of one of the ``USERS``."""
    return _token("authenticated", sub=f"00000000-0000-4000-8000-{number:012d}", session_id=f"session-{number}")


def service_token() -> str:
    """The key with which every socket is opened."""
    return _token("service_role")


def _token(role: str, **claims: str) -> str:
    now_s = int(time.time())
    return jwt.encode(
        {"role": role, "iat": now_s, "exp": now_s + TOKEN_LIFE_S, **claims}, JWT_SECRET, algorithm="HS256"
    )


def _on_core(command: list[str], core: int | None) -> list[str]:
    return command if core is None else ["taskset", "--cpu-list", str(core), *command]


@contextmanager
def isobase(database: Database, core: int | None, *, redis_url: str | None = None) -> Iterator[Server]:
    """``isobase serve realtime`` in one process, with its limits out of the way."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ISOBASE_")} | {
            "ISOBASE_JWT_SECRET": JWT_SECRET,
            "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres",
            "ISOBASE_DATABASE__POOL_MAX_SIZE": str(POOL),
            "ISOBASE_LOG_LEVEL": "error",
            "ISOBASE_REALTIME__ROOMS__PING_INTERVAL_S": "3600",
            **{
                f"ISOBASE_REALTIME__{limit}": str(NO_LIMIT)
                for limit in ("MAX_SOCKETS", "MAX_EVENTS_PER_S", "MAX_JOINS_PER_S", "ROOMS__MAX_ACTIONS_PER_S")
            },
        }
        if redis_url is not None:
            environment["ISOBASE_REDIS_URL"] = redis_url
        command = [str(ISOBASE), "serve", "realtime", "--database-url", database.url("supabase_admin")]
        command += ["--port", str(port), "--data-dir", str(Path(name) / "data"), "--workdir", name]
        with running(_on_core(command, core), port, Path(name) / "log", environment) as pid:
            yield Server("Isobase", port, pid)


@contextmanager
def redis() -> Iterator[str | None]:
    """The URL of a Redis of the benchmark's own; None where the program is missing."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline_s = time.monotonic() + REDIS_START_TIMEOUT_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                    break
                except OSError:
                    if time.monotonic() > deadline_s:
                        raise
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


@contextmanager
def hub(kind: str, core: int | None) -> Iterator[Server]:
    """A hub of ``floor``: ``bare`` or ``websockets``."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        command = [sys.executable, "-m", "benchmarks.realtime.floor", kind, str(port)]
        with running(_on_core(command, core), port, Path(name) / "log", dict(os.environ), ROOT) as pid:
            yield Server(kind, port, pid)

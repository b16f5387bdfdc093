"""One session and many servers: what one process decides holds in the others, because PostgreSQL decides."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, DatabaseServer, clean_environment

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
WORKERS = 2
PARALLEL_REFRESHES = 100
MAX_CLIENTS = 300
DATABASE = "auth_of_workers"


@dataclass(slots=True, frozen=True)
class Workers:
    """Processes on one port and one database."""

    url: str
    process: subprocess.Popen[bytes]
    server: DatabaseServer

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """What the database holds."""
        return self.server.execute(sql, *values, database=DATABASE)


@pytest.fixture(scope="module")
def workers(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    postgres.execute(f"create database {DATABASE}")
    (port,) = free_ports(1)
    folder: Path = tmp_path_factory.mktemp("workers")
    environment = clean_environment() | {
        "GOTRUE_JWT_SECRET": "a-secret-of-more-than-thirty-two-bytes-for-tests",
        "GOTRUE_SITE_URL": "http://localhost:3000",
        "API_EXTERNAL_URL": f"http://localhost:{port}",
        "DATABASE_URL": postgres.dsn(DATABASE),
        "GOTRUE_API_HOST": "127.0.0.1",
        "PORT": str(port),
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "0",
        "ISOBASE_AUTH__BCRYPT_COST": "4",
    }
    log_path = folder / "log"
    command = [str(ISOBASE), "serve", "auth", "--workers", str(WORKERS)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while log_path.read_text().count("auth listening") < WORKERS:
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline_s, log_path.read_text()
            time.sleep(0.05)
        yield Workers(url, process, postgres)
    finally:
        process.terminate()
        code = process.wait(START_TIMEOUT_S)
        postgres.execute(f"drop database {DATABASE} with (force)")
    assert code == 0, log_path.read_text()


def client_of(workers: Workers) -> httpx.AsyncClient:
    """A client that waits long for an answer; close it."""
    return httpx.AsyncClient(base_url=workers.url, timeout=ANSWER_TIMEOUT_S)


def connections_of(workers: Workers) -> list[int]:
    """How many clients each worker holds a connection with."""
    children = psutil.Process(workers.process.pid).children()
    port = httpx.URL(workers.url).port
    return [
        sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in child.net_connections("tcp"))
        for child in children
    ]


async def connected(workers: Workers, stack: AsyncExitStack) -> list[httpx.AsyncClient]:
    """Clients with a connection each; the kernel deals them out, so there are more until every process has some."""
    clients: list[httpx.AsyncClient] = []
    while len(clients) < PARALLEL_REFRESHES or min(connections_of(workers)) == 0:
        assert len(clients) < MAX_CLIENTS, "one process takes every connection"
        client = await stack.enter_async_context(client_of(workers))
        assert (await client.get("/health")).status_code == 200
        clients.append(client)
    return clients


async def signed_up(client: httpx.AsyncClient, email: str) -> dict[str, Any]:
    answer = await client.post("/signup", json={"email": email, "password": "correct horse"})
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def refresh(workers: Workers, token: str) -> httpx.Response:
    """Over a connection of its own, so that the kernel gives it to any of the processes."""
    async with client_of(workers) as client:
        return await client.post("/token?grant_type=refresh_token", json={"refresh_token": token})


async def test_a_hundred_refreshes_at_once_leave_one_live_token(workers: Workers) -> None:
    async with client_of(workers) as client:
        session = await signed_up(client, "hundred@example.com")
    body = {"refresh_token": session["refresh_token"]}

    async def refreshed(client: httpx.AsyncClient) -> httpx.Response:
        """The answer; where the session stays locked for as long as a request may wait, by asking again, as clients do."""
        while (answer := await client.post("/token?grant_type=refresh_token", json=body)).status_code == 409:
            assert answer.json()["error_code"] == "conflict"
        return answer

    async with AsyncExitStack() as stack:
        clients = await connected(workers, stack)
        assert len(connections_of(workers)) == WORKERS
        answers = await asyncio.gather(*(refreshed(client) for client in clients))
    assert Counter(answer.status_code for answer in answers) == {200: len(clients)}
    tokens = {answer.json()["refresh_token"] for answer in answers}
    live = workers.rows(
        "select token from auth.refresh_tokens where not revoked and user_id = %s", session["user"]["id"]
    )
    assert [(token,) for token in tokens] == live


async def test_an_old_token_at_any_process_ends_the_family_at_all(workers: Workers) -> None:
    async with client_of(workers) as client:
        first = (await signed_up(client, "stolen@example.com"))["refresh_token"]
    second = (await refresh(workers, first)).json()["refresh_token"]
    third = (await refresh(workers, second)).json()["refresh_token"]
    thieves = await asyncio.gather(*(refresh(workers, first) for _ in range(10)))
    assert {(answer.status_code, answer.json()["error_code"]) for answer in thieves} == {
        (400, "refresh_token_already_used")
    }
    answers = await asyncio.gather(*(refresh(workers, token) for token in (first, second, third) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {400}
    assert workers.rows("select count(*) from auth.refresh_tokens where not revoked and token = %s", third) == [(0,)]


async def test_signing_out_at_one_process_refuses_the_access_token_at_all(workers: Workers) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(workers)) for _ in range(4 * WORKERS)]
        session = await signed_up(clients[0], "leaving@example.com")
        headers = {"authorization": f"Bearer {session['access_token']}"}
        before = await asyncio.gather(*(client.get("/user", headers=headers) for client in clients))
        assert {answer.status_code for answer in before} == {200}
        assert (await clients[0].post("/logout", headers=headers)).status_code == 204
        after = await asyncio.gather(*(client.get("/user", headers=headers) for client in clients))
        assert {answer.json()["error_code"] for answer in after} == {"session_not_found"}

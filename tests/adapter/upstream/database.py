"""A PostgreSQL as a Supabase project has it: upstream's roles, schemas and event triggers, and ``postgres`` no superuser.

Its scripts come from a checkout of supabase/postgres and are run as its ``migrate.sh`` does. The settings are those of a
project: the text collation is ICU's en-US, floats are shown in 15 digits unless a session asks for all, and there are few
replication slots. With supautils in the server's library folder ``postgres`` may do what a project's may, which is set
``session_replication_role`` above all.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from isobase_deploy.embedded.account import choose_account
from tests.adapter.upstream.places import Places
from tests.plugins.ports import free_ports
from tests.plugins.stack import clean_environment

__all__ = ["PASSWORD", "UpstreamDatabase", "running_database"]

PASSWORD = "postgres"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
max_wal_senders = 10
max_replication_slots = 5
max_slot_wal_keep_size = 4096
max_connections = 200
extra_float_digits = 0
timezone = 'UTC'
fsync = off
full_page_writes = off
shared_preload_libraries = '{libraries}'
"""
PLUGINS = "output_plugin_libraries"
"""The setting, of newer minor releases alone, that names what may read the log: without wal2json realtime says that it
listens to tables, and tells no change."""
# Scripts of extensions that this server may not have; a project without them works.
MAY_FAIL = ("pg_cron", "pg_graphql", "pgsodium", "lo_export")


class UpstreamDatabase:
    """The running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, role: str) -> str:
        """The URL of its database for a role."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def run(self, role: str, script: str) -> None:
        """Run statements as a role."""
        with closing(psycopg2.connect(self.url(role))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(script)


@contextmanager
def running_database(places: Places, folder: Path) -> Iterator[UpstreamDatabase]:
    """Run one, with upstream's scripts applied, in ``folder`` until the end of the block."""
    (port,) = free_ports(1)
    data = folder / "postgres"
    data.mkdir()
    account = choose_account(places.postgres / "initdb", [data])
    account.give(data)
    user, group = (account.uid, account.gid) if account.is_switched else (None, None)
    environment = clean_environment()
    locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
    command = [str(places.postgres / "initdb"), "-D", str(data), "-U", "supabase_admin", "--auth=trust", "-E", "UTF8"]
    done = subprocess.run(
        [*command, *locale, "--no-sync"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        user=user,
        group=group,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    libraries = ["pg_stat_statements"]
    supautils = places.postgres_checkout / "ansible" / "files" / "postgresql_config" / "supautils.conf.j2"
    has_supautils = (_library_folder(places) / "supautils.so").exists()
    settings = SETTINGS.format(libraries=", ".join([*libraries, *(["supautils"] if has_supautils else [])]))
    if has_supautils:
        settings += supautils.read_text()
    if _has_setting(places, PLUGINS):
        settings += f"{PLUGINS} = 'pgoutput, wal2json'\n"
    with (data / "postgresql.conf").open("a") as file:
        file.write(settings)
    log_path = folder / "postgres.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(places.postgres / "postgres"), "-D", str(data), "-p", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=user,
            group=group,
        )
    try:
        database = UpstreamDatabase(port)
        _wait(database, process, log_path)
        _lay_out(database, places)
        yield database
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _has_setting(places: Places, name: str) -> bool:
    answer = subprocess.run(
        [str(places.postgres / "postgres"), "--describe-config"], capture_output=True, text=True, check=False
    )
    return any(line.startswith(f"{name}\t") for line in answer.stdout.splitlines())


def _library_folder(places: Places) -> Path:
    answer = subprocess.run(
        [str(places.postgres / "pg_config"), "--pkglibdir"], capture_output=True, text=True, check=False
    )
    return Path(answer.stdout.strip() or ".")


def _wait(database: UpstreamDatabase, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None, log_path.read_text()
        try:
            database.run("supabase_admin", "select 1")
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline_s, log_path.read_text()
            time.sleep(0.05)
        else:
            return


def _lay_out(database: UpstreamDatabase, places: Places) -> None:
    """What ``migrate.sh`` of the checkout does."""
    database.run(
        "supabase_admin",
        f"create role postgres superuser login password '{PASSWORD}'; alter database postgres owner to postgres;"
        " create schema extensions; create extension pg_stat_statements with schema extensions",
    )
    scripts = places.postgres_checkout / "migrations" / "db"
    for path in sorted((scripts / "init-scripts").glob("*.sql")):
        database.run("postgres", _up(path))
    database.run("postgres", f"alter user supabase_admin with password '{PASSWORD}'")
    for path in sorted((scripts / "migrations").glob("*.sql")):
        try:
            database.run("supabase_admin", _up(path))
        except psycopg2.Error:
            if not any(word in path.read_text() for word in MAY_FAIL):
                raise
    if not (_library_folder(places) / "safeupdate.so").exists():
        database.run("supabase_admin", "alter role authenticator reset session_preload_libraries")


def _up(path: Path) -> str:
    return path.read_text().partition("-- migrate:down")[0]

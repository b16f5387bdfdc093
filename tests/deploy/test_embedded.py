"""The embedded PostgreSQL: made once, fast again, survives the death of anybody, harms nobody's data."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from isobase_deploy.embedded import EmbeddedPostgres, pid_file
from isobase_deploy.embedded.account import choose_account
from isobase_deploy.embedded.server import program_directory
from isobase_deploy.ports import listen
from isobase_platform.errors import ConfigurationError, Unavailable
from tests.plugins.ports import free_ports
from tests.plugins.scratch import scratch_root

IS_ROOT = os.geteuid() == 0
WAIT_S = 60.0


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="isobase-test-", dir=scratch_root()) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    (port,) = free_ports(1)
    server = EmbeddedPostgres(directory / "data", port=port, password="postgres")
    yield server
    server.stop()


def query(server: EmbeddedPostgres, sql: str, *, tcp: bool = False) -> object:
    host = "127.0.0.1" if tcp else str(server.socket_dir)
    dsn = f"host={host} port={server.port} user=supabase_admin dbname=postgres password=postgres"
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while is_alive(pid):
        assert time.monotonic() < deadline_s, f"process {pid} does not end"
        time.sleep(0.02)


def test_the_first_start_makes_a_cluster_that_later_starts_keep(server: EmbeddedPostgres) -> None:
    server.start()
    assert server.was_made
    query(server, "create table kept as select 1 as id")
    server.stop()
    server.start()
    assert query(server, "select id from kept") == 1


def test_it_is_durable_logical_and_takes_passwords_on_the_loopback_address_only(server: EmbeddedPostgres) -> None:
    server.start()
    assert (
        query(
            server,
            "select string_agg(setting, ' ' order by name) from pg_settings where name in"
            " ('fsync', 'full_page_writes', 'listen_addresses', 'synchronous_commit', 'wal_level')",
        )
        == "on on 127.0.0.1 on logical"
    )
    assert query(server, "select 1", tcp=True) == 1
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"host=127.0.0.1 port={server.port} user=supabase_admin dbname=postgres password=wrong")
    assert (
        query(
            server,
            "select datcollate || ' ' || pg_encoding_to_char(encoding) || ' ' || datlocprovider::text from"
            " pg_database where datname = 'postgres'",
        )
        == "C UTF8 b"
    )


def test_its_files_are_for_its_own_account_alone(server: EmbeddedPostgres) -> None:
    server.start()
    account = pwd.getpwuid(server.cluster_dir.stat().st_uid).pw_name
    assert server.cluster_dir.stat().st_mode & 0o777 == 0o700
    assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    assert server.log_path.stat().st_mode & 0o777 == 0o600
    assert (account == "root") is False
    assert server.pid is not None
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert f"Uid:\t{server.cluster_dir.stat().st_uid}\t" in status
    assert "CapEff:\t0000000000000000" in status


PARENT = """
import sys, time
from pathlib import Path
from isobase_deploy.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), port=int(sys.argv[2]), password="postgres")
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def start_in_a_process_of_its_own(server: EmbeddedPostgres) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", PARENT, str(server.cluster_dir.parent), str(server.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.fault
def test_when_its_parent_is_killed_it_shuts_down_by_itself(server: EmbeddedPostgres) -> None:
    parent, pid = start_in_a_process_of_its_own(server)
    query_before = EmbeddedPostgres(server.cluster_dir.parent, port=server.port, password="postgres")
    query(query_before, "create table kept as select 7 as id")
    parent.kill()
    parent.communicate()
    wait_until_gone(pid)
    server.start()
    assert query(server, "select id from kept") == 7
    assert "database system was shut down" in server.log_path.read_text()


@pytest.mark.fault
def test_when_everything_is_killed_it_starts_again_with_every_commit(server: EmbeddedPostgres) -> None:
    parent, pid = start_in_a_process_of_its_own(server)
    query(server, "create table kept as select 8 as id")
    os.kill(pid, signal.SIGKILL)
    parent.kill()
    parent.communicate()
    assert (server.cluster_dir / "postmaster.pid").exists()
    server.start()
    assert query(server, "select id from kept") == 8


@pytest.mark.fault
def test_a_server_that_is_ending_when_it_is_looked_at_keeps_nothing_from_starting(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    query(server, "create table kept as select 8 as id")
    server.stop()
    account = choose_account(Path(sys.executable), [])
    # Nobody waits for it, so its number stays given; PostgreSQL looks at its own account's processes alone.
    with subprocess.Popen(["/bin/true"], user=account.uid if IS_ROOT else None) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        (server.cluster_dir / "postmaster.pid").write_text(f"{ended.pid}\n{server.cluster_dir}\n")
        monkeypatch.setattr(pid_file, "_is_server_of", lambda cluster_dir, pid: True)  # so it was a moment ago
        server.start()
    assert query(server, "select id from kept") == 8


@pytest.mark.fault
def test_a_server_that_outlived_its_parent_is_stopped_and_replaced(server: EmbeddedPostgres) -> None:
    """Where the kernel gives no word of the parent's death, the next start finds the orphan."""
    server.start()
    server.stop()
    account = choose_account(Path(sys.executable), [])
    switch = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"] if IS_ROOT else []
    server.socket_dir.mkdir(exist_ok=True)
    account.give(server.socket_dir)
    orphan = subprocess.Popen(
        [*switch, str(program_directory() / "postgres"), "-D", str(server.cluster_dir), "-p", str(server.port)],
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + WAIT_S
    while "ready" not in _read(server.cluster_dir / "postmaster.pid"):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    server.start()
    assert server.pid != orphan.pid
    assert orphan.wait(WAIT_S) is not None
    assert query(server, "select 1") == 1


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.fault
def test_a_stale_pid_file_with_somebody_elses_number_is_no_obstacle(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (server.cluster_dir / "postmaster.pid").write_text(
            f"{bystander.pid}\n{server.cluster_dir}\n1\n5432\n\n\n1 1\nready\n"
        )
        server.start()
        assert query(server, "select 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_first_start_that_was_cut_short_begins_anew(server: EmbeddedPostgres) -> None:
    half = server.cluster_dir.parent / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.start()
    assert query(server, "select 1") == 1
    assert not half.exists()


def test_a_taken_port_is_told_before_anything_is_made(server: EmbeddedPostgres) -> None:
    with closing(listen("127.0.0.1", server.port)), pytest.raises(ConfigurationError, match=str(server.port)) as caught:
        server.start()
    assert caught.value.code == "port_taken"
    assert not server.cluster_dir.exists()


def test_data_of_another_version_is_refused_and_left_alone(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.cluster_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match="PostgreSQL 17"):
        server.start()
    (server.cluster_dir / "PG_VERSION").write_text("18\n")
    server.start()


def test_a_parameter_that_postgresql_refuses_is_named(directory: Path) -> None:
    (port,) = free_ports(1)
    server = EmbeddedPostgres(directory, port=port, password="postgres", parameters={"shared_buffers": "lots"})
    with pytest.raises(Unavailable, match=r"isobase\.conf"):
        server.start()
    assert server.pid is None


def test_a_path_too_long_for_a_socket_gets_one_elsewhere(directory: Path) -> None:
    deep = directory / ("deep-" * 12) / ("folder-" * 8)
    deep.mkdir(parents=True)
    (port,) = free_ports(1)
    server = EmbeddedPostgres(deep, port=port, password="postgres", is_durable=False)
    server.start()
    elsewhere = server.socket_dir
    try:
        assert query(server, "select 1") == 1
        assert not elsewhere.is_relative_to(deep)
    finally:
        server.stop()
    assert not elsewhere.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root has to run PostgreSQL as somebody else")
def test_root_can_keep_data_below_a_folder_that_the_account_may_not_enter(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    (port,) = free_ports(1)
    server = EmbeddedPostgres(closed / "data", port=port, password="postgres")
    server.start()
    try:
        assert query(server, "select 1") == 1
        # CAP_DAC_READ_SEARCH and no other capability.
        assert "CapEff:\t0000000000000004" in Path(f"/proc/{server.pid}/status").read_text()
    finally:
        server.stop()


@pytest.mark.skipif(not IS_ROOT or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_root_without_that_capability_is_told_what_to_do(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    command = ["setpriv", "--bounding-set", "-dac_read_search", sys.executable, "-c", PARENT, str(closed), "5999"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert ended.returncode != 0
    assert f"may not enter {closed}" in ended.stderr

"""A real PgBouncer before a PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.plugins.ports import free_ports
from tests.plugins.stack import PASSWORD

__all__ = ["pgbouncer"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
USERS = ("supabase_admin", "postgres", "authenticator", "supabase_auth_admin", "supabase_storage_admin")
SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {sessions}
max_client_conn = 100
server_reset_query =
ignore_startup_parameters = {ignored}
"""


@contextmanager
def pgbouncer(
    folder: Path, host: str, port: int, *, mode: str = "transaction", sessions: int = 2, ignored: str = ""
) -> Iterator[int]:
    """Run one before the server at ``host`` and ``port``; gives its own port. Skips the test where it is not installed.

    mode: ``transaction`` or ``session``. sessions: how many it opens for a user and database. ignored: parameters that
    clients may send when they connect, beside the few that PgBouncer knows.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    (own_port,) = free_ports(1)
    (folder / "users.txt").write_text("".join(f'"{user}" "{PASSWORD}"\n' for user in USERS))
    settings = {"host": host, "port": port, "own_port": own_port, "folder": folder, "mode": mode, "sessions": sessions}
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(**settings, ignored=ignored))
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    folder.chmod(0o755)
    for parent in folder.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    output = folder / "pgbouncer.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [program, *account, str(folder / "pgbouncer.ini")], stdout=log, stderr=log, cwd=folder
        )
    try:
        _wait(own_port, process, output)
        yield own_port
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"pgbouncer did not start: {log.read_text()}")

"""One ``isobase start`` on a small project, and what the tests of starts, resets and deaths do with it."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2

from tests.plugins.stack import ISOBASE, StackProcess, clean_environment

# The process around the services is what these tests are about; one service makes them quick.
ONE_SERVICE = {f"ISOBASE_{name}__ENABLED": "false" for name in ("REST", "AUTH", "REALTIME")}
WAIT_S = 60.0


def isobase(process: StackProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ISOBASE), *arguments, "--workdir", str(process.project_dir)],
        capture_output=True,
        text=True,
        env=clean_environment() | ONE_SERVICE,
        timeout=180,
        check=False,
    )


def start_again(process: StackProcess, *flags: str) -> subprocess.CompletedProcess[str]:
    return isobase(process, "start", "--port", str(process.port), "--db-port", str(process.db_port), *flags)


def execute(process: StackProcess, sql: str) -> list[tuple[object, ...]]:
    dsn = f"postgresql://postgres:postgres@127.0.0.1:{process.db_port}/postgres"
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def postgres_pids(process: StackProcess) -> list[int]:
    """Processes that work in the cluster's directory: the server and its children."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd") == str(process.data_dir / "postgres"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def write(process: StackProcess, name: str, sql: str) -> Path:
    path = process.project_dir / "supabase" / name
    path.write_text(sql)
    return path

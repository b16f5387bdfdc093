"""What survives the death of a real ``isobase start``, of its PostgreSQL, and of both."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import closing

import httpx
import psycopg2
import pytest

from isobase_deploy.cli.exit_codes import ExitCode
from tests.deploy.starting import ONE_SERVICE, WAIT_S, execute, isobase, postgres_pids, write
from tests.plugins.stack import ISOBASE, StackProcess, clean_environment


@pytest.mark.fault
def test_a_database_that_is_killed_is_started_again_by_the_running_server(process: StackProcess) -> None:
    stack = process.start()
    execute(process, "create table t as select 3 as a")
    (pid_line, *_) = (process.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    os.kill(int(pid_line), signal.SIGKILL)
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            if execute(process, "select a from t") == [(3,)] and httpx.get(f"{stack.url}/ready").status_code == 200:
                break
        except psycopg2.OperationalError:
            pass
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert process.stop() == ExitCode.OK


@pytest.mark.fault
def test_after_kill_9_of_everything_every_acknowledged_write_is_there(process: StackProcess) -> None:
    write(process, "migrations/1_t.sql", "create table t (a int);")
    process.start()
    assert process.process is not None
    acknowledged = 0
    with closing(
        psycopg2.connect(f"postgresql://postgres:postgres@127.0.0.1:{process.db_port}/postgres")
    ) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        pids = postgres_pids(process)
        for acknowledged in range(1, 201):
            cursor.execute("insert into t values (%s)", (acknowledged,))
        process.process.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.process.wait()
    process.start()
    assert execute(process, "select count(*), max(a) from t") == [(acknowledged, acknowledged)]


@pytest.mark.fault
def test_when_only_the_server_is_killed_postgresql_ends_and_the_next_start_works(process: StackProcess) -> None:
    process.start()
    assert process.process is not None
    process.process.kill()
    process.process.wait()
    deadline_s = time.monotonic() + WAIT_S
    while postgres_pids(process):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert isobase(process, "status").returncode == ExitCode.NOT_RUNNING
    process.start()
    assert process.stop() == ExitCode.OK


DEAF = "do $$ begin perform pg_sleep(600); exception when query_canceled then perform pg_sleep(600); end $$;"


@pytest.mark.parametrize("statement", ["select pg_sleep(600);", DEAF], ids=["cancelled", "deaf"])
def test_ctrl_c_before_it_is_up_ends_it_at_once(process: StackProcess, statement: str) -> None:
    write(process, "migrations/1_slow.sql", f"create table t (a int);\n{statement}")
    starting = subprocess.Popen(
        [str(ISOBASE), "start", "--port", str(process.port), "--db-port", str(process.db_port)],
        cwd=process.project_dir,
        env=clean_environment() | ONE_SERVICE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert starting.stderr is not None
    for line in starting.stderr:
        if "1_slow.sql" in line:
            break
    if statement == DEAF:  # it has to have begun
        running = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
        deadline_s = time.monotonic() + WAIT_S
        while not execute(process, running):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    starting.send_signal(signal.SIGINT)
    assert starting.wait(WAIT_S) == ExitCode.INTERRUPTED
    assert "Traceback" not in starting.stderr.read()
    starting.stderr.close()
    assert postgres_pids(process) == []
    write(process, "migrations/1_slow.sql", "create table t (a int);")
    process.start()
    assert execute(process, "select count(*) from t") == [(0,)]

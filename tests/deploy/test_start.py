"""``isobase start`` as a real process: what it serves, what it refuses, how it ends, what survives its death."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psycopg2
import pytest
from websockets.asyncio.client import connect

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.ports import listen
from isobase_platform.config import DEFAULT_JWT_SECRET
from tests.plugins.stack import ISOBASE, SAMPLE_PROJECT, StackProcess, clean_environment

# The process around the services is what these tests are about; one service makes them quick.
ONE_SERVICE = {f"ISOBASE_{name}__ENABLED": "false" for name in ("REST", "AUTH", "REALTIME")}
WAIT_S = 20.0


@pytest.fixture
def process(project_dir: Path) -> Iterator[StackProcess]:
    (project_dir / "supabase" / "migrations").mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text('project_id = "test"\n')
    process = StackProcess(project_dir, environment=ONE_SERVICE)
    yield process
    process.stop()
    for pid in postgres_pids(process):
        os.kill(pid, signal.SIGKILL)


def isobase(process: StackProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ISOBASE), *arguments, "--workdir", str(process.project_dir)],
        capture_output=True,
        text=True,
        env=clean_environment() | ONE_SERVICE,
        timeout=60,
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


def test_a_start_prints_urls_and_keys_and_serves_the_project(process: StackProcess) -> None:
    write(process, "migrations/20260101000000_t.sql", "create table t (a int);")
    write(process, "seed.sql", "insert into t values (5);")
    stack = process.start()
    said = process.log_path.read_text()
    assert f"API URL: {stack.url}" in said
    assert stack.anon_key in said
    assert stack.db_url == f"postgresql://postgres:postgres@127.0.0.1:{process.db_port}/postgres"
    assert "\x1b" not in said  # plain lines where no terminal is
    assert "Applying migration 20260101000000_t.sql..." in said
    assert execute(process, "select a from t") == [(5,)]
    answer = httpx.get(f"{stack.url}/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert httpx.get(f"{stack.url}/storage/v1/bucket", headers={"apikey": stack.service_role_key}).status_code == 200


def test_it_stops_on_sigterm_with_exit_code_0_and_leaves_no_process(process: StackProcess) -> None:
    process.start()
    assert postgres_pids(process)
    assert process.stop() == ExitCode.OK
    assert postgres_pids(process) == []
    assert not (process.data_dir / "run.json").exists()


def test_migrations_and_seed_of_a_first_start_are_not_run_again(process: StackProcess) -> None:
    write(process, "migrations/1_t.sql", "create table t (a int);")
    write(process, "seed.sql", "insert into t values (1);")
    process.start()
    process.stop()
    write(process, "migrations/2_more.sql", "insert into t values (2);")
    process.start()
    assert execute(process, "select a from t order by a") == [(1,), (2,)]


def test_a_second_start_on_the_same_data_says_who_runs_and_does_no_harm(process: StackProcess) -> None:
    stack = process.start()
    second = start_again(process)
    assert second.returncode == ExitCode.ALREADY_RUNNING
    first_line, hint = second.stderr.splitlines()
    assert first_line == f"error: isobase runs already on {process.data_dir}: process {stack.pid} at {stack.url}"
    assert hint == "hint: isobase status shows its URLs and keys, isobase stop ends it"
    assert httpx.get(f"{stack.url}/ready").status_code == 200
    assert execute(process, "select 1") == [(1,)]


def test_the_mailbox_answers_where_status_says_and_ends_with_the_rest(process: StackProcess) -> None:
    stack = process.start()
    assert f"Mailpit URL: {stack.mailbox_url}" in process.log_path.read_text()
    assert httpx.get(f"{stack.mailbox_url}/api/v1/messages").json()["total"] == 0
    process.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(stack.mailbox_url)


def test_the_mailboxs_taken_port_is_one_message_and_starts_nothing(process: StackProcess) -> None:
    with closing(listen("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (process.project_dir / "supabase" / "config.toml").write_text(f"[inbucket]\nsmtp_port = {port}\n")
        ended = start_again(process)
    assert ended.returncode == ExitCode.PORT_TAKEN
    assert f"port {port} on 127.0.0.1, on which the mailbox's SMTP should listen" in ended.stderr
    assert postgres_pids(process) == []


@pytest.mark.parametrize("which", ["port", "db_port"])
def test_a_taken_port_is_one_message_and_starts_nothing(process: StackProcess, which: str) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", getattr(process, which)))
        other.listen()
        ended = start_again(process)
    assert ended.returncode == ExitCode.PORT_TAKEN
    assert str(getattr(process, which)) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert postgres_pids(process) == []


def test_a_broken_migration_names_file_line_state_and_statement_and_the_next_start_goes_on(
    process: StackProcess,
) -> None:
    write(process, "migrations/1_fine.sql", "create table fine (a int);")
    broken = write(process, "migrations/2_broken.sql", "create table half (a int);\n\nselect *\n  from nowhere;\n")
    ended = start_again(process)
    assert ended.returncode == ExitCode.SCRIPT_FAILED
    assert f'error: {broken}, line 4: relation "nowhere" does not exist (SQLSTATE 42P01)' in ended.stderr
    assert "    from nowhere\n" in ended.stderr
    assert "Nothing of this file was applied" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert postgres_pids(process) == []
    broken.write_text("create table half (a int);")
    write(process, "seed.sql", "insert into fine values (1);")
    process.start()
    assert execute(process, "select (select count(*) from fine), (select count(*) from half)") == [(1, 0)]


def test_detached_it_returns_when_it_is_up_and_stop_ends_it(process: StackProcess) -> None:
    started = start_again(process, "--detach")
    assert started.returncode == ExitCode.OK, started.stderr
    assert "API URL" in started.stdout
    state = json.loads((process.data_dir / "run.json").read_text())
    assert httpx.get(f"{state['api_url']}/ready").status_code == 200
    stopped = isobase(process, "stop")
    assert (stopped.returncode, stopped.stdout) == (ExitCode.OK, "Stopped isobase.\n")
    assert postgres_pids(process) == []


def test_a_detached_start_that_fails_says_why_with_the_same_code(process: StackProcess) -> None:
    write(process, "migrations/1_broken.sql", "select nothing;")
    ended = start_again(process, "--detach")
    assert ended.returncode == ExitCode.SCRIPT_FAILED
    assert "1_broken.sql, line 1" in ended.stderr


def test_stop_without_backup_deletes_the_data(process: StackProcess) -> None:
    process.start()
    assert isobase(process, "stop", "--no-backup").returncode == ExitCode.OK
    assert not process.data_dir.exists()


def test_a_reset_of_a_running_server_gives_a_fresh_database(process: StackProcess) -> None:
    migration = write(process, "migrations/1_t.sql", "create table t (a int);")
    write(process, "seed.sql", "insert into t values (1);")
    write(process, "config.toml", "[storage.buckets.pictures]\npublic = true\n")
    stack = process.start()
    execute(process, "insert into t values (99); create table stray (a int)")
    ended = isobase(process, "db", "reset")
    assert ended.returncode == ExitCode.OK, ended.stderr
    assert execute(process, "select a, to_regclass('stray') is null from t") == [(1, True)]
    answer = httpx.get(f"{stack.url}/storage/v1/bucket/pictures", headers={"apikey": stack.service_role_key})
    assert answer.json()["public"] is True
    assert httpx.get(f"{stack.url}/ready").status_code == 200

    migration.write_text("create table t (a wrong);")
    execute(process, "insert into t values (2)")
    ended = isobase(process, "db", "reset")
    assert ended.returncode == ExitCode.SCRIPT_FAILED
    assert execute(process, "select a from t order by a") == [(1,), (2,)]
    assert execute(process, "select datname from pg_database where not datistemplate") == [("postgres",)]


@pytest.mark.parametrize("is_renamed", [False, True], ids=["closed", "put aside"])
def test_a_start_after_a_reset_that_was_killed_half_way_finds_the_database(
    is_renamed: bool, process: StackProcess
) -> None:
    write(process, "migrations/1_t.sql", "create table t (a int);")
    admin_dsn = process.start().admin_dsn
    execute(process, "insert into t values (99)")
    with closing(psycopg2.connect(admin_dsn.replace("/postgres", "/template1"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("alter database postgres allow_connections false")
            while is_renamed:
                cursor.execute("select pg_terminate_backend(pid, 500) from pg_stat_activity where datname = 'postgres'")
                cursor.execute(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = 'postgres'"
                )
                with suppress(psycopg2.errors.ObjectInUse):
                    cursor.execute("alter database postgres rename to isobase_before_reset")
                    break
    process.stop()
    process.start()
    assert execute(process, "select a from t") == [(99,)]
    assert execute(process, "select datname from pg_database where not datistemplate") == [("postgres",)]


def test_a_reset_without_a_running_server_works_as_well(process: StackProcess) -> None:
    write(process, "migrations/1_t.sql", "create table t (a int);")
    write(process, "seed.sql", "insert into t values (1);")
    process.start()
    execute(process, "insert into t values (99)")
    process.stop()
    ended = isobase(process, "db", "reset", "--no-seed", "--db-port", str(process.db_port))
    assert ended.returncode == ExitCode.OK, ended.stderr
    assert postgres_pids(process) == []
    process.start()
    assert execute(process, "select a from t") == []


def test_migration_up_and_list_work_on_the_running_server(process: StackProcess) -> None:
    process.start()
    write(process, "migrations/20260101000000_late.sql", "create table late (a int);")
    listed = isobase(process, "migration", "list").stdout
    assert listed.splitlines()[1].split() == ["20260101000000", "2026-01-01", "00:00:00", "late"]
    assert isobase(process, "migration", "up").stdout == "Applied 1 migration(s).\n"
    assert isobase(process, "migration", "list").stdout.count("20260101000000") == 2
    assert execute(process, "select count(*) from late") == [(0,)]


def test_passwords_from_seed_files_do_not_stay_in_the_stand_ins_form(process: StackProcess) -> None:
    write(
        process,
        "seed.sql",
        "insert into auth.users (id, email, encrypted_password) values"
        " (gen_random_uuid(), 'alice@example.com', extensions.crypt('password123', extensions.gen_salt('bf')));",
    )
    process.start()
    deadline_s = time.monotonic() + WAIT_S
    while execute(process, "select encrypted_password like '$isobase$v1b$%' from auth.users") != [(True,)]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_in_production_roles_have_derived_passwords_and_follow_a_new_secret(project_dir: Path) -> None:
    def secrets(letter: str) -> dict[str, str]:
        return {
            "ISOBASE_JWT_SECRET": letter * 40,
            "ISOBASE_PUBLISHABLE_KEY": f"sb_publishable_{letter}",
            "ISOBASE_SECRET_KEY": f"sb_secret_{letter}",
            "ISOBASE_STORAGE__S3_SECRET_ACCESS_KEY": letter * 20,
        }

    for letter in "ab":
        process = StackProcess(project_dir, "--production", environment=ONE_SERVICE | secrets(letter))
        stack = process.start()
        try:
            assert letter * 40 not in process.log_path.read_text()
            assert "postgres:postgres@" not in stack.db_url
            with closing(psycopg2.connect(stack.db_url)):
                pass
            assert httpx.get(f"{stack.url}/ready").status_code == 200
            assert stack.jwt_secret != DEFAULT_JWT_SECRET
        finally:
            assert process.stop() == ExitCode.OK


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
        deadline_s = time.monotonic() + 0.5
        while time.monotonic() < deadline_s:
            acknowledged += 1
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


def test_ctrl_c_before_it_is_up_ends_it_at_once(process: StackProcess) -> None:
    write(process, "migrations/1_slow.sql", "create table t (a int);\nselect pg_sleep(30);")
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
    starting.send_signal(signal.SIGINT)
    assert starting.wait(WAIT_S) == ExitCode.INTERRUPTED
    assert "Traceback" not in starting.stderr.read()
    starting.stderr.close()
    assert postgres_pids(process) == []
    write(process, "migrations/1_slow.sql", "create table t (a int);")
    process.start()
    assert execute(process, "select count(*) from t") == [(0,)]


async def test_a_live_subscription_goes_on_over_a_reset(project_dir: Path) -> None:
    shutil.copytree(SAMPLE_PROJECT, project_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".isobase"))
    process = StackProcess(project_dir)
    stack = process.start()
    try:
        url = stack.url.replace("http", "ws") + f"/realtime/v1/websocket?apikey={stack.service_role_key}&vsn=1.0.0"
        changes = [{"event": "UPDATE", "schema": "public", "table": "notes"}]
        join = {"config": {"postgres_changes": changes}, "access_token": stack.service_role_key}
        async with connect(url) as subscriber:

            async def next_event(name: str) -> None:
                async with asyncio.timeout(WAIT_S):
                    while json.loads(await subscriber.recv())["event"] != name:
                        continue

            message = {"topic": "realtime:notes", "event": "phx_join", "payload": join, "ref": "1", "join_ref": "1"}
            await subscriber.send(json.dumps(message))
            await next_event("system")
            ended = await asyncio.to_thread(isobase, process, "db", "reset")
            assert ended.returncode == ExitCode.OK, ended.stderr
            deadline_s = time.monotonic() + WAIT_S
            while "runs again" not in process.log_path.read_text():
                assert time.monotonic() < deadline_s
                await asyncio.sleep(0.1)
            execute(process, "update notes set title = title || '!'")
            await next_event("postgres_changes")
    finally:
        process.stop()

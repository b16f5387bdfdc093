"""``isobase db reset`` and ``isobase migration`` beside a real ``isobase start``."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psycopg2
import pytest
from websockets.asyncio.client import connect

from isobase_deploy.cli.exit_codes import ExitCode
from tests.deploy.starting import WAIT_S, execute, isobase, postgres_pids, start_again, write
from tests.plugins.stack import SAMPLE_PROJECT, StackProcess


def test_migrations_and_seed_of_a_first_start_are_not_run_again(process: StackProcess) -> None:
    write(process, "migrations/1_t.sql", "create table t (a int);")
    write(process, "seed.sql", "insert into t values (1);")
    process.start()
    process.stop()
    write(process, "migrations/2_more.sql", "insert into t values (2);")
    process.start()
    assert execute(process, "select a from t order by a") == [(1,), (2,)]


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
            # Another database has another log: the client is told from when on nothing is missed again.
            await next_event("system")
            execute(process, "update notes set title = title || '!'")
            await next_event("postgres_changes")
    finally:
        process.stop()

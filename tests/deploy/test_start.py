"""``isobase start`` as a real process: what it serves, what it refuses, how it ends."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.ports import listen
from isobase_platform.config import DEFAULT_JWT_SECRET
from tests.deploy.starting import ONE_SERVICE, WAIT_S, execute, isobase, postgres_pids, start_again, write
from tests.plugins.stack import StackProcess


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

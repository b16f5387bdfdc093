"""The ``isobase`` command without a server: what it makes, what it refuses, and with which exit code."""

from __future__ import annotations

import errno
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from isobase_deploy.cli import main
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.parser import build_parser
from isobase_deploy.datadir import AlreadyRunningError, DataDir, RunState
from isobase_platform.config import DEFAULT_JWT_SECRET, load_settings
from isobase_platform.keys import KeyRing, load_jwks_file
from tests.plugins.stack import ISOBASE, clean_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_help_imports_no_server() -> None:
    code = (
        "import sys; from isobase_deploy.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'asyncpg', 'pydantic', 'starlette', 'rich'}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "isobase" in output
    assert output.endswith("[]\n")


def test_without_the_servers_packages_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['asyncpg'] = None\nfrom isobase_deploy.cli import main\nsys.exit(main(['status']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.CONFIGURATION
    assert ended.stderr == "error: the package asyncpg is not installed\nhint: pip install 'isobase[server]'\n"


def test_a_command_that_is_not_understood_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["start", "--port", "high"])
    assert caught.value.code == ExitCode.USAGE
    assert "not a port" in capsys.readouterr().err
    assert main([]) == ExitCode.USAGE


def test_init_makes_a_project_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".gitignore").write_text("node_modules")
    assert main(["init"]) == ExitCode.OK
    config = tmp_path / "supabase" / "config.toml"
    assert (tmp_path / "supabase" / "migrations").is_dir()
    assert (tmp_path / "supabase" / "seed.sql").is_file()
    assert (tmp_path / ".gitignore").read_text() == "node_modules\n.isobase/\n"
    config.write_text("# mine")
    (tmp_path / "supabase" / "seed.sql").write_text("select 1;")
    assert main(["init"]) == ExitCode.CONFIGURATION
    assert config.read_text() == "# mine"
    assert "exists already" in capsys.readouterr().err
    assert main(["init", "--force"]) == ExitCode.OK
    assert config.read_text() != "# mine"
    assert (tmp_path / "supabase" / "seed.sql").read_text() == "select 1;"
    assert (tmp_path / ".gitignore").read_text() == "node_modules\n.isobase/\n"


def test_a_new_migration_has_the_time_and_a_plain_name(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text("")
    assert main(["migration", "new", "add notes; 2"]) == ExitCode.OK
    (made,) = (tmp_path / "supabase" / "migrations").iterdir()
    assert re.fullmatch(r"\d{14}_add_notes_2\.sql", made.name)
    assert main(["migration", "new", "über alles"]) == ExitCode.OK
    assert any(one.name.endswith("_über_alles.sql") for one in made.parent.iterdir())
    assert main(["migration", "new", "../!"]) == ExitCode.CONFIGURATION


def test_generated_keys_are_fresh_and_pass_production(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["keys", "generate", "--signing-key", "ES256", "--out", "signing.json"]) == ExitCode.OK
    first = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert main(["keys", "generate"]) == ExitCode.OK
    second = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert all(first[name] != value for name, value in second.items())
    assert stat.S_IMODE((tmp_path / "signing.json").stat().st_mode) == 0o600
    assert KeyRing("x" * 32, load_jwks_file(tmp_path / "signing.json")).signing_key.algorithm == "ES256"
    claims = jwt.decode(first["ISOBASE_ANON_KEY"], first["ISOBASE_JWT_SECRET"], algorithms=["HS256"])
    assert (claims["role"], claims["iss"]) == ("anon", "isobase")
    for name, value in first.items():
        monkeypatch.setenv(name, value)
    load_settings(flags={"env": "production"}).check_production()
    assert main(["keys", "generate", "--signing-key", "ES256", "--out", "signing.json"]) == ExitCode.CONFIGURATION


def test_production_refuses_the_keys_that_everybody_knows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["start", "--production", "--port", "0", "--db-port", "0"]) == ExitCode.CONFIGURATION
    message = capsys.readouterr().err
    assert "jwt_secret" in message
    assert DEFAULT_JWT_SECRET not in message
    assert not (tmp_path / ".isobase").exists()


@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "-o", "json"], ["migration", "up"], ["migration", "list"]], ids=" ".join
)
def test_what_needs_a_running_server_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.NOT_RUNNING
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "does not run" in captured.err


@pytest.mark.parametrize("action", ["up", "list"])
def test_migrating_a_database_out_of_reach_says_which(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = "postgresql://bob:hidden-word@127.0.0.1:1/none"
    assert main(["migration", action, "--database-url", url]) == ExitCode.DATABASE
    message = capsys.readouterr().err
    assert message.startswith("error: the database at 127.0.0.1:1 cannot be reached")
    assert "hidden-word" not in message


def test_stopping_what_does_not_run_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == ExitCode.OK
    assert "does not run" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, code, words",
    [
        (["--workdir", "missing"], ExitCode.CONFIGURATION, "--workdir missing"),
        (["--data-dir", "/proc/none"], ExitCode.CONFIGURATION, "--data-dir"),
        (["--data-dir", "/etc/passwd", "--detach"], ExitCode.CONFIGURATION, "/etc/passwd cannot be used"),
        (["--host", "192.0.2.1"], ExitCode.CONFIGURATION, "cannot listen on the address 192.0.2.1"),
        (
            ["--database-url", "postgresql://bob:hidden-word@127.0.0.1:1/none"],
            ExitCode.DATABASE,
            "the database at 127.0.0.1:1 cannot be reached",
        ),
    ],
    ids=["no such folder", "no place for data", "a file for data", "no such address", "no such database"],
)
def test_a_start_that_cannot_be_is_one_message_without_a_trace(
    flags: list[str],
    code: ExitCode,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ISOBASE_MAIL_PORT", "0")  # a stack of somebody else's may have the usual one
    assert main(["start", "--port", "0", "--db-port", "0", *flags]) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert "hidden-word" not in message


def test_a_bad_config_is_one_message_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text("[api]\nport = 'x'\n")
    ended = subprocess.run(
        [str(ISOBASE), "start"], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert ended.returncode == ExitCode.CONFIGURATION
    assert ended.stderr == f"error: {tmp_path}/supabase/config.toml: api.port must be a port from 1 to 65535\n"


def test_a_data_directory_is_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path / "data"), DataDir(tmp_path / "data")
    first.lock()
    state = RunState(1234, "http://127.0.0.1:1", "postgresql://", 1, 2, "now", is_production=False)
    first.write_state(state)
    assert second.running() == state
    with pytest.raises(AlreadyRunningError, match="process 1234 at http://127"):
        second.lock()
    assert stat.S_IMODE((tmp_path / "data" / "run.json").stat().st_mode) == 0o600
    assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"
    first.unlock()
    assert second.running() is None
    second.lock()
    second.unlock()


def test_a_folder_that_is_gone_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["status"]) == ExitCode.CONFIGURATION
    assert capsys.readouterr().err.startswith("error: the current folder does not exist any more\n")


def test_a_file_that_may_not_be_read_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Raised here and not by a file's mode: the suite may run as root, who reads everything.
    def refuse(_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "/srv/supabase/migrations")

    monkeypatch.setattr("isobase_deploy.cli.status.run", refuse)
    assert main(["status"]) == ExitCode.CONFIGURATION
    assert capsys.readouterr().err == "error: /srv/supabase/migrations: Permission denied\n"


def test_deleting_data_leaves_what_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = tmp_path / "shared"
    (shared / "postgres").mkdir(parents=True)
    (shared / "thesis.txt").write_text("ten years")
    assert main(["stop", "--data-dir", str(shared), "--no-backup"]) == ExitCode.OK
    assert [path.name for path in shared.iterdir()] == ["thesis.txt"]
    assert "stays" in capsys.readouterr().out
    DataDir(tmp_path / "own").make()
    assert main(["stop", "--data-dir", str(tmp_path / "own"), "--no-backup"]) == ExitCode.OK
    assert not (tmp_path / "own").exists()


def test_every_exit_code_and_command_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    listed = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE))
    assert {int(number): name for number, name in listed.items()} == {code.value: code.name for code in ExitCode}
    commands = set(build_parser()._subparsers._group_actions[0].choices or ())  # type: ignore[union-attr]
    assert {name for name in commands if f"isobase {name}" not in page} == set()


def test_status_names_are_the_ones_that_scripts_ask_for() -> None:
    from isobase_deploy.addresses import addresses

    wanted = {
        *("API_URL", "DB_URL", "STUDIO_URL", "MAILPIT_URL", "ANON_KEY", "SERVICE_ROLE_KEY", "JWT_SECRET"),
        *("PUBLISHABLE_KEY", "SECRET_KEY", "S3_PROTOCOL_ACCESS_KEY_ID", "S3_PROTOCOL_ACCESS_KEY_SECRET"),
    }
    values = addresses(load_settings())
    assert wanted <= values.keys()
    assert values["DB_URL"] == "postgresql://postgres:postgres@127.0.0.1:54322/postgres"
    assert json.loads(json.dumps(values)) == values


def test_an_interrupt_before_the_command_runs_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isobase_deploy.cli.build_parser", interrupted)
    assert main(["status"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"

"""Where ``isobase migrate`` finds the two sides, and what it says where it does not."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest

from isobase_adapter.bulk.errors import Refused, SideAway
from isobase_adapter.contracts import OutboxAway, WriterMoved
from isobase_adapter.sides import Side
from isobase_deploy.cli.exit_codes import ExitCode, exit_code_of
from isobase_deploy.cli.migrate import Places, places_of, run
from isobase_deploy.cli.parser_migrate import PARTS, subcommand
from isobase_platform.errors import ConfigurationError, IsobaseError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    subcommand(parser.add_subparsers(), "look", handler="migrate_look:run", help_text="look")
    return parser.parse_args(["look", *arguments])


def test_a_flag_stands_above_a_variable_and_that_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "isobase-migration.toml").write_text(
        '[supabase]\nurl = "http://file"\ndb_url = "postgresql://file"\n[isobase]\nurl = "http://other"\n'
    )
    places = places_of(
        parsed("--supabase-url", "http://flag"), {"SUPABASE_URL": "http://env", "SUPABASE_DB_URL": "postgresql://env"}
    )
    assert places == Places(supabase_url="http://flag", supabase_db_url="postgresql://env", isobase_url="http://other")


def test_the_file_may_name_variables_for_secrets(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[isobase]\nservice_role_key = "env(MY_KEY)"\nkey = "env(NOT_SET)"\n')
    places = places_of(parsed("--config", "mine.toml"), {"MY_KEY": "sb_secret_x"})
    assert places.isobase_service_role_key == "sb_secret_x"
    assert places.isobase_key is None


@pytest.mark.parametrize(
    "content", ["[supabase", '[supabase]\nurll = "http://x"', "supabase = 1", "[supabase]\nurl = 1"]
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "isobase-migration.toml").write_text(content)
    with pytest.raises(ConfigurationError):
        places_of(parsed(), {})


def test_what_is_missing_is_named_with_its_flag_and_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"--isobase-db-url \(ISOBASE_DB_URL\)"):
        Places(supabase_db_url="postgresql://x").databases()
    assert Places(supabase_db_url="a", isobase_db_url="b").databases() == {Side.SUPABASE: "a", Side.ISOBASE: "b"}


@pytest.mark.parametrize("name", ["SUPABASE_DB_URL", "ISOBASE_DB_URL", "SUPABASE_URL", "ISOBASE_URL"])
def test_an_address_that_cannot_be_one_is_named_without_being_shown(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        places_of(parsed(), {name: "user:s3cret@host"})
    assert "s3cret" not in str(caught.value)


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    program = (
        "import argparse, os; from isobase_deploy.cli.migrate import answer;"
        " reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1);"
        " answer(argparse.Namespace(output='pretty'), {}, lambda: 'x' * 100_000)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_places_show_no_secrets() -> None:
    places = Places(
        supabase_url="http://a", supabase_db_url="postgresql://u:secret@h/d", isobase_service_role_key="secret"
    )
    assert "secret" not in repr(places)
    assert "http://a" in repr(places)


@pytest.mark.parametrize(
    "raised, code",
    [
        (Refused("no"), ExitCode.REFUSED),
        (ConnectionRefusedError(111, "refused"), ExitCode.DATABASE),
        (TimeoutError(), ExitCode.DATABASE),
        (asyncpg.InvalidPasswordError("no"), ExitCode.CONFIGURATION),
        (asyncpg.UndefinedTableError("no"), ExitCode.CONFIGURATION),
        (asyncpg.DeadlockDetectedError("no"), ExitCode.DATABASE),
        (SideAway(Side.SUPABASE, "no", is_login=True), ExitCode.CONFIGURATION),
        (SideAway(Side.ISOBASE, "no", is_login=False), ExitCode.DATABASE),
        (WriterMoved("no"), ExitCode.REFUSED),
        (OutboxAway("no"), ExitCode.DATABASE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_side_answers_has_an_exit_code(raised: Exception, code: ExitCode) -> None:
    async def fail() -> None:
        raise raised

    with pytest.raises(IsobaseError) as caught:
        run(fail())
    assert exit_code_of(caught.value) == code


def test_every_part_of_the_command_line_adds_itself() -> None:
    assert [part for part in PARTS if not hasattr(import_module(f"isobase_deploy.cli.{part}"), "add")] == []

"""What `make test` runs once more, and what it does not (docs/decisions/0046)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 110.0
ONCE = """
from pathlib import Path

def test_that_fails_once():
    again = Path(__file__).with_suffix(".seen")
    is_first = not again.exists()
    again.touch()
    assert not is_first, "the machine stood still"
"""
ALWAYS = "def test_that_fails_always(): assert 1 == 2"
LEAKING = """
import socket

def test_that_leaves_a_socket_once(seen=[]):
    if not seen:
        seen.append(True)
        left = [socket.create_server(("127.0.0.1", 0))]
        left.append(left)
"""


def options(*names: str) -> list[str]:
    """Give what `make test` says to pytest, of the options that begin with ``names``, however this run was begun."""
    given = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "RERUNS"}
    shown = subprocess.run(
        ("make", "-n", "test"),
        env={name: value for name, value in os.environ.items() if name not in given},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=TIMEOUT_S,
    ).stdout
    command = shown[shown.index("-m pytest ") :].replace("\\\n", " ").splitlines()[0]
    words, found = shlex.split(command), list[str]()
    for word, value in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith(names):
            found += [word] if value.startswith("--") else [word, value]
    return found


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    plugins = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider", "-p", "tests.plugins.leaks")
    given = options("--rerun", "--max-suite-reruns")
    delay = given.index("--reruns-delay")
    del given[delay : delay + 2]
    command = (sys.executable, "-m", "pytest", "-q", *plugins, "-W", "error", *given)
    return subprocess.run(
        (*command, "--rootdir", str(folder), str(folder)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=TIMEOUT_S,
    )


def test_a_test_that_passes_when_run_once_more_fails_nothing_and_its_failure_is_shown(tmp_path: Path) -> None:
    (tmp_path / "test_1.py").write_text(ONCE)
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 1 rerun" in ended.stdout
    assert "RERUN test_1.py::test_that_fails_once" in ended.stdout
    assert "AssertionError: the machine stood still" in ended.stdout


def test_what_fails_always_fails(tmp_path: Path) -> None:
    (tmp_path / "test_1.py").write_text(ALWAYS)
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "1 failed, 1 rerun" in ended.stdout


def test_many_failures_are_not_the_machine(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"test_{number}.py").write_text(ONCE)
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "1 failed, 3 passed, 3 rerun" in ended.stdout, ended.stdout


def test_a_socket_left_open_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_1.py").write_text(LEAKING)
    ended = run(tmp_path)
    assert ended.returncode == 1, ended.stdout
    assert "1 error" in ended.stdout
    assert "rerun" not in ended.stdout


def test_lost_writes_and_rows_of_others_have_one_chance(tmp_path: Path) -> None:
    excluded = sorted(options("--rerun-exclude-path")[1::2])
    assert {"tests/adapter/app", "tests/fault", "tests/realtime/test_rows_of_strangers.py"} <= set(excluded)
    for number, place in enumerate(excluded):
        file = Path(place if place.endswith(".py") else f"{place}/test_{number}.py")
        assert list((ROOT / file.parent).glob(file.name if file == Path(place) else "test_*.py")), f"{place}: no tests"
        (tmp_path / file.parent).mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(ONCE)
    ended = run(tmp_path)
    assert f"{len(excluded)} failed" in ended.stdout, ended.stdout
    assert "rerun" not in ended.stdout

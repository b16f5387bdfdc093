"""A socket that a test leaves open fails the file that left it, and its maker is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEAKING = """
import socket

def test_that_leaves_a_socket():
    left = [socket.create_server(("127.0.0.1", 0))]
    left.append(left)  # a cycle: only a collection finds it

def test_of_the_same_file():
    pass
"""
NEXT = "def test_of_the_next_file(): pass"


def test_a_socket_left_open_fails_its_own_file_and_tells_where_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "test_1.py").write_text(LEAKING)
    (tmp_path / "test_2.py").write_text(NEXT)
    order = (
        "-p",
        "no:randomly",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.plugins.leaks",
        "-W",
        "error",
    )
    command = (sys.executable, "-m", "pytest", "-q", *order, "--rootdir", str(tmp_path), str(tmp_path))
    root = Path(__file__).parents[2]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False, timeout=110)
    assert "1 error" in run.stdout, run.stdout
    assert "3 passed" in run.stdout
    assert "ERROR at teardown of test_of_the_same_file" in run.stdout
    assert "The socket was made in" in run.stdout
    assert "test_1.py::test_that_leaves_a_socket" in run.stdout
    assert "test_1.py:5 in test_that_leaves_a_socket" in run.stdout

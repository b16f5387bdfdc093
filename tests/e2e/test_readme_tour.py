"""The programs of the README do what it says, on the stack that it starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.stack import Stack

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:54321"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PATIENT = "import isobase._async.parts\nisobase._async.parts.AUTH_STEP_TIMEOUT_S = 60.0\n"
"""Before a program: a machine that runs the suite takes longer for a password than the client's five seconds."""


def program(language: str) -> str:
    (found,) = [
        block
        for block in re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if URL in block
    ]
    return str(found)


def run(command: list[str], directory: Path) -> str:
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_python_tour_prints_alices_rows_and_file_and_nothing_of_hers_for_bob(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "tour.py"
    script.write_text(PATIENT + program("python").replace(URL, stack.url).replace('"..."', repr(stack.anon_key)))
    notes, content, notes_of_bob, files_of_bob = run([sys.executable, str(script)], tmp_path).splitlines()
    assert "Newts are back" in notes
    assert "Pond survey" in notes
    assert content == "b'north edge'"
    assert "Newts" not in notes_of_bob
    assert "Lapwings" in notes_of_bob
    assert files_of_bob == "[]"


@pytest.mark.node
def test_the_javascript_tour_sees_its_own_row_change(stack: Stack) -> None:
    node = node_with("@supabase")
    script = NODE_DIRECTORY / "readme_tour.generated.mjs"
    script.write_text(program("js").replace(URL, stack.url).replace("'...'", repr(stack.anon_key)))
    try:
        output = run([node, "--import", "./websocket.mjs", script.name], NODE_DIRECTORY)
    finally:
        script.unlink()
    assert output == "inserted: Heron\n"


def test_the_tour_with_curl_makes_a_table_and_uploads_a_file(stack: Stack, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    script = program("sh").replace(URL, stack.url).replace("python3", sys.executable)
    output = run(["sh", "-eu", "-c", script], tmp_path)
    assert '"fern"' in output
    assert "pond.txt" in output

"""Users' programs pass pyright: the examples of docs/sdk, and every public name of the SDK has a known type.

mypy reads the same programs in ``tests/sdk/test_docs.py``. Needs the npm packages that ``make test-deps`` installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.sdk.doc_pages import blocks_of, typed_program

ROOT = Path(__file__).parents[3]
PYRIGHT = NODE_DIRECTORY / "node_modules" / "pyright" / "index.js"
PAGES = sorted((ROOT / "docs" / "sdk").glob("*.md"))
EXAMPLES = sorted(Path(__file__).parent.glob("*_example.py"))
TIMEOUT_S = 220.0

pytestmark = pytest.mark.node


def pyright(*arguments: str, folder: Path) -> dict[str, object]:
    """Run pyright as a user of this interpreter would; gives its report."""
    done = subprocess.run(
        [node_with("pyright"), str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=TIMEOUT_S,
        check=False,
        # `--verifytypes` looks for the interpreter on the PATH, whatever `--pythonpath` says.
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(ROOT / "sdk"),
        },
    )
    report: dict[str, object] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Pyright's errors by file, as ``line: message``: of the pages, of the examples here, and of a wrong program.

    One run for all of them: most of its time is the reading of the client.
    """
    folder = tmp_path_factory.mktemp("programs")
    for page in PAGES:
        program = typed_program(blocks_of(page.read_text(), page.name))
        (folder / f"{page.stem.replace('-', '_')}.py").write_text(in_a_function(program))
    for example in EXAMPLES:
        shutil.copy(example, folder)
    (folder / "wrong.py").write_text("import isobase\n\nversion: int = isobase.__version__\n")
    found = pyright(".", folder=folder)["generalDiagnostics"]
    assert isinstance(found, list)
    by_file: dict[str, list[str]] = {}
    for entry in found:
        if entry["severity"] == "error":
            line = f"{entry['range']['start']['line'] + 1}: {entry['message']}"
            by_file.setdefault(Path(entry["file"]).name, []).append(line)
    return by_file


def in_a_function(program: str) -> str:
    """Put a page's program, which may await at its top level, into an async function without moving a line."""
    first, *others = program.splitlines()
    assert not first.strip(), "a page begins with its title"
    return (
        "\n".join(["async def page() -> None:", *(f"    {line}" if line else line for line in others)])
        + "\n    return\n"
    )


def test_every_example_of_the_pages_passes_pyright(complaints: dict[str, list[str]]) -> None:
    assert PAGES
    names = {f"{page.stem.replace('-', '_')}.py" for page in PAGES}
    assert {name: lines for name, lines in complaints.items() if name in names} == {}


def test_a_wrong_type_is_seen(complaints: dict[str, list[str]]) -> None:
    (said,) = complaints["wrong.py"]
    assert said.startswith("3: ")


def test_what_type_checkers_know_of_the_client_is_what_the_examples_say(complaints: dict[str, list[str]]) -> None:
    assert EXAMPLES
    assert {name: lines for name, lines in complaints.items() if name in {path.name for path in EXAMPLES}} == {}


def test_every_public_name_has_a_known_type(tmp_path: Path) -> None:
    report = pyright("--verifytypes", "isobase", "--ignoreexternal", folder=tmp_path)["typeCompleteness"]
    assert isinstance(report, dict)
    unknown = [
        f"{symbol['name']}: {problem['message']}"
        for symbol in report["symbols"]
        if not symbol["isTypeKnown"]
        for problem in symbol["diagnostics"]
        if "partially unknown" not in problem["message"]  # what follows from another line of this list
    ]
    assert unknown == []
    assert report["completenessScore"] == 1
    assert report["missingFunctionDocStringCount"] == 0

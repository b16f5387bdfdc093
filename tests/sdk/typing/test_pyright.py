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

from tests.sdk.doc_pages import blocks_of, typed_program

ROOT = Path(__file__).parents[3]
PYRIGHT = ROOT / "tests" / "node" / "node_modules" / "pyright" / "index.js"
PAGES = sorted((ROOT / "docs" / "sdk").glob("*.md"))
TIMEOUT_S = 110.0

pytestmark = pytest.mark.node


def pyright(*arguments: str, folder: Path) -> dict[str, object]:
    """Run pyright as a user of this interpreter would; gives its report."""
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if node is None or not PYRIGHT.exists():
        pytest.skip("no Node.js or no pyright; run `make test-deps`")
    done = subprocess.run(
        [node, str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, *arguments],
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


def complaints(report: dict[str, object]) -> list[str]:
    """Give pyright's errors as ``file:line: message``."""
    found = report["generalDiagnostics"]
    assert isinstance(found, list)
    return [
        f"{Path(entry['file']).name}:{entry['range']['start']['line'] + 1}: {entry['message']}"
        for entry in found
        if entry["severity"] == "error"
    ]


def in_a_function(program: str) -> str:
    """Put a page's program, which may await at its top level, into an async function without moving a line."""
    first, *others = program.splitlines()
    assert not first.strip(), "a page begins with its title"
    return (
        "\n".join(["async def page() -> None:", *(f"    {line}" if line else line for line in others)])
        + "\n    return\n"
    )


def test_every_example_of_the_pages_passes_pyright(tmp_path: Path) -> None:
    for page in PAGES:
        program = typed_program(blocks_of(page.read_text(), page.name))
        (tmp_path / f"{page.stem.replace('-', '_')}.py").write_text(in_a_function(program))
    assert PAGES
    assert complaints(pyright(".", folder=tmp_path)) == []


def test_a_wrong_type_is_seen(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import isobase\n\nversion: int = isobase.__version__\n")
    (said,) = complaints(pyright(".", folder=tmp_path))
    assert said.startswith("wrong.py:3: ")


def test_what_type_checkers_know_of_the_client_is_what_the_examples_say(tmp_path: Path) -> None:
    for example in Path(__file__).parent.glob("*_example.py"):
        shutil.copy(example, tmp_path)
    assert complaints(pyright(".", folder=tmp_path)) == []


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

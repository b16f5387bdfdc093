"""Node.js and the npm packages of tests/node, which `make test-deps` brings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

__all__ = ["NODE_DIRECTORY", "node_with"]

NODE_DIRECTORY = Path(__file__).parents[1] / "node"


def node_with(package: str) -> str:
    """The program, the machine's or the one beside this Python; the test fails where it or a package is missing."""
    program = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if program is None or not (NODE_DIRECTORY / "node_modules" / package).exists():
        pytest.fail(f"Node.js or the npm package {package} is missing: run `make test-deps`")
    return program
